/* SPDX-License-Identifier: GPL-2.0-only
 *
 * lookup.h: destination address to group id, GROUP_NONE where no prefix covers it. The tries are complete; an
 * index in front of one answers for most addresses by one memory access, and sends the rest to the trie.
 */
#ifndef BGPBRIDGE_LOOKUP_H
#define BGPBRIDGE_LOOKUP_H

#include "lookup6.h"
#include "maps.h"

inlined u32 trie_ipv4(u32 destination)
{
	struct lpm4_key key = { .plen = 32 };
	u32 *group;

	__builtin_memcpy(key.addr, &destination, sizeof(key.addr));
	group = LOOKUP(lpm4, &key);
	return group ? *group : GROUP_NONE;
}

/* The group of the address's /24, or where something longer lives there, of the address in the page of that /24. Page 0
 * is none: there was none left. bgpbridge/fib/index4.py writes both. */
inlined u32 route_ipv4(const struct control *settings, u32 destination)
{
	u32 address = __builtin_bswap32(destination), line = address >> 10, entry;
	const struct index4_line *slots;

	if (likely(READ_ONCE(settings->flags) & CONTROL_F_INDEX4)) {
		slots = LOOKUP(index4, &line);
		if (likely(slots)) {
			entry = READ_ONCE(slots->slots[address >> 8 & 3]);
			if (likely(!(entry & INDEX4_DEEP)))
				return entry;
			line = (INDEX4_SLOTS + (entry & ~INDEX4_DEEP) * INDEX4_PAGE + (address & (INDEX4_PAGE - 1))) /
			       4;
			slots = LOOKUP(index4, &line);
			if (likely(slots && entry != INDEX4_DEEP))
				return READ_ONCE(slots->slots[address & 3]);
		}
	}
	return trie_ipv4(destination);
}

inlined u32 trie_ipv6(const struct in6_addr *destination)
{
	struct lpm6_key key = { .plen = 128 };
	u32 *group;

	__builtin_memcpy(key.addr, destination, sizeof(key.addr));
	group = LOOKUP(lpm6, &key);
	return group ? *group : GROUP_NONE;
}

inlined u32 route_ipv6(const struct control *settings, const struct in6_addr *destination)
{
	u32 entry;

	if (likely(READ_ONCE(settings->flags) & CONTROL_F_INDEX6)) {
		entry = index6_entry(destination);
		if (likely(!(entry & INDEX6_POINTER)))
			return entry & INDEX6_GROUP;
	}
	return trie_ipv6(destination);
}

#endif

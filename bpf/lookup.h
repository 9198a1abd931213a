/* SPDX-License-Identifier: GPL-2.0-only
 *
 * lookup.h: destination address to group id, GROUP_NONE where no prefix covers it. The tries are complete;
 * whatever stands in front of them later (an index) answers here or asks them.
 */
#ifndef BGPBRIDGE_LOOKUP_H
#define BGPBRIDGE_LOOKUP_H

#include "maps.h"

inlined u32 route_ipv4(u32 destination)
{
	struct lpm4_key key = { .plen = 32 };
	u32 *group;

	__builtin_memcpy(key.addr, &destination, sizeof(key.addr));
	group = LOOKUP(lpm4, &key);
	return group ? *group : GROUP_NONE;
}

inlined u32 route_ipv6(const struct in6_addr *destination)
{
	struct lpm6_key key = { .plen = 128 };
	u32 *group;

	__builtin_memcpy(key.addr, destination, sizeof(key.addr));
	group = LOOKUP(lpm6, &key);
	return group ? *group : GROUP_NONE;
}

#endif

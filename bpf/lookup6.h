/* SPDX-License-Identifier: GPL-2.0-only
 *
 * lookup6.h: the IPv6 index. A direct first level, by 24 bits inside 2000::/3 and by 16 elsewhere, then one node for
 * each octet as far as longer prefixes go; most nodes are one cache line. bgpbridge/fib/index6.py writes it and says
 * how. A prefix stands in one node only, so the answer is the last entry on the way down that is not 0: in a node's
 * slot, or in what the node inherited from the slot that it stands in.
 */
#ifndef BGPBRIDGE_LOOKUP6_H
#define BGPBRIDGE_LOOKUP6_H

#include "maps.h"

#define INDEX6_LEVELS 14 /* octets below the first 16 bits */

/* Bits that are set: BPF has no instruction for it. */
inlined u32 popcount(u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (word * 0x0101010101010101ULL) >> 56;
}

/* The entry of a node for the next octet. A pointer that leads nowhere stays what it is. */
inlined u32 index6_step(u32 pointer, u32 octet, u32 *best)
{
	u32 number = pointer & ~INDEX6_POINTER, part = octet >> 6 & 3, inherited, at;
	const struct index6_line *line = LOOKUP(index6_lines, &number);

	if (!line)
		return pointer;
	inherited = READ_ONCE(line->inherited);
	if (inherited)
		*best = inherited;
	at = INDEX6_HEAD - 1 + line->before[part] + popcount(line->starts[part] << (63 - (octet & 63)));
	if (at >= INDEX6_WORDS) {
		number += at / INDEX6_WORDS;
		line = LOOKUP(index6_lines, &number);
		if (!line)
			return pointer;
	}
	return READ_ONCE(((const u32 *)line)[at % INDEX6_WORDS]);
}

/* The longest match of an address, 0 where there is none. With INDEX6_POINTER: no answer, ask the trie. */
inlined u32 index6_entry(const struct in6_addr *destination)
{
	u64 words[2], high, low;
	const struct index6_slots *pair;
	u32 slot, bits, number, entry, best = 0;

	__builtin_memcpy(words, destination, sizeof(words));
	high = __builtin_bswap64(words[0]);
	low = __builtin_bswap64(words[1]);
	if (high >> 61 == 1) { /* 2000::/3 */
		bits = 24;
		slot = INDEX6_SHORT + (high >> 40) - 0x200000;
	} else {
		bits = 16;
		slot = high >> 48;
	}
	number = slot >> 1;
	pair = LOOKUP(index6_dir, &number);
	if (!pair)
		return INDEX6_POINTER;
	entry = READ_ONCE(pair->slots[slot & 1]);
	high = high << bits | low >> (64 - bits);
	low <<= bits;
#pragma unroll
	for (int level = 0; level < INDEX6_LEVELS; level++) {
		if (entry & INDEX6_POINTER)
			entry = index6_step(entry, high >> 56, &best);
		high = high << 8 | low >> 56;
		low <<= 8;
	}
	return entry ? entry : best;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * uncounted.c: the datapath with counters.h left out, to see what counting costs. Nobody loads it but a bench.
 */
#include "../compat.h"
#include "../maps.h"

#define BGPBRIDGE_COUNTERS_H

inlined int settle(u32 reason, u64 octets)
{
	(void)octets;
	return reason == FORWARDED ? XDP_REDIRECT : reason >= DROP_BLACKHOLE ? XDP_DROP : XDP_PASS;
}

inlined void count_group(u32 group, u64 octets)
{
	(void)group;
	(void)octets;
}

inlined void count_adjacency(u32 adjacency, u64 octets)
{
	(void)adjacency;
	(void)octets;
}

#include "../bgpbridge.c"

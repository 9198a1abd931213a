/* SPDX-License-Identifier: GPL-2.0-only
 *
 * counters.h: the one place where a reason becomes a verdict, so that no packet leaves uncounted. Per CPU:
 * no shared cache line is written.
 */
#ifndef BGPBRIDGE_COUNTERS_H
#define BGPBRIDGE_COUNTERS_H

#include "maps.h"

inlined void add_packet(struct counter *counter, u64 octets)
{
	if (!counter)
		return;
	counter->packets++;
	counter->octets += octets;
}

/* What XDP_PASS means: the kernel has the same routes, and forwards or answers the packet itself. */
inlined int settle(u32 reason, u64 octets)
{
	add_packet(LOOKUP(counters, &reason), octets);
	if (likely(reason == FORWARDED))
		return XDP_REDIRECT;
	return reason >= DROP_BLACKHOLE ? XDP_DROP : XDP_PASS;
}

inlined void count_group(u32 group, u64 octets)
{
	add_packet(LOOKUP(group_counters, &group), octets);
}

inlined void count_adjacency(u32 adjacency, u64 octets)
{
	add_packet(LOOKUP(adjacency_counters, &adjacency), octets);
}

#endif

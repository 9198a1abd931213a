/* SPDX-License-Identifier: GPL-2.0-only
 *
 * trace.h: packets that an operator asks to see, each with what became of it and why, for `bgpbridge trace`, for the
 * talkers of `bgpbridge counters --prefixes`, and for `bgpbridge packet`. Off by default: two tests of a word that is
 * in the cache anyway.
 *
 *   its way is known           ──▶ the ring of this CPU notes group, slot and adjacency
 *   its verdict is known       ──▶ does `trace_filter` want it? then a record of it goes into the ring
 *
 * Both are the same run on the same CPU. A record is written only where user space has made room (`limit`): so nobody
 * reads half a record, what nobody reads costs nothing more, and who reads seldom sees seldom. All that match are
 * counted, with a record or without. Nothing here touches a packet or its verdict.
 *
 * The filter is asked at the end, of the frame as it leaves: forwarding changes no address. There, too, the verifier
 * has nothing left to look at for each length that a head may have.
 */
#ifndef BGPBRIDGE_TRACE_H
#define BGPBRIDGE_TRACE_H

#include "parse.h"
#include "maps.h"

struct trace_tag {
	u16 tci;
	u16 kind;
};

inlined int is_tracing(const struct control *settings)
{
	return settings && !likely(!(READ_ONCE(settings->flags) & CONTROL_F_TRACE));
}

inlined struct trace_ring *ring_of_this_cpu(void)
{
	u32 cpu = bpf_get_smp_processor_id();

	return LOOKUP(trace_rings, &cpu);
}

/* The way of the packet that this CPU has in hand. */
inlined void note_way(const struct control *settings, u32 group, u64 hash, u32 adjacency)
{
	struct trace_ring *ring;

	if (!is_tracing(settings))
		return;
	ring = ring_of_this_cpu();
	if (!ring)
		return;
	ring->group = group;
	ring->slot = hash >> (64 - (READ_ONCE(settings->slot_bits) & 15));
	ring->adjacency = adjacency;
}

inlined int is_within(const u64 *address, const u64 *wanted, const u64 *mask)
{
	return !((address[0] ^ wanted[0]) & mask[0]) && !((address[1] ^ wanted[1]) & mask[1]);
}

/* Where the filter wants no version, it wants every frame; else packets of that version with these addresses. */
inlined int is_wanted(struct xdp_md *ctx, const struct trace_filter *filter)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u64 from[2] = {}, to[2] = {};
	struct ethhdr *eth = at;
	struct trace_tag *tag;
	struct ipv6hdr *ip6;
	struct iphdr *ip;
	u16 kind;

	if (filter->ifindex && filter->ifindex != ctx->ingress_ifindex)
		return 0;
	if (!filter->version)
		return 1;
	if ((void *)(eth + 1) > end)
		return 0;
	kind = eth->h_proto;
	at = eth + 1;
#pragma unroll
	for (int tags = 0; tags < TRACE_TAGS; tags++) {
		if (kind != net16(ETH_P_8021Q) && kind != net16(ETH_P_8021AD))
			break;
		tag = at;
		if ((void *)(tag + 1) > end)
			return 0;
		kind = tag->kind;
		at = tag + 1;
	}
	if (filter->version == 4) {
		ip = at;
		if (kind != net16(ETH_P_IP) || (void *)(ip + 1) > end)
			return 0;
		from[0] = ip->saddr;
		to[0] = ip->daddr;
	} else {
		ip6 = at;
		if (kind != net16(ETH_P_IPV6) || (void *)(ip6 + 1) > end)
			return 0;
		__builtin_memcpy(from, &ip6->saddr, sizeof(from));
		__builtin_memcpy(to, &ip6->daddr, sizeof(to));
	}
	return is_within(to, filter->to, filter->to_mask) && is_within(from, filter->from, filter->from_mask);
}

/* How many octets there were to copy. */
inlined u32 copy_head(struct xdp_md *ctx, u8 *into)
{
	u8 *from = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
	u32 at;

#pragma unroll
	for (at = 0; at < TRACE_OCTETS; at++) {
		if (from + at + 1 > end)
			break;
		into[at] = from[at];
	}
	return at;
}

inlined void write_record(struct xdp_md *ctx, struct trace_ring *ring, u32 reason, u32 octets)
{
	struct trace_record *record = &ring->records[ring->head & (TRACE_RECORDS - 1)];

	record->at_ns = bpf_ktime_get_ns();
	record->ifindex = ctx->ingress_ifindex;
	record->octets = octets;
	record->group = ring->group;
	record->adjacency = ring->adjacency;
	record->slot = ring->slot;
	record->reason = reason;
	record->captured = copy_head(ctx, record->head);
	WRITE_ONCE(ring->head, ring->head + 1); /* after the record: what is below head can be read */
}

/* The end of a packet's way; `octets` are those of the frame as it came. */
inlined void trace(struct xdp_md *ctx, u32 reason, u32 octets)
{
	struct trace_ring *ring = ring_of_this_cpu();
	const struct trace_filter *filter;
	u32 only = 0;

	filter = LOOKUP(trace_filter, &only);
	if (!ring || !filter)
		return;
	if (is_wanted(ctx, filter)) {
		ring->packets++;
		ring->octets += octets;
		if (ring->head < READ_ONCE(ring->limit) && !(bpf_get_prandom_u32() & READ_ONCE(filter->sample_mask)))
			write_record(ctx, ring, reason, octets);
	}
	ring->group = 0;
	ring->slot = 0;
	ring->adjacency = 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * punt.h: how many packets pass for the kernel to answer or to think about (Time Exceeded, Packet Too Big, options,
 * no route), so that a flood of them leaves it time for the control plane. One bucket a reason and CPU, kept as the
 * time at which it is full again (the generic cell rate algorithm, ITU-T I.371). Off by default.
 *
 * Never limited: what is to this machine, whatever its TTL (an eBGP session sends with 1), and what is no router's
 * to answer (ARP, ND, multicast, other stations' frames). So before a packet is dropped the tables are asked.
 */
#ifndef BGPBRIDGE_PUNT_H
#define BGPBRIDGE_PUNT_H

#include "lookup.h"
#include "parse.h"
#include "source.h"

#define LIMITED                                                                                                      \
	(1u << PASS_SHORT | 1u << PASS_BAD_HEADER | 1u << PASS_BAD_CHECKSUM | 1u << PASS_OPTIONS |                   \
	 1u << PASS_EXTENSION_HEADER | 1u << PASS_TTL | 1u << PASS_MARTIAN | 1u << PASS_NO_ROUTE |                   \
	 1u << PASS_GROUP_INVALID | 1u << PASS_NO_ADJACENCY | 1u << PASS_ADJACENCY_DOWN | 1u << PASS_MTU |           \
	 1u << PASS_SOURCE)

inlined int is_limited(u32 reason)
{
	return LIMITED >> reason & 1;
}

/* Whether one more packet may pass for this reason on this CPU. */
inlined int take_token(const struct control *settings, u32 reason)
{
	u32 cost = READ_ONCE(settings->punt_cost_ns);
	u64 now = bpf_ktime_get_ns(), full_at;
	u64 *bucket = LOOKUP(punt_buckets, &reason);

	if (!bucket)
		return 1;
	full_at = *bucket > now ? *bucket : now;
	if (full_at - now > READ_ONCE(settings->punt_burst_ns))
		return 0;
	*bucket = full_at + cost;
	return 1;
}

/* The kernel would take it in, by an address or in a way that we cannot judge. */
inlined int kernel_takes(const struct frame *frame, struct bpf_fib_lookup *way)
{
	switch (ask_kernel(frame, way)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return 0;
	default:
		return 1;
	}
}

/* Whether a frame of ours is to this machine. A frame that is too short for its addresses is to nobody. */
inlined int is_to_us(const struct frame *frame)
{
	void *packet = (void *)(long)frame->ctx->data + sizeof(struct ethhdr) + tag_octets(frame->place);
	void *end = (void *)(long)frame->ctx->data_end;
	struct bpf_fib_lookup way = {};
	struct ipv6hdr *ip6 = packet;
	struct iphdr *ip = packet;

	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version == 4) {
		way.family = FIB_FAMILY_IPV4;
		way.ipv4_dst = ip->daddr;
		return trie_ipv4(ip->daddr) == GROUP_PUNT && kernel_takes(frame, &way);
	}
	if ((void *)(ip6 + 1) > end)
		return 0;
	way.family = FIB_FAMILY_IPV6;
	__builtin_memcpy(way.ipv6_dst, &ip6->daddr, sizeof(way.ipv6_dst));
	return trie_ipv6(&ip6->daddr) == GROUP_PUNT && kernel_takes(frame, &way);
}

/* The reason of a packet that would pass, or DROP_PUNT_RATE. */
inlined u32 limit(const struct frame *frame, u32 reason)
{
	const struct control *settings = frame->settings;

	if (!settings || likely(!READ_ONCE(settings->punt_cost_ns)) || !frame->ingress)
		return reason;
	return take_token(settings, reason) || is_to_us(frame) ? reason : DROP_PUNT_RATE;
}

#endif

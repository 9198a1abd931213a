/* SPDX-License-Identifier: GPL-2.0-only
 *
 * traffic.c: both ends of a stream of packets, and a router between them that asks the kernel's FIB.
 *
 *   send_ipv4, send_ipv6   run by BPF_F_TEST_XDP_LIVE_FRAMES on the sender's veth: each call writes one frame anew, to
 *                          the next address of the list, and sends it out. With `mean_ns` a frame goes out when it is
 *                          due, at random moments, and carries that moment: who is late makes it wait.
 *   sink                   counts what arrives, per CPU, and drops it
 *   sink_delays            the same, and how long each frame took from when it was due
 *   fib_forward            what an XDP router does that has no table of its own: bpf_fib_lookup()
 */
#include "bench.h"

#define BENCH_PORT    net16(9)
#define BENCH_TTL     64
#define DELAY_BITS    5 /* 32 buckets to each doubling: 3% */
#define DELAY_BUCKETS 2048

struct stamp {
	u32 ports;
	u16 length;
	u16 check;
	u64 ns;
} __attribute__((packed));

struct frame_ipv4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct stamp udp;
} __attribute__((packed));

struct frame_ipv6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct stamp udp;
} __attribute__((packed));

/* The moment that the frame bears, 0: none is due. Intervals are random, from 0 to twice the mean. */
inlined u64 due(struct bench_sender *sender, const struct bench_stream *stream)
{
	u64 now = bpf_ktime_get_ns(), when = sender->due_ns;

	if (when > now)
		return 0;
	sender->due_ns = when + ((u64)bpf_get_prandom_u32() * stream->mean_ns >> 31);
	return when;
}

inlined void write_ethernet(struct ethhdr *eth, const struct bench_stream *stream, u16 type)
{
	__builtin_memcpy(eth, &stream->macs0, 8);
	__builtin_memcpy((void *)eth + 8, &stream->macs1, 4);
	eth->h_proto = net16(type);
}

inlined void write_udp(struct stamp *udp, u32 octets, u64 ns)
{
	udp->ports = BENCH_PORT << 16 | BENCH_PORT;
	udp->length = net16(octets);
	udp->check = 0;
	udp->ns = ns;
}

inlined void write_ipv4(struct iphdr *ip, u32 octets, u32 destination, u32 sum)
{
	*(u32 *)ip = (u32)net16(octets) << 16 | 0x45;
	*((u32 *)ip + 1) = 0;
	ip->ttl = BENCH_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = net32(BENCH_SOURCE);
	ip->daddr = destination;
	sum += (destination & 0xffff) + (destination >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

/* The next frame is to be made: its number in the list, and when it was due. */
inlined int next_frame(struct bench_sender **sender, const struct bench_stream **stream, u32 *at, u64 *ns)
{
	u32 only = 0;

	*sender = LOOKUP(bench_senders, &only);
	*stream = LOOKUP(bench_streams, &only);
	if (!*sender || !*stream)
		return 0;
	if ((*stream)->mean_ns) {
		*ns = due(*sender, *stream);
		if (!*ns)
			return 0;
	}
	*at = (*sender)->next++ & (*stream)->mask;
	(*sender)->sent++;
	return 1;
}

XDP_PROGRAM(send_ipv4)
{
	struct frame_ipv4 *frame = (void *)(long)ctx->data;
	const struct bench_stream *stream;
	const struct bench_pair *pair;
	struct bench_sender *sender;
	u32 at, element, octets = (void *)(long)ctx->data_end - (void *)(long)ctx->data - sizeof(frame->eth);
	u64 ns = 0;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end || !next_frame(&sender, &stream, &at, &ns))
		return XDP_DROP;
	element = at >> 1;
	pair = LOOKUP(bench_ipv4, &element);
	if (!pair)
		return XDP_DROP;
	write_ethernet(&frame->eth, stream, ETH_P_IP);
	write_ipv4((void *)(&frame->eth + 1), octets, pair->address[at & 1], stream->check);
	write_udp(&frame->udp, octets - sizeof(frame->ip), ns);
	return XDP_TX;
}

XDP_PROGRAM(send_ipv6)
{
	struct frame_ipv6 *frame = (void *)(long)ctx->data;
	struct ipv6hdr *ip = (void *)(&frame->eth + 1);
	const struct bench_stream *stream;
	const struct in6_addr *address;
	struct bench_sender *sender;
	u32 at, octets = (void *)(long)ctx->data_end - (void *)(long)ctx->data - sizeof(frame->eth);
	u64 ns = 0;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end || !next_frame(&sender, &stream, &at, &ns))
		return XDP_DROP;
	address = LOOKUP(bench_ipv6, &at);
	if (!address)
		return XDP_DROP;
	write_ethernet(&frame->eth, stream, ETH_P_IPV6);
	octets -= sizeof(*ip);
	*(u32 *)ip = 0x60;
	ip->payload_len = net16(octets);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = BENCH_TTL;
	ip->saddr.s6_addr32[0] = net32(BENCH_SOURCE6);
	ip->saddr.s6_addr32[1] = 0;
	ip->saddr.s6_addr32[2] = 0;
	ip->saddr.s6_addr32[3] = net32(2);
	ip->daddr = *address;
	write_udp(&frame->udp, octets, ns);
	return XDP_TX;
}

/* One of our frames, or 0. */
inlined const struct stamp *ours(struct xdp_md *ctx)
{
	struct frame_ipv4 *four = (void *)(long)ctx->data;
	struct frame_ipv6 *six = (void *)(long)ctx->data;
	const struct stamp *udp = 0;

	if ((void *)(four + 1) > (void *)(long)ctx->data_end)
		return 0;
	if (four->eth.h_proto == net16(ETH_P_IP))
		udp = &four->udp;
	else if (four->eth.h_proto == net16(ETH_P_IPV6) && (void *)(six + 1) <= (void *)(long)ctx->data_end)
		udp = &six->udp;
	return udp && udp->ports == (BENCH_PORT << 16 | BENCH_PORT) ? udp : 0;
}

inlined void count(struct xdp_md *ctx)
{
	u32 only = 0;
	u64 *packets = LOOKUP(bench_sunk, &only);
	struct bench_arrival *arrival = LOOKUP(bench_arrivals, &only);

	if (packets)
		(*packets)++;
	if (arrival && READ_ONCE(arrival->ifindex) == ctx->ingress_ifindex) {
		arrival->ns = bpf_ktime_get_ns();
		WRITE_ONCE(arrival->ifindex, 0);
	}
}

XDP_PROGRAM(sink)
{
	if (!ours(ctx))
		return XDP_PASS;
	count(ctx);
	return XDP_DROP;
}

/* 0 to 63 as they are, then 32 buckets to each doubling. */
inlined u32 bucket_of(u64 ns)
{
	u32 power = 0;

#pragma unroll
	for (int bits = 16; bits; bits >>= 1) {
		if (ns >> (DELAY_BITS + 1) >> (power + bits - 1))
			power += bits;
	}
	return (power << DELAY_BITS) + (ns >> power);
}

XDP_PROGRAM(sink_delays)
{
	const struct stamp *udp = ours(ctx);
	u64 *packets;
	u32 bucket;

	if (!udp)
		return XDP_PASS;
	count(ctx);
	bucket = bucket_of(bpf_ktime_get_ns() - udp->ns);
	packets = LOOKUP(bench_delays, &bucket);
	if (packets)
		(*packets)++;
	return XDP_DROP;
}

/* The header checks of a plain example; no checksum, no martians, no counters. */
inlined int fib_forward_ipv4(struct xdp_md *ctx, struct ethhdr *eth, struct iphdr *ip)
{
	struct bpf_fib_lookup fib = { .family = AF_INET, .ifindex = ctx->ingress_ifindex };

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end || ip->ttl <= 1)
		return XDP_PASS;
	fib.tos = ip->tos;
	fib.l4_protocol = ip->protocol;
	fib.tot_len = net16(ip->tot_len);
	fib.ipv4_src = ip->saddr;
	fib.ipv4_dst = ip->daddr;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;
	if (REDIRECT(tx_ports, fib.ifindex, XDP_PASS) != XDP_REDIRECT)
		return XDP_PASS;
	decrease_ttl(ip);
	__builtin_memcpy(eth->h_dest, fib.dmac, sizeof(fib.dmac));
	__builtin_memcpy(eth->h_source, fib.smac, sizeof(fib.smac));
	return XDP_REDIRECT;
}

inlined int fib_forward_ipv6(struct xdp_md *ctx, struct ethhdr *eth, struct ipv6hdr *ip)
{
	struct bpf_fib_lookup fib = { .family = AF_INET6, .ifindex = ctx->ingress_ifindex };

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end || ip->hop_limit <= 1)
		return XDP_PASS;
	fib.flowinfo = *(u32 *)ip & net32(0x0fffffff);
	fib.l4_protocol = ip->nexthdr;
	fib.tot_len = net16(ip->payload_len);
	__builtin_memcpy(fib.ipv6_src, &ip->saddr, sizeof(fib.ipv6_src));
	__builtin_memcpy(fib.ipv6_dst, &ip->daddr, sizeof(fib.ipv6_dst));
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;
	if (REDIRECT(tx_ports, fib.ifindex, XDP_PASS) != XDP_REDIRECT)
		return XDP_PASS;
	ip->hop_limit--;
	__builtin_memcpy(eth->h_dest, fib.dmac, sizeof(fib.dmac));
	__builtin_memcpy(eth->h_source, fib.smac, sizeof(fib.smac));
	return XDP_REDIRECT;
}

XDP_PROGRAM(fib_forward)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->h_proto == net16(ETH_P_IP))
		return fib_forward_ipv4(ctx, eth, (void *)(eth + 1));
	if (eth->h_proto == net16(ETH_P_IPV6))
		return fib_forward_ipv6(ctx, eth, (void *)(eth + 1));
	return XDP_PASS;
}

LICENSE("GPL")

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * rtt.h: round-trip times of TCP handshakes, seen as their packets pass, of a sample of flows. Off by default:
 * one test of a word that is in the cache anyway.
 *
 *   SYN goes out by adjacency A   ──▶ rtt_starts[flow of the answer] = { now, its number + 1, A }
 *   the answer acknowledges that  ──▶ rtt_rings[this CPU] gets { A, now - then }
 *
 * A SYN-ACK is the answer to one and the beginning of another: so both sides of the router are measured, each
 * for the way out that leads to it. A SYN that is sent twice is no sample, for its answer may be the first one's
 * (Karn's rule, RFC 6298 s3). Flows are told apart by their 64-bit keyed hash. Nothing here touches a packet or
 * its verdict.
 */
#ifndef BGPBRIDGE_RTT_H
#define BGPBRIDGE_RTT_H

#include "parse.h"
#include "maps.h"

#define TCP_SYN   0x02
#define TCP_ACK   0x10
#define NS_PER_US 1000
#define RTT_SHIFT 16 /* a sample is the time in microseconds above an adjacency's id */

struct tcp_head {
	u32 ports;
	u32 sequence;
	u32 acknowledged;
	u8 offset;
	u8 flags;
	u16 window;
	u32 checksum_urgent;
};

/* The TCP header behind the cursor when handshakes are measured, else 0. */
inlined const struct tcp_head *tcp_to_measure(const struct control *settings, const struct cursor *cursor,
					      u32 protocol, u32 octets)
{
	const struct tcp_head *tcp = cursor->at;

	if (likely(!(READ_ONCE(settings->flags) & CONTROL_F_RTT)) || protocol != IPPROTO_TCP)
		return 0;
	if (octets < sizeof(*tcp) || (void *)(tcp + 1) > cursor->end)
		return 0;
	return tcp;
}

inlined int in_sample(const struct control *settings, u64 key)
{
	return (key & READ_ONCE(settings->rtt_mask)) == 0;
}

inlined void tell_rtt(u32 adjacency, u64 ns)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct rtt_ring *ring = LOOKUP(rtt_rings, &cpu);

	if (!ring)
		return;
	WRITE_ONCE(ring->samples[ring->head & (RTT_SAMPLES - 1)], ns / NS_PER_US << RTT_SHIFT | adjacency);
	WRITE_ONCE(ring->head, ring->head + 1); /* after the sample: what is below head can be read */
}

/* `key` is this packet's own flow: what its opposite has left there. */
inlined void end_handshake(const struct control *settings, const struct tcp_head *tcp, u64 key)
{
	struct rtt_start *start;

	if (!(tcp->flags & TCP_ACK) || !in_sample(settings, key))
		return;
	start = LOOKUP(rtt_starts, &key);
	if (!start || start->expected != tcp->acknowledged)
		return;
	if (start->began_ns)
		tell_rtt(start->adjacency, bpf_ktime_get_ns() - start->began_ns);
	DELETE(rtt_starts, &key);
}

/* `sequence` is the SYN's, network order; `key` is the flow that the answer will have. */
inlined void begin_handshake(const struct control *settings, u32 sequence, u64 key, u32 adjacency)
{
	struct rtt_start fresh = { .adjacency = adjacency };
	struct rtt_start *known;

	if (!in_sample(settings, key))
		return;
	fresh.began_ns = bpf_ktime_get_ns();
	fresh.expected = __builtin_bswap32(__builtin_bswap32(sequence) + 1);
	if (!UPDATE(rtt_starts, &key, &fresh, BPF_NOEXIST))
		return;
	known = LOOKUP(rtt_starts, &key);
	if (known && known->expected == fresh.expected)
		known->began_ns = 0; /* sent again */
	else
		UPDATE(rtt_starts, &key, &fresh, BPF_ANY);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * bgpbridge.c: the XDP fast path, and the way a packet takes through it.
 *
 *      frame ─ enabled? ─ our interface, our MAC? ─ parse ─ address checks ─ longest match ─ group
 *                │                │                   │            │               │           │ slot by flow
 *              pass             pass                pass         pass         pass (none)   adjacency
 *                                                                                              │
 *                              redirect ◄─ TTL, checksum ◄─ MACs ◄─ redirect asked ◄─ up? MTU?─┘
 *
 * Passing is always right: the kernel holds the same routes, so a packet that passes is still forwarded or
 * answered, only slower. So everything that is not a plain unicast packet between two known links passes, each with a
 * named, counted reason (enum reason in abi.h). Drops are asked for: by a blackhole route, the reverse-path check, or
 * the rate of packets that pass. A frame is edited when nothing can go wrong any more, or not at all.
 *
 * Where to look:  abi.h what user space shares · maps.h the maps · parse.h headers · addresses.h martians and their
 * kin · lookup.h and lookup6.h longest match · source.h reverse-path check · forward.h group, adjacency · edit.h what
 * changes in a frame · rtt.h handshakes · punt.h how much may pass · trace.h what operators ask to see · counters.h
 * reason to verdict · compat.h BCC and libbpf from one source · shim/ what BCC takes for kernel headers.
 *
 * Tagged frames of a VLAN interface are taken where XDP sits, on the port below (struct place). A tag that the NIC or
 * a veth peer took off before XDP cannot be seen here: user space turns that offload off when it attaches
 * (bgpbridge/datapath/offloads.py).
 */
#include "compat.h"
#include "forward.h"
#include "punt.h"

#define MOST_LINK_OCTETS 32 /* more than an Ethernet header with two tags, a power of two */

/* FORWARDED (0) when this frame was sent to us, as a router, by an interface that we take packets from. */
inlined int check_ingress(struct frame *frame)
{
	frame->ingress = LOOKUP(interfaces, &frame->place);
	if (!frame->ingress)
		return frame->place >> PLACE_SHIFT ? PASS_VLAN : PASS_INTERFACE;
	if (frame->eth->h_dest[0] & 1)
		return PASS_L2_GROUP;
	/* 8 octets of the header, of which 6 count */
	if ((*(const u64 *)frame->eth ^ frame->ingress->word) & MAC_MASK)
		return PASS_NOT_FOR_US;
	return FORWARDED;
}

/* Tags off the cursor and into the frame's place. Next: the ethertype behind; a third tag stays one. */
inlined int parse_tags(struct frame *frame, struct cursor *cursor, int type)
{
	u16 outer = 0, inner = 0;

	type = parse_tag(cursor, type, &outer);
	if (type >= 0 && is_tag(type))
		type = parse_tag(cursor, type, &inner);
	frame->place |= (u64)outer << PLACE_SHIFT | (u64)inner << 48;
	return type;
}

/* 0, which the verifier does not know: no frame has 4 GiB. It goes through everything once for each value that it knows,
 * so what follows becomes one case again by this (of 1,000,000 instructions it would take 690,000). */
inlined u64 nothing(const struct frame *frame)
{
	return frame->octets >> 32;
}

/* Frames with tags and without are one case from here on. */
inlined void join_tags(struct frame *frame, struct cursor *cursor)
{
	void *data = (void *)(long)frame->ctx->data;
	u64 octets = cursor->at - data;

	frame->place |= nothing(frame) << PLACE_SHIFT;
	cursor->at = data + ((octets | nothing(frame)) & (MOST_LINK_OCTETS - 1));
}

inlined int handle(struct frame *frame, struct cursor *cursor)
{
	int type, reason;

	if (!frame->settings || !READ_ONCE(frame->settings->enabled))
		return PASS_DISABLED;
	type = parse_ethernet(cursor, &frame->eth);
	if (type >= 0 && unlikely(is_tag(type)))
		type = parse_tags(frame, cursor, type);
	if (type < 0)
		return -type;
	join_tags(frame, cursor);
	reason = check_ingress(frame);
	if (reason != FORWARDED)
		return reason;
	switch (type) {
	case ETH_P_IP:
		return forward_ipv4(frame, cursor);
	case ETH_P_IPV6:
		return forward_ipv6(frame, cursor);
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return PASS_VLAN;
	default:
		return PASS_NOT_IP;
	}
}

XDP_PROGRAM(bgpbridge)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	struct frame frame = { .ctx = ctx, .place = ctx->ingress_ifindex, .octets = octets_left(&cursor) };
	u32 only = 0;
	u32 reason;

	frame.settings = LOOKUP(control, &only);
	reason = handle(&frame, &cursor) | nothing(&frame);
	if (unlikely(is_limited(reason)))
		reason = limit(&frame, reason);
	if (is_tracing(frame.settings))
		trace(ctx, reason, frame.octets);
	return settle(reason, frame.octets);
}

LICENSE("GPL")

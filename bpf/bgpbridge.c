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
 * answered, only slower. So everything that is not a plain unicast packet between two known links passes,
 * each with a named, counted reason (enum reason in abi.h), and the only drop is a route that asks for it.
 * A frame is edited when nothing can go wrong any more, or not at all.
 *
 * Where to look:  abi.h what user space shares · maps.h the maps · parse.h headers · addresses.h martians
 * and their kin · lookup.h and lookup6.h longest match · forward.h group, adjacency, edit · rtt.h handshakes · counters.h
 * reason to verdict · trace.h what operators ask to see · compat.h BCC and libbpf from one source · shim/ what
 * BCC takes for kernel headers.
 *
 * VLAN-tagged frames pass. A tag that the NIC or a veth peer took off before XDP cannot be seen here: user
 * space turns that offload off when it attaches (bgpbridge/datapath/offloads.py).
 */
#include "compat.h"
#include "forward.h"

/* FORWARDED (0) when this frame was sent to us, as a router, by an interface that we take packets from. */
inlined int check_ingress(u32 ifindex, const struct ethhdr *eth)
{
	const struct interface *interface = LOOKUP(interfaces, &ifindex);

	if (!interface)
		return PASS_INTERFACE;
	if (eth->h_dest[0] & 1)
		return PASS_L2_GROUP;
	/* 8 octets of the header, of which 6 count */
	if ((*(const u64 *)eth ^ interface->word) & MAC_MASK)
		return PASS_NOT_FOR_US;
	return FORWARDED;
}

inlined int handle(struct xdp_md *ctx, struct cursor *cursor, const struct control *settings)
{
	u64 octets = octets_left(cursor);
	struct ethhdr *eth;
	int type, reason;

	if (!settings || !READ_ONCE(settings->enabled))
		return PASS_DISABLED;
	type = parse_ethernet(cursor, &eth);
	if (type < 0)
		return -type;
	reason = check_ingress(ctx->ingress_ifindex, eth);
	if (reason != FORWARDED)
		return reason;
	switch (type) {
	case ETH_P_IP:
		return forward_ipv4(cursor, eth, settings, octets);
	case ETH_P_IPV6:
		return forward_ipv6(cursor, eth, settings, octets);
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
	u64 octets = octets_left(&cursor);
	const struct control *settings;
	u32 only = 0;
	u32 reason;

	settings = LOOKUP(control, &only);
	reason = handle(ctx, &cursor, settings);
	if (is_tracing(settings))
		trace(ctx, reason, octets);
	return settle(reason, octets);
}

LICENSE("GPL")

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * forward.h: from group to wire. The flow's hash chooses a slot, the slot names an adjacency, the adjacency
 * says where to and with which MACs. The redirect is asked for BEFORE the packet is edited: where it cannot
 * be had, the packet that passes is untouched.
 *
 * Flow: 5 tuple where there are ports; 3 tuple for everything else. Fragments of IPv4, first one included,
 * go by 3 tuple, so no hash splits a packet. IPv6 with any extension header goes by addresses and the type
 * of the first extension header, which all fragments of a packet share. The flow label (RFC 6437) is one more part
 * of an IPv6 flow if asked for; handshakes are known without it, for their two sides choose their labels themselves.
 */
#ifndef BGPBRIDGE_FORWARD_H
#define BGPBRIDGE_FORWARD_H

#include "addresses.h"
#include "counters.h"
#include "edit.h"
#include "lookup.h"
#include "rtt.h"
#include "source.h"
#include "trace.h"

#define IPV4_FRAGMENT net16(0x3fff) /* More Fragments, or an offset */
#define FLOW_LABEL    net32(0x000fffff)

/* One packet on its way, as the families hand it over. */
struct flow {
	u64 hash;
	u32 group;
	u16 ethertype; /* network order */
	u16 header_octets;
	u32 l3_octets; /* with padding: a port drops what is longer than it may be, whatever IP says of it */
	u32 adjacency; /* the one taken, once it is forwarded */
};

/* Multiply and fold. The top bits of a product depend on every bit that went in: slots are taken there. */
inlined u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ (hash >> 32);
}

inlined u64 hash_ipv4(u64 seed, const struct iphdr *ip, u32 ports)
{
	u64 hash = mix(seed, (u64)ip->daddr << 32 | ip->saddr);

	return mix(hash, (u64)ip->protocol << 32 | ports);
}

inlined u64 hash_ipv6(u64 seed, const struct ipv6hdr *ip, u32 ports)
{
	u64 address[4];
	u64 hash = seed;

	__builtin_memcpy(address, &ip->saddr, sizeof(address)); /* both: they stand side by side */
	hash = mix(hash, address[0]);
	hash = mix(hash, address[1]);
	hash = mix(hash, address[2]);
	hash = mix(hash, address[3]);
	return mix(hash, (u64)ip->nexthdr << 32 | ports);
}

inlined u32 swapped(u32 ports)
{
	return ports >> 16 | ports << 16;
}

inlined u64 answer_ipv4(u64 seed, const struct iphdr *ip, u32 ports)
{
	u64 hash = mix(seed, (u64)ip->saddr << 32 | ip->daddr);

	return mix(hash, (u64)ip->protocol << 32 | swapped(ports));
}

inlined u64 answer_ipv6(u64 seed, const struct ipv6hdr *ip, u32 ports)
{
	u64 address[4];
	u64 hash = seed;

	__builtin_memcpy(address, &ip->saddr, sizeof(address));
	hash = mix(hash, address[2]);
	hash = mix(hash, address[3]);
	hash = mix(hash, address[0]);
	hash = mix(hash, address[1]);
	return mix(hash, (u64)ip->nexthdr << 32 | swapped(ports));
}

/* The adjacency id in the slot that the flow's hash chooses: the upper bits of the hash, of which a mixed word has the
 * best. */
inlined u32 read_slot(const struct control *settings, const struct flow *flow)
{
	u32 bits = READ_ONCE(settings->slot_bits) & 15;
	u32 slot = flow->group << bits | (u32)(flow->hash >> (64 - bits));
	u32 line = slot >> 2;
	const struct slot_line *slots = LOOKUP(group_slots, &line);

	return slots ? READ_ONCE(slots->slots[slot & 3]) : 0;
}

/* The adjacency of this flow's slot, 0 with the reason in *reason. */
inlined u32 choose_adjacency(const struct control *settings, const struct flow *flow, int *reason)
{
	const struct group *group;
	u32 flags, id = flow->group;

	*reason = PASS_NO_ROUTE;
	if (flow->group == GROUP_NONE)
		return 0;
	*reason = PASS_GROUP_INVALID;
	group = LOOKUP(groups, &id);
	if (!group)
		return 0;
	flags = READ_ONCE(group->flags);
	if (!(flags & GROUP_F_VALID))
		return 0;
	*reason = DROP_BLACKHOLE;
	if (flags & GROUP_F_BLACKHOLE)
		return 0;
	*reason = PASS_PUNT;
	if (flags & GROUP_F_PUNT)
		return 0;
	*reason = PASS_NO_ADJACENCY;
	return read_slot(settings, flow);
}

/* FORWARDED, with the frame's link header written and the redirect set up, or the reason with the frame untouched.
 * The caller takes the TTL down after, and only after, FORWARDED: in the packet at *packet, which may have moved. */
inlined int send_out(const struct frame *frame, struct flow *flow, void **packet)
{
	const struct adjacency *adjacency;
	u64 word0, word1, place;
	int reason;
	u32 id = choose_adjacency(frame->settings, flow, &reason);

	note_way(frame->settings, flow->group, flow->hash, id);
	if (!id)
		return reason;
	adjacency = LOOKUP(adjacencies, &id);
	if (!adjacency)
		return PASS_NO_ADJACENCY;
	word0 = READ_ONCE(adjacency->word0);
	word1 = READ_ONCE(adjacency->word1);
	place = READ_ONCE(*(const u64 *)&adjacency->ifindex);
	if (word1 >> MAC_BITS != ADJACENCY_UP)
		return PASS_ADJACENCY_DOWN;
	if (flow->l3_octets > word0 >> MAC_BITS)
		return PASS_MTU;
	if (REDIRECT(tx_ports, (u32)place, XDP_PASS) != XDP_REDIRECT)
		return PASS_TX_PORT;
	if (likely(!((place | frame->place) >> PLACE_SHIFT))) {
		write_macs(frame->eth, word0, word1);
	} else {
		*packet = write_link_header(frame->ctx, frame->place, place, word0, word1, flow->ethertype,
					    flow->header_octets);
		if (!*packet)
			return PASS_HEADROOM;
	}
	flow->adjacency = id;
	count_adjacency(id, frame->octets);
	count_group(flow->group, frame->octets);
	return FORWARDED;
}

inlined int forward_ipv4(const struct frame *frame, struct cursor *cursor)
{
	struct flow flow = { .l3_octets = octets_left(cursor), .ethertype = net16(ETH_P_IP) };
	const struct control *settings = frame->settings;
	const struct tcp_head *tcp = 0;
	u64 seed = settings->hash_seed;
	u32 payload, sequence = 0;
	int protocol, reason, syn = 0;
	struct iphdr *ip;
	void *packet;
	long ports = 0;

	protocol = parse_ipv4(cursor, &ip);
	if (protocol < 0)
		return -protocol;
	reason = check_ipv4_addresses(ip);
	if (reason != FORWARDED)
		return reason;
	payload = net16(ip->tot_len) - sizeof(*ip);
	if (!(ip->frag_off & IPV4_FRAGMENT)) {
		ports = parse_ports(cursor, protocol, payload);
		tcp = tcp_to_measure(settings, cursor, protocol, payload);
	}
	if (ports < 0)
		return -ports;
	flow.hash = hash_ipv4(seed, ip, ports);
	flow.group = route_ipv4(settings, ip->daddr);
	if (unlikely(checks_sources(settings)) && flow.group != GROUP_PUNT) {
		reason = check_source_ipv4(frame, ip);
		if (reason != FORWARDED)
			return reason;
	}
	if (tcp) {
		sequence = tcp->sequence;
		syn = tcp->flags & TCP_SYN;
		end_handshake(settings, tcp, flow.hash);
	}
	packet = ip;
	flow.header_octets = sizeof(*ip);
	reason = send_out(frame, &flow, &packet);
	if (reason != FORWARDED)
		return reason;
	ip = packet;
	decrease_ttl(ip);
	if (syn)
		begin_handshake(settings, sequence, answer_ipv4(seed, ip, ports), flow.adjacency);
	return FORWARDED;
}

inlined int forward_ipv6(const struct frame *frame, struct cursor *cursor)
{
	struct flow flow = { .l3_octets = octets_left(cursor), .ethertype = net16(ETH_P_IPV6) };
	const struct control *settings = frame->settings;
	u64 seed = settings->hash_seed;
	const struct tcp_head *tcp;
	u32 payload, sequence = 0;
	int next, reason, syn = 0;
	struct ipv6hdr *ip;
	void *packet;
	long ports;

	next = parse_ipv6(cursor, &ip);
	if (next < 0)
		return -next;
	reason = check_ipv6_addresses(ip);
	if (reason != FORWARDED)
		return reason;
	payload = net16(ip->payload_len);
	ports = parse_ports(cursor, next, payload);
	if (ports < 0)
		return -ports;
	tcp = tcp_to_measure(settings, cursor, next, payload);
	flow.hash = hash_ipv6(seed, ip, ports);
	flow.group = route_ipv6(settings, &ip->daddr);
	if (unlikely(checks_sources(settings)) && flow.group != GROUP_PUNT) {
		reason = check_source_ipv6(frame, ip);
		if (reason != FORWARDED)
			return reason;
	}
	if (tcp) {
		sequence = tcp->sequence;
		syn = tcp->flags & TCP_SYN;
		end_handshake(settings, tcp, flow.hash);
	}
	if (unlikely(READ_ONCE(settings->flags) & CONTROL_F_FLOW_LABEL))
		flow.hash = mix(flow.hash, *(const u32 *)ip & FLOW_LABEL);
	packet = ip;
	flow.header_octets = sizeof(*ip);
	reason = send_out(frame, &flow, &packet);
	if (reason != FORWARDED)
		return reason;
	ip = packet;
	ip->hop_limit--;
	if (syn)
		begin_handshake(settings, sequence, answer_ipv6(seed, ip, ports), flow.adjacency);
	return FORWARDED;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * forward.h: from group to wire. The flow's hash chooses a slot, the slot names an adjacency, the adjacency
 * says where to and with which MACs. The redirect is asked for BEFORE the packet is edited: where it cannot
 * be had, the packet that passes is untouched.
 *
 * Flow: 5 tuple where there are ports; 3 tuple for everything else. Fragments of IPv4, first one included,
 * go by 3 tuple, so no hash splits a packet. IPv6 with any extension header goes by addresses and the type
 * of the first extension header, which all fragments of a packet share.
 */
#ifndef BGPBRIDGE_FORWARD_H
#define BGPBRIDGE_FORWARD_H

#include "addresses.h"
#include "counters.h"
#include "lookup.h"
#include "rtt.h"
#include "trace.h"

#define IPV4_FRAGMENT net16(0x3fff) /* More Fragments, or an offset */
#define MAC_BITS      48
#define MAC_MASK      ((1ULL << MAC_BITS) - 1)

/* One packet on its way, as the families hand it over. */
struct flow {
	u64 hash;
	u32 group;
	u32 l3_octets; /* with padding: a port drops what is longer than it may be, whatever IP says of it */
	u32 adjacency; /* the one taken, once it is forwarded */
	u64 frame_octets;
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

/* MACs by words: octets 0-7 are dmac and the head of smac, 8-11 its rest. The ethertype stays. */
inlined void write_macs(struct ethhdr *eth, u64 word0, u64 word1)
{
	*(u64 *)eth = (word0 & MAC_MASK) | word1 << MAC_BITS;
	*(u32 *)((void *)eth + 8) = word1 >> 16;
}

/* FORWARDED, with the frame's MACs written and the redirect set up, or the reason with the frame untouched.
 * The caller takes the TTL down after, and only after, FORWARDED. */
inlined int send_out(const struct control *settings, struct ethhdr *eth, struct flow *flow)
{
	const struct adjacency *adjacency;
	u64 word0, word1;
	int reason;
	u32 id = choose_adjacency(settings, flow, &reason);

	note_way(settings, flow->group, flow->hash, id);
	if (!id)
		return reason;
	adjacency = LOOKUP(adjacencies, &id);
	if (!adjacency)
		return PASS_NO_ADJACENCY;
	word0 = READ_ONCE(adjacency->word0);
	word1 = READ_ONCE(adjacency->word1);
	if (word1 >> MAC_BITS != ADJACENCY_UP)
		return PASS_ADJACENCY_DOWN;
	if (flow->l3_octets > word0 >> MAC_BITS)
		return PASS_MTU;
	if (REDIRECT(tx_ports, READ_ONCE(adjacency->ifindex), XDP_PASS) != XDP_REDIRECT)
		return PASS_TX_PORT;
	write_macs(eth, word0, word1);
	flow->adjacency = id;
	count_adjacency(id, flow->frame_octets);
	count_group(flow->group, flow->frame_octets);
	return FORWARDED;
}

/* TTL minus one, checksum by RFC 1624: the same sum that ip_decrease_ttl() of net/ip.h does. */
inlined void decrease_ttl(struct iphdr *ip)
{
	u32 check = ip->check;

	check += net16(0x0100);
	ip->check = (u16)(check + (check >= 0xffff));
	ip->ttl--;
}

inlined int forward_ipv4(struct cursor *cursor, struct ethhdr *eth, const struct control *settings, u64 frame_octets)
{
	struct flow flow = { .frame_octets = frame_octets, .l3_octets = octets_left(cursor) };
	const struct tcp_head *tcp = 0;
	u64 seed = settings->hash_seed;
	struct iphdr *ip;
	int protocol, reason;
	long ports = 0;
	u32 payload;

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
	if (tcp)
		end_handshake(settings, tcp, flow.hash);
	reason = send_out(settings, eth, &flow);
	if (likely(reason == FORWARDED))
		decrease_ttl(ip);
	if (tcp && tcp->flags & TCP_SYN && reason == FORWARDED)
		begin_handshake(settings, tcp, answer_ipv4(seed, ip, ports), flow.adjacency);
	return reason;
}

inlined int forward_ipv6(struct cursor *cursor, struct ethhdr *eth, const struct control *settings, u64 frame_octets)
{
	struct flow flow = { .frame_octets = frame_octets, .l3_octets = octets_left(cursor) };
	u64 seed = settings->hash_seed;
	const struct tcp_head *tcp;
	struct ipv6hdr *ip;
	int next, reason;
	u32 payload;
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
	if (tcp)
		end_handshake(settings, tcp, flow.hash);
	reason = send_out(settings, eth, &flow);
	if (likely(reason == FORWARDED))
		ip->hop_limit--;
	if (tcp && tcp->flags & TCP_SYN && reason == FORWARDED)
		begin_handshake(settings, tcp, answer_ipv6(seed, ip, ports), flow.adjacency);
	return reason;
}

#endif

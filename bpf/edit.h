/* SPDX-License-Identifier: GPL-2.0-only
 *
 * edit.h: what changes in a frame that leaves. MACs and TTL always; the VLAN tags where it has some, or gets some:
 * then the frame's head moves, and every pointer into it is read anew.
 */
#ifndef BGPBRIDGE_EDIT_H
#define BGPBRIDGE_EDIT_H

#include "parse.h"

#define MAC_BITS    48
#define MAC_MASK    ((1ULL << MAC_BITS) - 1)
#define PLACE_SHIFT 32 /* of the tags in a struct place read as a word */
#define TAG_OCTETS  4

/* MACs by words: octets 0-7 are dmac and the head of smac, 8-11 its rest. The ethertype stays. */
inlined void write_macs(struct ethhdr *eth, u64 word0, u64 word1)
{
	*(u64 *)eth = (word0 & MAC_MASK) | word1 << MAC_BITS;
	*(u32 *)((void *)eth + 8) = word1 >> 16;
}

inlined u16 outer_tag(u64 place)
{
	return place >> PLACE_SHIFT;
}

inlined u16 inner_tag(u64 place)
{
	return place >> 48;
}

inlined int tag_octets(u64 place)
{
	return (outer_tag(place) ? TAG_OCTETS : 0) + (inner_tag(place) ? TAG_OCTETS : 0);
}

/* Ethertype and TCI as they stand on the wire, at `at`; priority 0, as the kernel sends without a priority map. */
inlined void write_tag(void *at, u16 tag)
{
	*(u16 *)at = tag & TAG_F_SERVICE ? net16(ETH_P_8021AD) : net16(ETH_P_8021Q);
	*(u16 *)(at + 2) = net16(tag & VLAN_ID_MASK);
}

/* The whole Ethernet header for a frame that came in at place `in` and leaves at place `out`, `type` (network order)
 * last in it. The packet behind, at least `octets` of it, or 0 with the frame untouched. */
inlined void *write_link_header(struct xdp_md *ctx, u64 in, u64 out, u64 word0, u64 word1, u16 type, u32 octets)
{
	int tags = tag_octets(out), shift = tag_octets(in) - tags;
	void *head, *packet;

	if (shift && bpf_xdp_adjust_head(ctx, shift))
		return 0;
	head = (void *)(long)ctx->data;
	packet = head + sizeof(struct ethhdr) + tags;
	if (packet + octets > (void *)(long)ctx->data_end)
		return 0; /* never: it held as much before */
	write_macs(head, word0, word1);
	if (outer_tag(out))
		write_tag(head + 12, outer_tag(out));
	if (inner_tag(out))
		write_tag(head + 12 + TAG_OCTETS, inner_tag(out));
	*(u16 *)(packet - sizeof(type)) = type;
	return packet;
}

/* TTL minus one, checksum by RFC 1624: the same sum that ip_decrease_ttl() of net/ip.h does. */
inlined void decrease_ttl(struct iphdr *ip)
{
	u32 check = ip->check;

	check += net16(0x0100);
	ip->check = (u16)(check + (check >= 0xffff));
	ip->ttl--;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * parse.h: bounded parsers. Each takes one header off the cursor and returns the next type, or minus the
 * reason for which the packet goes to the kernel. The data_end check stands next to the access.
 * Whatever the kernel would treat in its own way (options, tags, odd lengths) is a reason, not a case.
 */
#ifndef BGPBRIDGE_PARSE_H
#define BGPBRIDGE_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "abi.h"

struct cursor {
	void *at;
	void *end;
};

/* A frame of an interface that we take packets from. `place` is a struct place as a word, `octets` as it came. */
struct frame {
	struct xdp_md *ctx;
	struct ethhdr *eth;
	const struct control *settings;
	const struct interface *ingress;
	u64 place;
	u64 octets;
};

/* IPPROTO_ values that linux/in.h keeps elsewhere */
#define NEXT_HOP_BY_HOP 0
#define VLAN_ID_MASK    0x0fff

inlined u64 octets_left(const struct cursor *cursor)
{
	return cursor->end - cursor->at;
}

/* Next: ethertype, host order. */
inlined int parse_ethernet(struct cursor *cursor, struct ethhdr **header)
{
	struct ethhdr *eth = cursor->at;

	if ((void *)(eth + 1) > cursor->end)
		return -PASS_SHORT;
	cursor->at = eth + 1;
	*header = eth;
	return net16(eth->h_proto);
}

/* Behind a tag's ethertype; `kind` is what follows. */
struct vlan_header {
	u16 tci;
	u16 kind;
};

inlined int is_tag(int type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

/* One tag, as a struct place holds it. Next: ethertype, host order. Priority and DEI end here, as in the kernel. */
inlined int parse_tag(struct cursor *cursor, int type, u16 *tag)
{
	struct vlan_header *vlan = cursor->at;

	if ((void *)(vlan + 1) > cursor->end)
		return -PASS_SHORT;
	cursor->at = vlan + 1;
	*tag = TAG_F_PRESENT | (net16(vlan->tci) & VLAN_ID_MASK) | (type == ETH_P_8021AD ? TAG_F_SERVICE : 0);
	return net16(vlan->kind);
}

/* RFC 1071 over a header of 20 octets: the sum of a good one is all ones. */
inlined int ipv4_checksum_is_good(const struct iphdr *ip)
{
	const u32 *word = (const u32 *)ip;
	u64 sum = (u64)word[0] + word[1] + word[2] + word[3] + word[4];

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Next: protocol. RFC 1812 s5.2.2 asks a router for every one of these checks. */
inlined int parse_ipv4(struct cursor *cursor, struct iphdr **header)
{
	struct iphdr *ip = cursor->at;
	u32 total, left = octets_left(cursor);

	if ((void *)(ip + 1) > cursor->end)
		return -PASS_SHORT;
	total = net16(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total < ip->ihl * 4u)
		return -PASS_BAD_HEADER;
	if (total > left)
		return -PASS_SHORT;
	if (ip->ihl != 5)
		return -PASS_OPTIONS;
	if (!ipv4_checksum_is_good(ip))
		return -PASS_BAD_CHECKSUM;
	if (ip->ttl <= 1)
		return -PASS_TTL;
	cursor->at = ip + 1;
	*header = ip;
	return ip->protocol;
}

/* Next: next header. A jumbogram (payload length 0, RFC 2675) comes with hop-by-hop options and passes. */
inlined int parse_ipv6(struct cursor *cursor, struct ipv6hdr **header)
{
	struct ipv6hdr *ip = cursor->at;
	u32 left = octets_left(cursor);

	if ((void *)(ip + 1) > cursor->end)
		return -PASS_SHORT;
	if (ip->version != 6)
		return -PASS_BAD_HEADER;
	if (net16(ip->payload_len) + sizeof(*ip) > left)
		return -PASS_SHORT;
	if (ip->nexthdr == NEXT_HOP_BY_HOP)
		return -PASS_EXTENSION_HEADER;
	if (ip->hop_limit <= 1)
		return -PASS_TTL;
	cursor->at = ip + 1;
	*header = ip;
	return ip->nexthdr;
}

/* Source and destination port as one word, 0 where the protocol has none. `octets` is what IP says is there.
 * A header too short for its ports is a doubt: minus the reason. */
inlined long parse_ports(const struct cursor *cursor, u32 protocol, u32 octets)
{
	u32 *ports = cursor->at;

	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		break;
	default:
		return 0;
	}
	if (octets < sizeof(*ports) || (void *)(ports + 1) > cursor->end)
		return -PASS_SHORT;
	return *ports;
}

#endif

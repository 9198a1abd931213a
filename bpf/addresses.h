/* SPDX-License-Identifier: GPL-2.0-only
 *
 * addresses.h: source and destination addresses that a router does not carry from one link to another, as
 * FORWARDED (0: fine) or the reason. The kernel decides what becomes of them: it drops martians, delivers
 * multicast, answers on a link.
 */
#ifndef BGPBRIDGE_ADDRESSES_H
#define BGPBRIDGE_ADDRESSES_H

#include "parse.h"

inlined u32 first_octet(u32 address)
{
	return address & 0xff; /* network order on a little-endian host */
}

/* 0/8, 127/8, and from 240/4 on: RFC 1812 s5.3.7, RFC 6890 */
inlined int ipv4_is_martian(u32 address)
{
	u32 first = first_octet(address);

	return first == 0 || first == 127 || first >= 240;
}

/* 169.254/16: RFC 3927 s2.7 */
inlined int ipv4_is_link_local(u32 address)
{
	return (address & 0xffff) == 0xfea9;
}

inlined int check_ipv4_addresses(const struct iphdr *ip)
{
	if (ipv4_is_martian(ip->saddr) || first_octet(ip->saddr) >= 224)
		return PASS_MARTIAN;
	if (first_octet(ip->daddr) >= 224 && first_octet(ip->daddr) < 240)
		return PASS_MULTICAST;
	if (ipv4_is_martian(ip->daddr))
		return PASS_MARTIAN;
	if (ipv4_is_link_local(ip->saddr) || ipv4_is_link_local(ip->daddr))
		return PASS_LINK_LOCAL;
	return FORWARDED;
}

/* ::/64 holds the unspecified and the loopback address and the IPv4-mapped ones: RFC 4291 s2.5 */
inlined int ipv6_is_martian(const struct in6_addr *address)
{
	return !(address->s6_addr32[0] | address->s6_addr32[1]);
}

inlined int ipv6_is_multicast(const struct in6_addr *address)
{
	return address->s6_addr[0] == 0xff;
}

/* fe80::/10: RFC 4291 s2.5.6 */
inlined int ipv6_is_link_local(const struct in6_addr *address)
{
	return (address->s6_addr32[0] & 0xc0ff) == 0x80fe;
}

inlined int check_ipv6_addresses(const struct ipv6hdr *ip)
{
	if (ipv6_is_martian(&ip->saddr) || ipv6_is_multicast(&ip->saddr))
		return PASS_MARTIAN;
	if (ipv6_is_multicast(&ip->daddr))
		return PASS_MULTICAST;
	if (ipv6_is_martian(&ip->daddr))
		return PASS_MARTIAN;
	if (ipv6_is_link_local(&ip->saddr) || ipv6_is_link_local(&ip->daddr))
		return PASS_LINK_LOCAL;
	return FORWARDED;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * source.h: the reverse-path check (RFC 3704) by our own table, of packets that are to be carried on. Off by default:
 * one test of a word that is in the cache anyway.
 *
 *   loose    the source has a route, and not a blackhole
 *   strict   and one of that route's links is the one that the packet came in by (`group_sources`, a bit a link)
 *
 * Where the source's route is the kernel's (connected, static, IGP), strict asks the kernel which link it takes. A
 * check that cannot be made passes the packet: the kernel may have a reverse-path filter of its own.
 */
#ifndef BGPBRIDGE_SOURCE_H
#define BGPBRIDGE_SOURCE_H

#include "lookup.h"
#include "parse.h"

#define FIB_FAMILY_IPV4        2 /* AF_INET, AF_INET6 */
#define FIB_FAMILY_IPV6        10
#define INTERFACE_NUMBER_SHIFT 48

inlined u32 checks_sources(const struct control *settings)
{
	return READ_ONCE(settings->flags) & (CONTROL_F_LOOSE | CONTROL_F_STRICT);
}

/* What the kernel says about the way to an address that is in `way` as the destination. */
inlined int ask_kernel(const struct frame *frame, struct bpf_fib_lookup *way)
{
	way->ifindex = frame->ingress->ifindex;
	return bpf_fib_lookup(frame->ctx, way, sizeof(*way), 0);
}

/* FORWARDED when the kernel's own way back is by the link that the packet came in by. */
inlined int check_way(const struct frame *frame, struct bpf_fib_lookup *way)
{
	switch (ask_kernel(frame, way)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH: /* before Linux 5.11 that leaves ifindex as it was: any link is fine */
		return way->ifindex == frame->ingress->ifindex ? FORWARDED : DROP_REVERSE_PATH;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
	case BPF_FIB_LKUP_RET_NOT_FWDED: /* our own address, a broadcast one, or none at all */
		return DROP_REVERSE_PATH;
	default:
		return PASS_SOURCE;
	}
}

/* FORWARDED, or why not, for a source whose route is group `id`. PASS_PUNT: strict, and the kernel's to say. */
inlined int check_source(const struct frame *frame, u32 id)
{
	const struct group *group = LOOKUP(groups, &id);
	u32 number = frame->ingress->word >> INTERFACE_NUMBER_SHIFT, flags;
	const u64 *links;

	if (id == GROUP_NONE)
		return DROP_REVERSE_PATH;
	flags = group ? READ_ONCE(group->flags) : 0;
	if (!(flags & GROUP_F_VALID))
		return PASS_SOURCE;
	if (flags & GROUP_F_BLACKHOLE)
		return DROP_REVERSE_PATH;
	if (!(READ_ONCE(frame->settings->flags) & CONTROL_F_STRICT))
		return FORWARDED;
	if (flags & GROUP_F_PUNT)
		return PASS_PUNT;
	links = LOOKUP(group_sources, &id);
	return links && READ_ONCE(*links) >> (number & (SOURCE_BITS - 1)) & 1 ? FORWARDED : DROP_REVERSE_PATH;
}

inlined int check_source_ipv4(const struct frame *frame, const struct iphdr *ip)
{
	int reason = check_source(frame, route_ipv4(frame->settings, ip->saddr));
	struct bpf_fib_lookup way = { .family = FIB_FAMILY_IPV4 };

	if (reason != PASS_PUNT)
		return reason;
	way.ipv4_dst = ip->saddr;
	return check_way(frame, &way);
}

inlined int check_source_ipv6(const struct frame *frame, const struct ipv6hdr *ip)
{
	int reason = check_source(frame, route_ipv6(frame->settings, &ip->saddr));
	struct bpf_fib_lookup way = { .family = FIB_FAMILY_IPV6 };

	if (reason != PASS_PUNT)
		return reason;
	__builtin_memcpy(way.ipv6_dst, &ip->saddr, sizeof(way.ipv6_dst));
	return check_way(frame, &way);
}

#endif

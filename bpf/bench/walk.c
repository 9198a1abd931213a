/* SPDX-License-Identifier: GPL-2.0-only
 *
 * walk.c: what a lookup costs, by the product's own lookup.h. Each program goes through a stretch of addresses and
 * looks each one up; which address is next depends on the last answer, so no two lookups overlap. `walk*_empty` does
 * the same without a lookup: what it takes is subtracted. bgpbridge/bench/datapath/lookups.py runs them.
 */
#include "bench.h"

struct walker {
	struct xdp_md *ctx;
	const struct control *settings;
	u32 first, mask, ifindex, last;
	u64 sum, found;
};

/* No answer has its top bit set, which the CPU can not know before it has the answer. */
inlined void answered(struct walker *walker, u32 answer)
{
	walker->last = answer >> 31;
	walker->sum += answer;
	walker->found += answer != 0;
}

inlined u32 none_ipv4(struct walker *walker, u32 address)
{
	return address & 0x7fffffff & ~walker->ifindex;
}

inlined u32 table_ipv4(struct walker *walker, u32 address)
{
	return route_ipv4(walker->settings, address);
}

inlined u32 kernel_ipv4(struct walker *walker, u32 address)
{
	struct bpf_fib_lookup fib = { .family = AF_INET, .l4_protocol = IPPROTO_UDP, .tot_len = 46 };

	fib.ifindex = walker->ifindex;
	fib.ipv4_src = net32(BENCH_SOURCE);
	fib.ipv4_dst = address;
	return bpf_fib_lookup(walker->ctx, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_SUCCESS ? fib.ifindex : 0;
}

inlined u32 none_ipv6(struct walker *walker, const struct in6_addr *address)
{
	return (address->s6_addr32[0] ^ address->s6_addr32[3]) & 0x7fffffff & ~walker->ifindex;
}

inlined u32 table_ipv6(struct walker *walker, const struct in6_addr *address)
{
#ifdef BGPBRIDGE_LOOKUP6_H
	return route_ipv6(walker->settings, address);
#else
	(void)walker;
	return route_ipv6(address);
#endif
}

inlined u32 kernel_ipv6(struct walker *walker, const struct in6_addr *address)
{
	struct bpf_fib_lookup fib = { .family = AF_INET6, .l4_protocol = IPPROTO_UDP, .tot_len = 64 };

	fib.ifindex = walker->ifindex;
	fib.ipv6_src[0] = net32(BENCH_SOURCE6);
	fib.ipv6_src[3] = net32(2);
	__builtin_memcpy(fib.ipv6_dst, address, sizeof(fib.ipv6_dst));
	return bpf_fib_lookup(walker->ctx, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_SUCCESS ? fib.ifindex : 0;
}

#define WALK4(name)                                                                                                  \
	static long step4_##name(u32 number, struct walker *walker)                                                  \
	{                                                                                                            \
		u32 at = (walker->first + number + walker->last) & walker->mask, pair = at >> 1;                     \
		const struct bench_pair *addresses = LOOKUP(bench_ipv4, &pair);                                      \
                                                                                                                     \
		if (!addresses)                                                                                      \
			return 1;                                                                                    \
		answered(walker, name##_ipv4(walker, addresses->address[at & 1]));                                   \
		return 0;                                                                                            \
	}                                                                                                            \
	XDP_PROGRAM(walk4_##name)                                                                                    \
	{                                                                                                            \
		return walk(ctx, step4_##name);                                                                      \
	}

#define WALK6(name)                                                                                                  \
	static long step6_##name(u32 number, struct walker *walker)                                                  \
	{                                                                                                            \
		u32 at = (walker->first + number + walker->last) & walker->mask;                                     \
		const struct in6_addr *address = LOOKUP(bench_ipv6, &at);                                            \
                                                                                                                     \
		if (!address)                                                                                        \
			return 1;                                                                                    \
		answered(walker, name##_ipv6(walker, address));                                                      \
		return 0;                                                                                            \
	}                                                                                                            \
	XDP_PROGRAM(walk6_##name)                                                                                    \
	{                                                                                                            \
		return walk(ctx, step6_##name);                                                                      \
	}

inlined int walk(struct xdp_md *ctx, long (*step)(u32, struct walker *))
{
	u32 only = 0;
	struct bench_walk *job = LOOKUP(bench_walks, &only);
	struct walker walker = { .ctx = ctx, .settings = LOOKUP(control, &only) };
	u64 began;

	if (!job || !walker.settings)
		return XDP_ABORTED;
	walker.first = job->first;
	walker.mask = job->mask;
	walker.ifindex = job->ifindex;
	began = bpf_ktime_get_ns();
	bpf_loop(job->count, step, &walker, 0);
	job->ns = bpf_ktime_get_ns() - began;
	job->sum = walker.sum;
	job->found = walker.found;
	return XDP_PASS;
}

WALK4(none)
WALK4(table)
WALK4(kernel)
WALK6(none)
WALK6(table)
WALK6(kernel)

LICENSE("GPL")

/* SPDX-License-Identifier: GPL-2.0-only
 *
 * bench.h: what the benches' programs share with bgpbridge/bench/datapath/programs.py, which makes these maps and
 * those of the product. No daemon loads anything of this folder.
 */
#ifndef BGPBRIDGE_BENCH_H
#define BGPBRIDGE_BENCH_H

#include "../compat.h"
#include "../forward.h"

#define AF_INET       2
#define AF_INET6      10
#define BENCH_SOURCE  0xc6120002 /* 198.18.0.2 */
#define BENCH_SOURCE6 0x20010db8 /* 2001:db8::2 */

#ifndef net32
#define net32(x) __builtin_bswap32(x)
#endif

/* Addresses in network order. An ARRAY rounds its values up to 8 octets: two to an element. */
struct bench_pair {
	u32 address[2];
};

/* A stretch of a walk, and what came of it; the address behind the last one is the first one (`mask`). */
struct bench_walk {
	u32 first;
	u32 count;
	u32 mask;
	u32 ifindex;
	u64 ns;
	u64 sum;
	u64 found;
};

/* What a sender puts into every frame, and how often; `mean_ns` 0: as often as it is called. */
struct bench_stream {
	u64 macs0; /* the first 8 octets of the frame, the next 4 */
	u32 macs1;
	u32 mask;
	u32 check; /* IPv4: sum of the header without the destination */
	u32 mean_ns;
};

/* Of one CPU: the number of the next address, when the next frame is due, how many went out. */
struct bench_sender {
	u64 next;
	u64 due_ns;
	u64 sent;
};

/* When the first frame came by this interface; asked for by `ifindex`, answered by `ns`. */
struct bench_arrival {
	u32 ifindex;
	u32 reserved;
	u64 ns;
};

_Static_assert(sizeof(struct bench_walk) == 40, "bench_walk");
_Static_assert(sizeof(struct bench_stream) == 24, "bench_stream");
_Static_assert(sizeof(struct bench_sender) == 24, "bench_sender");
_Static_assert(sizeof(struct bench_arrival) == 16, "bench_arrival");

DEFINE_MAP(bench_ipv4, ARRAY, u32, struct bench_pair, 1, BPF_F_MMAPABLE)
DEFINE_MAP(bench_ipv6, ARRAY, u32, struct in6_addr, 1, BPF_F_MMAPABLE)
DEFINE_MAP(bench_walks, ARRAY, u32, struct bench_walk, 1, BPF_F_MMAPABLE)
DEFINE_MAP(bench_streams, ARRAY, u32, struct bench_stream, 1, BPF_F_MMAPABLE)
DEFINE_MAP(bench_senders, PERCPU_ARRAY, u32, struct bench_sender, 1, 0)
DEFINE_MAP(bench_sunk, PERCPU_ARRAY, u32, u64, 1, 0)
DEFINE_MAP(bench_arrivals, ARRAY, u32, struct bench_arrival, 1, BPF_F_MMAPABLE)
DEFINE_MAP(bench_delays, ARRAY, u32, u64, 1, BPF_F_MMAPABLE)

#endif

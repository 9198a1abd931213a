/* SPDX-License-Identifier: GPL-2.0-only
 *
 * compat.h: one source, two loaders. The maps belong to user space, which makes them by bpf(2) with types and
 * flags that neither loader has to know, and hands their fds over:
 *   BCC at run time:  -DBGPBRIDGE_BCC -DFD_<map>=<fd>; the fd is put into the instruction. BCC brings its own
 *                     helpers and, through shim/, what it takes for kernel headers.
 *   clang + libbpf:   BTF map definitions that bpf_map__reuse_fd() replaces; their sizes are never used.
 * So no map method of BCC's (`m.lookup(&k)`), no globals, no subprograms, no bpf_loop: BCC 0.26 has none.
 */
#ifndef BGPBRIDGE_COMPAT_H
#define BGPBRIDGE_COMPAT_H

#ifdef BGPBRIDGE_BCC

#define DEFINE_MAP(name, kind, key_type, value_type, entries, flags)
#define MAP(name)         ((void *)bpf_pseudo_fd(1, FD_##name))
#define XDP_PROGRAM(name) int name(struct xdp_md *ctx)
#define LICENSE(text)

#else

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define DEFINE_MAP(name, kind, key_type, value_type, entries, flags)                                                 \
	struct {                                                                                                     \
		__uint(type, BPF_MAP_TYPE_##kind);                                                                   \
		__uint(max_entries, entries);                                                                        \
		__type(key, key_type);                                                                               \
		__type(value, value_type);                                                                           \
		__uint(map_flags, flags);                                                                            \
	} name SEC(".maps");
#define MAP(name)         (&name)
#define XDP_PROGRAM(name) SEC("xdp") int name(struct xdp_md *ctx)
#define LICENSE(text)     char license_text[] SEC("license") = text;

#endif

#define LOOKUP(map, key)             bpf_map_lookup_elem(MAP(map), key)
#define UPDATE(map, key, value, how) bpf_map_update_elem(MAP(map), key, value, how)
#define DELETE(map, key)             bpf_map_delete_elem(MAP(map), key)
#define REDIRECT(map, key, on_error) bpf_redirect_map(MAP(map), key, on_error)

/* User space writes mmapped maps while we read: each word is read once, whole. */
#define READ_ONCE(x)         (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#define inlined     static __always_inline
#define net16(x)    __builtin_bswap16(x)
#define net32(x)    __builtin_bswap32(x)
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif

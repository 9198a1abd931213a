/* SPDX-License-Identifier: GPL-2.0-only
 *
 * maps.h: the maps by name. bgpbridge/datapath/specs.py makes them and holds their real sizes; the entries
 * here only satisfy libbpf. A map is added in both places, and changes LAYOUT when it changes a layout.
 */
#ifndef BGPBRIDGE_MAPS_H
#define BGPBRIDGE_MAPS_H

#include "abi.h"

DEFINE_MAP(lpm4, LPM_TRIE, struct lpm4_key, u32, 1, BPF_F_NO_PREALLOC)
DEFINE_MAP(lpm6, LPM_TRIE, struct lpm6_key, u32, 1, BPF_F_NO_PREALLOC)
DEFINE_MAP(index4, ARRAY, u32, struct index4_line, 1, BPF_F_MMAPABLE)
DEFINE_MAP(index6_dir, ARRAY, u32, struct index6_slots, 1, BPF_F_MMAPABLE)
DEFINE_MAP(index6_lines, ARRAY, u32, struct index6_line, 1, BPF_F_MMAPABLE)
DEFINE_MAP(groups, ARRAY, u32, struct group, MAX_GROUPS, BPF_F_MMAPABLE)
DEFINE_MAP(group_slots, ARRAY, u32, struct slot_line, 1, BPF_F_MMAPABLE)
DEFINE_MAP(group_sources, ARRAY, u32, u64, MAX_GROUPS, BPF_F_MMAPABLE)
DEFINE_MAP(adjacencies, ARRAY, u32, struct adjacency, MAX_ADJACENCIES, BPF_F_MMAPABLE)
DEFINE_MAP(control, ARRAY, u32, struct control, 1, BPF_F_MMAPABLE)
DEFINE_MAP(interfaces, HASH, struct place, struct interface, MAX_INTERFACES, 0)
DEFINE_MAP(tx_ports, DEVMAP_HASH, u32, u32, MAX_INTERFACES, 0)
DEFINE_MAP(counters, PERCPU_ARRAY, u32, struct counter, REASONS, 0)
DEFINE_MAP(adjacency_counters, PERCPU_ARRAY, u32, struct counter, MAX_ADJACENCIES, 0)
DEFINE_MAP(group_counters, PERCPU_ARRAY, u32, struct counter, MAX_GROUPS, 0)
DEFINE_MAP(punt_buckets, PERCPU_ARRAY, u32, u64, REASONS, 0)
DEFINE_MAP(rtt_starts, LRU_HASH, u64, struct rtt_start, RTT_STARTS, 0)
DEFINE_MAP(rtt_rings, ARRAY, u32, struct rtt_ring, 1, BPF_F_MMAPABLE)
DEFINE_MAP(trace_filter, ARRAY, u32, struct trace_filter, 1, 0)
DEFINE_MAP(trace_rings, ARRAY, u32, struct trace_ring, 1, BPF_F_MMAPABLE)

#endif

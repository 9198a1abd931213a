/* SPDX-License-Identifier: GPL-2.0-only
 *
 * abi.h: every layout that user space and the program share. bgpbridge/datapath/abi.py is the other half;
 * tests/bpf/test_abi.py compiles this file and holds the two together by BTF. A change of anything here is
 * a change of LAYOUT, and with it of the pin path: old maps are never read by a new layout.
 *
 * Prefix -> group -> adjacency. What happens to a path is a change of a group or of an adjacency, so it is
 * one store whatever the number of prefixes. Rules that make every single store leave a valid state:
 *   - user space writes mmapped arrays by aligned stores of at most 8 octets;
 *   - a slot (u16) is complete in itself; so is each word of an adjacency;
 *   - an adjacency is filled before a slot names it, a group before a prefix names it;
 *   - an adjacency or group id is used again only after nothing names it any more.
 */
#ifndef BGPBRIDGE_ABI_H
#define BGPBRIDGE_ABI_H

#define LAYOUT 3

#define GROUP_SLOTS     64    /* unless control.slot_bits says more, up to 512 */
#define MAX_GROUPS      32768 /* 15 bits: an index entry of u16 keeps its top bit for itself */
#define MAX_ADJACENCIES 4096
#define MAX_INTERFACES  256
#define INDEX4_SLOTS    (1 << 24) /* for each /24; then pages of a slot for each address of a /24 */
#define INDEX4_PAGE     256
#define INDEX4_PAGES    16384
#define INDEX4_LINES ((INDEX4_SLOTS + INDEX4_PAGES * INDEX4_PAGE) / 4) /* of four slots; 1 where there is no index */
#define INDEX4_DEEP  0x8000    /* something longer than /24 lives there: the rest is its page, 0: ask the trie */
#define INDEX6_SHORT (1 << 16) /* slots for the first 16 bits of an address; then those for 24 bits in 2000::/3 */
#define INDEX6_SLOTS (INDEX6_SHORT + (1 << 21))
#define INDEX6_WORDS 16           /* of a line of 64 octets */
#define INDEX6_HEAD  10           /* words of a node before its entries */
#define INDEX6_POINTER 0x80000000 /* an entry is the number of a line, else owner << 24 | group */
#define INDEX6_GROUP   0xffffff
#define RTT_STARTS     16384 /* handshakes under way that are remembered; the oldest makes room */
#define RTT_SAMPLES    256   /* of one CPU, until user space reads them; a power of two */
#define TRACE_RECORDS  64    /* of one CPU, until user space reads them; a power of two */
#define TRACE_OCTETS   128   /* of a frame's head that a record holds */
#define TRACE_TAGS     2     /* VLAN tags that trace's filter looks behind */

/* What became of a packet. The order is ABI; `forwarded` first, passes, then drops. Names in lower case are
 * the names in counters, metrics and explain. */
enum reason {
	FORWARDED = 0,
	PASS_DISABLED = 1,          /* control.enabled is 0: `bgpbridge off`, or not yet on */
	PASS_INTERFACE = 2,         /* came in by an interface that is not in `interfaces` */
	PASS_SHORT = 3,             /* the frame ends inside a header, or before the length that IP claims */
	PASS_L2_GROUP = 4,          /* broadcast or multicast MAC: ARP, ND, routing protocols */
	PASS_NOT_FOR_US = 5,        /* a unicast MAC that is not the interface's own */
	PASS_VLAN = 6,              /* 802.1Q or 802.1ad tag of a VLAN that no interface of ours is in */
	PASS_NOT_IP = 7,            /* any other ethertype */
	PASS_BAD_HEADER = 8,        /* version, header length or total length contradict each other */
	PASS_BAD_CHECKSUM = 9,      /* IPv4 header checksum: the kernel drops and counts it (RFC 1812 s5.2.2) */
	PASS_OPTIONS = 10,          /* IPv4 options */
	PASS_EXTENSION_HEADER = 11, /* IPv6 hop-by-hop options: every router's business (RFC 8200 s4.3) */
	PASS_TTL = 12,              /* TTL or hop limit <= 1: the kernel says Time Exceeded */
	PASS_MARTIAN = 13,          /* unspecified, loopback, reserved source or destination; multicast source */
	PASS_LINK_LOCAL = 14,       /* link-local source or destination: never leaves its link */
	PASS_MULTICAST = 15,        /* multicast destination address */
	PASS_NO_ROUTE = 16,         /* no prefix of ours covers it */
	PASS_PUNT = 17,             /* own address, or a route that is not BGP's: the kernel's */
	PASS_GROUP_INVALID = 18,    /* the prefix names a group that is not (yet) filled */
	PASS_NO_ADJACENCY = 19,     /* the flow's slot is empty */
	PASS_ADJACENCY_DOWN = 20,   /* next hop unresolved, or its link is down */
	PASS_MTU = 21,              /* larger than the egress MTU: the kernel fragments or says so */
	PASS_TX_PORT = 22,          /* egress interface not in `tx_ports` */
	PASS_HEADROOM = 23,         /* the driver left no room for the VLAN tags to be put on */
	PASS_SOURCE = 24,           /* strict check: the source is the kernel's to judge, and it would not tell us */
	DROP_BLACKHOLE = 25,        /* the prefix points to the blackhole group */
	DROP_REVERSE_PATH = 26,     /* the source has no route, or not by where the packet came in (RFC 3704) */
	DROP_PUNT_RATE = 27,        /* would pass for the kernel to answer, but more did than datapath.punt_rate */
	REASONS = 28
};

/* A VLAN tag where it is a u16: 0 is none. The id is in the low 12 bits. */
enum tag_flag {
	TAG_F_PRESENT = 0x1000,
	TAG_F_SERVICE = 0x8000, /* 802.1ad; else 802.1Q */
};

/* Where frames come in or go out: a port and the tags that they bear there, outer one first. One word. */
struct place {
	u32 ifindex;
	u16 outer;
	u16 inner;
};

struct lpm4_key {
	u32 plen;
	u8 addr[4];
};

struct lpm6_key {
	u32 plen;
	u8 addr[16];
};

/* Value of both tries: a group id. 0 is "no route" wherever it is read. */
enum group_id { GROUP_NONE = 0, GROUP_PUNT = 1, GROUP_BLACKHOLE = 2, GROUP_FIRST_FREE = 16 };

enum group_flag { GROUP_F_VALID = 1, GROUP_F_PUNT = 2, GROUP_F_BLACKHOLE = 4 };

/* An ARRAY rounds its values up to 8 octets, so four slots are one value. Slot: group id, or that with DEEP. */
struct index4_line {
	u16 slots[4];
};

/* Slot of the first level: an entry. 0 is nothing. */
struct index6_slots {
	u32 slots[2];
};

/* Head of a node, which stands on 1 to 17 lines in a row. Its 256 slots, one for each value of the next octet, are runs
 * of equal ones: a bit where a run starts, an entry for each run; more entries than six go on in the lines behind. */
struct index6_line {
	u64 starts[4];
	u32 inherited; /* the entry that the node's own slot would hold if there were no node */
	u8 before[4];  /* runs that start in words of `starts` before this one */
	u32 entries[INDEX6_WORDS - INDEX6_HEAD];
};

/* One 8-octet word. The group's slots stand in group_slots, from id << control.slot_bits on. */
struct group {
	u32 generation;
	u16 flags;
	u16 reserved;
};

/* Four slots, for the same reason as above. A slot holds an adjacency id; 0 is empty. */
struct slot_line {
	u16 slots[4];
};

enum adjacency_state { ADJACENCY_DOWN = 0, ADJACENCY_UP = 1 };

/* word0 is { u8 dmac[6]; u16 mtu }, word1 { u8 smac[6]; u16 state }, in memory order (little-endian hosts):
 * the program reads each word once, so a MAC never mixes with another one's MTU or state. `mtu` counts L3
 * octets. The third word is a struct place: it never changes while anything names the adjacency and it is up. */
struct adjacency {
	u64 word0;
	u64 word1;
	u32 ifindex;
	u16 outer;
	u16 inner;
	u64 reserved;
};

enum control_flag {
	CONTROL_F_RTT = 1,            /* measure handshakes: rtt.h */
	CONTROL_F_INDEX4 = 2,         /* the index answers for IPv4: lookup.h */
	CONTROL_F_INDEX6 = 4,         /* the index answers for IPv6: lookup6.h */
	CONTROL_F_TRACE = 8,          /* packets that `trace_filter` wants are noted: trace.h */
	CONTROL_F_OFF = 16,           /* `enabled` is 0 because an operator said so: for who adopts the map */
	CONTROL_F_LOOSE = 0x100,      /* a source must have a route: source.h */
	CONTROL_F_STRICT = 0x200,     /* and one by the interface that the packet came in by */
	CONTROL_F_FLOW_LABEL = 0x400, /* is part of an IPv6 flow's key: forward.h */
};

struct control {
	u32 enabled; /* 0: pass everything */
	u32 layout;
	u64 hash_seed;
	u32 flags;
	u32 rtt_mask;      /* flows whose hash has none of these bits are measured */
	u32 slot_bits;     /* 6 to 9: how many bits of a flow's hash choose its slot */
	u32 punt_cost_ns;  /* what one passed packet takes from a bucket: 1 s / rate; 0: no limit (punt.h) */
	u32 punt_burst_ns; /* what a bucket holds */
	u32 spare;
	u64 reserved[3];
};

/* An ingress that we accept, by its struct place: `word` is { u8 mac[6]; u16 number } in memory order. `number` is
 * its bit in `group_sources`, `ifindex` that of the VLAN interface where there are tags. */
struct interface {
	u64 word;
	u32 ifindex;
	u32 reserved;
};

#define SOURCE_BITS 64 /* interfaces that a strict check tells apart; those beyond share the last bit */

/* A handshake whose answer has not come yet. */
struct rtt_start {
	u64 began_ns; /* CLOCK_MONOTONIC; 0: sent twice, not a sample */
	u32 expected; /* what the answer acknowledges, network order */
	u32 adjacency;
};

/* `head` counts up for ever; sample n stands at n modulo RTT_SAMPLES: microseconds << 16 | adjacency. */
struct rtt_ring {
	u64 head;
	u64 samples[RTT_SAMPLES];
};

/* Which packets are noted. Addresses as they stand in a packet; those of IPv4 in the first four octets. */
struct trace_filter {
	u64 to[2];
	u64 to_mask[2];
	u64 from[2];
	u64 from_mask[2];
	u32 ifindex;     /* that they came in by; 0: any */
	u32 version;     /* of IP, 4 or 6; 0: any frame, whatever its addresses */
	u32 sample_mask; /* a random number that has none of these bits: so 1 in so many; 0: each */
	u32 reserved;
};

/* One packet: `head` are the first `captured` octets of the frame as it left the program. */
struct trace_record {
	u64 at_ns; /* CLOCK_MONOTONIC */
	u32 ifindex;
	u32 octets;
	u32 group;
	u32 adjacency; /* of the slot, 0: none was taken */
	u16 slot;      /* means something where the group has slots */
	u16 reason;
	u16 captured;
	u16 reserved;
	u8 head[TRACE_OCTETS];
};

/* `head` counts up for ever; record n stands at n modulo TRACE_RECORDS. User space writes `limit`, at which the
 * program stops, and reads what is below head. `packets` and `octets` count all that the filter wanted. */
struct trace_ring {
	u64 head;
	u64 limit;
	u64 packets;
	u64 octets;
	u32 group; /* of the packet in hand */
	u32 slot;
	u32 adjacency;
	u32 reserved;
	u64 unused[2]; /* a ring is whole cache lines */
	struct trace_record records[TRACE_RECORDS];
};

struct counter {
	u64 packets;
	u64 octets; /* of frames, without FCS */
};

_Static_assert(sizeof(struct lpm4_key) == 8, "lpm4_key");
_Static_assert(sizeof(struct lpm6_key) == 20, "lpm6_key");
_Static_assert(sizeof(struct index4_line) == 8, "index4_line");
_Static_assert(sizeof(struct index6_slots) == 8, "index6_slots");
_Static_assert(sizeof(struct index6_line) == 4 * INDEX6_WORDS, "index6_line");
_Static_assert(sizeof(struct group) == 8, "group");
_Static_assert(sizeof(struct slot_line) == 8, "slot_line");
_Static_assert(sizeof(struct adjacency) == 32, "adjacency");
_Static_assert(sizeof(struct control) == 64, "control");
_Static_assert(sizeof(struct place) == 8, "place");
_Static_assert(sizeof(struct interface) == 16, "interface");
_Static_assert(sizeof(struct counter) == 16, "counter");
_Static_assert(sizeof(struct rtt_start) == 16, "rtt_start");
_Static_assert(sizeof(struct rtt_ring) == 8 + 8 * RTT_SAMPLES, "rtt_ring");
_Static_assert(sizeof(struct trace_filter) == 80, "trace_filter");
_Static_assert(sizeof(struct trace_record) == 32 + TRACE_OCTETS, "trace_record");
_Static_assert(sizeof(struct trace_ring) == 64 + TRACE_RECORDS * sizeof(struct trace_record), "trace_ring");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the words above are laid out for little-endian");

#endif

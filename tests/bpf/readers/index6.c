/* SPDX-License-Identifier: GPL-2.0-only
 *
 * A reader for tests/bpf/test_index6.py: each run looks up every probe once and counts the answers that are neither of
 * the two that the probe allows.
 */
#include "compat.h"
#include "parse.h"
#include "lookup.h"

#define PROBES 8192

struct probe {
	struct in6_addr address;
	u32 group;
	u32 other;
};

struct tally {
	u64 begun; /* runs */
	u64 ended;
	u64 lookups;
	u64 by_trie;
	u64 wrong;
	u64 last; /* wrong probe << 32 | what it was told */
};

DEFINE_MAP(probes, ARRAY, u32, struct probe, PROBES, BPF_F_MMAPABLE)
DEFINE_MAP(tallies, ARRAY, u32, struct tally, 1, BPF_F_MMAPABLE)

static long look(u32 number, struct tally *tally)
{
	const struct probe *probe = LOOKUP(probes, &number);
	u32 entry, group;

	if (!probe)
		return 1;
	entry = index6_entry(&probe->address);
	group = entry & INDEX6_GROUP;
	tally->lookups++;
	if (entry & INDEX6_POINTER) {
		tally->by_trie++;
	} else if (group != probe->group && group != probe->other) {
		tally->wrong++;
		tally->last = (u64)number << 32 | group;
	}
	return 0;
}

XDP_PROGRAM(bgpbridge)
{
	struct tally seen, *tally;
	u32 only = 0;

	(void)ctx;
	tally = LOOKUP(tallies, &only);
	if (!tally)
		return XDP_ABORTED;
	WRITE_ONCE(tally->begun, tally->begun + 1);
	seen = *tally; /* numbers that the verifier does not know: it would count up with us */
	bpf_loop(PROBES, look, &seen, 0);
	seen.ended++;
	*tally = seen;
	return XDP_PASS;
}

LICENSE("GPL")

"""Overrides: the table finds what a slow search finds, and both ways to a decision agree whatever is overridden."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.rib.decision import decide
from bgpbridge.rib.decision_bulk import decide_rows
from bgpbridge.rib.groups import PINNED, member_word
from bgpbridge.rib.next_hops import NextHopTable, Resolution
from bgpbridge.rib.overrides import OVERRIDE_PEER, Entry, Intent, OverrideTable, overridden
from bgpbridge.types import Family, OverrideKind, Prefix
from tests.property.test_rib_decision import OPTIONS, PEER, ROWS, Table, paths_of, planes_of

ADDRESSES = st.frozensets(st.integers(1, 7).map(IPv4Address), max_size=2)


@st.composite
def intents(draw) -> Intent:
    act = draw(st.sampled_from([OverrideKind.PIN, OverrideKind.PIN, *OverrideKind]))
    addresses = draw(ADDRESSES)
    return Intent(
        act,
        draw(st.frozensets(st.integers(0, 6), max_size=2)),
        addresses,
        own=tuple(sorted(int(address) for address in addresses)) if act is OverrideKind.PIN else (),
        everything=act is OverrideKind.REJECT and draw(st.booleans()),
        value=draw(st.sampled_from([0, 7, 150, 0xFFFF])),
        share=act is OverrideKind.PIN and draw(st.booleans()),
    )


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    peers=st.lists(PEER, min_size=1, max_size=7),
    options=OPTIONS,
    intent=intents(),
    metrics=st.lists(st.sampled_from([0, 0, 5]), min_size=7, max_size=7),
    dead=st.sets(st.integers(1, 7), max_size=2),
    currents=st.lists(st.integers(0, 7), min_size=ROWS, max_size=ROWS),
)
def test_bulk_equals_scalar_under_an_override(peers, options, intent, metrics, dead, currents) -> None:
    hops = NextHopTable(limit=10)
    for place in range(1, 8):
        hops.set(hops.intern(IPv4Address(place)), Resolution(place not in dead, metrics[place - 1]))
    table = Table(hops)
    table.bandwidths[0] = 0.0
    table.paths[0] = 0
    sources, numbers = planes_of(peers, table)
    current = np.array([slot if slot <= len(peers) else 0 for slot in currents])
    got = decide_rows(np.arange(1, ROWS + 1), sources, table, hops, options, current, intent)
    for row in range(1, ROWS + 1):
        paths = paths_of(row, peers, numbers, table, hops)
        slot = int(current[row - 1])
        held = [(c.peer, c.path_id) for c in paths if c.peer == slot - 1]
        want = decide(overridden(paths, intent, hops), options, held[0] if held else None, share=intent.share)
        members = [(member & 0xFFFFFFFF) for column in got.words if (member := int(column[row - 1]))]
        assert members == [member_word(c.peer, c.next_hop, 0) for c in (*want.multipath, *want.backups)]
        assert int(got.active[row - 1]) == len(want.multipath)
        best = want.best
        assert int(got.best[row - 1]) == (0 if best is None or best.peer == OVERRIDE_PEER else best.peer + 1)
        weights = [int(column[row - 1]) >> 32 for column in got.words[: len(want.multipath)]]
        assert all((weight >> PINNED > 0) == (best is not None and best.standing > 0) for weight in weights)


PREFIXES = {
    Family.IPV4: st.builds(
        Prefix.make, st.just(Family.IPV4), st.integers(0, 7).map(lambda v: v << 29 | v << 6), st.integers(0, 32)
    ),
    Family.IPV6: st.builds(
        Prefix.make, st.just(Family.IPV6), st.integers(0, 7).map(lambda v: v << 125 | v << 60), st.integers(0, 128)
    ),
}


def slow(entries: list[Entry], prefix: Prefix) -> int:
    """The longest that holds it, one for exactly this prefix first."""
    holding = [
        (entry.prefix.length, not entry.or_longer, number)
        for number, entry in enumerate(entries, 1)
        if (entry.prefix.covers(prefix) if entry.or_longer else entry.prefix == prefix)
    ]
    return max(holding)[2] if holding else 0


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(data=st.data(), family=st.sampled_from(Family))
def test_the_longest_override_decides(data, family) -> None:
    scopes = data.draw(st.lists(st.tuples(PREFIXES[family], st.booleans()), max_size=20, unique=True))
    entries = [
        Entry(prefix, longer, Intent(OverrideKind.WEIGHT, value=n % 3)) for n, (prefix, longer) in enumerate(scopes)
    ]
    table = OverrideTable(family, entries)
    asked = data.draw(st.lists(PREFIXES[family], min_size=1, max_size=30)) + [entry.prefix for entry in entries]
    want = [slow(entries, prefix) for prefix in asked]
    assert [table.number_one(prefix.value, prefix.length) for prefix in asked] == want
    hi = np.array([prefix.value >> 64 for prefix in asked], np.uint64)
    lo = np.array([prefix.value & 0xFFFFFFFFFFFFFFFF for prefix in asked], np.uint64)
    length = np.array([prefix.length for prefix in asked], np.uint8)
    assert table.numbers(hi, lo, length).tolist() == want
    meant = [entries[number - 1].intent if number else None for number in want]
    assert [table.intents[place] for place in table.intent_ids(hi, lo, length).tolist()] == meant

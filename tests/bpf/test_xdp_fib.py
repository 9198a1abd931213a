"""The XDP plane on real maps: what stands in the tries is what the Loc-RIB and the overlay say."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath.abi import GroupFlag
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib import xdp_map
from bgpbridge.fib.audit import audit
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
PUNT = 1


@pytest.fixture
def maps() -> Iterator[Maps]:
    made = Maps.create(Sizes(max_ipv4=30_000, max_ipv6=30_000))
    yield made
    made.close()


def changes(family: Family, rows: list[int], prefixes: list[Prefix], new: list[int]) -> Changes:
    keys = Keys.of(family, prefixes)
    groups = np.array(new, np.uint32)
    return Changes(family, np.array(rows, np.int64), keys.hi, keys.lo, keys.length, np.zeros_like(groups), groups)


def few(told: Changes) -> FewChanges:
    columns = (told.rows, told.hi, told.lo, told.length, told.old, told.new)
    return FewChanges(told.family, list(zip(*(column.tolist() for column in columns), strict=True)))


def many(family: Family, count: int, group: int, first: int = 0) -> Changes:
    number = np.arange(first, first + count, dtype=np.uint64)
    zeros = np.zeros(count, np.uint64)
    hi, lo, length = zeros, number << np.uint64(8), 24
    if family is Family.IPV6:
        hi, lo, length = (number << np.uint64(16)) + np.uint64(0x2A00 << 48), zeros, 48
    groups = np.full(count, group, np.uint32)
    lengths = np.full(count, length, np.uint8)
    return Changes(family, (number + np.uint64(1)).astype(np.int64), hi, lo, lengths, np.zeros_like(groups), groups)


def table(fib: XdpFib, family: Family) -> dict[Prefix, int]:
    keys, values = fib.table(family)
    return {keys.prefix(i): int(value) for i, value in enumerate(values)}


def one(text: str) -> Prefix:
    return Prefix.parse(text)


# -- groups -----------------------------------------------------------------------------------------


def test_members_become_slots_and_only_lost_ones_move(maps: Maps) -> None:
    fib = XdpFib(maps)
    assert fib.set_members(16, [(1, 1), (2, 1)])
    before = fib.slots(16)
    assert fib.flags(16) == GroupFlag.VALID
    assert fib.set_members(16, [(2, 1)])
    after = fib.slots(16)
    assert (before[before != after] == 1).all()
    assert set(after.tolist()) == {2}


def test_a_loss_that_was_foreseen_moves_the_same_slots(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1), (2, 1), (3, 1)])
    fib.foresee()
    fib.foresee()  # nothing is left to be worked out
    before = fib.slots(16)
    assert fib.set_members(16, [(1, 1), (3, 1)])
    assert set(before[before != fib.slots(16)].tolist()) == {2}
    assert sorted(Counter(fib.slots(16).tolist()).values()) == [32, 32]


def test_what_stands_is_not_stored_again(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1)])
    generation = int(maps.groups["generation"][16])
    assert not fib.set_members(16, [(1, 7)])
    assert int(maps.groups["generation"][16]) == generation


def test_a_freed_group_is_invalid(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1)])
    fib.free_group(16)
    assert not fib.flags(16)
    assert not fib.slots(16).any()


def test_a_blackhole_group_says_so(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.write_blackhole(16)
    assert fib.flags(16) == GroupFlag.VALID | GroupFlag.BLACKHOLE


# -- prefixes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(Family))
def test_twenty_thousand_routes_come_move_and_go(maps: Maps, family: Family) -> None:
    fib = XdpFib(maps)
    for group in (16, 17, 0):
        fib.apply(many(family, 20_000, group))
        found = table(fib, family)
        assert len(found) == (20_000 if group else 0)
        assert set(found.values()) <= {group}
        assert fib.status().entries[family] == len(found)


def test_a_full_map_refuses_by_route_and_takes_them_when_there_is_room(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.apply(many(Family.IPV4, 30_000, 16))
    fib.apply(many(Family.IPV4, 5, 17, first=30_000))
    states = fib.refused()
    assert len(states) == 5
    assert {(s.plane, s.errno, s.said) for s in states} == {("xdp", errno.ENOSPC, "lpm4 is full: 30000 entries")}
    fib.apply(many(Family.IPV4, 10, 18))
    assert fib.status().refused[Family.IPV4] == 5, "what stands can be moved in a full map"
    fib.apply(many(Family.IPV4, 3, 0))
    due = fib.next_retry
    assert due is not None
    fib.retry(due + 1)
    assert fib.status().refused[Family.IPV4] == 2
    assert fib.status().entries[Family.IPV4] == 30_000
    assert list(table(fib, Family.IPV4).values()).count(17) == 3


def test_in_a_full_map_a_swap_of_routes_fits(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.apply(many(Family.IPV6, 30_000, 16))
    out, new = many(Family.IPV6, 100, 0), many(Family.IPV6, 100, 17, first=30_000)
    both = [np.concatenate([getattr(out, name), getattr(new, name)]) for name in ("rows", "hi", "lo", "length")]
    groups = np.concatenate([out.new, new.new])
    fib.apply(Changes(Family.IPV6, *both, np.zeros_like(groups), groups))
    assert fib.status().refused[Family.IPV6] == 0
    assert fib.status().entries[Family.IPV6] == 30_000


def test_single_routes_of_ipv6_are_written_changed_and_removed(maps: Maps) -> None:
    fib = XdpFib(maps)
    prefixes = [one("2001:db8::/32"), one("2001:db8:0:0:8000::/65"), one("::/0")]
    for groups in ([16, 17, 18], [18, 17, 0], [0, 16, 0], [0, 0, 18]):
        fib.apply_few(few(changes(Family.IPV6, [1, 2, 3], prefixes, groups)))
        assert table(fib, Family.IPV6) == {p: g for p, g in zip(prefixes, groups, strict=True) if g}
        assert fib.status().entries[Family.IPV6] == sum(1 for group in groups if group)


# -- overlay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["192.0.2.0/24", "2001:db8::/32"])
def test_a_foreign_prefix_is_punted_whatever_bgp_says_and_restored(maps: Maps, text: str) -> None:
    fib, prefix = XdpFib(maps), one(text)
    family = prefix.family
    fib.apply(changes(family, [1], [prefix], [16]))
    fib.set_punt([prefix])
    assert table(fib, family) == {prefix: PUNT}
    fib.apply(changes(family, [1], [prefix], [17]))
    assert table(fib, family) == {prefix: PUNT}
    fib.clear_punt([prefix])
    assert table(fib, family) == {prefix: 17}


def test_a_punt_stands_before_bgp_knows_the_prefix_and_after_it_forgets_it(maps: Maps) -> None:
    fib, prefix = XdpFib(maps), one("192.0.2.0/24")
    fib.set_punt([prefix, prefix])
    assert table(fib, Family.IPV4) == {prefix: PUNT}
    fib.apply(changes(Family.IPV4, [5], [prefix], [16]))
    fib.apply(changes(Family.IPV4, [5], [prefix], [0]))
    assert table(fib, Family.IPV4) == {prefix: PUNT}
    fib.clear_punt([prefix])
    assert table(fib, Family.IPV4) == {}
    assert fib.status().entries[Family.IPV4] == 0


def test_a_punt_that_finds_the_map_full_is_a_state_and_comes_later(maps: Maps) -> None:
    fib, prefix = XdpFib(maps), one("192.0.2.0/24")
    fib.apply(many(Family.IPV4, 30_000, 16))
    fib.set_punt([prefix])
    assert [(s.prefix, s.errno) for s in fib.refused()] == [(prefix, errno.ENOSPC)]
    fib.apply(many(Family.IPV4, 1, 0))
    due = fib.next_retry
    assert due is not None
    fib.retry(due + 1)
    assert table(fib, Family.IPV4)[prefix] == PUNT
    assert not fib.refused()


# -- restart ----------------------------------------------------------------------------------------


def test_after_a_crash_nothing_is_rewritten_and_only_the_unconfirmed_goes(
    maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = XdpFib(maps)
    old.set_members(16, [(1, 1)])
    old.apply(many(Family.IPV4, 20_000, 16))
    old.set_punt([one("192.0.2.0/24")])
    before = table(old, Family.IPV4)

    fib = XdpFib(maps)
    adopted = fib.adopt()
    assert adopted.groups == {16}
    assert adopted.entries[Family.IPV4] == 20_001
    stores: list[int] = []
    real = xdp_map.store
    monkeypatch.setattr(xdp_map, "store", lambda m, keys, values: stores.append(len(keys)) or real(m, keys, values))
    assert not fib.set_members(16, [(1, 1)])
    fib.set_punt([one("192.0.2.0/24")])
    fib.apply(many(Family.IPV4, 15_000, 16))
    assert sum(stores) == 0
    assert table(fib, Family.IPV4) == before, "nothing is swept before it is told"
    assert fib.status().leftovers[Family.IPV4] == 5_000
    assert sum(fib.sweep()) == 5_000
    assert len(table(fib, Family.IPV4)) == fib.status().entries[Family.IPV4] == 15_001


def test_an_adopted_entry_that_bgp_withdraws_goes(maps: Maps) -> None:
    XdpFib(maps).apply(many(Family.IPV6, 10, 16))
    fib = XdpFib(maps)
    fib.adopt()
    fib.apply(many(Family.IPV6, 10, 0))
    assert table(fib, Family.IPV6) == {}


def test_clear_leaves_nothing_of_ours(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1)])
    fib.apply(many(Family.IPV4, 5_000, 16))
    fib.set_punt([one("2001:db8::/32")])
    fib.enabled = True
    fib.clear()
    assert not fib.enabled
    assert not table(fib, Family.IPV4)
    assert not table(fib, Family.IPV6)
    assert not fib.flags(16)
    assert fib.flags(1) == GroupFlag.VALID | GroupFlag.PUNT


def test_off_and_on_is_one_flag(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.enabled = True
    assert int(maps.control["enabled"][0]) == 1
    fib.enabled = False
    assert int(maps.control["enabled"][0]) == 0


# -- audit ------------------------------------------------------------------------------------------


def desired_of(*applied: Changes) -> dict[Family, list[tuple[Keys, U32]]]:
    return {c.family: [(Keys(c.family, c.hi, c.lo, c.length), c.new)] for c in applied}


def test_the_audit_finds_a_flipped_a_lost_and_an_added_entry(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1)])
    both = [many(family, 20_000, 16) for family in Family]
    for change in both:
        fib.apply(change)
    fib.set_punt([one("192.0.2.0/24"), one("0.0.7.0/24")])
    desired = desired_of(*both)

    report = asyncio.run(audit(desired.__getitem__, fib, None))
    assert report.clean
    assert report.checked == {("xdp", "ipv4"): 20_000, ("xdp", "ipv6"): 20_000}

    flipped, lost, added = one("0.0.1.0/24"), one("2a00:0:5::/48"), one("10.0.0.0/8")
    xdp_map.store(maps.lpm4, Keys.of(Family.IPV4, [flipped, added]), np.array([17, 18], np.uint32))
    xdp_map.remove(maps.lpm6, Keys.of(Family.IPV6, [lost]))
    fib.free_group(16)
    report = asyncio.run(audit(desired.__getitem__, fib, None))
    assert report.divergent == {
        ("xdp", "other group"): 1,
        ("xdp", "extra"): 1,
        ("xdp", "missing"): 1,
        ("xdp", "group"): 2,
    }
    found = {(e.prefix, e.have, e.want) for e in report.examples if e.kind != "group"}
    assert found == {(flipped, 17, 16), (added, 18, 0), (lost, 0, 16)}


def test_an_audit_that_mends_leaves_the_trie_as_it_should_be_and_the_count_right(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.set_members(16, [(1, 1)])
    both = [many(family, 3000, 16) for family in Family]
    for change in both:
        fib.apply(change)
    punted = [one("192.0.2.0/24"), one("198.51.100.0/24"), one("0.0.7.0/24")]  # the last has a route as well
    fib.set_punt(punted)
    before = {family: fib.table(family) for family in Family}
    desired = desired_of(*both)

    flipped, lost, added = one("0.0.1.0/24"), one("2a00:0:5::/48"), one("10.0.0.0/8")
    overwritten = Keys.of(Family.IPV4, [flipped, added, punted[0], punted[2]])
    xdp_map.store(maps.lpm4, overwritten, np.array([17, 18, 19, 16], np.uint32))
    xdp_map.remove(maps.lpm4, Keys.of(Family.IPV4, [punted[1]]))
    xdp_map.remove(maps.lpm6, Keys.of(Family.IPV6, [lost]))
    fib.free_group(16)

    def fill(groups: list[int]) -> None:
        for group in set(groups):
            fib.set_members(group, [(1, 1)])

    report = asyncio.run(audit(desired.__getitem__, fib, None, fill))
    assert sum(report.divergent.values()) == 7
    assert asyncio.run(audit(desired.__getitem__, fib, None)).clean
    for family, (keys, values) in before.items():
        found, stands = fib.table(family)
        assert fib.tries[family].entries == len(found) == len(keys)
        assert set(zip(keys.hi, keys.lo, keys.length, values, strict=True)) == set(
            zip(found.hi, found.lo, found.length, stands, strict=True)
        )
    fib.clear_punt(punted)
    assert asyncio.run(audit(desired.__getitem__, fib, None)).clean
    assert fib.tries[Family.IPV4].entries == 3000


# -- anything in any order --------------------------------------------------------------------------

PREFIXES = [one(f"10.{i}.0.0/{16 + i % 3}") for i in range(0, 12, 2)] + [one("0.0.0.0/0"), one("10.0.0.0/8")]
ROW = st.integers(0, len(PREFIXES) - 1)
STEP = st.one_of(
    st.tuples(st.just("apply"), st.dictionaries(ROW, st.sampled_from([0, 16, 17, 18]), min_size=1)),
    st.tuples(st.just("punt"), st.sets(ROW, min_size=1)),
    st.tuples(st.just("unpunt"), st.sets(ROW, min_size=1)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("retry"), st.none()),
    st.tuples(st.just("rows"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from([3, 100]))
def test_any_sequence_leaves_what_a_dictionary_says(steps: list[tuple[str, object]], room: int) -> None:
    maps = Maps.create(Sizes(max_ipv4=room, max_ipv6=1))
    try:
        fib = XdpFib(maps)
        rib: dict[int, int] = {}
        punted: set[int] = set()
        number = {row: row + 1 for row in range(len(PREFIXES))}  # the RIB's row of each prefix
        for act, what in steps:
            if act == "apply":
                assert isinstance(what, dict)
                rib.update(what)
                rows = list(what)
                prefixes = [PREFIXES[row] for row in rows]
                told = changes(Family.IPV4, [number[row] for row in rows], prefixes, [what[row] for row in rows])
                fib.apply_few(few(told)) if len(rows) < 3 else fib.apply(told)
            elif act == "punt":
                assert isinstance(what, set)
                punted |= what
                fib.set_punt([PREFIXES[row] for row in sorted(what)])
            elif act == "unpunt":
                assert isinstance(what, set)
                punted -= what
                fib.clear_punt([PREFIXES[row] for row in sorted(what)])
            elif act == "retry":
                fib.retry(1e12)
            elif act == "rows":  # those of prefixes without a route go to others of them
                idle = np.array([number[row] for row in number if not rib.get(row)], np.int64)
                free = fib.at_rest(Family.IPV4, idle)
                fib.forget(Family.IPV4, free)
                mine = [row for row in number if number[row] in free.tolist()]
                number |= dict(zip(mine, [number[row] for row in mine[1:] + mine[:1]], strict=True))
            else:
                fib = XdpFib(maps)
                fib.adopt()
                fib.set_punt([PREFIXES[row] for row in sorted(punted)])
                known = [row for row in rib if rib[row]]
                prefixes = [PREFIXES[row] for row in known]
                fib.apply(changes(Family.IPV4, [number[r] for r in known], prefixes, [rib[r] for r in known]))
                rib = {row: rib[row] for row in known}
                list(fib.sweep())
            wanted = {PREFIXES[row]: group for row, group in rib.items() if group}
            wanted |= {PREFIXES[row]: PUNT for row in punted}
            found = table(fib, Family.IPV4)
            refused = {state.prefix for state in fib.refused()}
            assert fib.status().entries[Family.IPV4] == len(found) <= room
            assert {p: g for p, g in wanted.items() if p not in refused} == {
                p: g for p, g in found.items() if p not in refused
            }
            assert refused <= set(wanted) - set(found)
            if room == 100:
                assert not refused
    finally:
        maps.close()

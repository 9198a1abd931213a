"""What the audit calls a difference."""

from __future__ import annotations

import numpy as np

from bgpbridge.fib.audit_prefixes import differences, judge, with_overlay
from bgpbridge.fib.audit_tally import Tally
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.ranges import ranges_of
from bgpbridge.fib.sweep import Compared
from bgpbridge.types import Family, Prefix


def table(**groups: int) -> tuple[Keys, np.ndarray]:
    """a=16 stands for 10.<ordinal of the letter>.0.0/16 with group 16."""
    prefixes = [prefix(letter) for letter in groups]
    return Keys.of(Family.IPV4, prefixes), np.array(list(groups.values()), np.uint32)


def prefix(letter: str) -> Prefix:
    return Prefix.parse(f"10.{ord(letter)}.0.0/16")


def found(have: tuple[Keys, np.ndarray], want: tuple[Keys, np.ndarray]) -> dict[Prefix, tuple[int, int]]:
    result = differences(have, want)
    return {
        result.keys.prefix(i): (int(h), int(w)) for i, (h, w) in enumerate(zip(result.have, result.want, strict=True))
    }


def test_equal_tables_do_not_differ() -> None:
    assert not found(table(a=16, b=17), table(b=17, a=16, c=0))


def test_missing_extra_and_other_are_told_apart() -> None:
    have, want = table(a=16, b=17, x=18), table(a=16, b=16, c=19)
    assert found(have, want) == {prefix("b"): (17, 16), prefix("c"): (0, 19), prefix("x"): (18, 0)}
    tally = Tally()
    nothing = Keys.of(Family.IPV4, [])
    tally.add("xdp", judge(differences(have, want), nothing, nothing))
    assert tally.divergent == {("xdp", "missing"): 1, ("xdp", "extra"): 1, ("xdp", "other group"): 1}
    assert {str(example.prefix) for example in tally.examples} == {"10.98.0.0/16", "10.99.0.0/16", "10.120.0.0/16"}


def test_what_moves_or_was_refused_has_a_name_of_its_own() -> None:
    tally = Tally()
    moving, refused = Keys.of(Family.IPV4, [prefix("a")]), Keys.of(Family.IPV4, [prefix("a"), prefix("b")])
    tally.add("kernel", judge(differences(table(), table(a=16, b=16)), moving, refused))
    assert (tally.pending, tally.refused, tally.divergent) == (1, 1, {})


def test_a_punted_prefix_is_wanted_as_punt_with_or_without_a_route() -> None:
    want = with_overlay(table(a=16, b=17), [prefix("b"), prefix("z")])
    assert not found(table(a=16, b=1, z=1), want)


def test_an_entry_that_a_dump_tells_twice_is_no_difference() -> None:
    keys, groups = table(a=16, b=17)
    twice = Keys.joined(Family.IPV4, [keys, keys]), np.concatenate([groups, groups])
    assert not found(twice, (keys, groups))
    have = Keys.joined(Family.IPV4, [keys, table(x=9)[0], table(x=9)[0]]), np.array([16, 17, 9, 9], np.uint32)
    assert found(have, (keys, groups)) == {prefix("x"): (9, 0)}
    assert len(differences(have, (keys, groups))) == 1


def test_a_range_of_an_index_is_told_from_its_first_address_to_its_last() -> None:
    want = ranges_of(*table(a=16))
    tally = Tally()
    for other in (table(), table(a=16, b=16, c=16, d=16), table(a=16, d=16)):
        tally.add_index("xdp", Compared.of(ranges_of(*other), want))
    told = [(str(one.prefix), one.detail, one.have, one.want) for one in tally.examples]
    assert told == [
        ("10.97.0.0/16", "", 0, 16),
        ("10.98.0.0/15", "10.100.255.255", 16, 0),
        ("10.100.0.0/16", "", 16, 0),
    ]

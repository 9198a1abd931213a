"""The table over address space says what the ranges say, and the edits of several terms add up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.policy.communities import CommunityKind, parse_pattern
from bgpbridge.policy.edits import CommunityEdits, Edits, resolve
from bgpbridge.policy.prefix_table import PrefixTable
from bgpbridge.policy.prefixes import PrefixRange
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.path_attributes import PathAttributes

CORNERS = {Family.IPV4: [0, 0xFFFFFFE0, 0x0A000000], Family.IPV6: [0, 0x20010DB8 << 96, (1 << 128) - 32, 1 << 64]}


def dense(family: Family) -> st.SearchStrategy[Prefix]:
    """Prefixes in a few corners of 32 addresses (and, for IPv6, of 32 networks): most nest or touch."""
    bits = family.bits
    shift = st.sampled_from([0, 64] if family is Family.IPV6 else [0])
    return st.builds(
        lambda corner, number, up, short: Prefix.make(
            family, (corner + (number << up)) & (1 << bits) - 1, bits - up - short
        ),
        st.sampled_from(CORNERS[family]),
        st.integers(0, 31),
        shift,
        st.integers(0, 5),
    )


@st.composite
def ranges(draw: st.DrawFn, family: Family) -> PrefixRange:
    prefix = draw(dense(family))
    low = draw(st.integers(prefix.length, family.bits))
    return PrefixRange(prefix, low, draw(st.integers(low, family.bits)))


@given(
    st.sampled_from(Family).flatmap(
        lambda f: st.tuples(
            st.lists(st.lists(ranges(f), max_size=8), min_size=1, max_size=3),
            st.lists(dense(f), min_size=1, max_size=40),
        )
    ),
    st.sampled_from([1, 256]),
)
@settings(max_examples=150, deadline=None)
def test_table_agrees_with_ranges(drawn: tuple[list[list[PrefixRange]], list[Prefix]], many: int) -> None:
    conditions, asked = drawn
    family = asked[0].family
    table = PrefixTable(family, conditions, many=many)
    values = [prefix.value for prefix in asked]
    hi = np.array([value >> 64 for value in values], np.uint64)
    lo = np.array([value & (1 << 64) - 1 for value in values], np.uint64)
    rows = table.find(hi, lo)
    assert rows.tolist() == [table.find_one(value) for value in values]
    for number, condition in enumerate(conditions):
        found = table.allowed(number)[rows, [prefix.length for prefix in asked]]
        assert found.tolist() == [any(entry.matches(prefix) for entry in condition) for prefix in asked]


def value(number: int) -> tuple[CommunityKind, int]:
    return CommunityKind.STANDARD, number


numbers = st.integers(0x10001, 0x10004)
community_edits = st.builds(
    CommunityEdits,
    assign=st.one_of(st.none(), st.lists(numbers.map(value), max_size=2).map(tuple)),
    remove=st.lists(st.sampled_from(["1:1", "1:2", "1:3-4", "1:*"]), max_size=2).map(
        lambda texts: tuple(pattern for text in texts for pattern in parse_pattern(text))
    ),
    add=st.lists(numbers.map(value), max_size=2).map(tuple),
)


@given(st.lists(community_edits, min_size=1, max_size=4), st.lists(numbers, max_size=3, unique=True).map(tuple))
@settings(max_examples=150, deadline=None)
def test_edits_of_several_terms_are_as_if_done_one_after_the_other(
    several: list[CommunityEdits], present: tuple[int, ...]
) -> None:
    step_by_step = present
    for one in several:
        changes = resolve([Edits(communities=one)], PathAttributes(communities=step_by_step))
        step_by_step = changes.communities.apply(step_by_step)
    together = resolve([Edits(communities=one) for one in several], PathAttributes(communities=present))
    assert set(together.communities.apply(present)) == set(step_by_step)

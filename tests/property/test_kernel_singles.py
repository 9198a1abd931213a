"""Single routes on their way to the kernel, as integers: the same messages and the same state as in columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.fib import kernel_singles
from bgpbridge.fib.kernel_singles import Single, pack_singles
from bgpbridge.fib.kernel_table import KernelTable
from bgpbridge.fib.kernel_wire import DELETE, INSERT, REPLACE, Owner, Reply, pack_routes
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.groups import LIMIT, LOCAL
from bgpbridge.types import Family

FAMILY = st.sampled_from(list(Family))
OWNER = st.builds(Owner, st.sampled_from([10, 254, 100_000]), st.integers(1, 255), st.integers(1, 1 << 31))
BASE = 1_650_000_000
GROUPS = (0, LOCAL, 16, 17, 18)
ABSENT = 18  # the kernel does not have that one


@st.composite
def singles(draw: st.DrawFn, family: Family) -> list[Single]:
    """A few routes of a family."""
    word = st.integers(0, (1 << 64) - 1) if family is Family.IPV6 else st.just(0)
    low = st.integers(0, (1 << min(family.bits, 64)) - 1)
    what = st.sampled_from([INSERT, REPLACE, DELETE])
    one = st.builds(Single, st.integers(1, 99), word, low, st.integers(0, family.bits), st.integers(0, LIMIT), what)
    return draw(st.lists(one, min_size=1, max_size=kernel_singles.MOST))


@given(FAMILY.flatmap(lambda family: st.tuples(st.just(family), singles(family))), OWNER)
def test_the_messages_are_those_of_the_columns(drawn: tuple[Family, list[Single]], owner: Owner) -> None:
    family, few = drawn
    _, keys, groups, what = kernel_singles.columns(family, few)
    packed = pack_routes(keys, (groups + np.uint32(BASE)).astype(np.uint32), what, owner)
    packed["flags"][-1] |= 4  # NLM_F_ACK
    assert pack_singles(family, few, BASE, owner) == packed.tobytes()


def moves(said: list[tuple[int, int]]) -> list[FewChanges]:
    """Rows with groups, one UPDATE each; a row stands for its own prefix."""
    return [FewChanges(Family.IPV4, [(row, 0, row << 8, 24, 0, group)]) for row, group in said]


def drained(table: KernelTable, present: np.ndarray, refused: set[int], *, singly: bool) -> None:
    """The worker's turn. The kernel refuses these rows."""
    while table.waiting:
        if singly and (few := table.take_singles(present)):
            wrong = [(at, Reply(at, 17)) for at, one in enumerate(few) if one.row in refused]
            if wrong:
                table.finish(table.singles_as_slice(), wrong, 0.0)
            else:
                table.finish_singles()
        elif (cut := table.take_few(present, 0.0)) is not None:
            wrong = [(at, Reply(at, 17)) for at, row in enumerate(cut.rows.tolist()) if row in refused]
            table.finish(cut, wrong, 0.0)


def state(table: KernelTable) -> tuple:
    """What can be told of it."""
    return table.installed[:9].tolist(), table.installed_count, table.refusals.rows().tolist(), table.behind


TURN = st.tuples(
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from(GROUPS)), max_size=6), st.sets(st.integers(1, 8))
)


@given(st.lists(TURN, max_size=8))
def test_the_state_is_that_of_the_columns(turns: list[tuple[list[tuple[int, int]], set[int]]]) -> None:
    present = np.ones(LIMIT + 1, np.bool_)
    present[ABSENT] = False
    known = Changes.of(Family.IPV4, [(row, 0, row << 8, 24, 0, 16) for row in range(1, 5)])
    ways = {True: KernelTable(Family.IPV4), False: KernelTable(Family.IPV4)}
    for table in ways.values():
        table.apply(known)
    for said, refused in turns:
        for singly, table in ways.items():
            for few in moves(said):
                table.apply_few(few)
            drained(table, present, refused, singly=singly)
        assert state(ways[True]) == state(ways[False])


def test_what_is_under_way_counts_and_comes_back_when_it_is_given_up() -> None:
    table, present = KernelTable(Family.IPV4), np.ones(LIMIT + 1, np.bool_)
    table.apply(Changes.of(Family.IPV4, [(1, 0, 256, 24, 0, 16)]))
    drained(table, present, set(), singly=True)
    table.apply_few(moves([(1, 17)])[0])
    (single,) = table.take_singles(present)
    assert (single.group, single.what, table.behind, table.waiting) == (17, REPLACE, 1, 0)
    assert table.groups_in_use()[17]
    assert len(table.pending()) == 1
    assert table.forget(np.array([1])).tolist() == []
    table.give_up()
    assert (table.behind, table.waiting) == (1, 1)
    drained(table, present, set(), singly=True)
    assert table.installed[1] == 17

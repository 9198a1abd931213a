"""Where room is short (max-prefix, paths by ADD-PATH, prefixes, attribute ids) a stream still comes to the same however
it is cut: who comes first gets in, whoever does not fit loses what it has to, and nobody else loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.pipeline.peers import Phase
from bgpbridge.types import Family
from tests.property.streams import COMMON, Word, words
from tests.property.tellers import ENDS, Teller, same, two

pytestmark = pytest.mark.usefixtures("small_pieces")
EXAMPLES = settings.default.max_examples // 5
CUTS = st.lists(st.tuples(st.booleans(), st.integers(1, 6)), max_size=4)
BETWEEN = st.lists(st.sampled_from([0, 0, 1, 2]), max_size=12)
COMES = st.lists(words(bad=False, gone=False, many=True), min_size=2, max_size=8)
FAMILIES = st.sampled_from(list(Family))
STEP = st.one_of(
    *[st.tuples(st.just("says"), st.just("b"), COMES, CUTS, BETWEEN)] * 3,
    st.tuples(st.just("says"), st.sampled_from("ac"), st.lists(words(), max_size=3), CUTS, BETWEEN),
    st.tuples(st.just("down"), st.just("b"), st.sampled_from(ENDS)),
    st.tuples(st.just("up"), st.just("b"), st.booleans()),
    st.tuples(st.just("end"), st.just("b"), FAMILIES),
)
LIMIT = ", max_prefix: {{ipv4: {{limit: {limit}, action: {action}, count: {count}}}}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("room")


def without_counts(teller: Teller) -> None:
    """Of peer b: what did not fit is counted once for each time that it was tried, and the end of a session is met at
    another place of a run."""
    teller.interrupted.add("b")


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    action=st.sampled_from(["block", "block", "warn", "disconnect"]),
    count=st.sampled_from(["received", "accepted"]),
    limit=st.integers(1, 9),
    policy=st.integers(0, 1),
    steps=st.lists(STEP, min_size=2, max_size=8),
)
def test_who_comes_first_fits_under_max_prefix(folder: Path, action, count, limit, policy, steps) -> None:
    with two(folder, {"b": LIMIT.format(limit=limit, action=action, count=count)}) as tellers:
        for teller in tellers:
            without_counts(teller)
            teller.reload("policy", policy)
            teller.world.finish()
            teller.tell(steps)
            teller.world.finish()
            assert action == "warn" or teller.count("b", Family.IPV4, count) <= limit
        if action != "disconnect":
            same(*tellers)
        told = [{text.partition(";")[0] for text in teller.world.events("prefix-limit")} for teller in tellers]
        assert told[0] == told[1]
        for teller in tellers:
            teller.revive()
        same(*tellers)


@settings(max_examples=EXAMPLES, deadline=None)
@given(limit=st.integers(1, 2), runs=st.lists(st.tuples(COMES, CUTS), min_size=1, max_size=4))
def test_who_comes_first_fits_under_the_limit_of_paths(folder: Path, limit, runs) -> None:
    with two(folder, {"b": f", add_path_limit: {limit}"}) as tellers:
        for teller in tellers:
            teller.uncounted = True
            teller.tell([("says", "b", said, cuts, []) for said, cuts in runs])
        same(*tellers)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    what=st.sampled_from(["prefixes", "attributes"]),
    room=st.integers(0, 6),
    policy=st.integers(0, 3),
    said=st.lists(words(bad=False, many=True), min_size=3, max_size=12),
    others=st.lists(st.sampled_from("acdi"), max_size=6),
    cuts=CUTS,
    between=BETWEEN,
)
def test_who_fills_a_table_loses_his_routes_and_nobody_else_any(
    folder: Path, what, room, policy, said, others, cuts, between
) -> None:
    everything = Word(tuple((number, 0) for number in range(COMMON)), (), 1, 0)
    with two(folder) as tellers:
        for teller in tellers:
            without_counts(teller)
            for name in "acdi":
                teller.tell([("reload", "policy", policy), ("says", name, [everything], [], [])])
            teller.world.finish()
            teller.narrow(what, room)
            gone = [("says", name, [Word((), ((at, 0),), 0, 0)], [], []) for at, name in enumerate(others)]
            teller.tell([("says", "b", said, cuts, between), *gone])
            teller.world.finish()
            teller.settled()
        assert {teller.world.peer("b").phase for teller in tellers} != {Phase.DOWN}
        for teller in tellers:
            teller.widen()
            teller.down("b", ENDS[1])
        same(*tellers)
        long = 2 if policy == 1 else 0  # refused by that policy
        assert all(len(teller.world.xdp.routes) == COMMON - long for teller in tellers)

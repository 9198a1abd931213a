"""Whatever policies follow on each other, and whatever comes in while routes are judged again: in the end every verdict
is that of a judge who never knew another policy, though most routes were not asked about."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.pipeline.reload import _judge_again
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext, PolicySet
from bgpbridge.policy.parse import loads_policies
from bgpbridge.rib import loc_rib
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import PeerInfo
from bgpbridge.types import Family, Session
from bgpbridge.wire.bulk import decode_run
from tests.property.streams import Word, words

OURS, ASN = 64500, 64600
ADDRESSES = [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
SESSIONS = [
    Session(
        peer,
        OURS,
        ASN + peer,
        address,
        IPv4Address("192.0.2.250"),
        address,
        add_path=frozenset({Family.IPV4} if peer else ()),
    )
    for peer, address in enumerate(ADDRESSES)
]
CONDITIONS = [
    {"path_contains": [64700]},
    {"path_contains": ["64700-64701"]},
    {"origin_as": [70000]},
    {"community": "65000:1"},
    {"path_length": {"ge": 2}},
    {"as_path": "* 64701"},
]
PREFIXES = [{}, {}, {"prefix": "198.51.100.0/24 or-longer"}, {"prefix_length": {"ge": 25}}, {"peer": "p1"}]
ENDS = [
    {"then": "reject"},
    {"then": "accept", "set": {"local_pref": 200}},
    {"then": "next", "set": {"med": 7}},
    {"then": "next", "set": {"prepend": {"asn": 64500}}},
]
ASKS = st.lists(st.sampled_from(CONDITIONS), min_size=3, max_size=3)
SHAPES = st.lists(st.tuples(st.sampled_from(PREFIXES), st.sampled_from(ENDS)), min_size=3, max_size=3)


def policy(shape: list[tuple[dict[str, Any], dict[str, Any]]], asks: list[dict[str, Any]]) -> PolicySet:
    """Terms of a shape that ask this of attributes, and one that takes the rest."""
    parts = enumerate(zip(shape, asks, strict=True))
    terms = [{"term": f"t{n}", "match": prefix | ask, **end} for n, ((prefix, end), ask) in parts]
    terms.append({"term": "rest", "then": "accept"})
    return loads_policies([(json.dumps({"policies": {"p": {"terms": terms}}}), "p.yml")])


class World:
    """A RIB whose two peers go through one policy, and what is still to be judged again."""

    def __init__(self, policies: PolicySet) -> None:
        self.judge = PolicyJudge(policies)
        room = Capacity(100, 100, 500, 50)
        self.rib = Rib(DecisionOptions(), self.judge, resolve=lambda _: Resolution(reachable=True), capacity=room)
        self.judge.attach(self.rib.attributes)
        self.jobs: deque[Iterator[Changes]] = deque()
        self.fib: dict[Any, int] = {}
        for peer, session in enumerate(SESSIONS):
            self.tell(self.judge, peer)
            self.rib.add_peer(PeerInfo(peer, f"p{peer}", ADDRESSES[peer], ASN + peer, True))
            self.rib.session_up(session)

    def tell(self, judge: PolicyJudge, peer: int) -> None:
        judge.set_peer(peer, PeerContext(f"p{peer}", True, "p", OURS))

    def take(self, changes: Any) -> None:
        for prefix, old, new in changes:
            assert self.fib.get(prefix, 0) == old
            self.fib[prefix] = new

    def change(self, policies: PolicySet) -> None:
        self.judge.set_policies(policies)
        self.jobs.append(_judge_again(SimpleNamespace(judge=self.judge, rib=self.rib), [0, 1]))  # type: ignore[arg-type]

    def drive(self, steps: int) -> None:
        while self.jobs and steps:
            step = next(self.jobs[0], None)
            if step is None:
                self.jobs.popleft()
            else:
                self.take(step)
            steps -= 1

    def say(self, peer: int, said: list[Word], *, run: bool) -> None:
        messages = [octets for word in said for octets in word.octets(SESSIONS[peer])]
        if run and messages:
            for changes in self.rib.apply(peer, decode_run(b"".join(messages), SESSIONS[peer])):
                self.take(changes)
                self.drive(1)
        else:
            for message in messages:
                for few in self.rib.apply_one(peer, message).changes:
                    self.take(few)

    def collect(self) -> None:
        for _ in self.rib.collect():
            self.drive(1)

    def check(self) -> None:
        self.drive(-1)
        fresh = PolicyJudge(self.judge.policies)
        fresh.attach(self.rib.attributes)
        for peer in (0, 1):
            self.tell(fresh, peer)
        for peer, family, ids, *columns in self.rib.received():
            tables = self.rib.families[family]
            rows = tables.prefixes.find(*columns)
            wanted = fresh.judge(peer, family, ids, *columns)
            planes = [plane for plane in tables.adj[peer].planes if (plane.raw.take(rows) == ids).all()]
            assert any((plane.effective.take(rows) == wanted).all() for plane in planes)
        for tables in self.rib.families.values():
            for row in range(1, tables.top + 1):
                old, new = tables.settle_one(row, self.rib.options)
                assert old == new == self.fib.get(tables.prefixes.prefix(row), 0)


PEER = st.integers(0, 1)
STEP = st.one_of(
    st.tuples(st.just("change"), ASKS),
    st.tuples(st.just("change"), ASKS),
    st.tuples(st.just("reshape"), SHAPES),
    st.tuples(st.just("drive"), st.integers(1, 9)),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("say"), st.tuples(PEER, st.lists(words(bad=False), min_size=1, max_size=3), st.booleans())),
    st.tuples(st.just("collect"), st.none()),
)


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name, rows in (("SLICE", 2), ("ASKED", 3), ("REJUDGED", 2)):
        patch.setattr(loc_rib, name, rows)
    yield
    patch.undo()


@settings(max_examples=40, deadline=None)
@given(
    shape=SHAPES,
    asks=ASKS,
    first=st.lists(
        st.tuples(PEER, st.lists(words(bad=False, gone=False), min_size=2, max_size=5)), min_size=2, max_size=3
    ),
    steps=st.lists(STEP, min_size=3, max_size=12),
)
def test_routes_judged_again_are_as_if_all_had_been(shape: Any, asks: Any, first: Any, steps: list[Any]) -> None:
    world = World(policy(shape, asks))
    for peer, said in first:
        world.say(peer, said, run=True)
    for kind, what in steps:
        match kind:
            case "change":
                asks = what
                world.change(policy(shape, asks))
            case "reshape":
                shape = what
                world.change(policy(shape, asks))
            case "drive":
                world.drive(what)
            case "settle":
                world.drive(-1)
            case "say":
                world.say(what[0], what[1], run=what[2])
            case "collect":
                world.collect()
    world.check()


def test_only_routes_that_a_changed_term_may_concern_are_asked_about() -> None:
    shape = [({}, {"then": "reject"}), ({}, {"then": "reject"}), ({}, {"then": "reject"})]
    asks = [{"path_contains": [1]}, {"origin_as": [2]}, {"community": "65000:9"}]
    world = World(policy(shape, asks))
    world.say(0, [Word(((9 + tail, 0),), (), tail, 0) for tail in range(4)], run=True)
    asked: list[int] = []
    judge, standing = world.judge.judge, world.judge._standing
    world.judge.judge = lambda peer, family, ids, *rest: (  # type: ignore[method-assign]
        asked.extend(ids.tolist()) or judge(peer, family, ids, *rest)
    )
    world.change(policy(shape, [{"path_contains": [64701]}, *asks[1:]]))
    world.drive(-1)
    assert len(asked) == 2
    assert standing.take(0) is not None
    world.change(policy(shape, asks))
    world.drive(-1)
    assert len(asked) == 6, "nobody knew on which grounds they stood"
    world.check()


def test_policies_that_follow_on_each_other_while_routes_are_judged_leave_none_behind() -> None:
    """The first rows are passed over on their way to the second policy, the third refuses them, and the fourth agrees
    with it before anybody has asked about them."""
    shape = [({}, {"then": "reject"}), ({}, {"then": "reject"}), ({}, {"then": "reject"})]
    asks = [{"path_contains": [1]}, {"origin_as": [2]}, {"community": "65000:9"}]
    world = World(policy(shape, asks))
    world.say(0, [Word(((9 + number, 0),), (), 1, 0) for number in range(6)], run=True)
    for place, condition in enumerate(({"path_contains": [3]}, {"origin_as": [64700]}, {"community": "65000:8"})):
        asks[place] = condition
        world.change(policy(shape, asks))
        first = world.jobs[0]
        if place == 0:
            world.drive(1)
        while place == 1 and world.jobs[0] is first:
            world.drive(1)
    world.check()
    assert not any(world.fib.values())

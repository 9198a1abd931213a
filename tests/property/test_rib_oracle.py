"""The Rib against a slow one of dicts: announcements, withdrawals, ADD-PATH, next hops, restarts, policy,
in columns and one by one, interleaved at every point where the Rib says that it may be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.types import Family
from tests.property.slow_rib import DEAD, KEEP, LOAD, OPTIONS, PEER, PEERS, SAID, SESSIONS, Both

pytestmark = pytest.mark.usefixtures("small_pieces")
BULK = st.tuples(st.just("run"), PEER, st.lists(SAID, max_size=6), st.lists(st.tuples(PEER, SAID), max_size=4))
STEP = st.one_of(
    st.tuples(st.just("one"), PEER, SAID),
    BULK,
    BULK,
    st.tuples(st.just("hops"), DEAD),
    st.tuples(st.just("down"), PEER, KEEP, st.lists(SAID, max_size=2), st.lists(SAID, max_size=2), st.booleans()),
    st.tuples(st.just("sweep"), PEER),
    st.tuples(st.just("policy"), st.integers(0, 3), st.lists(st.tuples(PEER, SAID), max_size=3)),
    st.tuples(st.just("collect"), st.lists(st.tuples(st.booleans(), PEER, SAID), max_size=3)),
)


def interleave(both: Both, work, peer: int | None, others: list) -> None:
    """Drive `work`; between its pieces apply single messages of other peers and steps of a collection."""
    unused = both.rib.collect()
    for changes in work:
        both.drive([changes])
        next(unused, None)
        if others:
            other, said = others.pop(0)
            if other != peer:
                for message in said.messages(SESSIONS[other]):
                    both.one(other, message)
    both.drive(unused)


def step(both: Both, action: tuple) -> None:
    match action:
        case ("one", peer, said):
            for message in said.messages(SESSIONS[peer]):
                both.one(peer, message)
        case ("run", peer, run, others):
            messages = [m for said in run for m in said.messages(SESSIONS[peer])]
            interleave(both, both.run(peer, messages), peer, list(others))
        case ("hops", dead):
            interleave(both, both.set_hops(dead), None, [])
        case ("down", peer, keep, again, run, ends):
            both.slow.down(peer, keep)
            sweep = both.rib.session_down(peer, keep)
            both.drive([c for c in [next(sweep, None)] if c is not None])
            both.rib.session_up(SESSIONS[peer])
            for said in again:  # announced anew while the sweep is still under way
                for message in said.messages(SESSIONS[peer]):
                    both.one(peer, message)
            both.drive(sweep)
            both.drive(both.run(peer, [m for said in run for m in said.messages(SESSIONS[peer])]))
            both.check()
            if ends:
                step(both, ("sweep", peer))
        case ("sweep", peer):
            both.slow.forget(peer, both.slow.stale[peer])
            for family in Family:
                both.drive(both.rib.sweep_stale(peer, family))
        case ("policy", mood, others):
            interleave(both, both.policy(mood), None, list(others))
        case ("collect", others):
            collect(both, others)


def collect(both: Both, others: list) -> None:
    """A collection, with messages and runs at its points."""
    unused = both.rib.collect()
    for bulk, peer, said in others:
        for _ in range(3):
            next(unused, None)
        messages = said.messages(SESSIONS[peer])
        if bulk:
            both.drive(both.run(peer, messages))
        for message in () if bulk else messages:
            both.one(peer, message)
    both.drive(unused)


@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(
    options=OPTIONS,
    first=st.lists(st.tuples(PEER, st.lists(LOAD, min_size=2, max_size=4)), min_size=2, max_size=4),
    steps=st.lists(STEP, min_size=4, max_size=14),
)
def test_the_rib_is_the_slow_rib(options: DecisionOptions, first: list, steps: list) -> None:
    both = Both(options)
    for peer, run in first:
        step(both, ("run", peer, run, []))
        both.check()
    for action in steps:
        step(both, action)
        both.check()
    for peer in range(len(PEERS)):
        both.slow.forget(peer, list(both.slow.routes[peer]))
        both.drive(both.rib.remove_peer(peer))
    assert not any(both.fib.values())
    freed = both.rib.groups.free(both.rib.groups.idle())
    assert len(both.rib.groups) == 0
    assert len(freed) == len(set(freed))
    for _ in both.rib.collect():
        pass
    assert len(both.rib.attributes) == 0
    assert len(both.rib.next_hops) == 0

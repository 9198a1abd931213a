"""Latency and groups: what is found moves traffic among a group's own usable members, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.commits import CommitLog
from bgpbridge.config.latency import Latency as Settings
from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.targets import How, Outcome
from bgpbridge.errors import BridgeError
from bgpbridge.fib.observed import Link
from bgpbridge.pipeline.latency import Latency
from bgpbridge.pipeline.measuring import Probing
from bgpbridge.pipeline.planes import Committer, Planes
from bgpbridge.rib.groups import Group, Member

from .test_paths import ETH1, ETH2, A, B, Router

VIA = {"a": Way("203.0.113.2%eth1", "next-hop"), "b": Way("203.0.113.6%eth2", "next-hop")}


class Silent(Probing):
    """Sends nothing; the test says what came of it."""

    def __init__(self) -> None:
        self.probes: dict[Way, Any] = {}
        self.closed = False

    def set_probes(self, probes: Any) -> None:
        self.probes = dict(probes)

    def close(self) -> None:
        self.closed = True


class Place:
    """Two uplinks, A active and B its backup, with latency and hands that probe."""

    def __init__(self, **keys: Any) -> None:
        self.router = router = Router()
        router.answers(A, ETH1)
        router.answers(B, ETH2)
        router.follow()
        self.log = CommitLog()
        self.prober = Silent()
        self.events = router.paths.events
        self.latency = Latency(
            router.paths,
            Committer(Planes(None, None), router.paths, self.log),
            router.adjacencies,
            router.kernel,
            self.events,
            lambda heard, settings: self.prober,
        )
        self.now = 100.0
        self.apply(**keys)

    def apply(self, **keys: Any) -> None:
        base = {"mode": "act", "interval_s": 1, "least_samples": 5, "hold_s": 10, "stale_after_s": 8}
        self.latency.apply(Settings.model_validate({**base, **keys}))

    def probe(self, seconds: int = 10, **rtts_ms: float | None) -> None:
        """Each second one probe of each, then a turn."""
        for _ in range(seconds):
            self.now += 1
            for name, rtt in rtts_ms.items():
                how = How.LOST if rtt is None else How.ANSWERED
                self.latency.measured.heard(Outcome(VIA[name], self.now, how, None if rtt is None else rtt / 1000))
            for groups, cause in self.latency.turn(self.now):
                self.latency.committer.groups(groups, cause)

    def carries(self) -> str:
        return "".join({A: "a", B: "b"}[gateway] for gateway in self.router.hops())

    def link(self, ifindex: int, *, up: bool) -> None:
        name = "eth1" if ifindex == ETH1 else "eth2"
        self.router.kernel.link(Link(ifindex, name, bytes([2, 0, 0, 0, 0, ifindex]), 1500, up=up))
        self.router.follow()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.tail()]


def test_traffic_moves_to_the_better_exit_and_back_once_it_is_not_better() -> None:
    place = Place()
    place.probe(a=20, b=20)
    assert place.carries() == "a"
    place.probe(20, a=70, b=20)
    assert place.carries() == "b"
    assert place.log.tail(1)[0].cause.kind == "latency"
    assert place.kinds().count("latency-moved") == 1
    place.probe(60, a=20, b=20)
    assert place.carries() == "a"
    assert (place.latency.counts.moved, place.latency.counts.returned) == (1, 1)


def test_observing_says_and_does_not_do() -> None:
    place = Place(mode="observe")
    place.probe(20, a=70, b=20)
    assert place.carries() == "a"
    assert place.kinds() == ["latency-would-move"]
    assert not place.log.tail(1)
    (choice,) = place.latency.choices
    assert choice.carriers() == (("203.0.113.6%eth2", 1),)
    assert place.router.paths.live(place.router.group) == (Member(1, place.router.via_a),)


def test_stale_facts_are_plain_bgp_at_once_whatever_the_budget_says() -> None:
    place = Place(moves_per_minute=1)
    place.probe(20, a=70, b=20)
    assert place.carries() == "b"
    place.probe(9)
    assert place.carries() == "a"


def test_an_exit_that_goes_down_takes_latencys_word_with_it() -> None:
    place = Place()
    place.probe(20, a=70, b=20)
    place.link(ETH2, up=False)
    assert place.carries() == "a"
    place.probe(3, a=70)
    assert list(place.prober.probes) == [VIA["a"]]


def test_mode_and_thresholds_change_while_it_runs() -> None:
    place = Place()
    place.probe(20, a=70, b=20)
    place.apply(mode="observe")
    assert place.carries() == "a"
    place.apply(mode="act", threshold={"absolute_ms": 100})
    place.probe(20, a=70, b=20)
    assert place.carries() == "a"
    place.apply(mode="act")
    place.probe(5, a=70, b=20)
    assert place.carries() == "b"
    place.latency.apply(None)
    assert place.carries() == "a"
    assert place.router.paths.arrange is None
    assert place.prober.closed


def test_loss_moves_traffic() -> None:
    place = Place(window_s=20)
    place.probe(a=20, b=20)
    for _ in range(6):
        place.probe(4, a=20, b=20)
        place.probe(1, a=None, b=20)
    assert place.carries() == "b"


def test_exits_beyond_the_bound_are_left_out_and_told_and_stay_with_bgp() -> None:
    place = Place(exits=1)
    place.probe(20, a=70, b=20)
    assert place.carries() == "a"
    assert place.latency.measured.picked.left_out == 1
    assert place.kinds() == ["latency-left-out"]


def test_a_socket_that_cannot_be_opened_is_told_once_and_tried_again() -> None:
    place = Place()

    def refused(heard: object, settings: object) -> Probing:
        raise BridgeError("no socket for probes: Operation not permitted")

    place.latency.measured._opened = refused
    place.probe(5)
    assert place.kinds() == ["latency-cannot-probe"]
    assert place.latency.measured.trouble
    place.latency.measured._opened = lambda heard, settings: place.prober
    place.probe(80, a=70, b=20)
    assert place.carries() == "b"
    assert not place.latency.measured.trouble


def test_a_target_that_nobody_reaches_says_nothing_about_exits() -> None:
    targets = [{"address": "192.0.2.53", "name": "up"}, {"address": "192.0.2.54", "name": "down"}]
    place = Place(targets=targets)
    place.probe(1)
    for _ in range(20):
        place.now += 1
        for exit_, rtt in (("203.0.113.2%eth1", 0.07), ("203.0.113.6%eth2", 0.02)):
            place.latency.measured.heard(Outcome(Way(exit_, "up"), place.now, How.ANSWERED, rtt))
            place.latency.measured.heard(Outcome(Way(exit_, "down"), place.now, How.LOST))
        place.latency.turn(place.now)
    figures = list(place.latency.measured.figures.values())
    assert [figure.loss for figure in figures if figure is not None] == [0, 0]
    (choice,) = place.latency.choices
    assert choice.carriers() == (("203.0.113.6%eth2", 1),)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["probe", "a", "b", "mode"]), st.integers(0, 90)), max_size=12))
def test_only_a_groups_own_usable_members_ever_carry(steps: list[tuple[str, int]]) -> None:
    place = Place(hold_s=1, least_samples=2)
    router = place.router
    active = (Member(1, router.via_a, 2), Member(3, router.via_b, 5))
    three = router.groups.intern(Group(active, (Member(2, router.via_a),)))
    router.paths.fill([three])
    up = {"a": True, "b": True}
    for what, number in steps:
        if what in up:
            up[what] = not up[what]
            place.link(ETH1 if what == "a" else ETH2, up=up[what])
        elif what == "mode":
            place.apply(mode="observe" if number < 20 else "act", hold_s=1, least_samples=2)
        else:
            place.probe(4, a=number, b=90 - number)
        for group in (router.group, three):
            usable = router.paths.usable(group)
            allowed = {member[:2] for member in (*usable.active, *usable.backup)}
            carried = router.paths.live(group)
            assert {member[:2] for member in carried} <= allowed
            assert bool(carried) == bool(usable.active)
            assert all(member.weight > 0 for member in carried)


def test_nothing_blocks_the_loop_while_it_is_off() -> None:
    place = Place()
    place.latency.apply(None)

    async def briefly() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(place.latency.keep(), 0.01)

    asyncio.run(briefly())

"""Whatever happens in whatever order, the planes end where a slow and obvious book-keeper says.

Random stories of sessions, UPDATEs, refreshes, links, neighbours, reloads and half-done jobs, told to a whole bridge
and to `Book`, which knows nothing of columns, groups or slices. At the end both are asked where packets go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.feed.frames import DownReason, RefreshKind
from bgpbridge.fib.observed import NeighbourState
from bgpbridge.pipeline.peers import Phase
from bgpbridge.types import Family

NAMES = "abc"
NETS = ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/25", "2001:db8:9::/48")
LINKS = {"a": 11, "b": 12, "c": 11}
ENDS = [
    (DownReason.TCP_CLOSED, True),
    (DownReason.TCP_CLOSED, False),
    (DownReason.HOLD_TIMER, False),
    (DownReason.SPEAKER_DIED, True),
]


def family_of(net: str) -> Family:
    return Family.IPV6 if ":" in net else Family.IPV4


class Book:
    """Routes as {(peer, net): [path length, stale]}."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], list[Any]] = {}
        self.graceful: dict[str, bool] = {}  # peers that are up
        self.refreshing: set[tuple[str, Family]] = set()
        self.ours: set[str] = set()  # peers whose last session our own speaker's death ended
        self.configured = dict.fromkeys(NAMES, "")
        self.links = {11: True, 12: True}
        self.silent: set[tuple[str, Family]] = set()

    def drop(self, name: str, *, only_stale: bool = False, family: Family | None = None) -> None:
        for peer, net in [key for key in self.routes if key[0] == name and family in (None, family_of(key[1]))]:
            if not only_stale or self.routes[peer, net][1]:
                del self.routes[peer, net]

    def mark(self, name: str, family: Family | None = None) -> None:
        for (peer, net), route in self.routes.items():
            if peer == name and family in (None, family_of(net)):
                route[1] = True

    def down(self, name: str, reason: DownReason, tcp: bool) -> None:
        keeps = self.graceful.pop(name)
        ours = reason is DownReason.SPEAKER_DIED
        self.ours = self.ours | {name} if ours else self.ours - {name}
        refreshing = any(peer == name for peer, _ in self.refreshing)
        self.refreshing = {entry for entry in self.refreshing if entry[0] != name}
        if not (ours or (tcp and keeps)):
            self.drop(name)
            return
        if not (ours or refreshing):
            self.drop(name, only_stale=True)
        self.mark(name)

    def best(self, net: str) -> list[str]:
        """Peers with a usable route, the best one first."""
        found = [
            (-("weight" in self.configured[peer]), length, "abc".index(peer) if peer != "c" else 0.5, peer)
            for (peer, at), (length, _) in self.routes.items()
            if at == net and self.links[LINKS[peer]] and "refuse" not in self.configured[peer]
        ]
        return [entry[-1] for entry in sorted(found)]

    def ways(self, gateway: Any) -> dict[str, set[str]]:
        found = {}
        for net in NETS:
            peers = self.best(net)
            if peers:
                alive = [peer for peer in peers if (peer, family_of(net)) not in self.silent] or peers
                found[net] = {gateway(alive[0], family_of(net))}
        return found


def gateway(name: str, family: Family) -> str:
    v4 = {"a": "10.0.1.2", "b": "10.0.2.2", "c": "10.0.1.3"}
    v6 = {"a": "2001:db8:1::2", "b": "2001:db8:2::2", "c": "2001:db8:1::3"}
    return (v4 if family is Family.IPV4 else v6)[name]


class Story:
    """Tells each event to both."""

    def __init__(self, world: Any, octets: Any) -> None:
        self.world, self.octets, self.book = world, octets, Book()
        (world.folder / "p.yaml").write_text(
            "policies: {refuse: {terms: [{term: all, then: reject, reason: not wanted}]}}\n", encoding="utf-8"
        )

    def up(self, name: str, graceful: bool, forwarding: bool) -> None:
        book = self.book
        if name not in book.configured or name in book.graceful:
            return
        self.world.up(name, restart_s=120 if graceful else None, forwarding=graceful and forwarding)
        book.graceful[name] = graceful
        if not (name in book.ours or (graceful and forwarding)):
            book.drop(name, only_stale=True)

    def down(self, name: str, end: tuple[DownReason, bool]) -> None:
        if name in self.book.graceful:
            self.world.down(name, end[0], graceful=end[1])
            self.book.down(name, *end)

    def update(self, name: str, nets: dict[str, int | None], bulk: bool) -> None:
        if name not in self.book.graceful:
            return
        messages = []
        for net, longer in nets.items():
            if longer is None:
                messages.append(self.octets.withdraw(net))
                self.book.routes.pop((name, net), None)
            else:
                messages.append(self.world.route(name, net, longer=longer))
                self.book.routes[name, net] = [longer, False]
        if messages:
            self.world.says(name, *messages, bulk=bulk)

    def end_of_rib(self, name: str, family: Family) -> None:
        if name in self.book.graceful:
            self.world.says(name, self.octets.end_of_rib(family))
            if (name, family) not in self.book.refreshing:
                self.book.drop(name, only_stale=True, family=family)

    def refresh(self, name: str, family: Family, kind: RefreshKind) -> None:
        if name not in self.book.graceful:
            return
        self.world.tell(name, self.octets.refresh(kind, family))
        if kind is RefreshKind.BORR:
            self.book.mark(name, family)
            self.book.refreshing.add((name, family))
        elif (name, family) in self.book.refreshing:
            self.book.refreshing.discard((name, family))
            self.book.drop(name, only_stale=True, family=family)

    def wait(self) -> None:
        """Longer than any timer: stale routes are given up."""
        self.world.wait(400)
        for name in NAMES:
            self.book.drop(name, only_stale=True)
        self.book.refreshing.clear()

    def link(self, ifindex: int, up: bool) -> None:
        self.world.link(ifindex, up=up)
        self.book.links[ifindex] = up

    def neighbour(self, name: str, family: Family, answers: bool) -> None:
        state = NeighbourState.REACHABLE if answers else NeighbourState.FAILED
        self.world.neighbour(gateway(name, family), LINKS[name], state)
        (self.book.silent.discard if answers else self.book.silent.add)((name, family))

    def reload(self, name: str, how: str) -> None:
        """Remove a peer, or have it (again) with these keys."""
        book = self.book
        if how == "remove":
            book.configured.pop(name, None)
            book.graceful.pop(name, None)
            book.ours.discard(name)
            book.refreshing = {entry for entry in book.refreshing if entry[0] != name}
            book.drop(name)
        else:
            book.configured[name] = how
        self.world.reload(book.configured, policies="[p.yaml]")

    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    def house(self) -> None:
        self.world.house()

    def collect(self) -> None:
        if not len(self.world.bridge.work):
            for _ in self.world.bridge.rib.collect():
                pass
            self.world.bridge.paths.forget_unknown()

    def check(self) -> None:
        self.world.finish()
        self.world.assert_in_step()
        assert self.world.ways() == self.book.ways(gateway)
        for peer in self.world.bridge.peers:
            assert (peer.phase is Phase.ESTABLISHED) == (peer.name in self.book.graceful)


names, families, booleans = st.sampled_from(NAMES), st.sampled_from(list(Family)), st.booleans()
nets = st.dictionaries(st.sampled_from(NETS), st.sampled_from([0, 0, 1, 2, None]), min_size=1)
events = st.one_of(
    st.tuples(st.just("update"), names, nets, booleans),
    st.tuples(st.just("update"), names, nets, booleans),
    st.tuples(st.just("up"), names, booleans, booleans),
    st.tuples(st.just("down"), names, st.sampled_from(ENDS)),
    st.tuples(st.just("end_of_rib"), names, families),
    st.tuples(st.just("refresh"), names, families, st.sampled_from([RefreshKind.BORR, RefreshKind.EORR])),
    st.tuples(st.just("wait")),
    st.tuples(st.just("link"), st.sampled_from([11, 12]), booleans),
    st.tuples(st.just("neighbour"), names, families, booleans),
    st.tuples(st.just("reload"), names, st.sampled_from(["", ", weight: 5", ", import: refuse", "remove"])),
    st.tuples(st.just("work"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["house", "collect"])),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@settings(max_examples=50, deadline=None)
@given(st.lists(events, min_size=5, max_size=40))
def test_the_planes_end_where_the_book_says(worlds: Any, octets: Any, folder: Path, told: list[Any]) -> None:
    world = worlds(folder)
    try:
        story = Story(world, octets)
        for name in NAMES:
            story.up(name, True, False)
        for event, *arguments in told:
            getattr(story, event)(*arguments)
        story.check()
    finally:
        world.close()

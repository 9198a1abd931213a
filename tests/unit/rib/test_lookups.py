"""What the RIB answers about itself: matches, paths, decisions, and listings that come in slices."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from bgpbridge.rib import lookups
from bgpbridge.rib.decision import DecisionOptions, Step
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.lookups import RouteFilter, Status
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import AcceptAll, PeerInfo
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import build_update

NET, TEN, DEEP = (Prefix.parse(text) for text in ("198.51.100.0/24", "10.0.0.0/8", "10.1.0.0/16"))
TOO_LONG = (65_001, 2, 3, 4)
NOWHERE = "192.0.2.99"


class Choosy(AcceptAll):
    """Refuses AS paths longer than three."""

    rib: Rib

    def judge(self, peer, family, attribute_ids, hi, lo, length):
        ids = attribute_ids.copy()
        ids[self.rib.attributes.path_length.take(ids) > 3] = 0
        return ids

    def judge_one(self, peer, family, attribute_id, hi, lo, length):
        return 0 if self.rib.attributes.path_length[attribute_id] > 3 else attribute_id


class World:
    """Two external peers; one next hop is out of reach."""

    def __init__(self, prefixes: int = 100, **options) -> None:
        judge = Choosy()
        self.rib = judge.rib = Rib(
            DecisionOptions(**options),
            judge,
            resolve=lambda hop: Resolution(str(hop.address) != NOWHERE, reason="no route to it"),
            capacity=Capacity(prefixes, 10, 100, 20),
        )
        for index in range(2):
            address = IPv4Address(f"203.0.113.{index + 1}")
            self.rib.add_peer(PeerInfo(index, f"p{index}", address, 65_001, True))
            self.rib.session_up(self.session(index))

    def session(self, peer: int) -> Session:
        router = IPv4Address(f"203.0.113.{peer + 1}")
        return Session(peer, 64_512, 65_001, IPv4Address("203.0.113.9"), router, router, families=frozenset(Family))

    def announce(self, *prefixes: Prefix, peer: int = 0, path: tuple[int, ...] = (65_001,), hop: str = "") -> None:
        octets = encode_attribute(1, b"\0")
        octets += encode_attribute(2, bytes([2, len(path)]) + b"".join(asn.to_bytes(4, "big") for asn in path))
        octets += encode_attribute(3, IPv4Address(hop or f"192.0.2.{peer + 1}").packed)
        self._run(peer, *(build_update(octets, nlri(prefixes[n : n + 500])) for n in range(0, len(prefixes), 500)))

    def withdraw(self, *prefixes: Prefix, peer: int = 0) -> None:
        self._run(peer, build_update(withdrawn=nlri(prefixes)))

    def _run(self, peer: int, *messages: bytes) -> None:
        for _ in self.rib.apply(peer, decode_run(b"".join(messages), self.session(peer))):
            pass

    def listed(self, **wanted) -> list[tuple[str, int, str]]:
        slices = lookups.routes(self.rib, RouteFilter(**wanted))
        return [(str(path.prefix), path.peer, path.status.value) for part in slices for path in part]


def nlri(prefixes) -> bytes:
    return b"".join(bytes([p.length]) + p.octets[: (p.length + 7) // 8] for p in prefixes)


def many(count: int) -> list[Prefix]:
    return [Prefix.parse(f"100.{64 + (n >> 8)}.{n & 255}.0/24") for n in range(count)]


@pytest.fixture
def world() -> World:
    world = World()
    world.announce(NET, TEN, DEEP)
    world.announce(NET, peer=1, path=(65_001, 2))
    return world


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were decided one by one since."""
    rows: list[int] = []
    decide = FamilyRib.decide

    def counting(self, row, options):
        rows.append(row)
        return decide(self, row, options)

    monkeypatch.setattr(FamilyRib, "decide", counting)
    return rows


def test_the_longest_match_is_one_with_a_route(world: World) -> None:
    assert lookups.longest(world.rib, ip_address("10.1.2.3")) == DEEP
    assert lookups.longest(world.rib, ip_address("11.1.2.3")) is None
    world.withdraw(DEEP)
    assert lookups.longest(world.rib, ip_address("10.1.2.3")) == TEN


def test_what_tells_about_an_address_is_a_route_then_a_path_then_a_history(world: World) -> None:
    inside = Prefix.parse("10.1.2.0/24")
    world.announce(inside, path=TOO_LONG)
    world.announce(Prefix.parse("10.1.2.0/28"))
    world.withdraw(Prefix.parse("10.1.2.0/28"))
    assert lookups.telling(world.rib, ip_address("10.1.2.3")) == DEEP
    world.withdraw(TEN, DEEP)
    assert lookups.telling(world.rib, ip_address("10.1.2.3")) == inside
    world.withdraw(inside)
    assert lookups.telling(world.rib, ip_address("10.1.2.3")) == Prefix.parse("10.1.2.0/28")
    assert lookups.telling(world.rib, ip_address("11.1.2.3")) is None


def test_a_prefix_that_was_withdrawn_is_still_known(world: World) -> None:
    world.withdraw(TEN)
    assert (lookups.known(world.rib, TEN), lookups.group_of(world.rib, TEN)) == (True, 0)
    assert not lookups.known(world.rib, Prefix.parse("9.0.0.0/8"))


def test_paths_are_there_best_first_with_the_part_that_each_plays(world: World) -> None:
    world.announce(NET, path=(65_001, 2, 3))
    found = [(path.peer, path.status) for path in lookups.paths(world.rib, NET)]
    assert found == [(1, Status.BEST), (0, Status.BACKUP)]
    assert lookups.paths(world.rib, Prefix.parse("9.0.0.0/8")) == []


@pytest.mark.parametrize(
    ("second", "status"),
    [
        ({"path": (65_001,)}, Status.MULTIPATH),
        ({"path": (65_001, 2)}, Status.VALID),
        ({"path": TOO_LONG}, Status.REJECTED),
        ({"hop": NOWHERE}, Status.UNREACHABLE),
    ],
)
def test_the_part_of_a_second_path(second, status: Status) -> None:
    world = World(ebgp_paths=2, backups=0)
    world.announce(NET)
    world.announce(NET, peer=1, **second)
    assert [path.status for path in lookups.paths(world.rib, NET)] == [Status.BEST, status]


def test_the_attributes_of_a_refused_path_are_those_received(world: World) -> None:
    world.announce(NET, peer=1, path=TOO_LONG)
    path = lookups.paths(world.rib, NET)[1]
    assert (path.effective, path.attributes) == (0, path.received)
    assert world.rib.attributes.get(path.attributes).attributes.path_length == 4


def test_the_decision_is_told_with_its_reasons(world: World) -> None:
    decision = lookups.explain(world.rib, NET)
    assert decision.best.path_length == 1
    assert [(e.loser.peer, e.step) for e in decision.eliminated] == [(1, Step.AS_PATH_LENGTH)]
    assert lookups.explain(world.rib, Prefix.parse("9.0.0.0/8")).best is None


def test_what_is_installed_is_what_the_groups_say(world: World) -> None:
    groups = [lookups.group_of(world.rib, prefix) for prefix in (NET, TEN, DEEP)]
    assert lookups.installed(world.rib, Family.IPV4).group.tolist() == groups


A, B = (str(NET), 0, "best"), (str(NET), 1, "backup")
TEN_A, DEEP_A = (str(TEN), 0, "best"), (str(DEEP), 0, "best")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [A, B, TEN_A, DEEP_A]),
        ({"peer": 1}, [B]),
        ({"best": True}, [A, TEN_A, DEEP_A]),
        ({"best": True, "peer": 1}, []),
        ({"within": TEN}, [TEN_A, DEEP_A]),
        ({"within": DEEP, "family": Family.IPV6}, [DEEP_A]),
        ({"rejected": True}, []),
        ({"family": Family.IPV6}, []),
    ],
)
def test_listings_hold_what_the_filter_lets_through(world: World, wanted, found) -> None:
    assert world.listed(**wanted) == found


def test_listings_look_at_all_of_a_table_piece_by_piece(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SCAN", 2)
    assert world.listed() == [A, B, TEN_A, DEEP_A]
    assert world.listed(within=TEN) == [TEN_A, DEEP_A]
    assert [len(part) for part in lookups.routes(world.rib, RouteFilter(Family.IPV4, within=DEEP))] == [0, 1]


def test_a_slice_is_short_however_many_there_are() -> None:
    world = World(3000)
    world.announce(*many(2000))
    sizes = [len(part) for part in lookups.routes(world.rib, RouteFilter())]
    assert (sum(sizes), max(sizes)) == (2000, lookups.SLICE)


def test_what_comes_while_a_listing_waits_is_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SCAN", 2)
    slices = lookups.routes(world.rib, RouteFilter())
    seen = [path.prefix for path in next(slices)]
    new = Prefix.parse("192.0.2.0/24")
    world.announce(new)
    world.withdraw(DEEP)
    seen += [path.prefix for part in slices for path in part]
    assert seen == [NET, NET, TEN, new]


def test_the_few_are_found_among_many_without_deciding_about_all(decided: list[int]) -> None:
    world = World(3000)
    world.announce(*many(2000))
    world.announce(NET, peer=1)
    world.announce(TEN, path=TOO_LONG)
    decided.clear()
    assert world.listed(rejected=True) == [(str(TEN), 0, "rejected")]
    assert decided == []
    assert world.listed(best=True, peer=1) == [(str(NET), 1, "best")]
    assert len(decided) == 1

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest

from bgpbridge.errors import CapacityError, UsageError
from bgpbridge.rib import lookups
from bgpbridge.rib.decision import DecisionOptions, Step
from bgpbridge.rib.groups import Group, Member
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import AcceptAll, PeerInfo, RefuseAll
from bgpbridge.rib.pieces import Pieces, Size
from bgpbridge.types import AttributeChanges, Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import build_update
from bgpbridge.wire.verdicts import SessionKind

V4, V6 = Family.IPV4, Family.IPV6
NET = Prefix.parse("198.51.100.0/24")
SMALL = Capacity(ipv4=50, ipv6=50, attributes=100, next_hops=20)


def nlri(*texts: str, path_id: int | None = None) -> bytes:
    out = b""
    for text in texts:
        prefix = Prefix.parse(text)
        out += b"" if path_id is None else path_id.to_bytes(4, "big")
        out += bytes([prefix.length]) + prefix.octets[: (prefix.length + 7) // 8]
    return out


def attributes(*path: int, hop: str = "192.0.2.1", origin: int = 0, med: int | None = None) -> bytes:
    octets = encode_attribute(1, bytes([origin]))
    octets += encode_attribute(2, bytes([2, len(path)]) + b"".join(n.to_bytes(4, "big") for n in path) if path else b"")
    octets += encode_attribute(3, IPv4Address(hop).packed)
    return octets + (b"" if med is None else encode_attribute(4, med.to_bytes(4, "big")))


def announce(*texts: str, path: tuple[int, ...] = (65001,), path_id: int | None = None, **more) -> bytes:
    return build_update(attributes(*path, **more), nlri(*texts, path_id=path_id))


def withdraw(*texts: str, path_id: int | None = None) -> bytes:
    return build_update(b"", b"", nlri(*texts, path_id=path_id))


def announce6(text: str, hop: bytes) -> bytes:
    reach = b"\0\2\1" + bytes([len(hop)]) + hop + b"\0" + nlri(text)
    return build_update(
        encode_attribute(1, b"\0") + encode_attribute(2, b"\2\1\0\0\xfd\xe9") + encode_attribute(14, reach)
    )


class World:
    """A Rib with two external peers; everything is reachable."""

    def __init__(
        self, *, judge=None, add_path: bool = False, capacity: Capacity = SMALL, limit: int = 2, **options
    ) -> None:
        self.rib = Rib(
            DecisionOptions(**options), judge or AcceptAll(), resolve=lambda _: Resolution(True), capacity=capacity
        )
        self.sessions = []
        for index in range(2):
            address = IPv4Address(f"203.0.113.{index + 1}")
            self.rib.add_peer(PeerInfo(index, f"p{index}", address, 65001, True, add_path_limit=limit))
            self.sessions.append(
                Session(
                    index, 64512, 65001, IPv4Address("203.0.113.9"), address, IPv4Address(f"1.1.1.{index + 1}"),
                    families=frozenset(Family), add_path=frozenset({V4}) if add_path else frozenset(),
                )
            )  # fmt: skip
            self.rib.session_up(self.sessions[index])

    def one(self, message: bytes, peer: int = 0):
        return self.rib.apply_one(peer, message)

    def run(self, *messages: bytes, peer: int = 0):
        found = list(self.rib.apply(peer, decode_run(b"".join(messages), self.sessions[peer])))
        return [change for changes in found for change in changes]

    def counts(self, peer: int = 0, family: Family = V4):
        return self.rib.counts(peer)[family]

    def group(self, prefix: Prefix = NET) -> Group | None:
        number = lookups.group_of(self.rib, prefix)
        return self.rib.groups[number] if number else None


def drive(work) -> int:
    return sum(len(changes) for changes in work)


@pytest.fixture(params=["one", "run"])
def apply(request):
    """Both ways in."""
    if request.param == "one":
        return lambda world, *messages, peer=0: [world.one(message, peer) for message in messages]
    return lambda world, *messages, peer=0: world.run(*messages, peer=peer)


def test_a_route_comes_moves_to_a_backup_and_goes(apply) -> None:
    world = World()
    apply(world, announce(str(NET)))
    assert world.group() == Group((Member(0, 1),))
    apply(world, announce(str(NET), path=(65001, 2), hop="192.0.2.2"), peer=1)
    assert world.group() == Group((Member(0, 1),), (Member(1, 2),))
    apply(world, withdraw(str(NET)))
    assert world.group() == Group((Member(1, 2),))
    apply(world, withdraw(str(NET)), peer=1)
    assert world.group() is None
    assert world.counts() == (0, 0, 0, 0, 0, 0)


def test_what_rfc_7606_treats_as_withdrawn_is_withdrawn_and_counted(apply) -> None:
    world = World()
    apply(world, announce(str(NET)))
    applied = apply(world, announce(str(NET), origin=9))
    assert world.group() is None
    found = world.rib.take_findings(0)
    if applied and hasattr(applied[0], "verdict"):
        assert applied[0].verdict is Verdict.TREAT_AS_WITHDRAW
        assert [finding.code for finding in applied[0].findings] == [1]
    else:
        assert [(finding.code, times) for finding, times in found] == [(1, 1)]
    assert world.rib.take_findings(0) == []


def test_a_message_that_resets_the_session_changes_nothing() -> None:
    world = World()
    world.one(announce(str(NET)))
    applied = world.one(build_update(attributes(65001), b"\x21\1\2\3\4\5"))
    assert applied.verdict is Verdict.SESSION_RESET
    assert applied.changes == ()
    assert world.group() is not None


def test_end_of_rib_is_passed_on() -> None:
    assert World().one(build_update()).end_of_rib is V4


def test_a_withdrawal_of_what_nobody_knows_makes_no_row(apply) -> None:
    world = World()
    apply(world, withdraw("10.0.0.0/8"), withdraw("10.0.0.1/32"))
    assert world.rib.families[V4].top == 0


def test_a_flapping_prefix_keeps_its_row(apply) -> None:
    world = World()
    for _ in range(3):
        apply(world, announce(str(NET)))
        apply(world, withdraw(str(NET)))
    assert world.rib.families[V4].top == 1


def test_routes_are_kept_stale_over_a_restart_until_end_of_rib(apply) -> None:
    world = World()
    apply(world, announce(str(NET), "10.0.0.0/8"), announce6("2001:db8::/32", IPv6Address("2001:db8::1").packed))
    assert drive(world.rib.session_down(0, frozenset({V4}))) == 1
    assert (world.counts().stale, world.counts(family=V6).received) == (2, 0)
    assert world.group() is not None
    world.rib.session_up(world.sessions[0])
    apply(world, announce(str(NET)))
    assert world.counts().stale == 1
    assert drive(world.rib.sweep_stale(0, V4)) == 1
    assert (world.counts().stale, world.counts().received) == (0, 1)
    assert world.group() is not None


def test_a_second_restart_removes_what_was_still_stale(apply) -> None:
    """RFC 4724 s4.2."""
    world = World()
    apply(world, announce(str(NET)))
    drive(world.rib.session_down(0, frozenset({V4})))
    apply(world, announce("10.0.0.0/8"))
    drive(world.rib.session_down(0, frozenset({V4})))
    assert world.group() is None
    assert world.counts().stale == 1


def test_route_refresh_sweeps_what_is_not_sent_again(apply) -> None:
    """RFC 7313: BoRR marks, EoRR sweeps."""
    world = World()
    apply(world, announce(str(NET), "10.0.0.0/8"))
    world.rib.mark_stale(0, V4)
    apply(world, announce("10.0.0.0/8"))
    drive(world.rib.sweep_stale(0, V4))
    assert world.group() is None
    assert world.group(Prefix.parse("10.0.0.0/8")) is not None


def test_what_is_announced_again_while_a_lost_session_is_swept_stays() -> None:
    world = World()
    world.one(announce(str(NET)))
    sweep = world.rib.session_down(0)
    world.rib.session_up(world.sessions[0])
    world.one(announce(str(NET)))
    drive(sweep)
    assert world.group() is not None


def test_a_lost_peer_leaves_no_trace(apply) -> None:
    world = World()
    apply(world, announce(str(NET)))
    assert drive(world.rib.remove_peer(0)) == 1
    assert world.rib.families[V4].sources == []
    with pytest.raises(UsageError, match="peer 0 is not known"):
        world.rib.peer(0)


def test_add_path_keeps_several_paths_within_the_limit(apply) -> None:
    world = World(add_path=True, ebgp_paths=2)
    apply(world, announce(str(NET), path_id=1), announce(str(NET), path_id=2, hop="192.0.2.2"))
    assert world.group() == Group((Member(0, 1), Member(0, 2)))
    apply(world, announce(str(NET), path_id=3, hop="192.0.2.3"))
    assert world.counts().refused_paths == 1
    apply(world, withdraw(str(NET), path_id=1))
    apply(world, announce(str(NET), path_id=3, hop="192.0.2.3"))
    assert {world.rib.next_hops[m.next_hop].address for m in world.group().active} == {
        IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3"),
    }  # fmt: skip


def test_two_peers_with_one_link_local_next_hop_use_their_own_links(apply) -> None:
    world = World()
    local = IPv6Address("fe80::1").packed
    for peer in (0, 1):
        apply(world, announce6("2001:db8::/32", IPv6Address("2001:db8::1").packed + local), peer=peer)
    group = world.group(Prefix.parse("2001:db8::/32"))
    hops = [world.rib.next_hops[m.next_hop] for m in (*group.active, *group.backup)]
    assert [hop.peer for hop in hops] == [0, 1]
    assert {hop.link_local for hop in hops} == {IPv6Address("fe80::1")}


def test_a_lost_next_hop_moves_only_what_hangs_on_it() -> None:
    world = World()
    world.one(announce(str(NET)))
    world.one(announce("10.0.0.0/8", hop="192.0.2.2"))
    hops = world.rib.next_hops
    number = hops.intern(ip_address("192.0.2.2"))
    assert hops.set(number, Resolution(False, reason="link down"))
    moved = [change for changes in world.rib.next_hops_changed([number]) for change in changes]
    assert [(str(prefix), new) for prefix, _, new in moved] == [("10.0.0.0/8", 0)]


def test_a_new_policy_moves_only_what_it_judges_differently(apply) -> None:
    world = World()
    apply(world, announce(str(NET)))
    assert drive(world.rib.rejudge()) == 0
    world.rib.judge = RefuseAll()
    assert drive(world.rib.rejudge([1])) == 0
    assert drive(world.rib.rejudge([0])) == 1
    assert (world.counts().received, world.counts().rejected) == (1, 1)
    world.rib.judge = AcceptAll()
    assert drive(world.rib.rejudge()) == 1


def test_other_options_are_decided_when_asked() -> None:
    world = World()
    world.one(announce(str(NET)))
    world.one(announce(str(NET), hop="192.0.2.2"), peer=1)
    world.rib.options = DecisionOptions(ebgp_paths=2)
    assert drive(world.rib.redecide()) == 1
    assert len(world.group().active) == 2


def test_weight_of_the_peer_comes_first(apply) -> None:
    world = World()
    world.rib.add_peer(PeerInfo(1, "p1", world.sessions[1].peer_address, 65001, True, weight=10))
    apply(world, announce(str(NET)))
    apply(world, announce(str(NET), path=(65001, 2, 3, 4), hop="192.0.2.2"), peer=1)
    assert world.group().active == (Member(1, 2),)
    decision = lookups.explain(world.rib, NET)
    assert [(e.loser.peer, e.step) for e in decision.eliminated] == [(0, Step.WEIGHT)]


def test_a_full_prefix_table_refuses_what_is_new_and_keeps_what_it_has(apply) -> None:
    world = World(capacity=Capacity(2, 2, 100, 20))
    apply(world, announce("10.0.0.0/8", str(NET)))
    with pytest.raises(CapacityError, match="2 ipv4 prefixes are known"):
        apply(world, announce("10.1.0.0/16"))
    assert world.group() is not None
    apply(world, withdraw(str(NET)))
    assert world.group() is None


class Preferring(AcceptAll):
    """A policy that sets something, for which it needs an id of each block."""

    def __init__(self, preference: int = 200) -> None:
        self.rib: Rib | None = None
        self.changes = AttributeChanges(local_pref=preference)

    def judge_one(self, peer, family, attribute_id, hi, lo, length) -> int:
        return self.rib.attributes.derive(attribute_id, self.changes)

    def judge(self, peer, family, attribute_ids, hi, lo, length):
        return np.array([self.judge_one(peer, family, number, 0, 0, 0) for number in attribute_ids.tolist()], np.int64)


def assert_settled(rib: Rib) -> None:
    """Every row stands as the decision would have it now."""
    for tables in rib.families.values():
        for row in range(1, tables.top + 1):
            old, new = tables.settle_one(row, rib.options)
            assert old == new, tables.prefixes.prefix(row)


@pytest.mark.parametrize("add_path", [False, True])
def test_where_attribute_ids_are_short_an_update_is_taken_whole_or_not_at_all(apply, add_path) -> None:
    judge = Preferring()
    world = World(judge=judge, add_path=add_path, capacity=Capacity(50, 50, 3, 20))
    judge.rib, path_id = world.rib, 1 if add_path else None
    apply(world, announce(str(NET), path_id=path_id))
    other = build_update(
        attributes(65001, 2), nlri("10.0.0.0/8", path_id=path_id), nlri(str(NET), path_id=path_id)
    )  # its block takes the last id, and policy finds none for what it makes of it
    with pytest.raises(CapacityError, match="attribute ids are in use"):
        apply(world, other)
    assert_settled(world.rib)
    assert world.group() is not None
    assert world.counts().received == 1


@pytest.mark.parametrize("some", [False, True])
def test_where_attribute_ids_are_short_a_new_policy_leaves_no_row_undecided(some) -> None:
    judge = Preferring()
    world = World(capacity=Capacity(50, 50, 3, 20))
    judge.rib = world.rib
    world.one(announce(str(NET), path=(65001, 2)))
    world.one(announce(str(NET)), peer=1)
    world.rib.judge = judge
    covers = {V4: lambda hi, lo, length: np.ones(len(lo), np.bool_)}
    with pytest.raises(CapacityError, match="attribute ids are in use"):
        drive(world.rib.rejudge_covered([0, 1], covers) if some else world.rib.rejudge())
    assert_settled(world.rib)


def test_a_run_of_a_peer_without_session_is_refused() -> None:
    world = World()
    world.rib.add_peer(PeerInfo(5, "p5", IPv4Address("203.0.113.6"), 65001, True))
    with pytest.raises(UsageError, match="p5 has no session"):
        world.one(announce(str(NET)), peer=5)


def test_a_message_of_many_prefixes_takes_the_columns() -> None:
    world = World(capacity=Capacity(200, 2, 100, 20))
    applied = world.one(announce(*(f"10.{n}.0.0/16" for n in range(100))))
    assert sum(len(changes) for changes in applied.changes) == 100
    assert applied.changes[0].new.dtype == np.uint32


def test_no_update_is_seen_half_applied() -> None:
    world = World()
    world.rib.pieces = Pieces(Size(3, 3, 3), Size(1, 1, 1))
    run = decode_run(
        announce("10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8") + announce(str(NET)), world.sessions[0]
    )
    assert [len(changes) for changes in world.rib.apply(0, run)] == [4, 1]


def test_the_time_of_the_last_change_is_what_the_pipeline_said() -> None:
    world = World()
    world.rib.now = 77
    world.one(announce(str(NET)))
    assert lookups.paths(world.rib, NET)[0].changed_s == 77


class Caching(AcceptAll):
    """A policy that keeps the id it derived, as a compiled one does, and forgets it when told."""

    def __init__(self) -> None:
        self.rib: Rib | None = None
        self.cache: dict[int, int] = {}

    def judge_one(self, peer, family, attribute_id, hi, lo, length) -> int:
        if attribute_id not in self.cache:
            self.cache[attribute_id] = self.rib.attributes.derive(attribute_id, AttributeChanges(local_pref=7))
        return self.cache[attribute_id]

    def judge(self, peer, family, attribute_ids, hi, lo, length):
        return np.array([self.judge_one(peer, family, n, 0, 0, 0) for n in attribute_ids.tolist()], np.int64)

    def forget(self, ids) -> None:
        gone = set(ids.tolist())
        self.cache = {k: v for k, v in self.cache.items() if k not in gone and v not in gone}


@pytest.mark.parametrize("points", range(8))
def test_ids_that_a_policy_remembers_survive_a_collection_under_way(apply, points: int) -> None:
    judge = Caching()
    world = World(judge=judge)
    judge.rib = world.rib
    world.rib.attributes.on_release(judge.forget)
    apply(world, announce(str(NET)))
    apply(world, withdraw(str(NET)))
    unused = world.rib.collect()
    for _ in range(points):
        next(unused, None)
    apply(world, announce(str(NET)))
    for _ in unused:
        pass
    (path,) = lookups.paths(world.rib, NET)
    assert world.rib.attributes.get(path.effective).attributes.local_pref == 7
    assert world.rib.attributes.get(path.received).attributes.local_pref is None
    assert len(world.rib.attributes) == 2


@pytest.mark.parametrize("points", range(8))
def test_ids_of_refused_routes_survive_a_collection_under_way(apply, points: int) -> None:
    world = World(judge=RefuseAll())
    apply(world, announce(str(NET)))
    apply(world, withdraw(str(NET)))
    unused = world.rib.collect()
    for _ in range(points):
        next(unused, None)
    apply(world, announce(str(NET)))
    for _ in unused:
        pass
    (path,) = lookups.paths(world.rib, NET)
    assert world.rib.attributes.get(path.received).attributes.path_length == 1
    assert len(world.rib.attributes) == 1


@pytest.mark.parametrize("points", range(1, 8))
def test_a_new_block_under_an_old_number_inherits_nothing(monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    monkeypatch.setattr("bgpbridge.rib.collection.SLICE", 1)
    rib = World().rib
    table = rib.attributes
    kind = SessionKind(asn4=True, ebgp=True, local_as=64512)
    changes = AttributeChanges(med=1)
    table.derive(table.intern(attributes(65001), False, kind), changes)
    unused = rib.collect()
    for _ in range(points):
        next(unused, None)
    derived = table.derive(table.intern(attributes(65001, 2, 3), False, kind), changes)
    assert table.get(derived).attributes.path_length == int(table.path_length[derived]) == 3
    for _ in unused:
        pass
    assert table.get(derived).attributes.path_length == int(table.path_length[derived]) == 3


def test_beyond_the_add_path_limit_the_first_paths_stay(apply) -> None:
    world = World(add_path=True, limit=1)
    apply(world, *(announce(str(NET), path_id=n, hop=f"192.0.2.{n}") for n in (5, 4, 6)))
    assert [path.path_id for path in lookups.paths(world.rib, NET)] == [5]
    assert world.counts().refused_paths == 2

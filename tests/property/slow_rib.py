"""The Rib beside a slow one of dicts, and what both are told: announcements, withdrawals, ADD-PATH, next hops,
restarts, policy. For tests that drive them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from hypothesis import strategies as st

from bgpbridge.rib.decision import Candidate, DecisionOptions, decide
from bgpbridge.rib.groups import Group
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.next_hops import NextHop, Resolution
from bgpbridge.rib.peers import PeerInfo
from bgpbridge.types import AttributeChanges, Family, Prefix, Session
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import build_update
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.update import decode_update

__all__ = ["DEAD", "KEEP", "LOAD", "OPTIONS", "PEER", "PEERS", "PREFIXES", "SAID", "SESSIONS", "Both"]

OUR_AS = 64512
PREFIXES = [
    *(
        Prefix.parse(t)
        for t in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.128/25", "10.1.2.3/32")
    ),
    *(Prefix.parse(t) for t in ("::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1/128")),
]
HOPS4 = [IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3)]
HOPS6 = [IPv6Address(f"2001:db8:ffff::{n}") for n in (1, 2, 3)]
PEERS = [(0, 65001, True, False), (1, 65002, True, True), (2, OUR_AS, False, False), (3, 65001, True, False)]


def session_of(index: int) -> Session:
    _, asn, _, add_path = PEERS[index]
    return Session(
        peer=index,
        local_as=OUR_AS,
        peer_as=asn,
        local_address=IPv4Address("203.0.113.1"),
        peer_address=IPv4Address(f"203.0.113.{10 + index}"),
        router_id=IPv4Address(f"1.1.1.{index + 1}"),
        families=frozenset(Family),
        add_path=frozenset(Family) if add_path else frozenset(),
        enforce_first_as=False,
    )


SESSIONS = [session_of(index) for index in range(len(PEERS))]


@dataclass(frozen=True)
class Said:
    """One UPDATE of one family, before it is octets."""

    announce: tuple[tuple[int, int], ...]  # (prefix, path id)
    withdraw: tuple[tuple[int, int], ...]
    path: tuple[int, ...]
    hop: int
    med: int | None
    local_pref: int
    bad: bool

    def messages(self, session: Session) -> list[bytes]:
        out = []
        for family in Family:
            announce = [(PREFIXES[p], i) for p, i in self.announce if PREFIXES[p].family is family]
            withdraw = [(PREFIXES[p], i) for p, i in self.withdraw if PREFIXES[p].family is family]
            if announce or withdraw:
                out.append(self._message(family, session, announce, withdraw))
        return out

    def _message(self, family, session, announce, withdraw) -> bytes:
        come, gone = nlri(announce, session), nlri(withdraw, session)
        attributes = encode_attribute(1, bytes([9 if self.bad else 0]))
        path = b"".join(asn.to_bytes(4, "big") for asn in self.path)
        attributes += encode_attribute(2, bytes([2, len(self.path)]) + path)
        if self.med is not None:
            attributes += encode_attribute(4, self.med.to_bytes(4, "big"))
        if not session.ebgp:
            attributes += encode_attribute(5, self.local_pref.to_bytes(4, "big"))
        if family is Family.IPV4:
            attributes += encode_attribute(3, HOPS4[self.hop].packed)
            return build_update(attributes if come else b"", come, gone)
        if come:
            hop = HOPS6[self.hop].packed
            attributes += encode_attribute(14, b"\0\2\1" + bytes([16]) + hop + b"\0" + come)
        else:
            attributes = b""
        if gone:
            attributes += encode_attribute(15, b"\0\2\1" + gone)
        return build_update(attributes)


def nlri(paths, session: Session) -> bytes:
    out = b""
    for prefix, path_id in paths:
        if prefix.family in session.add_path:
            out += path_id.to_bytes(4, "big")
        out += bytes([prefix.length]) + prefix.octets[: (prefix.length + 7) // 8]
    return out


class Picky:
    """Refuses, and prefers, by prefix length and AS path; `mood` 0 accepts everything as it is."""

    def __init__(self, mood: int) -> None:
        self.mood = mood
        self.rib: Rib | None = None

    def wants(self, peer: int, length: int, a: PathAttributes) -> AttributeChanges | None:
        if self.mood == 1 and length % 8:
            return None
        if self.mood == 2 and len(a.as_path) and a.as_path[0].asns[-1] == 3:
            return AttributeChanges(local_pref=300, weight=5)
        if self.mood == 3 and peer == 0:
            return AttributeChanges(prepend=(65009, 2), next_hop=HOPS4[2])
        return AttributeChanges()

    def judge(self, peer, family, attribute_ids, hi, lo, length):
        return np.array(
            [
                self.judge_one(peer, family, n, 0, 0, k)
                for n, k in zip(attribute_ids.tolist(), length.tolist(), strict=True)
            ],
            np.int64,
        )

    def judge_one(self, peer, family, attribute_id, hi, lo, length):
        attributes = self.rib.attributes.get(attribute_id).attributes
        changes = self.wants(peer, length, attributes)
        return 0 if changes is None else self.rib.attributes.derive(attribute_id, changes)


@dataclass
class Slow:
    """A RIB of dicts. Peers are independent, so a peer's messages may come whenever they are done."""

    options: DecisionOptions
    routes: list[dict] = field(default_factory=lambda: [{} for _ in PEERS])  # (prefix, path id) -> attributes
    stale: list[set] = field(default_factory=lambda: [set() for _ in PEERS])
    dead: set = field(default_factory=set)
    judge: Picky = field(default_factory=lambda: Picky(0))

    def apply(self, peer: int, message: bytes) -> None:
        update = decode_update(message, SESSIONS[peer])
        for key in update.withdrawn:
            self.routes[peer].pop(key, None)
            self.stale[peer].discard(key)
        for route in update.announced:
            self.routes[peer][route.prefix, route.path_id] = route.attributes
            self.stale[peer].discard((route.prefix, route.path_id))

    def forget(self, peer: int, keys) -> None:
        for key in list(keys):
            self.routes[peer].pop(key, None)
            self.stale[peer].discard(key)

    def down(self, peer: int, keep: frozenset) -> None:
        gone = {key for key in self.routes[peer] if key[0].family not in keep or key in self.stale[peer]}
        self.forget(peer, gone)
        self.stale[peer] = set(self.routes[peer])

    def best(self, prefix: Prefix):
        found = []
        for peer, routes in enumerate(self.routes):
            for (known, path_id), attributes in routes.items():
                changes = self.judge.wants(peer, prefix.length, attributes) if known == prefix else None
                if changes is not None:
                    found.append(self.candidate(peer, path_id, attributes, changes))
        return decide(found, self.options)

    def candidate(self, peer, path_id, a, changes) -> Candidate:
        hop = changes.next_hop or a.next_hop
        prepend = changes.prepend or (0, 0)
        return Candidate(
            peer=peer,
            path_id=path_id,
            next_hop=hop,
            reachable=hop not in self.dead,
            weight=changes.weight or 0,
            local_pref=changes.local_pref or (100 if a.local_pref is None else a.local_pref),
            path_length=a.path_length + prepend[1],
            origin=a.origin,
            med=a.med,
            neighbor_as=prepend[0] or a.neighbor_as,
            ebgp=SESSIONS[peer].ebgp,
            router_id=int(SESSIONS[peer].router_id),
            peer_order=peer,
            as_path=(prepend, a.as_path),
        )


class Both:
    """The Rib and the slow one, fed alike, with the Changes replayed as a FIB would."""

    def __init__(self, options: DecisionOptions) -> None:
        self.slow = Slow(options)
        self.rib = Rib(options, Picky(0), resolve=self.resolve, capacity=Capacity(100, 100, 500, 50))
        self.rib.judge.rib = self.rib
        self.fib: dict[Prefix, int] = {}
        for index, asn, ebgp, _ in PEERS:
            address = SESSIONS[index].peer_address
            self.rib.add_peer(PeerInfo(index, f"p{index}", address, asn, ebgp, add_path_limit=8))
            self.rib.session_up(SESSIONS[index])

    def resolve(self, hop: NextHop) -> Resolution:
        return Resolution(hop.address not in self.slow.dead)

    def take(self, changes) -> None:
        for prefix, old, new in changes:
            assert self.fib.get(prefix, 0) == old
            assert new == 0 or new in self.rib.groups
            self.fib[prefix] = new

    def one(self, peer: int, message: bytes) -> None:
        self.slow.apply(peer, message)
        for changes in self.rib.apply_one(peer, message).changes:
            self.take(changes)

    def run(self, peer: int, messages: list[bytes]) -> Iterator:
        for message in messages:
            self.slow.apply(peer, message)
        if messages:
            yield from self.rib.apply(peer, decode_run(b"".join(messages), SESSIONS[peer]))

    def drive(self, work) -> None:
        for changes in work:
            if not isinstance(changes, int):
                self.take(changes)

    def set_hops(self, dead: set) -> Iterator:
        self.slow.dead = dead
        table = self.rib.next_hops
        changed = [n for n in table.ids() if table.set(n, Resolution(table[n].address not in dead))]
        yield from self.rib.next_hops_changed(changed)

    def policy(self, mood: int) -> Iterator:
        self.slow.judge = self.rib.judge = Picky(mood)
        self.rib.judge.rib = self.rib
        yield from self.rib.rejudge()

    def group(self, number: int) -> tuple:
        if not number:
            return (), ()
        group: Group = self.rib.groups[number]
        hops = self.rib.next_hops
        active, backup = ([(m.peer, hops[m.next_hop].address) for m in part] for part in group)
        return tuple(active), tuple(backup)

    def check(self) -> None:
        for prefix in PREFIXES:
            want = self.slow.best(prefix)
            active = tuple((c.peer, c.next_hop) for c in want.multipath)
            backup = tuple((c.peer, c.next_hop) for c in want.backups)
            assert self.group(self.fib.get(prefix, 0)) == (active, backup), prefix
        for family, tables in self.rib.families.items():
            for peer, state in enumerate(self.slow.routes):
                keys = [key for key in state if key[0].family is family]
                counts = self.rib.counts(peer)[family]
                assert counts.received == len(keys)
                assert counts.stale == len(self.slow.stale[peer] & set(keys))
            used = np.bincount(tables.group[1 : tables.top + 1], minlength=self.rib.groups.limit + 1)
            tables.used = used
            bests = [int(tables.best[row]) for row in range(1, tables.top + 1)]
            for peer in range(len(PEERS)):
                own = {s.plane.slot for s in tables.sources if s.peer == peer}
                assert self.rib.counts(peer)[family].best == sum(slot in own for slot in bests)
            assert tables.routes == sum(int(g) != 0 for g in tables.group[1 : tables.top + 1])
        total = sum(tables.used for tables in self.rib.families.values())
        assert (self.rib.groups.refs[1:] == total[1:]).all()


PAIR = st.tuples(st.sampled_from([0, 3, 3, 5, 5, *range(len(PREFIXES))]), st.sampled_from([0, 0, 1, 2]))


def said(*, least: int) -> st.SearchStrategy[Said]:
    """UPDATEs of at least so many announcements."""
    return st.builds(
        Said,
        announce=st.lists(PAIR, min_size=least, max_size=5, unique=True).map(tuple),
        withdraw=st.lists(PAIR, max_size=2).map(tuple),
        path=st.sampled_from([(65001,), (65001, 3), (65002, 3), (65002, 4), (65001, 3, 4)]),
        hop=st.integers(0, 2),
        med=st.sampled_from([None, None, 1, 2]),
        local_pref=st.sampled_from([100, 200]),
        bad=st.sampled_from([False] * 9 + [True]),
    )


SAID = said(least=0)
LOAD = said(least=3)
PEER = st.integers(0, len(PEERS) - 1)
DEAD = st.sets(st.sampled_from([*HOPS4, *HOPS6]), max_size=3)
KEEP = st.sampled_from([frozenset(), frozenset(Family), frozenset(Family), frozenset({Family.IPV4})])
OPTIONS = st.builds(
    DecisionOptions, ebgp_paths=st.sampled_from([1, 3]), relax=st.booleans(), backups=st.sampled_from([0, 2])
)

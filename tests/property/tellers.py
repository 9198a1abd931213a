"""Bridges that are told what peers say: plainly, UPDATE by UPDATE without a short way, each step to its end before the
next; or by the real lanes and the pump that serves them, in runs cut anywhere, with what comes next by other lanes in
between the pieces, with rehearsals, and with jobs left half done."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.feed.frames import DownReason, RefreshKind, SessionDown, Updates
from bgpbridge.fib.observed import TABLE_MAIN, ForeignRoute, NeighbourState, RouteType
from bgpbridge.pipeline.peers import Phase
from bgpbridge.rib import lookups
from bgpbridge.rib.groups import BLACKHOLE, LIMIT
from bgpbridge.rib.next_hops import Hop
from bgpbridge.rpki.vrps import Vrp, VrpTable
from bgpbridge.types import Family, Prefix
from bgpbridge.view.explain import losses, policy_of
from bgpbridge.view.routes import route_view
from tests.property.pumped import PumpedWorld
from tests.property.streams import Word
from tests.unit.pipeline.conftest import ETH1, ETH2, World, end_of_rib, refresh

__all__ = [
    "DECISIONS",
    "ENDS",
    "NAMES",
    "NEIGHBOURS",
    "OLDEST",
    "OVERRIDES",
    "ROLES",
    "ROUTES",
    "TERMS",
    "VRPS",
    "Action",
    "Teller",
    "same",
    "two",
]

NAMES = "abcdi"
SESSIONS: dict[str, dict[str, Any]] = {"b": {"add_path": frozenset(Family)}, "c": {"asn4": False}}
KEYS = {"b": ", add_path: [ipv4, ipv6]", "c": ", role: provider"}
ROLES = ("", ", role: peer", ", role: provider", ", role: customer")  # what we are to peer d
NEIGHBOURS = [
    *(("10.0.1.2", ETH1), ("10.0.2.2", ETH2), ("2001:db8:1::2", ETH1)),
    *(("2001:db8:2::2", ETH2), ("fe80::77", ETH1), ("fe80::77", ETH2)),
]
ENDS = [
    (DownReason.TCP_CLOSED, True),
    (DownReason.TCP_CLOSED, False),
    (DownReason.HOLD_TIMER, False),
    (DownReason.SPEAKER_DIED, True),
]
REST = "{term: rest, then: accept}"
TERMS = (
    [REST],
    [
        "{term: long, match: {prefix_length: {ge: 25}, family: ipv4}, then: reject, reason: too long}",
        "{term: low, match: {path_contains: 64701}, set: {local_pref: 50}, then: accept}",
        REST,
    ],
    [
        "{term: tagged, match: {community: '65000:1'}, set: {weight: 7, communities: {add: ['65000:9']}}, then: next}",
        "{term: short, match: {path_length: {le: 1}}, set: {med: 3}, then: accept}",
        "{term: one, match: {peer: a, prefix: 203.0.113.0/24 or-longer}, then: reject, reason: not by a}",
        REST,
    ],
    [
        "{term: long, match: {peer: d}, set: {prepend: {asn: 65009, times: 2}}, then: next}",
        "{term: moved, match: {peer: d, family: ipv4}, set: {next_hop: 10.0.2.2}, then: next}",
        "{term: known, match: {origin_as: [64700, 64701]}, then: accept}",
    ],
    [
        "{term: forged, match: {rpki: invalid}, then: reject, reason: RPKI}",
        "{term: proven, match: {rpki: valid}, set: {local_pref: 120}, then: accept}",
        "{term: unknown, match: {rpki: not-found, peer: [a, d]}, set: {med: 7}, then: next}",
        REST,
    ],
)
VRPS = tuple(
    VrpTable.of(Vrp(Prefix.parse(text), longest, asn) for text, longest, asn in vrps)
    for vrps in (
        [],
        [("203.0.113.0/24", 24, 64700), ("203.0.113.0/24", 32, 64701), ("2001:db8:9::/48", 128, 70000)],
        [("0.0.0.0/0", 32, 65001), ("203.0.113.128/25", 25, 0), ("2001:db8::/32", 48, 64701), ("::/0", 0, 65000)],
        [("192.0.2.66/32", 32, 70000), ("198.18.0.0/15", 15, 65003), ("203.0.113.0/24", 25, 65000)],
    )
)
OVERRIDES = (
    [],
    ["prefix: 203.0.113.0/24, pin: {peer: b}", "prefix: '::/0 or-longer', reject: {peer: a}"],
    ["prefix: 203.0.113.0/24 or-longer, blackhole: true"],
    [
        "prefix: 0.0.0.0/0 or-longer, prefer: {peer: c, local_pref: 300}",
        "prefix: 203.0.113.128/25, pin: {group: both}",
    ],
)
OLDEST = ("{prefer_oldest: true}", "{prefer_oldest: true, multipath: {ebgp: 2}}", "{prefer_oldest: true, backups: 0}")
DECISIONS = (
    *("{}", "{multipath: {ebgp: 3, ibgp: 2, relax: true}}", "{backups: 0, med: always}", "{missing_med: worst}"),
    *OLDEST,
)


def foreign(text: str, metric: int, kind: RouteType, *hops: Hop) -> ForeignRoute:
    return ForeignRoute(Prefix.parse(text), TABLE_MAIN, 4, metric, kind, hops)


ROUTES = (  # of others, by which next hops come, go, move and cost more or less
    foreign("10.0.9.9/32", 5, RouteType.UNICAST, Hop(None, ETH1)),
    foreign("10.0.9.8/29", 20, RouteType.UNICAST, Hop(ip_address("10.0.1.3"), ETH1)),
    foreign("10.0.9.8/29", 10, RouteType.UNREACHABLE),
    foreign("10.0.1.2/32", 30, RouteType.UNICAST, Hop(ip_address("10.0.2.2"), ETH2)),
    foreign("2001:db8:f9::9/128", 7, RouteType.UNICAST, Hop(ip_address("2001:db8:2::2"), ETH2)),
    foreign("2001:db8:1::2/128", 9, RouteType.BLACKHOLE),
)
TOLD = {"session-up", "session-down", "session-reset", "end-of-rib", "family-disabled", "stale-expired", "prefix-limit"}
SPEAKER_DIED = SessionDown(DownReason.SPEAKER_DIED, text="the speaker process ended", graceful=True)
BY_LANE = {"up", "down", "broken", "ended", "end", "refresh"}
Action = tuple[Any, ...]


class Teller:
    """A bridge, and who tells it. `cuts` False: the plain way."""

    def __init__(self, folder: Path, keys: dict[str, str], *, cut: bool) -> None:
        folder.mkdir(exist_ok=True)
        self.cut = cut
        self.peers = {name: KEYS.get(name, "") + ", import: p" + keys.get(name, "") for name in NAMES}
        self.policy, self.overrides, self.decision = 0, 0, 0
        self.interrupted: set[str] = set()  # whose runs may have ended early: what was left of them is not counted
        self.uncounted = False  # paths that an ADD-PATH limit refused
        self.patient = False  # jobs are never left half done; what is decided depends on what was best before
        self.folder = folder
        self._write()
        self.world: World = (PumpedWorld if cut else World)(folder, self.peers, policies="[p.yaml]")
        if not cut:
            self.world.bridge.rib.apply_plain = lambda _peer, _message: None  # type: ignore[method-assign]
        for plane in (self.world.xdp, self.world.kernel):
            plane.groups[BLACKHOLE] = []
        for address, ifindex in NEIGHBOURS:
            self.world.neighbour(address, ifindex)
        self.far(present=True)
        for name in NAMES:
            self.up(name, forwarding=False)
        self._ids = self.world.bridge.rib.groups._free

    def _write(self) -> None:
        terms = ",\n  ".join(TERMS[self.policy])
        overrides = ", ".join(f"{{{one}, owner: noc, reason: test}}" for one in OVERRIDES[self.overrides])
        text = f"policies: {{p: {{terms: [{terms}]}}}}\noverrides: [{overrides}]\n"
        (self.folder / "p.yaml").write_text("sets: {next_hop_groups: {both: [a, 10.0.2.2]}}\n" + text)

    # -- what can happen ------------------------------------------------------------------------------

    def up(self, name: str, forwarding: bool) -> None:
        if self.world.peer(name).session is None:
            self.world.up(name, forwarding=forwarding, **SESSIONS.get(name, {}))

    def down(self, name: str, end: tuple[DownReason, bool]) -> None:
        if self.world.peer(name).session is not None:
            self.world.down(name, end[0], graceful=end[1])

    def broken(self, name: str) -> None:
        """BFD ends the session, be it in the midst of a run, and then the speaker says so."""
        self.interrupted.add(name)
        with self.world.running():
            self.world.bridge.sessions.bfd_down(self.world.peer(name), "a test")

    def ended(self, name: str) -> None:
        """What the speaker says."""
        self.down(name, (DownReason.NOTIFICATION_SENT, False))

    def died(self) -> None:
        """The speaker, and all sessions with it."""
        if isinstance(self.world, PumpedWorld):
            self.world.speaker_dies()
            return
        for name in self.peers:
            if self.world.peer(name).session is not None:
                self.world.tell(name, SPEAKER_DIED)

    def end(self, name: str, family: Family) -> None:
        self.world.says(name, end_of_rib(family))

    def refresh(self, name: str, family: Family, kind: RefreshKind) -> None:
        self.world.tell(name, refresh(kind, family))

    def reload(self, what: str, number: int) -> None:
        if what == "weight":
            self.peers["a"] = f", import: p, weight: {number}"
        elif what == "role":
            self.peers |= {"d": f", import: p{ROLES[number]}"} if "d" in self.peers else {}
        else:
            setattr(self, what, number)
        self._reload()

    def _reload(self) -> None:
        self._write()
        self.world.reload(self.peers, policies="[p.yaml]", decision=DECISIONS[self.decision])

    def link(self, ifindex: int, up: bool) -> None:
        self.world.link(ifindex, up=up)

    def neighbour(self, which: int, answers: bool) -> None:
        self.world.neighbour(*NEIGHBOURS[which], NeighbourState.REACHABLE if answers else NeighbourState.FAILED)

    def far(self, present: bool) -> None:
        """The routes to the next hops that are far away."""
        with self.world.running():
            self.world.connected("10.0.9.0/24", ETH2, present=present)
            self.world.connected("2001:db8:f9::/48", ETH1, present=present)

    def route(self, which: int, present: bool) -> None:
        """One of somebody else."""
        with self.world.running():
            self.world.state.route(ROUTES[which], present=present)

    def vrps(self, which: int) -> None:
        """What RPKI says from now on."""
        rpki, table = self.world.bridge.rpki, VRPS[which]
        changed = {family: table.changed_since(rpki.table, family) for family in Family}
        with self.world.running():
            rpki._take(table, changed, ["test"])

    def house(self) -> None:
        self.world.house()

    def collect(self) -> None:
        bridge = self.world.bridge
        bridge.work.add(
            Cause(CauseKind.REPAIR, detail="collection"), bridge.rib.collect(), bridge.housekeeping.collected
        )

    def short(self, groups: int) -> None:
        """So many group ids are left."""
        self._ids.limit = max(self._ids._next - 1, self._ids._next - 1 + groups - len(self._ids._freed))

    def narrow(self, what: str, room: int) -> None:
        """So many prefixes or attribute ids more, of each."""
        rib = self.world.bridge.rib
        if what == "attributes":
            rib.attributes.pool.capacity = rib.attributes.pool.top + room
            return
        for family, tables in rib.families.items():
            rib.allow(family, tables.top + room)

    def widen(self) -> None:
        """The end of that."""
        rib = self.world.bridge.rib
        rib.attributes.pool.capacity = 10_000
        for family in Family:
            rib.allow(family, 1024)

    def count(self, name: str, family: Family, of: str) -> int:
        """Routes of a peer, `received` or `accepted`."""
        found: int = getattr(self.world.bridge.rib.counts(self.world.peer(name).index)[family], of)
        return found

    def enough(self) -> None:
        """As many as there mostly are: what had to be left undone is done."""
        self._ids.limit = LIMIT
        with self.world.running():
            self.world.bridge.housekeeping._decide_again(freed=True)
        self.world.finish()

    def roster(self, name: str, present: bool) -> None:
        """A peer is configured no longer, or again."""
        if present == (name in self.peers):
            return
        if present:
            self.peers[name] = KEYS.get(name, "") + ", import: p"
            self._reload()
            return
        index = self.world.peer(name).index
        del self.peers[name]
        self._reload()
        if isinstance(self.world, PumpedWorld):
            self.world.speaker_drops(index)

    def wait(self, seconds: float) -> None:
        self.world.finish()
        self.world.wait(seconds)

    # -- how it is told ---------------------------------------------------------------------------------

    def tell(self, actions: list[Action]) -> None:
        """All of it."""
        left = deque(actions)
        while left:
            kind, *arguments = left.popleft()
            if kind == "says":
                self._says(*arguments, left)
            elif kind == "work":
                for _ in range(arguments[0] if self.cut else 0):
                    self.world.step()
            else:
                self._do(kind, *arguments)
            if not self.cut or self.patient:
                self.world.finish()

    def _do(self, kind: str, *arguments: Any) -> None:
        if kind in BY_LANE and arguments[0] not in self.peers:
            return
        getattr(self, kind)(*arguments)

    def _says(self, name: str, said: list[Word], cuts: list[tuple[bool, int]], between: list[int], left: deque) -> None:
        messages = self._octets(name, said)
        points = iter(between)
        for columns, size in [*cuts, (True, len(messages))] if self.cut else [(False, 1)] * len(messages):
            piece, messages = messages[:size], messages[size:]
            if name not in self.peers:
                return
            if not piece:
                continue
            if not isinstance(self.world, PumpedWorld):
                self.world.tell(name, Updates(*piece))
            elif columns:
                self._run(self.world, name, piece, points, left)
            else:
                self.world.tell_together(name, piece)

    def _run(self, world: PumpedWorld, name: str, piece: list[bytes], points: Iterator[int], left: deque) -> None:
        """A run; between its pieces what comes next, as far as it comes by another lane or by none."""
        for _ in world.run(name, piece):
            for _ in range(next(points, 0)):
                if not left or not may_come_amid(name, left[0]):
                    break
                kind, *arguments = left.popleft()
                if kind == "says":
                    for octets in self._octets(*arguments[:2]):
                        world.tell(arguments[0], Updates(octets))
                else:
                    self._do(kind, *arguments)

    def _octets(self, name: str, said: list[Word]) -> list[bytes]:
        if name not in self.peers:
            return []
        session = self.world.session(name, **SESSIONS.get(name, {}))
        return [octets for word in said for octets in word.octets(session)]

    def revive(self) -> None:
        """Sessions that errors have ended come back."""
        for name in self.peers:
            if self.world.peer(name).phase is Phase.RESETTING:
                self.down(name, (DownReason.NOTIFICATION_SENT, False))
                self.world.finish()
                self.up(name, forwarding=False)

    # -- what comes of it -------------------------------------------------------------------------------

    def outcome(self) -> dict[str, Any]:
        """All that there is to say of a bridge, without its own numbers."""
        self.world.finish()
        self.enough()
        self.world.assert_in_step()
        if not self.patient:
            self.settled()
        bridge = self.world.bridge
        found: dict[str, Any] = {}
        for tables in bridge.rib.families.values():
            for row in range(1, tables.top + 1):
                prefix = tables.prefixes.prefix(row)
                if any(source.plane.raw[row] for source in tables.sources):
                    found[str(prefix)] = self._of(prefix), self._group(int(tables.group[row]))
        for prefix, group in self.world.xdp.routes.items():
            found[f"ways of {prefix}"] = self._ways(group)
        for peer in bridge.peers:
            counts = {f.label: c for f, c in bridge.rib.counts(peer.index).items()}
            if self.uncounted:
                counts = {label: c._replace(refused_paths=0) for label, c in counts.items()}
            ends = peer.end_of_rib if peer.session is not None else None
            found[peer.name] = counts, peer.phase, peer.families, ends, peer.refreshing, peer.complete
            if peer.name not in self.interrupted:
                found[f"{peer.name} sent"] = peer.updates, peer.findings
                mine = [e for e in bridge.events.tail(4000) if e.kind in TOLD and e.subject == peer.name]
                found[f"{peer.name} events"] = Counter((e.kind, e.text) for e in mine)
        return found

    def settled(self) -> None:
        """Every row stands as the decision would have it now."""
        rib = self.world.bridge.rib
        for tables in rib.families.values():
            for row in range(1, tables.top + 1):
                old, new = tables.settle_one(row, rib.options)
                assert old == new, f"{tables.prefixes.prefix(row)} was left undecided"

    def _of(self, prefix: Any) -> Any:
        bridge = self.world.bridge
        paths = []
        for path in lookups.paths(bridge.rib, prefix):
            seen, policy = route_view(bridge, path), policy_of(bridge, path)
            block = bridge.rib.attributes.block(path.received)
            reason = seen.reason.replace(str(self.folder), "")
            told = seen.status, seen.stale, seen.next_hop, seen.attributes, reason
            by = policy and (policy.accepted, policy.term, policy.reason, policy.place.rpartition("/")[2])
            paths.append((seen.peer, seen.path_id, block, told, by))
        lost = losses(bridge, lookups.explain(bridge.rib, prefix))
        return sorted(paths, key=lambda p: p[:2]), sorted((x.peer, x.path_id, x.step, x.winner) for x in lost)

    def _group(self, number: int) -> Any:
        rib, name = self.world.bridge.rib, self.world.bridge.peers.name
        if number in {0, BLACKHOLE}:
            return number
        group, hops = rib.groups[number], rib.next_hops
        return [[(name(m.peer), hops[m.next_hop], m.weight) for m in part] for part in (group.active, group.backup)]

    def _ways(self, group: int) -> Any:
        """What packets meet: adjacencies with their shares, and the kernel's hops."""
        get = self.world.bridge.adjacencies.get
        slots = [(get(number), weight) for number, weight in self.world.xdp.groups[group]]
        return (
            sorted((str(seen.gateway), seen.link, seen.up, weight) for seen, weight in slots if seen is not None),
            sorted((str(hop.gateway), hop.ifindex, hop.weight) for hop in self.world.kernel.groups[group]),
        )


def may_come_amid(name: str, action: Action) -> bool:
    """Whether that can happen between the pieces of a run of `name`: not what its own lane holds behind the run."""
    kind, *arguments = action
    return kind in {"broken", "roster"} or (kind not in {"wait", "work", "died"} and name not in arguments[:1])


@contextmanager
def two(folder: Path, keys: dict[str, str] | None = None) -> Iterator[tuple[Teller, Teller]]:
    """One that is told plainly, one that is told in cuts. `keys` of the configuration by peer."""
    plain, cut = Teller(folder / "plain", keys or {}, cut=False), Teller(folder / "cut", keys or {}, cut=True)
    try:
        yield plain, cut
    finally:
        plain.world.close()
        cut.world.close()


def same(plain: Teller, cut: Teller) -> None:
    """Nobody can tell which is which."""
    one, other = plain.outcome(), cut.outcome()
    for key in sorted(one.keys() | other.keys()):
        assert one.get(key) == other.get(key), key

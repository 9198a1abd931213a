"""MRT records into a RIB of their own: what a recorded feed, or a dumped table, comes to under our decoder, policies
and decision. Nothing is forwarded and nobody is asked: every next hop counts as reachable.

A peer is an address and an AS number. Its session carries what its records say (four-octet AS numbers, path ids);
OPENs and state changes are followed, where a file has none a session begins with the first UPDATE. An UPDATE that would
reset the session is counted and left out, for what the peer would then send again is in no file. UPDATEs of a peer are
gathered and applied as one run; `changed` of a route is the time of the run's last record.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections import Counter
from collections.abc import Iterable

from bgpbridge.config import Config, Peer
from bgpbridge.errors import UsageError, WireError
from bgpbridge.pipeline.replay_peers import ReplayPeer, ReplayPeers
from bgpbridge.pipeline.rib_settings import decision_options
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import ACCEPT, PeerContext
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import PeerInfo
from bgpbridge.types import Family, IPAddress, Session, Verdict
from bgpbridge.wire.bulk import Batch, decode_run
from bgpbridge.wire.bulk_dump import batch_of_entries
from bgpbridge.wire.message import MAXIMUM_EXTENDED, MessageType, header_problem
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, PeerTable, Record, RibRecord, StateChange
from bgpbridge.wire.opening import RefreshKind, parse_open, parse_route_refresh
from bgpbridge.wire.verdicts import Finding

__all__ = ["Replay"]

RUN_OCTETS = 256 << 10
RUN_ENTRIES = 8192
ESTABLISHED = 6
UNSPECIFIED = ipaddress.IPv4Address(0)


class Replay:
    """`take` every record, then `finish`. A configured peer has its name, weight and policy; all others go by
    `policy`, or are accepted. Raises CapacityError, and UsageError for a policy that the configuration lacks."""

    def __init__(self, config: Config | None = None, policy: str = ACCEPT) -> None:
        self.config = config
        self.policy = policy
        policies = config.policy_set if config is not None else None
        if policy != ACCEPT and policy not in (policies.policies if policies is not None else {}):
            named = ", ".join(policies.policies) if policies is not None else ""
            raise UsageError(f"there is no policy {policy}", mend=f"policies are: {named or 'none; give -c FILE'}")
        self.judge = PolicyJudge(policies)
        self.rib = _rib(config, self.judge)
        self.judge.attach(self.rib.attributes)
        self.records: Counter[str] = Counter()
        self.octets = 0
        self.began_s = self.now_s = 0.0
        self.peers = ReplayPeers()
        self._table: list[ReplayPeer] = []
        self._by_second = self.rib.options.prefer_oldest  # then a route's age counts, and runs must not blur it

    def take(self, record: Record) -> None:
        """The next record of the file."""
        self.records[type(record).__name__] += 1
        if self._by_second and int(record.time_s) != int(self.now_s):
            self.finish()
        self.began_s = self.began_s or record.time_s
        self.now_s = record.time_s
        match record:
            case MessageRecord():
                self._message(record)
            case StateChange() if ESTABLISHED in {record.old, record.new}:
                self._down(self._peer_of(record.peer), count=record.old == ESTABLISHED)
            case PeerTable():
                self._table = [self._peer(p.address, p.asn, p.router_id) for p in record.peers]
            case RibRecord():
                self._routes(record)

    def finish(self) -> None:
        """Apply what waits."""
        for peer in self.peers:
            self._flush(peer)

    # -- messages -------------------------------------------------------------------------------------

    def _message(self, record: MessageRecord) -> None:
        peer, message = self._peer_of(record.peer), record.message
        if len(message) < 19 or header_problem(message, 0, MAXIMUM_EXTENDED) or _length(message) != len(message):
            peer.findings[Finding(Verdict.SESSION_RESET, 0, "header: length", (1, 2))] += 1
        elif message[18] == MessageType.NOTIFICATION:
            self._down(peer, count=peer.up)
        elif record.local:
            return
        elif message[18] == MessageType.UPDATE:
            self._update(peer, record)
        elif message[18] == MessageType.OPEN:
            self._open(peer, message)
        elif message[18] == MessageType.ROUTE_REFRESH:
            self._refresh(peer, message)

    def _update(self, peer: ReplayPeer, record: MessageRecord) -> None:
        add_path = frozenset(Family) if record.add_path else frozenset[Family]()
        if (peer.session.asn4, peer.session.add_path) != (record.asn4, add_path):
            self._flush(peer)
            peer.session = dataclasses.replace(peer.session, asn4=record.asn4, add_path=add_path)
            peer.up = False
        if peer.entries:
            self._flush(peer)
        self._begin(peer)
        peer.waiting.append(record.message)
        peer.updates += 1
        peer.octets += len(record.message)
        self.octets += len(record.message)
        if peer.octets >= RUN_OCTETS:
            self._flush(peer)

    def _begin(self, peer: ReplayPeer) -> None:
        if not peer.up:
            peer.up = True
            self.rib.session_up(peer.session)

    def _flush(self, peer: ReplayPeer) -> None:
        """What waits of a peer, in columns; again from behind each UPDATE that would reset the session."""
        self.rib.now = int(self.now_s)
        waiting, peer.waiting, peer.octets = peer.waiting, [], 0
        while waiting:
            batch = decode_run(b"".join(waiting), peer.session)
            self._apply(peer, batch)
            peer.findings.update(finding for _, finding in batch.findings)
            for _, finding in batch.findings:
                if finding.verdict is Verdict.AFI_SAFI_DISABLE and finding.family is not None:
                    self._disable(peer, finding.family)
            waiting = waiting[batch.messages + 1 :] if batch.verdict is Verdict.SESSION_RESET else []
        for family, entries in peer.entries.items():
            self._apply(peer, batch_of_entries(family, entries))
        peer.entries.clear()

    def _apply(self, peer: ReplayPeer, batch: Batch) -> None:
        _drive(self.rib.apply(peer.index, batch))
        for finding, times in self.rib.take_findings(peer.index):
            peer.findings[finding] += times

    def _disable(self, peer: ReplayPeer, family: Family) -> None:
        """RFC 7606 s2 "AFI/SAFI disable": nothing more of the family until the session begins anew."""
        peer.session = dataclasses.replace(peer.session, families=peer.session.families - {family})
        self.rib.session_up(peer.session)
        _drive(self.rib.drop_peer(peer.index, (family,)))

    def _open(self, peer: ReplayPeer, message: bytes) -> None:
        try:
            router_id = parse_open(message).router_id
        except WireError:
            return  # who replays wants the routes; the session came up all the same
        peer.session = dataclasses.replace(peer.session, router_id=router_id)
        peer.up = False

    def _refresh(self, peer: ReplayPeer, message: bytes) -> None:
        """RFC 7313 s4: what is not sent again between BoRR and EoRR is gone."""
        self._flush(peer)
        try:
            refresh = parse_route_refresh(message)
        except WireError:
            peer.findings[Finding(Verdict.SESSION_RESET, 0, "route refresh: length", (7, 1))] += 1
            return
        if refresh.family is not None and refresh.kind is RefreshKind.BEGIN:
            self.rib.mark_stale(peer.index, refresh.family)
        elif refresh.family is not None and refresh.kind is RefreshKind.END:
            _drive(self.rib.sweep_stale(peer.index, refresh.family))

    def _down(self, peer: ReplayPeer, *, count: bool) -> None:
        """A session ended, or one began whose end is in no record: the peer has no routes now."""
        self._flush(peer)
        _drive(self.rib.session_down(peer.index))
        peer.lost += count
        peer.up = False
        peer.session = dataclasses.replace(peer.session, families=frozenset(Family))

    # -- table dumps ----------------------------------------------------------------------------------

    def _routes(self, record: RibRecord) -> None:
        for entry in record.entries:
            if entry.peer >= len(self._table):
                raise WireError(
                    f"the record of {record.prefix} speaks of peer {entry.peer}; its table has {len(self._table)}",
                    mend="the PEER_INDEX_TABLE of this dump is missing or of another dump",
                )
            peer = self._table[entry.peer]
            family = record.prefix.family
            if peer.waiting:
                self._flush(peer)
            if entry.path_id and family not in peer.session.add_path:
                self._flush(peer)
                peer.session = dataclasses.replace(peer.session, add_path=peer.session.add_path | {family})
                peer.up = False
            self._begin(peer)
            waiting = peer.entries.setdefault(family, [])
            waiting.append((record.prefix, entry))
            if len(waiting) >= RUN_ENTRIES:
                self._flush(peer)

    # -- peers ----------------------------------------------------------------------------------------

    def _peer_of(self, mrt: MrtPeer) -> ReplayPeer:
        known = self.peers.find(mrt.address, mrt.asn)
        return known or self._add(mrt.address, mrt.asn, UNSPECIFIED, mrt.local_as, mrt.local_address)

    def _peer(self, address: IPAddress, asn: int, router_id: ipaddress.IPv4Address) -> ReplayPeer:
        known = self.peers.find(address, asn)
        local_as = self.config.router.asn if self.config is not None else 0
        return known or self._add(address, asn, router_id, local_as, UNSPECIFIED)

    def _add(
        self,
        address: IPAddress,
        asn: int,
        router_id: ipaddress.IPv4Address,
        local_as: int,
        local: IPAddress,
    ) -> ReplayPeer:
        config = self._configured(address, asn)
        if config is not None and self.config is not None:
            local_as = self.config.local_asn(config)
        session = Session(
            peer=len(self.peers),
            local_as=local_as,
            peer_as=asn,
            local_address=local,
            peer_address=address,
            router_id=router_id,
            families=frozenset(Family),
            extended_message=True,
            extended_next_hop=True,
            enforce_first_as=config is not None and config.enforce_first_as,
        )
        name = config.name if config is not None else f"AS{asn} {address}"
        peer = ReplayPeer(session.peer, name, address, asn, session)
        self.peers.add(peer)
        policy = config.import_policy if config is not None else self.policy
        role = config.role if config is not None else None
        self.judge.set_peer(peer.index, PeerContext(name, session.ebgp, policy, session.local_as, role, asn))
        weight, limit = (config.weight, config.add_path_limit) if config is not None else (0, 255)
        self.rib.add_peer(PeerInfo(peer.index, name, address, asn, session.ebgp, weight, limit))
        return peer

    def _configured(self, address: IPAddress, asn: int) -> Peer | None:
        peers = self.config.peers if self.config is not None else ()
        return next((peer for peer in peers if (peer.address, peer.asn) == (address, asn)), None)


def _rib(config: Config | None, judge: PolicyJudge) -> Rib:
    if config is None:
        return Rib(DecisionOptions(), judge, resolve=lambda _: Resolution(True))
    return Rib(
        decision_options(config.decision),
        judge,
        resolve=lambda _: Resolution(True),
        router_id=int(config.router.router_id),
        capacity=Capacity(ipv4=config.datapath.max_ipv4, ipv6=config.datapath.max_ipv6),
    )


def _drive(changes: Iterable[Changes]) -> None:
    """Nobody forwards what changes here."""
    for _ in changes:
        pass


def _length(message: bytes) -> int:
    return message[16] << 8 | message[17]

"""From lanes to the RIB: single UPDATEs the scalar way and at once, runs of them in columns and in slices.

`feed.reader.Pump` decides whose turn it is; this decides what a record does. Every change that the RIB reports is
committed before the next message is looked at, so a packet sees the new path while the rest of a table is still
being read.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import CapacityError
from bgpbridge.feed.capture import Tap
from bgpbridge.feed.frames import Notice, Record, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.pipeline.histogram import Histogram
from bgpbridge.pipeline.limits import Limits
from bgpbridge.pipeline.peers import PeerState, PeerTable, Phase
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.changes import FewChanges
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.types import Family, Verdict
from bgpbridge.wire.bulk import decode_in_steps
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.verdicts import Finding

__all__ = ["STORE_BOUNDS_S", "Ingest"]

US = 1e-6
STEP_S, HURRIED_STEP_S = 0.005, 0.002  # of CPU between two points of a bulk run
STORE_BOUNDS_S = (
    *(round(us * US, 6) for us in (20, 30, 50, 75, 100, 150, 200, 300, 500, 750)),
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)


@dataclass(slots=True)
class Ingest:
    """The consumer of the lanes (feed.reader.Consumer). `taps` are those who record what comes in. `store_times` are
    of single UPDATEs that moved a prefix: from the moment at which we could know of it until XDP had it stored."""

    peers: PeerTable
    rib: Rib
    committer: Committer
    sessions: Sessions
    work: Work
    limits: Limits
    taps: list[Tap] = field(default_factory=list)
    store_times: Histogram = field(default_factory=lambda: Histogram(STORE_BOUNDS_S))
    stored: Callable[[float], None] = lambda _now_s: None  # is told when a single UPDATE was stored
    _since_s: float = 0.0
    _last: tuple[PeerState, bytes] | None = None

    def begin(self, since_s: float) -> None:
        """What comes next may have waited since then."""
        self._since_s = since_s

    def pace(self, *, hurried: bool) -> None:
        """Whether single messages wait for each step of a bulk run."""
        self.rib.pieces.allow(HURRIED_STEP_S if hurried else STEP_S, hurried=hurried)

    def one(self, lane: int, record: Record) -> None:
        """A session event, or a few UPDATEs."""
        if isinstance(record, Notice):
            self.sessions.notice(record)
            return
        peer = self.peers.at(lane)
        if peer is None:
            return
        for tap in self.taps:
            tap.offer(lane, record)
        match record:
            case Updates():
                self._some(peer, record.data)
            case SessionUp() if peer.fits(record.session):
                self.sessions.up(peer, self._as_configured(peer, record))
            case SessionDown():
                self.sessions.down(peer, record)
            case Refresh():
                self.sessions.refresh(peer, record)

    def few(self, lane: int, data: bytes) -> None:
        """A few UPDATEs without a record around them."""
        peer = self.peers.at(lane)
        if peer is None:
            return
        for tap in self.taps:
            tap.offer(lane, Updates(data))
        self._some(peer, data)

    def _some(self, peer: PeerState, data: bytes) -> None:
        """Mostly one, which goes to the planes before anything else is done about it."""
        if len(data) != data[16] << 8 | data[17] or peer.phase is not Phase.ESTABLISHED or not self._plain(peer, data):
            self._messages(peer, data)

    def _plain(self, peer: PeerState, message: bytes) -> bool:
        """The short way for what `Rib.apply_plain` can do. False: nothing was done."""
        now = self.peers.clock()
        self.rib.now = int(now)
        try:
            few = self.rib.apply_plain(peer.index, message)
        except CapacityError:
            return False  # policy found no room for what it wants to change, which comes first
        if few is None:
            return False
        before = self.committer.stored_s
        changed = self.committer.few(few)
        peer.count(1, len(message), now, self.peers.steady())
        if self.committer.stored_s != before:
            self.store_times.add(self.committer.stored_s - self._since_s)
            self._last = peer, message
            self.stored(self.committer.stored_s)
        if changed:
            self.committer.log.append(Cause(CauseKind.UPDATE, peer.name, f"UPDATE {peer.updates}"), few)
        self.limits.look(peer)
        return True

    def rehearse(self) -> Iterator[object]:
        """Go the way of the last single UPDATE once more. Nothing changes: what is stored stands there already."""
        if self._last is None:
            return
        peer, message = self._last
        move = self.rib.rehearse(peer.index, message)
        yield None
        if move is not None:
            self.committer.rehearse(FewChanges(Family.IPV4, [move]))

    def _as_configured(self, peer: PeerState, record: SessionUp) -> SessionUp:
        """The session with what is ours to say and not on the wire; and of the lane it came by, whatever it says."""
        enforced = peer.config.enforce_first_as
        session = dataclasses.replace(record.session, peer=peer.index, enforce_first_as=enforced)
        return dataclasses.replace(record, session=session)

    def _messages(self, peer: PeerState, data: bytes) -> None:
        now = self.peers.clock()
        self.rib.now = int(now)
        alone = len(data) == data[16] << 8 | data[17]
        for message in (data,) if alone else iter_messages(data):
            if peer.phase is not Phase.ESTABLISHED:
                return
            peer.count(1, len(message), now, self.peers.steady())
            try:
                applied = self.rib.apply_one(peer.index, message)
            except CapacityError as error:
                self.sessions.no_room(peer, error)
                return
            stored_s = self.committer.stored_s
            for changes in applied.changes:
                self.committer.routes(changes, Cause(CauseKind.UPDATE, peer.name, f"UPDATE {peer.updates}"))
            if self.committer.stored_s != stored_s:
                self.store_times.add(self.committer.stored_s - self._since_s)
            self.limits.look(peer)
            if applied.findings:
                self._note(peer, ((finding, 1) for finding in applied.findings))
            if applied.short is not None:
                self.sessions.no_room(peer, applied.short)
            elif applied.end_of_rib is not None:
                self.sessions.end_of_rib(peer, applied.end_of_rib)

    def run(self, lane: int, data: bytes) -> Iterator[object]:
        """A bulk run; each yield is a point at which other lanes' single messages go in."""
        for tap in self.taps:
            tap.offer(lane, Updates(data))
        yield from self.work.drain()
        peer = self.peers.at(lane)
        if peer is None or peer.session is None or peer.phase is not Phase.ESTABLISHED:
            return
        with self.work.bulk():
            yield from self._columns(peer, data)

    def _columns(self, peer: PeerState, data: bytes) -> Iterator[object]:
        assert peer.session is not None
        self.rib.now = int(self.peers.clock())
        batch = yield from decode_in_steps(data, dataclasses.replace(peer.session, families=peer.families))
        yield None
        if not peer.is_established():  # what came in between has ended the session
            return
        first, fatal = peer.updates + 1, batch.verdict is Verdict.SESSION_RESET
        peer.count(batch.messages + fatal, len(data), self.peers.clock(), self.peers.steady())
        cause = Cause(CauseKind.UPDATE, peer.name, f"UPDATEs {first} to {peer.updates}")
        began_s = time.thread_time()  # what others do meanwhile no smaller piece would save
        try:
            for changes in self.rib.apply(peer.index, batch):
                self.committer.routes(changes, cause)
                self.limits.look(peer)
                self.rib.pieces.took(time.thread_time() - began_s)
                if not peer.is_established():
                    break
                yield None
                if not peer.is_established():
                    break
                began_s = time.thread_time()
        except CapacityError as error:
            self.sessions.no_room(peer, error)
            return
        if peer.is_established():
            for _, family in batch.end_of_rib:  # before what ends a session: that is the last word of a run
                self.sessions.end_of_rib(peer, family)
        findings = [(finding, 1) for _, finding in batch.findings]
        self._note(peer, (*findings, *self.rib.take_findings(peer.index)))

    def _note(self, peer: PeerState, findings: Iterable[tuple[Finding, int]]) -> None:
        """Count what was wrong, and carry out what goes beyond single routes."""
        for finding, times in findings:
            peer.note(finding, times)
            if finding.verdict is Verdict.SESSION_RESET:
                self.sessions.reset(peer, finding)
            elif finding.verdict is Verdict.AFI_SAFI_DISABLE and finding.family is not None:
                self.sessions.disable(peer, finding.family, finding)

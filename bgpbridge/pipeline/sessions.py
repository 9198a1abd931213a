"""Sessions come and go: graceful restart, refresh, resync, and what a lost session costs (nothing, if it can).

Where routes outlive their session (RFC 4724; and always when it was our own speaker that died) they are marked stale
and stay in use until the peer has sent them again, its End-of-RIB says that it has not, or a timer runs out. Where
they do not, the paths through the peer are taken out of all groups first, in microseconds, and the table follows.

After a restart of ours `awaited` are the peers whose routes an earlier run left: `on_synced` is called when each of
them has sent its table (or has come and gone), and every other peer that is up as well. `on_latch` is called when the
peers that only an operator lets in again are others.

Called by `ingest`, in the order of each peer's lane. Timers are the loop's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.feed.control import Command, Hold, Teardown
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, Refresh, RefreshKind, SessionDown, SessionUp
from bgpbridge.pipeline.latches import Latch
from bgpbridge.pipeline.peers import PeerState, PeerTable, Phase
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.verdicts import Finding

__all__ = ["Sessions"]

EVERY_FAMILY = frozenset(Family)
OUR_SIDE = frozenset({DownReason.SPEAKER_DIED, DownReason.SHUTDOWN})  # not the peer's doing: its routes are good
CEASE_OUT_OF_RESOURCES = (6, 8)
CEASE_MAX_PREFIX = (6, 1)  # RFC 4486 s4
CEASE_BFD_DOWN = (6, 10)  # RFC 9384 s3
RESET_AGAIN_S = 10.0  # a reset that the speaker has not carried out by then is ordered anew
QUIET_S = 5.0  # a peer that marks no end of its table is taken to be through after so long without an UPDATE
LOUD = frozenset(
    {
        NoticeKind.OPEN_REFUSED,
        NoticeKind.SIGNATURE_REFUSED,
        NoticeKind.FLAPPING,
        NoticeKind.LISTEN_FAILED,
        NoticeKind.RELOAD_REFUSED,
    }
)


@dataclass(slots=True)
class Sessions:
    """The life of every peer's session, as far as routes are concerned."""

    peers: PeerTable
    rib: Rib
    committer: Committer
    work: Work
    events: EventLog
    send: Callable[[Command], None]
    stale_time_s: int
    on_synced: Callable[[], None] = lambda: None
    on_latch: Callable[[], None] = lambda: None
    awaited: set[int] = field(default_factory=set)
    refused_room: Counter[str] = field(default_factory=Counter)  # by peer: sessions that a full table has ended
    _without_room: set[str] = field(default_factory=set)  # of them, those who have not been told of room since
    _timers: dict[tuple[int, Family], asyncio.TimerHandle] = field(default_factory=dict)

    # -- up and down ----------------------------------------------------------------------------------

    def up(self, peer: PeerState, record: SessionUp) -> None:
        """A session is established, or told of again after our own restart."""
        if record.resync and peer.phase is Phase.RESETTING:
            return  # told before the speaker came to our order: it ends all the same
        session = record.session
        kept = self._kept(peer, record)
        had = {family for (index, family) in self._timers if index == peer.index}
        was_kept_out = peer.hold_off.retried and peer.hold_off.until > 0
        if peer.phase is not Phase.ESTABLISHED:
            peer.up_s = self.peers.steady()
        peer.session_began(session, self.peers.clock(), resync=record.resync)
        if was_kept_out:  # its timer is over, or it was up already when the latch was read of an earlier run
            self.on_latch()
        self.rib.session_up(session)
        self.rib.forget_blocked(peer.index)
        self._without_room.discard(peer.name)
        paths = self.committer.paths
        self.committer.groups(paths.peer_back(peer.index), Cause(CauseKind.SESSION_UP, peer.name))
        self.rebind(peer)
        for family in had:
            if family in kept:
                self._sweep_after(peer, family, self.stale_time_s)
            else:
                self._sweep(peer, family, "not kept over the restart")
        asyncio.get_running_loop().call_later(QUIET_S, self._look_if_quiet, peer, session)
        what = "resynchronised" if record.resync else "established"
        self.events.add("session-up", peer.name, f"{what}, {_agreed(session)}", Severity.NOTICE)

    def rebind(self, peer: PeerState) -> None:
        """The session's link is found anew: it may be another one, and link-local next hops are on that."""
        decide, groups = self.committer.paths.rebind_peer(peer.index)
        cause = Cause(CauseKind.NEXT_HOP, peer.name, "link-local next hops")
        self.committer.groups(groups, cause)
        if decide:
            self.work.add(cause, self.rib.next_hops_changed(decide))

    def _kept(self, peer: PeerState, record: SessionUp) -> frozenset[Family]:
        """Families whose stale routes wait for the peer: those that it says it went on forwarding (RFC 4724 s4.2),
        and all of them when it was our side that restarted."""
        ours = peer.last_down is not None and peer.last_down.reason in OUR_SIDE
        agreed = record.session.families
        return agreed if ours or record.resync else record.forwarding & agreed

    def down(self, peer: PeerState, record: SessionDown) -> None:
        """A session is over."""
        session, now = peer.session, self.peers.clock()
        peer.session_ended(record, now)
        if session is None:
            return
        keep = self._keep_stale(peer, session, record)
        steps = self._part(peer, keep, record)
        peer.session = None
        peer.enter(Phase.STALE if keep else Phase.DOWN, now)
        cause = Cause(CauseKind.SESSION_LOST, peer.name, record.reason.value)
        if not keep:
            self.committer.groups(self.committer.paths.peer_lost(peer.index), cause)
        self._cancel_timers(peer, EVERY_FAMILY)
        self.work.add(cause, steps)
        wait = None if record.reason in OUR_SIDE else session.graceful_restart_s
        for family in keep:
            self._sweep_after(peer, family, self.stale_time_s if wait is None else min(wait, self.stale_time_s))
        said = f": {record.text}" if record.text else ""
        held = f"; routes kept as stale: {', '.join(sorted(f.label for f in keep))}" if keep else ""
        self.events.add("session-down", peer.name, f"{record.reason.value}{said}{held}", Severity.WARNING)
        self.awaited.discard(peer.index)
        self._check_synced()

    def _keep_stale(self, peer: PeerState, session: Session, record: SessionDown) -> frozenset[Family]:
        """Not kept is what we ended for its errors, and what a router sent that is configured no longer."""
        if peer.phase is Phase.RESETTING or not peer.fits(session):
            return frozenset()
        if record.reason in OUR_SIDE:
            return peer.families
        if not record.graceful or session.graceful_restart_s is None:
            return frozenset()
        return session.graceful_families & peer.families

    def _part(self, peer: PeerState, keep: frozenset[Family], record: SessionDown) -> Iterator[Changes]:
        """What of a peer's routes goes with its session. Routes that are stale already go after a restart of the
        peer (RFC 4724 s4.2: it had its chance); not when it was us who died again, nor when a refresh of the
        peer's (RFC 7313) was not through: then they are merely not sent again yet."""
        if record.reason not in OUR_SIDE and not peer.refreshing & keep:
            return self.rib.session_down(peer.index, keep)
        for family in keep:
            self.rib.mark_stale(peer.index, family)
        return self.rib.drop_peer(peer.index, EVERY_FAMILY - keep)

    def drop(self, peer: PeerState, gone: Callable[[], None]) -> None:
        """The peer is configured no longer: its routes go, whatever was agreed; then `gone` is called."""
        peer.session = None  # what is still in its lane is not for us, and its end is no news
        peer.enter(Phase.DOWN, self.peers.clock())
        self._cancel_timers(peer, EVERY_FAMILY)
        self.awaited.discard(peer.index)
        cause = Cause(CauseKind.OPERATOR, peer.name, "peer removed")
        self.committer.groups(self.committer.paths.peer_lost(peer.index), cause)
        self.work.add(cause, self.rib.remove_peer(peer.index), gone)
        self._check_synced()

    # -- End-of-RIB, refresh, stale routes --------------------------------------------------------------

    def end_of_rib(self, peer: PeerState, family: Family) -> None:
        """The peer has sent all that it has (RFC 4724 s2): what it did not send again is gone."""
        first = family not in peer.end_of_rib
        peer.end_of_rib.add(family)
        if first:
            self.events.add("end-of-rib", peer.name, family.label)
        if (peer.index, family) in self._timers and family not in peer.refreshing:
            self._sweep(peer, family, "End-of-RIB")
        self._check_synced()

    def refresh(self, peer: PeerState, record: Refresh) -> None:
        """Demarcation of a refresh by the peer (RFC 7313 s4): all is stale at its beginning, swept at its end.
        Without the capability the subtype means nothing (RFC 7313 s3.2)."""
        family = record.family
        if peer.phase is not Phase.ESTABLISHED or peer.session is None or not peer.session.enhanced_refresh:
            return
        if family is None or family not in peer.families:
            return
        if record.kind is RefreshKind.BORR:
            self.rib.mark_stale(peer.index, family)
            peer.refreshing.add(family)
            self._sweep_after(peer, family, self.stale_time_s)
        elif record.kind is RefreshKind.EORR and family in peer.refreshing:
            peer.refreshing.discard(family)
            peer.end_of_rib.add(family)
            self._sweep(peer, family, "end of refresh")
            self._check_synced()

    def _sweep_after(self, peer: PeerState, family: Family, seconds: float) -> None:
        self._cancel_timers(peer, frozenset({family}))
        loop = asyncio.get_running_loop()
        self._timers[peer.index, family] = loop.call_later(seconds, self._sweep, peer, family, "timer")

    def _sweep(self, peer: PeerState, family: Family, why: str) -> None:
        self._cancel_timers(peer, frozenset({family}))
        peer.refreshing.discard(family)
        cause = Cause(CauseKind.STALE_SWEPT, peer.name, f"{family.label}, {why}")
        self.work.add(cause, self.rib.sweep_stale(peer.index, family))
        if peer.phase is Phase.STALE and not any(index == peer.index for index, _ in self._timers):
            peer.enter(Phase.DOWN, self.peers.clock())
        if why == "timer":
            text = f"{family.label}: stale routes given up"
            self.events.add("stale-expired", peer.name, text, Severity.WARNING)

    def _cancel_timers(self, peer: PeerState, families: frozenset[Family]) -> None:
        for family in families:
            timer = self._timers.pop((peer.index, family), None)
            if timer is not None:
                timer.cancel()

    # -- what a peer did wrong --------------------------------------------------------------------------

    def reset(self, peer: PeerState, finding: Finding) -> None:
        """End a session with the NOTIFICATION that the finding names; what follows in the lane is not read."""
        if peer.phase is not Phase.ESTABLISHED or peer.session is None:
            return
        hold_s = peer.hold_off.begin(finding.reason, self.peers.steady() - peer.up_s)
        code, subcode = finding.notification or (3, 1)
        self._reset(peer, peer.session, Teardown(peer.index, code, subcode, finding.reason, hold_s=hold_s))

    def over_limit(self, peer: PeerState, why: str, data: bytes, restart_s: int | None) -> None:
        """A peer sent more than its max-prefix (RFC 4486): its session ends, and no other begins before an operator
        says so, or before one timer ends."""
        if peer.phase is not Phase.ESTABLISHED or peer.session is None:
            return
        hold_s = peer.hold_off.over_limit(why, restart_s)
        self._reset(peer, peer.session, Teardown(peer.index, *CEASE_MAX_PREFIX, why, data, hold_s))
        self.on_latch()

    def bfd_down(self, peer: PeerState, why: str) -> None:
        """BFD says that the path to a peer is broken: its session ends, and the next may begin at once (RFC 9384 s3).
        Its routes are not kept: the forwarding path is what failed (RFC 5882 s4.3)."""
        if peer.phase is not Phase.ESTABLISHED or peer.session is None:
            return
        peer.enter(Phase.RESETTING, self.peers.clock())
        self._tear_down(peer, peer.session, Teardown(peer.index, *CEASE_BFD_DOWN, why))
        self.events.add("session-reset", peer.name, f"BFD: {why} (NOTIFICATION 6/10)", Severity.ERROR)

    def _reset(self, peer: PeerState, session: Session, order: Teardown) -> None:
        peer.enter(Phase.RESETTING, self.peers.clock())
        self._tear_down(peer, session, order)
        wait = f"for {order.hold_s} s"
        if peer.hold_off.latched:
            wait = f"until an operator allows it (`bgpbridge peers {peer.name} --clear-hold-off`)"
        text = f"{order.text} (NOTIFICATION {order.code}/{order.subcode}); no new session {wait}"
        self.events.add("session-reset", peer.name, text, Severity.ERROR)

    def _tear_down(self, peer: PeerState, session: Session, order: Teardown) -> None:
        """Orders get lost with a speaker that hangs; the session must not stay up unread for ever."""
        if peer.session is session and peer.phase is Phase.RESETTING:
            peer.hold_off.until = self.peers.steady() + order.hold_s
            self.send(order)
            asyncio.get_running_loop().call_later(RESET_AGAIN_S, self._tear_down, peer, session, order)

    def end_hold_off(self, peer: PeerState, why: str) -> bool:
        """The reason of a hold-off is gone: the next session may begin now, and a further reset begins with the
        shortest one. False: there was none."""
        held, remembered = peer.hold_off.left(self.peers.steady()) > 0, peer.hold_off.retried
        peer.hold_off.forget()
        if remembered:
            self.on_latch()
        if held:
            self.send(Hold(peer.index, 0))
            self.events.add("hold-off-ended", peer.name, why, Severity.NOTICE)
        return held

    def latch_again(self, latches: Mapping[str, Latch]) -> None:
        """After a restart of ours: peers that an operator has not cleared yet, with what is left of their timers. The
        speaker may be a new one as well."""
        for peer in self.peers:
            if (latch := latches.get(peer.name)) is not None:
                peer.hold_off.again(latch.why, latch.left_s, self.peers.steady())
        self._hold_again()

    def latches(self) -> dict[str, Latch]:
        """What `latch_again` needs to know: who went beyond its max-prefix, and has not been forgiven."""
        now = self.peers.steady()
        return {
            peer.name: Latch(peer.hold_off.why, None if peer.hold_off.latched else peer.hold_off.left(now))
            for peer in self.peers
            if peer.hold_off.retried
        }

    def _hold_again(self) -> None:
        """A new speaker knows of no hold-off."""
        now = self.peers.steady()
        for peer in self.peers:
            if left := math.ceil(peer.hold_off.left(now)):
                self.send(Hold(peer.index, left))

    def no_room(self, peer: PeerState, error: CapacityError) -> None:
        """A table is full: what this peer still sends cannot be kept, and half a table would be a lie. End its
        session (Cease, Out of Resources: RFC 4486 s4); all others stay as they are."""
        self.refused_room[peer.name] += 1
        self._without_room.add(peer.name)
        self.reset(peer, Finding(Verdict.SESSION_RESET, 0, error.what, CEASE_OUT_OF_RESOURCES))
        self.events.add("out-of-resources", peer.name, str(error), Severity.ERROR)

    def room_again(self) -> None:
        """The tables have grown: who was sent away for want of room may come again at once."""
        for peer in self.peers:
            if peer.name in self._without_room and not peer.hold_off.latched:
                self.end_hold_off(peer, "there is room again")
        self._without_room.clear()

    @property
    def without_room(self) -> list[str]:
        """Peers that a full table has sent away and that have no session since."""
        return sorted(self._without_room)

    def disable(self, peer: PeerState, family: Family, finding: Finding) -> None:
        """RFC 7606 s2 "AFI/SAFI disable": ignore the family until the session is made anew, and drop its routes."""
        if peer.session is None or family not in peer.families:
            return
        peer.disabled.add(family)
        peer.refreshing.discard(family)
        self._cancel_timers(peer, frozenset({family}))
        self.rib.session_up(dataclasses.replace(peer.session, families=peer.families))
        cause = Cause(CauseKind.SESSION_LOST, peer.name, f"{family.label} disabled: {finding.reason}")
        self.work.add(cause, self.rib.drop_peer(peer.index, (family,)))
        self.events.add("family-disabled", peer.name, f"{family.label}: {finding.reason}", Severity.ERROR)

    def notice(self, record: Notice) -> None:
        """Something that the speaker wants an operator to know."""
        peer = self.peers.at(record.peer)
        if peer is not None:
            peer.notices.append((self.peers.clock(), record))
        if record.kind is NoticeKind.STARTED:
            self._hold_again()
        severity = Severity.WARNING if record.kind in LOUD else Severity.INFO
        times = f" ({record.repeated} more like it)" if record.repeated else ""
        kind = record.kind.value.replace(" ", "-")
        self.events.add(kind, peer.name if peer else "speaker", record.text + times, severity)

    def _look_if_quiet(self, peer: PeerState, session: Session) -> None:
        """Not every peer marks the end of its table, least of all after a plain route refresh."""
        if peer.session is not session:
            return
        silent = self.peers.steady() - max(peer.heard_s, peer.up_s)
        if silent >= QUIET_S:
            peer.quiet = True
            self._sweep_if_unmarked(peer, session)
            self._check_synced()
        else:
            asyncio.get_running_loop().call_later(QUIET_S - silent, self._look_if_quiet, peer, session)

    def _sweep_if_unmarked(self, peer: PeerState, session: Session) -> None:
        """A peer without graceful restart owes no End-of-RIB: when it has sent something and has been quiet since,
        what is still stale (kept when our speaker died) will not come any more."""
        if session.graceful_restart_s is None and peer.heard_s > peer.up_s:
            for family in sorted(peer.families - peer.refreshing):
                if (peer.index, family) in self._timers:
                    self._sweep(peer, family, "quiet")

    def wait_for(self, peers: AbstractSet[int]) -> None:
        """After a restart of ours: these had routes before."""
        self.awaited = set(peers)

    def _check_synced(self) -> None:
        """Tell when all that there is to be sent has been sent: adopted leftovers can go then. A peer that had
        routes and is not up again is waited for (until the stale timer ends): its routes may be good."""
        ups = [peer for peer in self.peers if peer.session is not None]
        self.awaited -= {peer.index for peer in ups if peer.complete}
        if ups and not self.awaited and all(peer.complete for peer in ups):
            self.on_synced()


def _agreed(session: Session) -> str:
    words = [f"AS {session.peer_as}", ", ".join(family.label for family in sorted(session.families))]
    words.append(f"hold time {session.hold_time_s} s")
    if session.add_path:
        words.append("add-path " + ", ".join(family.label for family in sorted(session.add_path)))
    if session.graceful_restart_s is not None:
        words.append(f"graceful restart {session.graceful_restart_s} s")
    return "; ".join(words)

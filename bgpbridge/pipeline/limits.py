"""max-prefix: what becomes of a peer that sends more than its limit.

The RIB keeps what is beyond out (`rib.ceiling`), so nothing of it ever reaches a plane. Here the counts are looked at
after each message or piece of a run, at the cost of a comparison for each family that has a limit: an event at the
threshold, one at the limit, and the end of the session where that is the action. Each is told once, and again only
after the count has been well below it, or another session or limit has begun: a flapping route makes no flood.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from bgpbridge.config.limits import Counting, FamilyLimit, LimitAction, MaxPrefix
from bgpbridge.events import EventLog, Severity
from bgpbridge.feed.control import RequestRefresh
from bgpbridge.pipeline.peers import PeerState, PeerTable, Phase
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.rib.adj_rib_in import Ceiling
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.types import Family

__all__ = ["Level", "Limits", "ceilings_of", "level_of"]

CALM = 0.9  # of the threshold: from there on it is news again


class Level(enum.StrEnum):
    """Where a count stands against its limit."""

    FINE = "fine"
    NEAR = "near"
    BEYOND = "beyond"


def ceilings_of(limits: MaxPrefix | None) -> dict[Family, Ceiling]:
    """What the RIB has to know: only what is not to be taken in."""
    if limits is None:
        return {}
    return {
        family: Ceiling(limit.limit, limit.count is Counting.ACCEPTED)
        if limit.capped
        else Ceiling(1 << 62, limit.count is Counting.ACCEPTED)
        for family, limit in limits.items()
    }


def level_of(limit: FamilyLimit, count: int, blocked: int) -> Level:
    """Exactly the limit is within it."""
    if count > limit.limit or (blocked and limit.capped and count >= limit.limit):
        return Level.BEYOND
    return Level.NEAR if count >= limit.threshold else Level.FINE


@dataclass(slots=True)
class Limits:
    """Watches the counts of all peers that have limits."""

    peers: PeerTable
    rib: Rib
    sessions: Sessions
    events: EventLog

    def look(self, peer: PeerState) -> None:
        """After what the peer sent was taken in, or judged anew."""
        limits = peer.config.max_prefix
        if limits is None or peer.phase is not Phase.ESTABLISHED:
            return
        for family, limit in limits.items():
            count, blocked = self.rib.against_limit(peer.index, family, limit.threshold - 1)
            if count < limit.threshold and not blocked:
                if family in peer.told and count < CALM * limit.threshold:
                    del peer.told[family]
                continue
            self._tell(peer, family, limit, count, blocked)

    def look_at(self, peers: Iterable[int]) -> None:
        """At several, by index; those that are gone are passed over."""
        for index in peers:
            if (peer := self.peers.at(index)) is not None:
                self.look(peer)

    def _tell(self, peer: PeerState, family: Family, limit: FamilyLimit, count: int, blocked: int) -> None:
        level, before = level_of(limit, count, blocked), peer.told.get(family, Level.FINE)
        if blocked and limit.action is LimitAction.DISCONNECT:
            level = Level.BEYOND
        if level is Level.BEYOND and limit.action is LimitAction.DISCONNECT:
            self._disconnect(peer, family, limit)
        elif level is Level.BEYOND and before is not Level.BEYOND:
            peer.told[family] = level
            what = "more are not taken in" if limit.capped else f"{count:,} are there"
            text = f"{family.label}: more than {limit.limit:,} prefixes {limit.count}; {what}"
            self.events.add("prefix-limit", peer.name, text, Severity.ERROR)
        elif level is Level.NEAR and before is Level.FINE:
            peer.told[family] = level
            text = f"{family.label}: {count:,} prefixes {limit.count}, {limit.warn_at}% of the limit of {limit.limit:,}"
            self.events.add("prefix-limit-near", peer.name, text, Severity.WARNING)

    def _disconnect(self, peer: PeerState, family: Family, limit: FamilyLimit) -> None:
        """Cease, Maximum Number of Prefixes Reached; its data are AFI, SAFI and the limit (RFC 4486 s4)."""
        why = f"{family.label}: more than {limit.limit:,} prefixes {limit.count}"
        data = int(family).to_bytes(2, "big") + b"\x01" + limit.limit.to_bytes(4, "big")
        self.sessions.over_limit(peer, why, data, limit.restart_s)

    def changed(self, peer: PeerState, before: MaxPrefix | None) -> None:
        """Another configuration holds: what the old one kept out is asked for again where there is room now."""
        after = peer.config.max_prefix
        if before == after:
            return
        blocked = [family for family in Family if self.rib.against_limit(peer.index, family, 1 << 62)[1]]
        peer.told.clear()
        self.rib.forget_blocked(peer.index)
        self.look(peer)
        if peer.phase is Phase.ESTABLISHED:
            for family in blocked:
                self._ask_again(peer, family)

    def _ask_again(self, peer: PeerState, family: Family) -> None:
        if peer.session is not None and peer.session.route_refresh:
            self.sessions.send(RequestRefresh(peer.index, family))
            return
        text = f"{family.label}: what was not taken in cannot be asked for again; a new session brings it"
        self.events.add("no-route-refresh", peer.name, text, Severity.WARNING)

"""What the bridge knows of each peer: its configuration, its session, what it sent and what was wrong with it.

A peer's index is its lane and its column in the RIB. It is given once, kept across reloads and restarts of
the bridge (the table stands in the lanes' memory), and given to another peer only after this one has gone.
"""

from __future__ import annotations

import enum
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from bgpbridge.config import Config, Peer
from bgpbridge.errors import CapacityError
from bgpbridge.feed.frames import Notice, NoticeKind, SessionDown
from bgpbridge.pipeline.hold_off import HoldOff
from bgpbridge.rib.overrides import OVERRIDE_PEER
from bgpbridge.types import Family, Session
from bgpbridge.wire.verdicts import Finding

__all__ = ["OVERRIDE_NAME", "PeerState", "PeerTable", "Phase", "lanes_for", "number_peers"]

KEEP_NOTICES = 16
KEEP_FINDINGS = 64
WHY_NOT_UP = frozenset({NoticeKind.CONNECT_FAILED, NoticeKind.OPEN_REFUSED, NoticeKind.SIGNATURE_REFUSED})


class Phase(enum.StrEnum):
    """Where a peer stands, as far as routes go."""

    DOWN = "down"
    ESTABLISHED = "established"
    STALE = "stale"
    RESETTING = "resetting"


@dataclass(slots=True)
class PeerState:
    """One peer. Times are Unix seconds, for people; `up_s` (the session began) and `heard_s` (the last UPDATE) are of
    the monotonic clock, for reckoning. `updates` counts messages, `octets` what they weighed."""

    index: int
    config: Peer
    local_asn: int
    phase: Phase = Phase.DOWN
    session: Session | None = None
    since: float = 0.0
    established: int = 0
    updates: int = 0
    octets: int = 0
    last_update: float = 0.0
    up_s: float = 0.0
    heard_s: float = 0.0
    last_down: SessionDown | None = None
    ended: float = 0.0  # when that was
    hold_off: HoldOff = field(default_factory=HoldOff)
    end_of_rib: set[Family] = field(default_factory=set)
    disabled: set[Family] = field(default_factory=set)
    told: dict[Family, str] = field(default_factory=dict)  # what was said of its prefix limits
    refreshing: set[Family] = field(default_factory=set)
    quiet: bool = False
    findings: Counter[Finding] = field(default_factory=Counter)
    notices: deque[tuple[float, Notice]] = field(default_factory=lambda: deque(maxlen=KEEP_NOTICES))

    @property
    def name(self) -> str:
        """Our name for the peer."""
        return self.config.name

    @property
    def ebgp(self) -> bool:
        """True for an external peer."""
        return self.config.asn != self.local_asn

    def enter(self, phase: Phase, now: float) -> None:
        """Change the phase and note when."""
        if phase is not self.phase:
            self.phase, self.since = phase, now

    def session_ended(self, record: SessionDown, now: float) -> None:
        """Note why, and when."""
        self.last_down, self.ended = record, now

    def session_began(self, session: Session, now: float, *, resync: bool) -> None:
        """A session is up; what belonged to the last one is forgotten, the counts stay."""
        self.session = session
        self.hold_off.over()
        self.end_of_rib.clear()
        self.disabled.clear()
        self.told.clear()
        self.refreshing.clear()
        self.quiet = False
        self.enter(Phase.ESTABLISHED, now)
        if not resync:
            self.established += 1

    def is_past(self, at: float) -> bool:
        """True when a session came up after that time: what went wrong then is over."""
        return self.session is not None or at < self.ended

    @property
    def last_error(self) -> tuple[float, Notice] | None:
        """What last kept a session from coming up, and when."""
        return next((kept for kept in reversed(self.notices) if kept[1].kind in WHY_NOT_UP), None)

    @property
    def families(self) -> frozenset[Family]:
        """What the session carries: as agreed, without the families that an error disabled (RFC 7606 s2)."""
        return self.session.families - self.disabled if self.session is not None else frozenset()

    def is_established(self) -> bool:
        """Whether it is at this moment."""
        return self.phase is Phase.ESTABLISHED

    @property
    def complete(self) -> bool:
        """True when the peer's table is in: it said so for every family, or has been quiet for a while."""
        return self.session is not None and (self.quiet or self.families <= self.end_of_rib)

    def fits(self, session: Session) -> bool:
        """True when a session is with the router that is configured now. One that is not belongs to an older
        configuration; the speaker ends it when it comes to the reload."""
        return (session.peer_address, session.peer_as) == (self.config.address, self.config.asn)

    def count(self, messages: int, octets: int, now: float, steady: float) -> None:
        """UPDATEs came in, at that time by the wall clock and by the monotonic one."""
        self.updates += messages
        self.octets += octets
        self.last_update, self.heard_s = now, steady

    def note(self, finding: Finding, times: int = 1) -> None:
        """Count a finding. Distinct ones are few (fixed phrases); a bound holds all the same."""
        if finding in self.findings or len(self.findings) < KEEP_FINDINGS:
            self.findings[finding] += times


OVERRIDE_NAME = "(override)"  # no peer can be called so


class PeerTable:
    """All peers by index and by name. `clock` says when something was, `steady` how long it lasted."""

    def __init__(self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.steady = clock, steady
        self._by_index: dict[int, PeerState] = {}
        self._by_name: dict[str, PeerState] = {}

    def __iter__(self) -> Iterator[PeerState]:
        return iter(list(self._by_index.values()))

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, index: int, config: Peer, local_asn: int) -> PeerState:
        """A new peer under its index."""
        state = PeerState(index, config, local_asn, since=self.clock())
        self._by_index[index] = state
        self._by_name[config.name] = state
        return state

    def remove(self, name: str) -> PeerState | None:
        """Forget a peer; returns what was known of it."""
        state = self._by_name.pop(name, None)
        if state is not None:
            del self._by_index[state.index]
        return state

    def at(self, index: int) -> PeerState | None:
        """The peer of a lane, None for a lane that nobody has."""
        return self._by_index.get(index)

    def named(self, name: str) -> PeerState | None:
        """The peer of that name, None when there is none."""
        return self._by_name.get(name)

    def name(self, index: int) -> str:
        """The name of a peer, `peer 7` for one that has gone, `(override)` for a path that an override made."""
        if index == OVERRIDE_PEER:
            return OVERRIDE_NAME
        state = self._by_index.get(index)
        return state.name if state is not None else f"peer {index}"


def lanes_for(peers: int) -> int:
    """How many lanes to lay out for so many peers: the speaker's own, and room for reloads that add more. Lanes
    that nobody uses cost address space only."""
    return 1 + max(2 * peers, peers + 16)


def number_peers(config: Config, known: dict[str, int], lanes: int, busy: Iterable[int] = ()) -> dict[str, int]:
    """Index by name for every peer of the configuration: the one it had, else the lowest free one.

    Lane 0 is the speaker's own. `busy` indices are those whose old owner's routes are not gone yet. Raises
    CapacityError when the lanes do not suffice.
    """
    numbers = {peer.name: known[peer.name] for peer in config.peers if peer.name in known}
    taken = {0, *numbers.values(), *busy}
    free = (index for index in range(1, lanes) if index not in taken)
    for peer in config.peers:
        if peer.name in numbers:
            continue
        index = next(free, None)
        if index is None:
            raise CapacityError(
                f"no lane is left for peer {peer.name}: {lanes - 1} were made at start",
                mend="restart bgpbridge (packets go on being forwarded): lanes are counted anew from the configuration",
            )
        numbers[peer.name] = index
    return numbers

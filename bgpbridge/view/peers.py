"""`peers` and `peers NAME`: sessions, what they brought, and what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.config.limits import FamilyLimit, MaxPrefix
from bgpbridge.feed.frames import Notice, SessionDown
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.limits import level_of
from bgpbridge.pipeline.peers import PeerState, Phase
from bgpbridge.rib.peers import PeerCounts
from bgpbridge.types import Family, Verdict

__all__ = [
    "IDLE",
    "STATES",
    "FindingView",
    "HoldOffView",
    "LimitView",
    "NoticeView",
    "PeerView",
    "SessionView",
    "limits_of",
    "peer",
    "peers",
    "state_of",
    "why_not_up",
]

IDLE = "idle"
STATES = (*(phase.value for phase in Phase), IDLE)


@dataclass(frozen=True, slots=True)
class SessionView:
    """What OPEN agreed on. `role` is ours towards the peer, `peer_role` what it says of itself (RFC 9234)."""

    router_id: str
    local_address: str
    hold_time_s: int
    families: tuple[str, ...]
    add_path: tuple[str, ...]
    asn4: bool
    extended_message: bool
    extended_next_hop: bool
    route_refresh: bool
    enhanced_refresh: bool
    graceful_restart_s: int | None
    role: str | None
    peer_role: str | None


@dataclass(frozen=True, slots=True)
class FindingView:
    """One kind of mistake in what the peer sent, and how often. `attribute` 0 is the message itself."""

    verdict: str
    attribute: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class NoticeView:
    """Something the speaker noticed about the peer. `at` is Unix time; `past`: a session came up after it."""

    at: float
    kind: str
    text: str
    past: bool


@dataclass(frozen=True, slots=True)
class HoldOffView:
    """After a reset of our own making no session begins for `left_s` more seconds; None: before it is cleared."""

    left_s: float | None
    why: str


@dataclass(frozen=True, slots=True)
class LimitView:
    """max-prefix of one family. `used` are the routes that count, `blocked` the announcements of this session that
    were not taken in, `level` is fine, near or beyond."""

    limit: int
    warn_at: int
    threshold: int
    action: str
    restart_s: int | None
    count: str
    used: int
    blocked: int
    level: str


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer. `since` is the Unix time of the present state, `established` how many sessions there were, `families`
    those of the configuration, `unhealthy` why its paths are held down."""

    name: str
    description: str
    address: str
    asn: int
    local_asn: int
    ebgp: bool
    families: tuple[str, ...]
    state: str
    since: float
    established: int
    import_policy: str
    announced: int
    updates: int
    octets: int
    last_update: float
    last_down: str
    last_down_at: float
    last_error: NoticeView | None
    hold_off: HoldOffView | None
    unhealthy: str
    end_of_rib: tuple[str, ...]
    disabled: tuple[str, ...]
    routes: dict[Family, PeerCounts]
    limits: dict[Family, LimitView]
    session: SessionView | None
    findings: tuple[FindingView, ...]
    notices: tuple[NoticeView, ...]


def peers(bridge: Bridge) -> list[PeerView]:
    """All peers in the order of the configuration."""
    order = {peer.name: number for number, peer in enumerate(bridge.config.peers)}
    states = sorted(bridge.peers, key=lambda state: order.get(state.name, len(order)))
    return [_view(bridge, state) for state in states]


def peer(bridge: Bridge, name: str) -> PeerView:
    """One peer. Raises UsageError."""
    return _view(bridge, bridge.peers_by_name(name))


def _view(bridge: Bridge, state: PeerState) -> PeerView:
    config, down, error = state.config, state.last_down, state.last_error
    left_s = _left(bridge, state)
    return PeerView(
        name=state.name,
        description=config.description or "",
        address=str(config.address),
        asn=config.asn,
        local_asn=state.local_asn,
        ebgp=state.ebgp,
        families=tuple(family.label for family in config.families),
        state=state_of(bridge, state),
        since=state.since,
        established=state.established,
        import_policy=config.import_policy or ("none (RFC 8212)" if state.ebgp else "accept"),
        announced=len(config.announce),
        updates=state.updates,
        octets=state.octets,
        last_update=state.last_update,
        last_down="" if down is None else _why(down),
        last_down_at=state.ended,
        last_error=None if error is None else _notice(state, *error),
        hold_off=_hold_off(state, left_s),
        unhealthy=bridge.health.why_peer(state.name),
        end_of_rib=_labels(state.end_of_rib),
        disabled=_labels(state.disabled),
        routes=bridge.rib.counts(state.index),
        limits=limits_of(bridge, state),
        session=_session(state),
        findings=_findings(state),
        notices=tuple(_notice(state, at, notice) for at, notice in state.notices),
    )


def _hold_off(state: PeerState, left_s: float) -> HoldOffView | None:
    if not left_s:
        return None
    return HoldOffView(None if state.hold_off.latched else round(left_s, 1), state.hold_off.why)


def limits_of(bridge: Bridge, state: PeerState) -> dict[Family, LimitView]:
    """Each family's limit, and where the peer stands against it."""
    return {
        family: _limit(bridge, state, family, limit)
        for family, limit in (state.config.max_prefix or MaxPrefix()).items()
    }


def _limit(bridge: Bridge, state: PeerState, family: Family, limit: FamilyLimit) -> LimitView:
    used, blocked = bridge.rib.against_limit(state.index, family, 0)
    return LimitView(
        limit=limit.limit,
        warn_at=limit.warn_at,
        threshold=limit.threshold,
        action=limit.action.value,
        restart_s=limit.restart_s,
        count=limit.count.value,
        used=used,
        blocked=blocked,
        level=level_of(limit, used, blocked).value,
    )


def state_of(bridge: Bridge, state: PeerState) -> str:
    """The phase; `idle` (RFC 4271 s8.2.2) for a peer that is down because we hold it off."""
    return IDLE if state.phase is Phase.DOWN and _left(bridge, state) else state.phase.value


def why_not_up(bridge: Bridge, state: PeerState) -> str:
    """What keeps a session from coming up, in words; empty while nothing is known."""
    left_s, error = _left(bridge, state), state.last_error
    if state.hold_off.latched:
        return f"held off until an operator clears it (`--clear-hold-off`): {state.hold_off.why}"
    if left_s:
        return f"held off for {left_s:.0f} s more after a reset: {state.hold_off.why}"
    if error is not None and not state.is_past(error[0]):
        return error[1].text
    return "" if state.last_down is None else _why(state.last_down)


def _left(bridge: Bridge, state: PeerState) -> float:
    return state.hold_off.left(bridge.peers.steady())


def _notice(state: PeerState, at: float, notice: Notice) -> NoticeView:
    return NoticeView(at, notice.kind.value, notice.text, state.is_past(at))


def _why(down: SessionDown) -> str:
    """What ended the session, with the peer's or the speaker's words where they add something."""
    reason = down.reason.value
    if down.text.lower().startswith(reason.lower()):
        return down.text
    return f"{reason}: {down.text}" if down.text else reason


def _session(state: PeerState) -> SessionView | None:
    session = state.session
    if session is None:
        return None
    return SessionView(
        router_id=str(session.router_id),
        local_address=str(session.local_address),
        hold_time_s=session.hold_time_s,
        families=_labels(session.families),
        add_path=_labels(session.add_path),
        asn4=session.asn4,
        extended_message=session.extended_message,
        extended_next_hop=session.extended_next_hop,
        route_refresh=session.route_refresh,
        enhanced_refresh=session.enhanced_refresh,
        graceful_restart_s=session.graceful_restart_s,
        role=session.role,
        peer_role=session.peer_role,
    )


def _findings(state: PeerState) -> tuple[FindingView, ...]:
    counted = sorted(state.findings.items(), key=lambda item: (-item[0].verdict, -item[1], item[0].reason))
    return tuple(FindingView(_word(f.verdict), f.code, f.reason, count) for f, count in counted)


def _word(verdict: Verdict) -> str:
    """The verdict as RFC 7606 s2 spells it."""
    return verdict.name.lower().replace("_", "-")


def _labels(families: set[Family] | frozenset[Family]) -> tuple[str, ...]:
    return tuple(family.label for family in sorted(families))

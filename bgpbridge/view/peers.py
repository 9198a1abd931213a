"""`peers` and `peers NAME`: sessions, what they brought, and what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.feed.frames import SessionDown
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.peers import PeerState
from bgpbridge.rib.peers import PeerCounts
from bgpbridge.types import Family, Verdict

__all__ = ["FindingView", "NoticeView", "PeerView", "SessionView", "peer", "peers"]


@dataclass(frozen=True, slots=True)
class SessionView:
    """What OPEN agreed on."""

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


@dataclass(frozen=True, slots=True)
class FindingView:
    """One kind of mistake in what the peer sent, and how often. `attribute` 0 is the message itself."""

    verdict: str
    attribute: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class NoticeView:
    """Something the speaker noticed about the peer. `at` is Unix time."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer. `since` is the Unix time of the present state, `established` how many sessions there were, `families`
    those of the configuration."""

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
    end_of_rib: tuple[str, ...]
    disabled: tuple[str, ...]
    routes: dict[Family, PeerCounts]
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
    config, down = state.config, state.last_down
    return PeerView(
        name=state.name,
        description=config.description or "",
        address=str(config.address),
        asn=config.asn,
        local_asn=state.local_asn,
        ebgp=state.ebgp,
        families=tuple(family.label for family in config.families),
        state=state.phase.value,
        since=state.since,
        established=state.established,
        import_policy=config.import_policy or ("none (RFC 8212)" if state.ebgp else "accept"),
        announced=len(config.announce),
        updates=state.updates,
        octets=state.octets,
        last_update=state.last_update,
        last_down="" if down is None else _why(down),
        end_of_rib=_labels(state.end_of_rib),
        disabled=_labels(state.disabled),
        routes=bridge.rib.counts(state.index),
        session=_session(state),
        findings=_findings(state),
        notices=tuple(NoticeView(at, notice.kind.value, notice.text) for at, notice in state.notices),
    )


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
    )


def _findings(state: PeerState) -> tuple[FindingView, ...]:
    counted = sorted(state.findings.items(), key=lambda item: (-item[0].verdict, -item[1], item[0].reason))
    return tuple(FindingView(_word(f.verdict), f.code, f.reason, count) for f, count in counted)


def _word(verdict: Verdict) -> str:
    """The verdict as RFC 7606 s2 spells it."""
    return verdict.name.lower().replace("_", "-")


def _labels(families: set[Family] | frozenset[Family]) -> tuple[str, ...]:
    return tuple(family.label for family in sorted(families))

"""`explain`: why a packet to an address goes where it goes, from the policy's line to the slot's MAC."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.commits import HistoryEntry
from bgpbridge.config.latency import LatencyMode
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.peers import OVERRIDE_NAME
from bgpbridge.rib import lookups
from bgpbridge.rib.decision import Candidate, Decision
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.rib.lookups import Path, Status
from bgpbridge.types import IPAddress, Prefix
from bgpbridge.view.fib import FibView, fib, protocol_name
from bgpbridge.view.groups import UNHEALTHY, MemberView
from bgpbridge.view.overrides import OverrideView, override_of
from bgpbridge.view.routes import RouteView, policy_verdict, route_view

__all__ = ["ExplainView", "HistoryView", "LossView", "PolicyView", "RpkiStateView", "explain", "losses", "policy_of"]


@dataclass(frozen=True, slots=True)
class LossView:
    """Why a path is not the best one: the numbered step that decided, and who won there."""

    peer: str
    path_id: int
    step: int
    text: str
    rfc: str
    winner: str


@dataclass(frozen=True, slots=True)
class PolicyView:
    """What import policy said about the best path."""

    peer: str
    accepted: bool
    policy: str
    term: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class RpkiStateView:
    """What RPKI says of the first path (RFC 6811), and the VRPs that it rests on, most specific first. `origin` 0:
    none; `peer` is who sent the path."""

    peer: str
    state: str
    origin: int
    covering: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryView:
    """One change of the prefix. `ago_s` in seconds."""

    commit: int
    ago_s: float
    cause: str
    old_group: int
    new_group: int


@dataclass(frozen=True, slots=True)
class ExplainView:
    """The whole way of an address or prefix. `note` is there when packets do not go by the prefix explained."""

    target: str
    prefix: str
    override: OverrideView | None
    verdict: str
    note: str
    paths: tuple[RouteView, ...]
    losses: tuple[LossView, ...]
    policy: PolicyView | None
    rpki: RpkiStateView | None
    fib: FibView
    foreign: tuple[str, ...]
    history: tuple[HistoryView, ...]


def explain(bridge: Bridge, address: IPAddress, prefix: Prefix | None = None) -> ExplainView:
    """Why packets to `address` go where they go; `prefix` names one to explain instead of the longest match."""
    found = _explained(bridge, address, prefix)
    decision = lookups.explain(bridge.rib, found) if found is not None else Decision(None)
    paths = lookups.paths(bridge.rib, found) if found is not None else []
    seen, views = fib(bridge, address), tuple(route_view(bridge, path) for path in paths)
    return ExplainView(
        target=str(prefix) if prefix is not None else str(address),
        prefix=str(found) if found is not None else "",
        override=override_of(bridge, found) if found is not None else None,
        verdict=_verdict(bridge, decision, seen, views)
        if prefix is None or found is not None or not seen.prefix
        else f"not in the table: packets to {address} follow {seen.prefix}, as below",
        note=_note(address, prefix, found, seen),
        paths=views,
        losses=tuple(losses(bridge, decision)),
        policy=_policy(bridge, paths),
        rpki=_rpki(bridge, paths),
        fib=seen,
        foreign=tuple(_foreign(bridge, address)),
        history=_history(bridge, found),
    )


def _explained(bridge: Bridge, address: IPAddress, prefix: Prefix | None) -> Prefix | None:
    """The prefix to explain, None where nobody has sent one."""
    if prefix is None:
        return lookups.telling(bridge.rib, address)
    return prefix if lookups.known(bridge.rib, prefix) else None


def _note(address: IPAddress, prefix: Prefix | None, found: Prefix | None, seen: FibView) -> str:
    if prefix is None:
        return ""
    if found is None:
        return f"no peer has sent {prefix}"
    if seen.prefix and seen.prefix != str(prefix):
        return f"packets to {address} follow {seen.prefix}"
    return ""


def _verdict(bridge: Bridge, decision: Decision, seen: FibView, paths: tuple[RouteView, ...]) -> str:
    """One sentence."""
    xdp = bridge.planes.xdp
    if xdp is not None and not xdp.enabled:
        return "passed to the kernel: forwarding in XDP is switched off (`bgpbridge on`)"
    if seen.xdp_says.startswith("punt"):
        return "passed to the kernel: the address is ours, or another routing source decides about it"
    if decision.best is None and paths:
        which = f"none of the {len(paths)} paths" if len(paths) > 1 else "the only path"
        return f"left to the kernel: {which} of {paths[0].prefix} can{'' if len(paths) > 1 else 'not'} be used"
    if seen.group == BLACKHOLE:
        return "dropped: blackholed by an override"
    if decision.best is None or seen.detail is None:
        return "left to the kernel: there is no BGP route"
    carries = [member for member in seen.detail.members if member.carries]
    if not carries:
        return "passed to the kernel: no member of the group can carry traffic now"
    ways = ", ".join(
        f"{member.next_hop} (from {member.peer}{', backup' if member.backup else ''})" for member in carries
    )
    chosen = ["as latency chose"] if seen.detail.latency and bridge.latency.mode is LatencyMode.ACT else []
    return "; ".join([f"forwarded to {ways}", *chosen, *_unhealthy(seen.detail.members)])


def _unhealthy(members: tuple[MemberView, ...]) -> Iterator[str]:
    """Members whose place health has changed: they would carry traffic and do not, or do because nothing is better."""
    for member in members:
        if not member.why.startswith(UNHEALTHY):
            continue
        if member.carries:
            yield f"{member.peer} is used though {member.why} (all paths are, so traffic stays)"
        elif not member.backup:
            yield f"not by {member.next_hop} (from {member.peer}), {member.why}"


def losses(bridge: Bridge, decision: Decision) -> list[LossView]:
    """Each path that is not the best one, with the step at which it lost."""
    views = []
    for loss in decision.eliminated:
        winner = _who(bridge, loss.winner) if loss.winner is not None else ""
        views.append(
            LossView(
                bridge.peers.name(loss.loser.peer),
                loss.loser.path_id,
                int(loss.step),
                loss.step.text,
                loss.step.rfc,
                winner,
            )
        )
    return views


def _who(bridge: Bridge, candidate: Candidate) -> str:
    name = bridge.peers.name(candidate.peer)
    if name == OVERRIDE_NAME:  # a next hop that no path has
        return f"next hop {bridge.rib.next_hops[candidate.next_hop].address}"
    return f"{name} path {candidate.path_id}" if candidate.path_id else name


def _policy(bridge: Bridge, paths: list[Path]) -> PolicyView | None:
    """What policy said of the best path, which is the first if there is one."""
    return policy_of(bridge, paths[0]) if paths and paths[0].status is Status.BEST else None


def policy_of(bridge: Bridge, path: Path) -> PolicyView | None:
    """What import policy said of a path; None when there is nobody to ask: its peer has gone."""
    verdict = policy_verdict(bridge, path)
    if verdict is None:
        return None
    name = bridge.peers.name(path.peer)
    return PolicyView(name, verdict.accept, verdict.policy, verdict.term, str(verdict.place), verdict.reason)


def _rpki(bridge: Bridge, paths: list[Path]) -> RpkiStateView | None:
    """Of the first path; None without sources, or when its peer has gone."""
    if not paths or not bridge.rpki.sources or bridge.peers.at(paths[0].peer) is None:
        return None
    path, judge = paths[0], bridge.judge
    attributes = bridge.rib.attributes.get(path.received).attributes
    if attributes is None:
        return None
    state, origin = judge.validity(path.peer, path.prefix, attributes), judge.origin_of(path.peer, attributes)
    covering = tuple(str(vrp) for vrp in judge.vrps.covering(path.prefix))
    return RpkiStateView(bridge.peers.name(path.peer), state.label, origin, covering)


def _foreign(bridge: Bridge, address: IPAddress) -> list[str]:
    """Routes of others that match the address, longest first: what stands beside ours in the kernel."""
    foreign = bridge.watcher.state.foreign
    lines = []
    local = foreign.local_match(address)
    if local is not None:
        lines.append(f"{local.prefix} table local, {local.type.name.lower()}")
    for prefix, found in foreign.main_matches(address):
        lines += [
            f"{prefix} protocol {protocol_name(r.protocol)} metric {r.metric} {r.type.name.lower()}" for r in found
        ]
    return lines


def _history(bridge: Bridge, prefix: Prefix | None) -> tuple[HistoryView, ...]:
    if prefix is None:
        return ()
    now = time.time()
    entries: list[HistoryEntry] = bridge.log.history(prefix, 10)
    return tuple(HistoryView(e.number, round(now - e.at, 1), str(e.cause), e.old_group, e.new_group) for e in entries)

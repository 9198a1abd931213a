"""`explain` and `fib`: why a packet to an address goes where it goes, from the policy's line to the slot's MAC."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bgpbridge.commits import HistoryEntry
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib.decision import Candidate, Decision
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.view.groups import GroupView, group
from bgpbridge.view.routes import Filter, RouteView, matching_row, route, routes

__all__ = ["ExplainView", "FibView", "HistoryView", "LossView", "PolicyView", "explain", "fib"]


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
class HistoryView:
    """One change of the prefix. `ago_s` in seconds."""

    commit: int
    ago_s: float
    cause: str
    old_group: int
    new_group: int


@dataclass(frozen=True, slots=True)
class FibView:
    """What the planes hold for an address. `xdp_value` is the LPM map's own answer; `kernel` the route in the
    kernel's words."""

    address: str
    prefix: str
    group: int
    xdp_value: int
    xdp_says: str
    kernel_behind: int
    refused: tuple[str, ...]
    detail: GroupView | None


@dataclass(frozen=True, slots=True)
class ExplainView:
    """The whole way of an address or prefix."""

    target: str
    prefix: str
    verdict: str
    paths: tuple[RouteView, ...]
    losses: tuple[LossView, ...]
    policy: PolicyView | None
    fib: FibView
    foreign: tuple[str, ...]
    history: tuple[HistoryView, ...]


def explain(bridge: Bridge, address: IPAddress, prefix: Prefix | None = None) -> ExplainView:
    """Why packets to `address` go where they go; `prefix` names one to explain instead of the longest match."""
    family = Family.of(address)
    tables = bridge.rib.families[family]
    row = tables.prefixes.row(prefix) if prefix is not None else matching_row(bridge, address)
    decision = tables.decide(row, bridge.rib.options) if row else Decision(None)
    found = tables.prefixes.prefix(row) if row else None
    seen = fib(bridge, address)
    paths = tuple(route(bridge, address)) if prefix is None or found is None else _paths_of(bridge, found)
    return ExplainView(
        target=str(prefix) if prefix is not None else str(address),
        prefix=str(found) if found is not None else "",
        verdict=_verdict(bridge, decision, seen),
        paths=paths,
        losses=tuple(_losses(bridge, decision)),
        policy=_policy(bridge, found, decision.best),
        fib=seen,
        foreign=tuple(_foreign(bridge, address)),
        history=_history(bridge, found),
    )


def _paths_of(bridge: Bridge, prefix: Prefix) -> tuple[RouteView, ...]:
    exact = str(prefix)
    return tuple(view for view in routes(bridge, Filter(prefix=prefix, limit=0)) if view.prefix == exact)


def _verdict(bridge: Bridge, decision: Decision, seen: FibView) -> str:
    """One sentence."""
    xdp = bridge.planes.xdp
    if xdp is not None and not xdp.enabled:
        return "passed to the kernel: forwarding in XDP is switched off (`bgpbridge on`)"
    if seen.xdp_says.startswith("punt"):
        return "passed to the kernel: the address is ours, or another routing source decides about it"
    if decision.best is None or seen.detail is None:
        return "no BGP route: left to the kernel"
    carries = [member for member in seen.detail.members if member.carries]
    if not carries:
        return "passed to the kernel: no member of the group can carry traffic now"
    ways = ", ".join(
        f"{member.next_hop} (from {member.peer}{', backup' if member.backup else ''})" for member in carries
    )
    return f"forwarded to {ways}"


def _losses(bridge: Bridge, decision: Decision) -> list[LossView]:
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
    return f"{name} path {candidate.path_id}" if candidate.path_id else name


def _policy(bridge: Bridge, prefix: Prefix | None, best: Candidate | None) -> PolicyView | None:
    if prefix is None or best is None:
        return None
    decoded = bridge.rib.attributes.get(bridge.rib.attributes.received(best.attributes)).attributes
    if decoded is None or bridge.peers.at(best.peer) is None:
        return None
    verdict = bridge.judge.explain(best.peer, prefix, decoded)
    name = bridge.peers.name(best.peer)
    return PolicyView(name, verdict.accept, verdict.policy, verdict.term, str(verdict.place), verdict.reason)


def _foreign(bridge: Bridge, address: IPAddress) -> list[str]:
    """Routes of others that match the address, longest first: what stands beside ours in the kernel."""
    foreign = bridge.watcher.state.foreign
    lines = []
    local = foreign.local_match(address)
    if local is not None:
        lines.append(f"{local.prefix} table local, {local.type.name.lower()}")
    for prefix, found in foreign.main_matches(address):
        lines += [f"{prefix} protocol {r.protocol} metric {r.metric} {r.type.name.lower()}" for r in found]
    return lines


def _history(bridge: Bridge, prefix: Prefix | None) -> tuple[HistoryView, ...]:
    if prefix is None:
        return ()
    now = time.time()
    entries: list[HistoryEntry] = bridge.log.history(prefix, 10)
    return tuple(HistoryView(e.number, round(now - e.at, 1), str(e.cause), e.old_group, e.new_group) for e in entries)


def fib(bridge: Bridge, address: IPAddress) -> FibView:
    """What the planes hold for an address, asked from the planes themselves."""
    row = matching_row(bridge, address)
    tables = bridge.rib.families[Family.of(address)]
    number = int(tables.group[row]) if row else 0
    xdp, kernel = bridge.planes.xdp, bridge.planes.kernel
    value = xdp.lookup(address) if xdp is not None else 0
    says = {0: "no entry", 1: "punt: left to the kernel", 2: "blackhole: dropped"}.get(value, f"group {value}")
    prefix = tables.prefixes.prefix(row) if row else None
    refused = [str(state) for plane in (xdp, kernel) if plane is not None for state in plane.refused(1000)]
    mine = tuple(line for line in refused if prefix is not None and f" {prefix}:" in line)
    shown = value if value in bridge.rib.groups else number
    return FibView(
        address=str(address),
        prefix=str(prefix) if prefix is not None else "",
        group=number,
        xdp_value=value,
        xdp_says=says if xdp is not None else "XDP is not configured",
        kernel_behind=kernel.behind if kernel is not None else 0,
        refused=mine,
        detail=group(bridge, shown) if shown in bridge.rib.groups else None,
    )

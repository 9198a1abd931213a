"""Is the bridge ready to carry traffic as the configuration says, and if not, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.peers import Phase
from bgpbridge.view.peers import state_of, why_not_up

__all__ = ["CHECKS", "ReadyCheck", "ReadyView", "ready"]

IN_STEP = 1000
"""Routes that may wait for the kernel: a table that only changes has tens of them for milliseconds, one that loads has
hundreds of thousands."""
NAMED = 8


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """One condition. `missing` says what is not there yet, empty when `ready`."""

    name: str
    ready: bool
    missing: str


@dataclass(frozen=True, slots=True)
class ReadyView:
    """All conditions, and whether all hold. `warnings` are for an operator and make nothing unready: traffic flows as
    well as it did before them."""

    ready: bool
    checks: tuple[ReadyCheck, ...]
    warnings: tuple[str, ...] = ()


def ready(bridge: Bridge, exclude: Iterable[str] = ()) -> ReadyView:
    """All conditions but those excluded."""
    left_out = frozenset(exclude)
    checks = [(name, check(bridge)) for name, check in CHECKS.items() if name not in left_out]
    views = tuple(ReadyCheck(name, not missing, missing) for name, missing in checks)
    return ReadyView(all(view.ready for view in views), views, tuple(bridge.rpki.alarms()))


def _adoption(bridge: Bridge) -> str:
    return "what an earlier run left is not all claimed or swept yet" if bridge.adopting else ""


def _tables(bridge: Bridge) -> str:
    jobs = len(bridge.work)
    return f"{jobs} whole-table jobs are under way" if jobs else ""


def _xdp(bridge: Bridge) -> str:
    datapath, xdp = bridge.datapath, bridge.planes.xdp
    if datapath is None or xdp is None:
        return ""
    if datapath.begins:
        return "XDP waits for the peers' tables"
    if not xdp.enabled:
        return "forwarding is switched off (`bgpbridge on`)"
    return "" if datapath.attached else "XDP is on no interface"


def _kernel(bridge: Bridge) -> str:
    kernel = bridge.planes.kernel
    behind = kernel.behind if kernel is not None else 0
    return f"{behind:,} routes wait to be written" if behind > IN_STEP else ""


def _sessions(bridge: Bridge) -> str:
    down = [peer for peer in bridge.peers if peer.phase is not Phase.ESTABLISHED]
    told = [f"{peer.name} is {state_of(bridge, peer)}: {why_not_up(bridge, peer)}".rstrip(": ") for peer in down]
    more = f"; and {len(down) - NAMED} more" if len(down) > NAMED else ""
    return "; ".join(told[:NAMED]) + more


CHECKS = {"adoption": _adoption, "tables": _tables, "xdp": _xdp, "kernel": _kernel, "sessions": _sessions}

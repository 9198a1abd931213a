"""What the API does to a running bridge."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.api.parameters import PEER_NAME, flag
from bgpbridge.api.table import Call
from bgpbridge.errors import UsageError
from bgpbridge.events import Severity
from bgpbridge.pipeline.reload import ReloadReport
from bgpbridge.view.audit import AuditView, audit

__all__ = ["REPAIR", "ClearedView", "SwitchedView", "clear_hold_off", "compare", "reload", "switch_off", "switch_on"]

REPAIR = flag("repair", "Bring in line what differs, then compare again")


@dataclass(frozen=True, slots=True)
class SwitchedView:
    """`forwarding`: XDP forwards now."""

    forwarding: bool
    text: str


@dataclass(frozen=True, slots=True)
class ClearedView:
    """`ended`: there was a hold-off, and it is over."""

    ended: bool
    text: str


async def compare(call: Call) -> AuditView:
    """Compare everything now, and mend where asked for."""
    return await audit(call.bridge, repair=call[REPAIR])


async def reload(call: Call) -> ReloadReport:
    """Take the file over."""
    return await call.reloading.take_over()


def clear_hold_off(call: Call) -> ClearedView:
    """Let a peer connect again."""
    state = call.bridge.peers_by_name(call[PEER_NAME])
    ended = call.bridge.sessions.end_hold_off(state, "by an operator")
    return ClearedView(ended, f"{state.name} may connect again" if ended else f"{state.name} was not held off")


def switch_on(call: Call) -> SwitchedView:
    """Let XDP forward."""
    return _switch(call, on=True)


def switch_off(call: Call) -> SwitchedView:
    """Give all packets to the kernel."""
    return _switch(call, on=False)


def _switch(call: Call, *, on: bool) -> SwitchedView:
    xdp = call.bridge.planes.xdp
    if xdp is None:
        raise UsageError("there is no XDP here to switch", mend="name interfaces in datapath.interfaces")
    xdp.enabled = on
    text = "packets are forwarded by XDP" if on else "all packets go to the kernel"
    call.bridge.events.add("switched-on" if on else "switched-off", "xdp", text, Severity.NOTICE)
    return SwitchedView(on, text)

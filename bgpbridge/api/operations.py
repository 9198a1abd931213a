"""What the API does to a running bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bgpbridge.api.parameters import PEER_NAME, flag, number, optional
from bgpbridge.api.table import Call, Parameter
from bgpbridge.errors import DatapathError, UsageError, VerifierError
from bgpbridge.events import Severity
from bgpbridge.pipeline.plan_report import Plan
from bgpbridge.pipeline.reload import ReloadReport
from bgpbridge.pipeline.upgrade import UpgradeReport
from bgpbridge.view.audit import AuditView, audit

__all__ = [
    "FILE",
    "REPAIR",
    "VERBOSE",
    "WATCH",
    "ClearedView",
    "SwitchedView",
    "clear_hold_off",
    "compare",
    "plan",
    "reload",
    "switch_off",
    "switch_on",
    "upgrade_datapath",
]

WATCH = number("watch", 3, "Seconds to watch the counters before the program stays", most=60)
VERBOSE = flag("verbose", "All that the verifier says, where it refuses")
REPAIR = flag("repair", "Bring in line what differs, then compare again")


def _read_file(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise UsageError(f"file={text!r} is not a whole path", mend="one that begins with /")
    return Path(text)


FILE: Parameter[Path | None] = optional("file", _read_file, "A whole path; the configured file where it does not stand")


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


async def plan(call: Call) -> Plan:
    """What a reload would do. Over TCP only files beside the configuration are read: refusals quote what is in them."""
    file, folder = call[FILE], call.bridge.config.path.parent.resolve()
    if file is not None and call.over_tcp and not file.resolve().is_relative_to(folder):
        raise UsageError(f"{file} is not in {folder}", mend="put it there, or ask on the control socket")
    return await call.reloading.foretell(file)


async def upgrade_datapath(call: Call) -> UpgradeReport:
    """Another program, and maps as the file wants them, with no packet lost."""
    bridge = call.bridge
    if bridge.upgrade is None:
        raise UsageError("there is no XDP here to upgrade", mend="name interfaces in datapath.interfaces")
    if bridge.adopting:
        raise UsageError("routes of an earlier run are still being claimed", mend="try again when `status` is through")
    try:
        return await call.reloading.upgrade(bridge.upgrade, call[WATCH])
    except VerifierError as error:
        if not call[VERBOSE]:
            raise
        raise DatapathError(f"{error.what}\nall its words:\n{error.log}", mend=error.mend) from error


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
    if call.bridge.datapath is not None:
        call.bridge.datapath.begins = False  # this is the last word
    xdp.enabled = on
    text = "packets are forwarded by XDP" if on else "all packets go to the kernel"
    call.bridge.events.add("switched-on" if on else "switched-off", "xdp", text, Severity.NOTICE)
    return SwitchedView(on, text)

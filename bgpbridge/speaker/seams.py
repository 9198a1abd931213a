"""Where the tap is sewn into ExaBGP: every name that we replace or override, and their shapes.

`install` puts the parts in place. `changes` compares the installed ExaBGP with what this was written
against (5.0.x) and says what is different; the speaker refuses to start, and a test fails, on any.
"""

from __future__ import annotations

import importlib
import inspect
import time
from typing import Any, Final

__all__ = ["SEAMS", "changes", "install"]

SUPPORTED: Final = "5.0"

# module, class or attribute, and the parameters that we rely on (None: it must only be there)
SEAMS: Final[tuple[tuple[str, str, tuple[str, ...] | None], ...]] = (
    ("exabgp.reactor.loop", "Reactor.__init__", ("self", "configuration")),
    ("exabgp.reactor.loop", "Reactor.run", ("self",)),
    ("exabgp.reactor.loop", "Reactor.reload", ("self",)),
    ("exabgp.reactor.loop", "Reactor.shutdown", ("self",)),
    ("exabgp.reactor.loop", "Reactor._wait_for_io", ("self", "sleeptime")),
    ("exabgp.reactor.loop", "Reactor._listen_for_neighbors", ("self",)),
    ("exabgp.reactor.loop", "Reactor._pending_adjribout", ("self",)),
    ("exabgp.reactor.loop", "Reactor._termination", ("self", "reason", "exit_code")),
    ("exabgp.reactor.loop", "Peer", ("neighbor", "reactor")),
    ("exabgp.reactor.loop", "Processes", ()),
    ("exabgp.reactor.peer", "Peer._main", ("self",)),
    ("exabgp.reactor.peer", "Peer._close", ("self", "message", "error")),
    ("exabgp.reactor.peer", "Peer._reset", ("self", "message", "error")),
    ("exabgp.reactor.peer", "Peer.run", ("self",)),
    ("exabgp.reactor.peer", "ACTION.LATER", None),
    ("exabgp.reactor.peer", "Peer.socket", ("self",)),
    ("exabgp.reactor.peer", "Peer.remove", ("self",)),
    ("exabgp.reactor.peer", "Peer.shutdown", ("self",)),
    ("exabgp.reactor.peer", "Peer.reestablish", ("self", "restart_neighbor")),
    ("exabgp.reactor.peer", "Peer.handle_connection", ("self", "connection")),
    ("exabgp.reactor.peer", "Protocol", ("peer",)),
    ("exabgp.reactor.protocol", "Protocol.read_message", ("self",)),
    ("exabgp.reactor.protocol", "Protocol.connect", ("self",)),
    ("exabgp.reactor.protocol", "Protocol.new_notification", ("self", "notification")),
    (
        "exabgp.reactor.protocol",
        "Outgoing",
        ("afi", "peer", "local", "port", "md5", "md5_base64", "ttl", "itf", "incoming_ttl"),
    ),
    ("exabgp.reactor.protocol", "_UPDATE", None),
    ("exabgp.reactor.network.connection", "Connection._reader", ("self", "number")),
    ("exabgp.reactor.network.connection", "Connection.reader", ("self",)),
    ("exabgp.reactor.network.connection", "Connection.close", ("self",)),
    ("exabgp.reactor.network.incoming", "Incoming", ("afi", "peer", "local", "io")),
    ("exabgp.reactor.network.incoming", "Incoming.notification", ("self", "code", "subcode", "message")),
    ("exabgp.reactor.network.outgoing", "Outgoing.establish", ("self",)),
    ("exabgp.reactor.network.outgoing", "Outgoing._connect", ("self",)),
    ("exabgp.reactor.network.tcp", "md5", ("io", "ip", "port", "md5", "md5_base64")),
    ("exabgp.reactor.network.tcp", "ip_minttl", ()),
    ("exabgp.reactor.network.tcp", "IPV6_MINHOPCOUNT", None),
    ("exabgp.reactor.listener", "Listener.incoming", ("self",)),
    ("exabgp.reactor.listener", "Listener.stop", ("self",)),
    ("exabgp.reactor.listener", "set_accepted_ttl", ("connection", "neighbor")),
    ("exabgp.reactor.api.processes", "Processes.start", ("self", "configuration", "restart")),
    ("exabgp.reactor.api.processes", "Processes.terminate", ("self",)),
    ("exabgp.reactor.api.processes", "Processes.received", ("self",)),
    ("exabgp.configuration.configuration", "Configuration.__init__", ("self", "configurations", "text")),
    ("exabgp.configuration.configuration", "Configuration._reload", ("self",)),
    ("exabgp.configuration.configuration", "Configuration._clear", ("self",)),
    ("exabgp.protocol.ip.netmask", "NetMask.create", ("string", "afi")),
    ("exabgp.bgp.timer", "ReceiveTimer.check_ka_timer", ("self", "message", "ignore")),
    ("exabgp.bgp.timer", "time", None),
    ("exabgp.reactor.delay", "time", None),
    ("exabgp.bgp.message.notification", "Notify.__init__", ("self", "code", "subcode", "data")),
    ("exabgp.bgp.message.notification", "Notification.SHUTDOWN_COMM_MAX_LEGACY", None),
    ("exabgp.bgp.message.notification", "Notification._str_subcode", None),
    ("exabgp.reactor.protocol", "Protocol.validate_open", ("self",)),
    ("exabgp.reactor.protocol", "Capabilities.new", ("self", "neighbor", "restarted", "local_as")),
    ("exabgp.bgp.message.open.capability", "Capability.register", ("capability",)),
    ("exabgp.bgp.message.open.capability", "Capability.unpack", ("capability", "capabilities", "data")),
    ("exabgp.bgp.message.refresh", "RouteRefresh.__init__", ("self", "afi", "safi", "reserved")),
    ("exabgp.bgp.message.open.capability.negotiated", "RequirePath.receive", ("self", "afi", "safi")),
    ("exabgp.bgp.neighbor", "Neighbor.add_nexthop", ("self", "afi", "safi", "nhafi")),
    ("exabgp.bgp.neighbor", "Neighbor.reset_rib", ("self",)),
    ("exabgp.bgp.neighbor", "Neighbor.__eq__", ("self", "other")),
)


def changes() -> list[str]:
    """What the installed ExaBGP has different from what the tap was written against; empty when fit."""
    from exabgp.version import version  # noqa: PLC0415 - reads its environment when imported

    found = [] if str(version).startswith(f"{SUPPORTED}.") else [f"ExaBGP is {version}, the tap knows {SUPPORTED}.x"]
    for module, path, parameters in SEAMS:
        try:
            value: Any = importlib.import_module(module)
            for name in path.split("."):
                value = getattr(value, name)
        except (ImportError, AttributeError):
            found.append(f"{module}.{path} is gone")
            continue
        if parameters is None:
            continue
        names = tuple(inspect.signature(value).parameters)
        if names != parameters:
            found.append(f"{module}.{path} takes {names}, the tap counts on {parameters}")
    return found


class _Monotonic:
    """Stands in for the time module where ExaBGP measures intervals: a step of the wall clock must not
    expire the hold timers of all sessions."""

    time = staticmethod(time.monotonic)


def install() -> None:
    """Put the tap's classes in the places where ExaBGP looks for its own."""
    from exabgp.bgp import timer  # noqa: PLC0415 - only the speaker's process pays for ExaBGP
    from exabgp.bgp.message.notification import Notification  # noqa: PLC0415
    from exabgp.reactor import delay, peer, protocol  # noqa: PLC0415

    from bgpbridge.speaker.connection import TapOutgoing  # noqa: PLC0415
    from bgpbridge.speaker.protocol import TapProtocol  # noqa: PLC0415
    from bgpbridge.speaker.roles import TapCapabilities  # noqa: PLC0415

    peer.Protocol = TapProtocol
    protocol.Outgoing = TapOutgoing
    protocol.Capabilities = TapCapabilities
    Notification._str_subcode[2, 11] = "Role Mismatch"  # RFC 9234 s4.2
    timer.time = delay.time = _Monotonic
    Notification.SHUTDOWN_COMM_MAX_LEGACY = 255  # RFC 9003 s2 raised it

"""How a probe leaves by its exit and by no other.

- **A next hop on an Ethernet** (`Exit.mac`): the packet is handed to the interface with the next hop's MAC
  (AF_PACKET), as XDP forwards to it. No route, rule or mark has a say, so it is exact where several next hops share a
  link, where the kernel's route to the target goes elsewhere, and where there is none.
- **A link without MACs** (a tunnel, point-to-point): a raw socket bound to the interface (SO_BINDTOIFINDEX, which a new
  interface of the same name does not inherit). The kernel chooses among its routes over this interface alone.

What was refused, and why: binding to a source address (the kernel sends by any interface that its routes like);
SO_BINDTODEVICE for next hops on a shared link (the kernel's route chooses one of them for all); marks, rules and
tables of our own (SO_MARK and `ip rule` belong to the operator, and a rule that is left behind misroutes traffic).

Frames of AF_PACKET pass no netfilter on their way out. Answers do on their way in: a firewall with connection tracking
that drops what it holds for unasked drops them, and must let ICMP echo replies and the like in. Answers may come back
by any interface; strict rp_filter drops those that come by another than the kernel would send by.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from bgpbridge.enrich.sockets import packet_sender, routed_sender
from bgpbridge.enrich.targets import Exit
from bgpbridge.types import IPAddress

__all__ = ["Senders"]

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
GONE = frozenset({errno.ENODEV, errno.ENXIO})


class Senders:
    """The sockets that probes leave by. `opened` and `closing` hear of each one, to read its error queue."""

    def __init__(self, opened: Callable[[socket.socket], None], closing: Callable[[socket.socket], object]) -> None:
        self._opened, self._closing = opened, closing
        self._packets = packet_sender()
        self._routed: dict[tuple[int, int], socket.socket] = {}
        opened(self._packets)

    def send(self, exit_: Exit, target: IPAddress, packet: bytes) -> str:
        """Hand the packet over. Empty when the kernel took it, else why not."""
        try:
            if exit_.mac is not None:
                name = socket.if_indextoname(exit_.ifindex)
                self._packets.sendto(packet, (name, ETHERTYPE[target.version], 0, 0, exit_.mac))
            else:
                address = (str(target), 0) if target.version == 4 else (str(target), 0, 0, self._scope(exit_, target))
                self._by_route(exit_.ifindex, target.version).sendto(packet, address)
        except OSError as error:
            return self._refused(exit_, error.errno or 0)
        return ""

    def keep_only(self, exits: frozenset[int]) -> None:
        """Close the sockets of interfaces that are no exits any more."""
        for key in [key for key in self._routed if key[0] not in exits]:
            self._close(self._routed.pop(key))

    def all(self) -> tuple[socket.socket, ...]:
        """Every socket."""
        return (self._packets, *self._routed.values())

    def close(self) -> None:
        """All of them."""
        for opened in self.all():
            self._close(opened)
        self._routed.clear()

    def _by_route(self, ifindex: int, version: int) -> socket.socket:
        found = self._routed.get((ifindex, version))
        if found is None:
            found = self._routed[ifindex, version] = routed_sender(version, ifindex)
            self._opened(found)
        return found

    def _close(self, opened: socket.socket) -> None:
        self._closing(opened)
        opened.close()

    @staticmethod
    def _scope(exit_: Exit, target: IPAddress) -> int:
        return exit_.ifindex if target.is_link_local else 0

    def _refused(self, exit_: Exit, number: int) -> str:
        """In words. A routed socket whose interface is gone is no use to a later one."""
        for version in (4, 6):
            if number in GONE and (exit_.ifindex, version) in self._routed:
                self._close(self._routed.pop((exit_.ifindex, version)))
        if number in GONE:
            return f"exit {exit_.name} is gone: no interface {exit_.ifindex}"
        return f"exit {exit_.name}: {os.strerror(number)}"

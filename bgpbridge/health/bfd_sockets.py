"""The sockets of single-hop BFD (RFC 5881): one listener for each interface and family, one sender for each session.

Bound to the interface, so that a packet which came in elsewhere is nobody's; TTL 255 is sent and demanded (RFC 5082),
which nobody who is farther than one hop can forge. A listener has the kernel drop what has another TTL, is too short,
comes from none of its peers, or does not bear the discriminator that we told that peer: a flood of strangers, or of
packets forged without having heard ours, does not crowd the peer's own out of the receive buffer (socket(7),
SO_ATTACH_FILTER).
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import socket
import struct
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bgpbridge.errors import BridgeError
from bgpbridge.types import Family, IPAddress

__all__ = ["PORT", "TTL", "Arrival", "Listener", "Sender"]

PORT = 3784
TTL = 255
FIRST_PORT, LAST_PORT = 49152, 65535  # RFC 5881 s4
PORT_TRIES = 64
MOST_FILTERED = 32  # peers of one listener that the kernel knows (net.core.optmem_max); more are sorted out by us
SO_ATTACH_FILTER = 26  # include/uapi/asm-generic/socket.h
IP_RECVTTL = 12  # include/uapi/linux/in.h
CLASS_CS6 = 0xC0  # DSCP of routing protocols (RFC 4594 s3.1)
ROOM = 256  # octets of a payload that are read; a control packet's length field can't say more
_ANCILLARY_ROOM = socket.CMSG_SPACE(4)

# Classic BPF (include/uapi/linux/bpf_common.h, filter.h)
_LOAD_WORD, _LOAD_BYTE, _LOAD_LENGTH = 0x20, 0x30, 0x80
_DISCRIMINATOR_AT, _STATE_AT = 8 + 8, 8 + 1  # after the UDP header: Your Discriminator, and Sta in the two highest bits
_INIT = 2 << 6
_IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x15, 0x35, 0x06
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF: before what the socket sees, which begins with the UDP header
_WHOLE = 0xFFFF


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram: payload, TTL or hop limit (-1: the kernel did not say), sender without zone."""

    payload: bytes
    ttl: int
    sender: str


class Listener:
    """Port 3784 of one interface and family. Raises BridgeError where it can't be had."""

    def __init__(self, interface: str, family: Family) -> None:
        self.interface, self.family = interface, family
        self.socket = _bound_socket(interface, family)
        try:
            if family is Family.IPV4:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self.admit({})
            self.socket.bind(("0.0.0.0" if family is Family.IPV4 else "::", PORT))  # noqa: S104 -- of one interface
        except OSError as error:
            self.socket.close()
            raise BridgeError(
                f"BFD on {interface}: UDP port {PORT} can't be had: {error.strerror}",
                mend="does another BFD daemon (bfdd, bird) run in this network namespace? Let one of them do it",
            ) from None

    def admit(self, peers: Mapping[IPAddress, int]) -> None:
        """From now on only these senders, each with the discriminator that is ours towards it, or with none."""
        known = sorted((address.packed, discriminator) for address, discriminator in peers.items())
        program = _filter(self.family, known if len(known) <= MOST_FILTERED else None)
        octets = b"".join(struct.pack("=HBBI", *step) for step in program)
        buffer = ctypes.create_string_buffer(octets, len(octets))
        head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)

    def receive(self) -> Arrival | None:
        """The next datagram; None when there is none."""
        try:
            payload, ancillary, _, sender = self.socket.recvmsg(ROOM, _ANCILLARY_ROOM)
        except OSError:  # nothing there, or the interface went down
            return None
        ttl = -1
        for _, _, octets in ancillary:
            if len(octets) >= 4:
                ttl = int.from_bytes(octets[:4], "little" if struct.pack("=H", 1)[0] else "big")
        return Arrival(payload, ttl, sender[0].partition("%")[0])

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()


class Sender:
    """Where one session's packets come from: a source port that no other session has (RFC 5881 s4)."""

    def __init__(self, interface: str, local: IPAddress, peer: IPAddress, taken: AbstractSet[int]) -> None:
        family = Family.of(peer)
        self.socket = _bound_socket(interface, family)
        try:
            if family is Family.IPV4:
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CLASS_CS6)
            else:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CLASS_CS6)
            scope = socket.if_nametoindex(interface) if peer.is_link_local else 0
            self.port = _bind(self.socket, local, scope, taken)
        except OSError as error:
            self.socket.close()
            raise BridgeError(
                f"BFD with {peer} on {interface}: can't send from {local}: {error.strerror}",
                mend=f"is {local} an address of {interface}?",
            ) from None
        self._to = (str(peer), PORT) if family is Family.IPV4 else (str(peer), PORT, 0, scope)

    def send(self, payload: bytes) -> int:
        """0, or the errno with which the kernel refused. The next packet is the repetition."""
        try:
            self.socket.sendto(payload, self._to)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()


def _bound_socket(interface: str, family: Family) -> socket.socket:
    made = socket.socket(family.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family is Family.IPV6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        made.close()
        raise BridgeError(
            f"BFD on {interface}: {os.strerror(error.errno or errno.EIO)}", mend="does `ip link` show this interface?"
        ) from None
    return made


def _bind(made: socket.socket, local: IPAddress, scope: int, taken: AbstractSet[int]) -> int:
    """Bind to a random free port of RFC 5881's range. Raises OSError."""
    for _ in range(PORT_TRIES):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        if port in taken:
            continue
        try:
            made.bind((str(local), port) if local.version == 4 else (str(local), port, 0, scope))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return port
    raise OSError(errno.EADDRINUSE, f"{PORT_TRIES} ports of {FIRST_PORT}..{LAST_PORT} tried, all in use")


def _filter(family: Family, peers: list[tuple[bytes, int]] | None) -> list[tuple[int, int, int, int]]:
    """Steps (code, jump if true, jump if false, operand): TTL 255, a whole packet, no discriminator of ours only while
    Down or AdminDown (RFC 5880 s6.8.6), one of the peers with its discriminator (None: any)."""
    ttl_at, source_at = (8, 12) if family is Family.IPV4 else (7, 8)
    steps = [
        (_LOAD_BYTE, 0, 0, _NETWORK_HEADER + ttl_at),
        (_IF_EQUAL, 1, 0, TTL),
        (_RETURN, 0, 0, 0),
        (_LOAD_LENGTH, 0, 0, 0),
        (_IF_AT_LEAST, 1, 0, 8 + 24),
        (_RETURN, 0, 0, 0),
        (_LOAD_WORD, 0, 0, _DISCRIMINATOR_AT),
        (_IF_EQUAL, 0, 3, 0),
        (_LOAD_BYTE, 0, 0, _STATE_AT),
        (_IF_AT_LEAST, 0, 1, _INIT),
        (_RETURN, 0, 0, 0),
    ]
    for peer, discriminator in peers if peers is not None else ():
        steps += _of_peer(peer, discriminator, source_at)
    return [*steps, (_RETURN, 0, 0, _WHOLE if peers is None else 0)]


def _of_peer(peer: bytes, discriminator: int, source_at: int) -> list[tuple[int, int, int, int]]:
    """A verdict on packets of one address; others go on to the step behind."""
    words = struct.unpack(f"!{len(peer) // 4}I", peer)
    verdict = [
        (_LOAD_WORD, 0, 0, _DISCRIMINATOR_AT),
        (_IF_EQUAL, 1, 0, discriminator),
        (_IF_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    ]
    steps = []
    for index, word in enumerate(words):
        left = len(words) - 1 - index
        steps += [
            (_LOAD_WORD, 0, 0, _NETWORK_HEADER + source_at + 4 * index),
            (_IF_EQUAL, 0, 2 * left + len(verdict), word),
        ]
    return steps + verdict

"""Listening: one socket per address and port, polled, with each peer's MD5 key and TTL rule where it belongs.

In place of ExaBGP's, which looks for connections once per turn of its loop, cannot listen for a peer
without a local address, and sets one peer's GTSM limit on the socket that all share. Here the socket has
the lowest limit of its peers (none, if one has none), each connection is judged by the TTL of its SYN, which
the kernel keeps for us, and then has its peer's limit.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from exabgp.protocol.family import AFI
from exabgp.reactor.listener import Listener, set_accepted_ttl
from exabgp.reactor.network.error import NetworkError
from exabgp.reactor.network.tcp import IPV6_MINHOPCOUNT, ip_minttl, md5

from bgpbridge.feed.frames import NoticeKind
from bgpbridge.speaker.connection import TapIncoming

if TYPE_CHECKING:
    from bgpbridge.speaker.peer import TapPeer

__all__ = ["TapListener", "Wish", "wishes"]

_IPV6_FREEBIND: Final = 78  # linux/in6.h; bind before the address is on an interface
_IP_FREEBIND: Final = 15  # linux/in.h
_TCP_SAVE_SYN: Final = 27  # linux/tcp.h
_TCP_SAVED_SYN: Final = 28
_BACKLOG: Final = 200
_AT_ONCE: Final = 32  # connections taken per turn, so that a flood leaves time for the sessions


@dataclass(slots=True)
class Wish:
    """A socket that should listen, and what it must know of the peers that connect to it."""

    address: str
    port: int
    keys: dict[str, str] = field(default_factory=dict)  # peer address -> MD5 key, base64
    limits: list[int] = field(default_factory=list)  # each peer's lowest TTL, 0 for none

    @property
    def limit(self) -> int:
        """The lowest TTL that any of the peers may have."""
        return min(self.limits)


def wishes(peers: Iterable[TapPeer]) -> dict[tuple[str, int], Wish]:
    """The sockets for these peers. Where one of a port has no local address, one wildcard socket serves
    all of that port and family: Linux would not let both listen."""
    peers = list(peers)
    anywhere = {(_version(peer), peer.words.listen) for peer in peers if peer.neighbor.auto_discovery}
    found: dict[tuple[str, int], Wish] = {}
    for peer in peers:
        neighbor, version, port = peer.neighbor, _version(peer), peer.words.listen
        wildcard = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - the peers are checked at accept
        address = wildcard if (version, port) in anywhere else neighbor["local-address"].top()
        wish = found.setdefault((address, port), Wish(address, port))
        wish.limits.append(neighbor["incoming-ttl"] or 0)
        if neighbor["md5-password"]:
            wish.keys[neighbor["peer-address"].top()] = neighbor["md5-password"]
    return found


def _version(peer: TapPeer) -> int:
    return 4 if peer.neighbor["peer-address"].afi == AFI.ipv4 else 6


class TapListener(Listener):  # type: ignore[misc]  # exabgp is untyped
    """The listening sockets of the speaker."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._listening: dict[tuple[str, int], tuple[socket.socket, Wish]] = {}

    def descriptors(self) -> list[int]:
        """For the reactor's poll."""
        return [sock.fileno() for sock, _ in self._listening.values()]

    def reconcile(self, wanted: dict[tuple[str, int], Wish]) -> bool:
        """Open, adjust and close sockets until they are those that are wanted. False: one could not be
        opened (the reason is a notice); call again later."""
        for place in self._listening.keys() - wanted.keys():
            self._listening.pop(place)[0].close()
        complete = True
        for place, wish in wanted.items():
            try:
                sock, before = self._listening.get(place) or (self._open(wish), None)
                self._adjust(sock, wish, before)
                self._listening[place] = (sock, wish)
            except (OSError, NetworkError) as problem:
                complete = False
                text = f"cannot listen on {wish.address} port {wish.port}: {problem}"
                self._reactor.outbox.notice(NoticeKind.LISTEN_FAILED, text, subject=f"{wish.address} {wish.port}")
        self.serving = bool(self._listening)
        return complete

    def _open(self, wish: Wish) -> socket.socket:
        six = ":" in wish.address
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            for peer, key in wish.keys.items():  # before a SYN can come in unsigned
                md5(sock, peer, 0, key, True)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)
            sock.setblocking(False)
            sock.bind((wish.address, wish.port))
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock

    @staticmethod
    def _adjust(sock: socket.socket, wish: Wish, before: Wish | None) -> None:
        if before is not None:
            for peer in before.keys.keys() - wish.keys.keys():
                md5(sock, peer, 0, None, True)
            for peer, key in wish.keys.items():
                if before.keys.get(peer) != key:
                    md5(sock, peer, 0, key, True)
        _set_limit(sock, wish.limit)

    def incoming(self) -> bool:
        """Called once per turn: take what has come. Always False, which leaves ExaBGP nothing to schedule."""
        for sock, wish in list(self._listening.values()):
            for connected in _accept(sock):
                try:
                    self._assign(connected, wish)
                except (OSError, NetworkError):
                    connected.close()  # reset by the peer in the meantime
        return False

    def _assign(self, connected: socket.socket, wish: Wish) -> None:
        ours, theirs = _numeric(connected.getsockname()[0]), _numeric(connected.getpeername()[0])
        afi = AFI.ipv4 if connected.family == socket.AF_INET else AFI.ipv6
        connection = TapIncoming(afi, theirs, ours, connected)
        peer = self._match(ours, theirs, wish.port)
        if peer is None:
            self._refused(f"{theirs} connected to {ours} port {wish.port}: no such peer is configured", theirs)
            _refuse(connection)
            return
        limit, ttl = peer.neighbor["incoming-ttl"] or 0, _ttl_of_syn(connected)
        if ttl < limit:
            self._refused(f"{theirs} connected with TTL {ttl}, ttl_security wants {limit} or more", theirs)
            connection.close()  # without a word: whoever this is, it is not our neighbour (RFC 5082 s3)
            return
        _set_limit(connected, limit)
        set_accepted_ttl(connection, peer.neighbor)
        peer.handle_connection(connection)

    def _refused(self, text: str, theirs: str) -> None:
        self._reactor.outbox.notice(NoticeKind.CONNECTION_REFUSED, text, subject=theirs)

    def _match(self, ours: str, theirs: str, port: int) -> TapPeer | None:
        for peer in self._reactor.tapped():
            neighbor = peer.neighbor
            if _numeric(neighbor["peer-address"].top()) != theirs or peer.words.listen != port:
                continue
            if neighbor.auto_discovery or _numeric(neighbor["local-address"].top()) == ours:
                found: TapPeer = peer
                return found
        return None

    def stop(self) -> None:
        """Close all."""
        self.reconcile({})


def _set_limit(sock: socket.socket, limit: int) -> None:
    """The lowest TTL or hop limit that is taken; 0 for any (RFC 5082)."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, limit)
    else:
        sock.setsockopt(socket.IPPROTO_IP, ip_minttl(), limit)


def _ttl_of_syn(connected: socket.socket) -> int:
    """TTL or hop limit with which the connection's SYN came in."""
    header = connected.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, 128)
    return header[7] if connected.family == socket.AF_INET6 else header[8]


def _accept(sock: socket.socket) -> Iterator[socket.socket]:
    for _ in range(_AT_ONCE):
        try:
            yield sock.accept()[0]
        except OSError:
            return  # nothing waits, or it was reset before we came


def _numeric(address: str) -> str:
    """One spelling per address, without zone."""
    return str(ipaddress.ip_address(address.partition("%")[0]))


def _refuse(connection: Any) -> None:
    """Cease, Connection Rejected (RFC 4486), as far as TCP takes it now."""
    for _ in itertools.islice(connection.notification(6, 5, "no such peer is configured"), 3):
        pass
    connection.close()

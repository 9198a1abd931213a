"""What two OPENs agreed, read from ExaBGP's objects into our Session."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from exabgp.bgp.message.open.capability import REFRESH, Capability

from bgpbridge.feed.frames import SessionUp
from bgpbridge.speaker.roles import role_of
from bgpbridge.types import Family, IPAddress, Role, Session, parse_address

__all__ = ["session_up"]

_UNICAST: Final = 1
_RESTART_STATE: Final = 0x8  # RFC 4724 s3, the flag bits of the capability
_FORWARDING_STATE: Final = 0x80


def session_up(protocol: Any, number: int, role: Role | None = None) -> SessionUp:
    """The session of a protocol that has reached ESTABLISHED, for the peer with this number; `role` is ours."""
    agreed, io = protocol.negotiated, protocol.connection.io
    families = _families(protocol)
    graceful = _graceful(agreed)
    session = Session(
        peer=number,
        local_as=int(agreed.local_as),
        peer_as=int(agreed.peer_as),
        local_address=_address(io.getsockname()[0]),
        peer_address=_address(io.getpeername()[0]),
        router_id=ipaddress.IPv4Address(str(agreed.received_open.router_id)),
        hold_time_s=int(agreed.holdtime),
        asn4=bool(agreed.asn4),
        families=families,
        add_path=frozenset(family for family in families if agreed.addpath.receive(int(family), _UNICAST)),
        extended_message=agreed.msg_size > 4096,
        extended_next_hop=(1, _UNICAST, 2) in [tuple(map(int, entry)) for entry in agreed.nexthop],
        route_refresh=agreed.refresh != REFRESH.ABSENT,
        enhanced_refresh=agreed.refresh == REFRESH.ENHANCED,
        graceful_restart_s=None if graceful is None else int(graceful.restart_time),
        graceful_families=_unicast([] if graceful is None else graceful.keys()),
        role=role,
        peer_role=role_of(agreed.received_open.capabilities),
    )
    if graceful is None:
        return SessionUp(session)
    forwarding = _unicast(pair for pair, flags in graceful.items() if flags & _FORWARDING_STATE)
    return SessionUp(session, restarting=bool(graceful.restart_flag & _RESTART_STATE), forwarding=forwarding)


def _address(text: str) -> IPAddress:
    return parse_address(text.partition("%")[0])


def _unicast(pairs: Any) -> frozenset[Family]:
    """The families that we carry, among ExaBGP's (AFI, SAFI)."""
    return frozenset(Family(int(afi)) for afi, safi in pairs if int(safi) == _UNICAST and int(afi) in (1, 2))


def _families(protocol: Any) -> frozenset[Family]:
    """Those of both OPENs; a peer without multiprotocol capability carries IPv4 (RFC 4760 s8)."""
    agreed = protocol.negotiated
    if not agreed.received_open.capabilities.announced(Capability.CODE.MULTIPROTOCOL):
        return _unicast(pair for pair in protocol.neighbor.families() if int(pair[0]) == Family.IPV4)
    return _unicast(agreed.families)


def _graceful(agreed: Any) -> Any:
    """The peer's graceful restart capability, when we have offered it as well."""
    code = Capability.CODE.GRACEFUL_RESTART
    if not agreed.sent_open.capabilities.announced(code):
        return None
    return agreed.received_open.capabilities.get(code)

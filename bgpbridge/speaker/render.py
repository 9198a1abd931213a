"""Our configuration as ExaBGP's: text, from values alone. The launcher writes it, `tap` reads it back.

One `neighbor` section per peer. What ExaBGP has no keyword for, or would do in a way that we can't use,
stands in the neighbor's `description` as `key=value` words (`PeerWords`): our own peer number, which ExaBGP
carries through reloads; the port to listen on (ExaBGP can't listen for a peer without a local address, and
puts one peer's GTSM on the listening socket of all); the families of ADD-PATH and of RFC 8950.

Nothing is announced but `announce` of the configuration, prefix by prefix. MD5 passwords are written in
base64, so any octets can be one; the file is for the speaker's user alone (`launch.replace_file`).
The last line says that the file is whole: ExaBGP takes a truncated one without a word.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping

from bgpbridge.config.model import Config
from bgpbridge.config.peer import Announcement, Peer
from bgpbridge.speaker.words import PeerWords, last_line
from bgpbridge.types import Family, Role

__all__ = ["render"]

_MAX_TTL = 255
_MARKED = frozenset({Role.PROVIDER, Role.RS_SERVER, Role.PEER})  # our role where OTC is added (RFC 9234 s5)


def render(config: Config, numbers: Mapping[str, int], passwords: Mapping[str, str]) -> str:
    """The whole file. `numbers` gives each peer's number (its lane), `passwords` the MD5 password of the
    peers that have one (`config.secrets.read_password`). `config` is as `load_config` gives it: announcements
    that cannot be made are refused there (`config.checks`). Peers that come by another way are left out."""
    lines = ["# Written by bgpbridge from its own configuration; changes here are lost."]
    ours = [peer for peer in config.peers if peer.source == "session"]
    for peer in ours:
        lines += ["", *_neighbor(config, peer, numbers[peer.name], passwords.get(peer.name))]
    lines += ["", last_line(len(ours)), ""]
    return "\n".join(lines)


def _neighbor(config: Config, peer: Peer, number: int, password: str | None) -> Iterator[str]:
    local_asn = config.local_asn(peer)
    words = PeerWords(
        number=number,
        listen=peer.listen_port,
        add_path=tuple(peer.add_path),
        extended_next_hop=peer.extended_next_hop,
        name=peer.name,
        role=peer.role,
        strict=peer.role_strict,
    )
    yield f"neighbor {peer.address} {{"
    yield f'  description "{words.to_text()}";'
    yield f"  local-address {peer.local_address or 'auto'};"
    yield f"  router-id {config.router.router_id};"
    yield f"  local-as {local_asn};"
    yield f"  peer-as {peer.asn};"
    yield f"  hold-time {peer.hold_time_s};"
    yield f"  passive {_boolean(peer.passive)};"
    yield f"  connect {peer.port};"
    yield from _ttl(config, peer)
    if password is not None:
        yield f'  md5-password "{base64.b64encode(password.encode()).decode()}";'
        yield "  md5-base64 true;"
    yield "  adj-rib-in false;"
    yield "  adj-rib-out true;"
    yield f"  family {{ {_unicast(peer.families)} }}"
    yield from _capabilities(peer)
    yield from _announcements(peer, local_asn, ebgp=config.is_ebgp(peer))
    yield "}"


def _ttl(config: Config, peer: Peer) -> Iterator[str]:
    """GTSM sends 255 and takes 256 - hops and more (RFC 5082 s3); else an external peer is on the wire
    unless `multihop` says otherwise, and 1 keeps our packets there (RFC 4271 s5.1.3 case 2)."""
    if peer.ttl_security is not None:
        yield f"  incoming-ttl {_MAX_TTL + 1 - peer.ttl_security};"
        yield f"  outgoing-ttl {_MAX_TTL};"
    elif peer.multihop is not None:
        yield f"  outgoing-ttl {peer.multihop};"
    elif config.is_ebgp(peer):
        yield "  outgoing-ttl 1;"


def _capabilities(peer: Peer) -> Iterator[str]:
    yield "  capability {"
    yield "    asn4 enable;"
    yield f"    add-path {'receive' if peer.add_path else 'disable'};"
    yield f"    extended-message {_switch(peer.extended_message)};"
    yield f"    graceful-restart {peer.graceful_restart_s or 'disable'};"
    yield f"    nexthop {_switch(peer.extended_next_hop)};"
    yield f"    route-refresh {_switch(peer.route_refresh)};"
    yield "    multi-session disable;"
    yield "    operational disable;"
    yield "  }"
    if peer.add_path:
        yield f"  add-path {{ {_unicast(peer.add_path)} }}"


def _announcements(peer: Peer, local_asn: int, *, ebgp: bool) -> Iterator[str]:
    if not peer.announce:
        return
    yield "  static {"
    for announcement in peer.announce:
        yield f"    route {' '.join(_route(announcement, local_asn, peer, ebgp=ebgp))};"
    yield "  }"


def _route(announcement: Announcement, local_asn: int, peer: Peer, *, ebgp: bool) -> Iterator[str]:
    yield str(announcement.prefix)
    yield f"next-hop {announcement.next_hop or 'self'}"
    if announcement.med is not None:
        yield f"med {announcement.med}"
    if announcement.prepend:
        count = announcement.prepend + ebgp
        yield f"as-path [ {' '.join([str(local_asn)] * count)} ]"
    if peer.role in _MARKED:
        yield f"attribute [ 0x23 0xc0 0x{local_asn:08x} ]"  # ONLY_TO_CUSTOMER, for which ExaBGP has no word
    yield from _communities(announcement)


def _communities(announcement: Announcement) -> Iterator[str]:
    if announcement.standard:
        yield f"community [ {' '.join(f'{value >> 16}:{value & 0xFFFF}' for value in announcement.standard)} ]"
    if announcement.large:
        yield f"large-community [ {' '.join(':'.join(map(str, value)) for value in announcement.large)} ]"
    if announcement.extended:
        yield f"extended-community [ {' '.join(f'0x{value.hex()}' for value in announcement.extended)} ]"


def _unicast(families: Iterable[Family]) -> str:
    return " ".join(f"{family.label} unicast;" for family in families)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _switch(value: bool) -> str:
    return "enable" if value else "disable"

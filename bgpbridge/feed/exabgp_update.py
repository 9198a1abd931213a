"""An UPDATE as stock ExaBGP shows it (parsed JSON of 4.2 and 5.0), back to the octets of UPDATE messages.

What JSON loses stays lost: the order within a message (withdrawals come first here), flags of known attributes, and
what ExaBGP has discarded. 5.0 shows segments of confederations as plain sequences. AS numbers are written with
four octets, path ids in the families that are said to have them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from bgpbridge.types import Family, Prefix
from bgpbridge.wire.attributes import EXTENDED_LENGTH, Code, encode_attribute
from bgpbridge.wire.message import build_update
from bgpbridge.wire.segments import SegmentKind

__all__ = ["FAMILIES", "end_of_rib", "families_with_path_ids", "updates", "written"]

Json = Mapping[str, Any]
FAMILIES = {"ipv4 unicast": Family.IPV4, "ipv6 unicast": Family.IPV6}
ORIGINS = ("igp", "egp", "incomplete")
ELEMENTS = {  # 5.0 by `element`; 4.2 has a key for each kind, of which `as-path` is the sequence
    "as-sequence": SegmentKind.AS_SEQUENCE,
    "as-path": SegmentKind.AS_SEQUENCE,
    "as-set": SegmentKind.AS_SET,
    "as-confed-sequence": SegmentKind.AS_CONFED_SEQUENCE,
    "as-sequence-confed": SegmentKind.AS_CONFED_SEQUENCE,
    "confederation-path": SegmentKind.AS_CONFED_SEQUENCE,
    "as-confed-set": SegmentKind.AS_CONFED_SET,
    "as-set-confed": SegmentKind.AS_CONFED_SET,
    "confederation-set": SegmentKind.AS_CONFED_SET,
}
PATHS_OF_4_2 = ("confederation-path", "confederation-set", "as-path", "as-set")
ROOM = 3000  # octets of NLRI a message


def families_with_path_ids(update: Json) -> frozenset[Family]:
    """Families in which an NLRI shows a path id (RFC 7911)."""
    said = [(family, nlris) for family, nlris in _ours(update.get("withdraw", {}))]
    said += [(family, nlris) for family, hops in _ours(update.get("announce", {})) for nlris in hops.values()]
    return frozenset(family for family, nlris in said if any("path-information" in nlri for nlri in nlris))


def updates(update: Json, add_path: AbstractSet[Family], *, internal: bool) -> Iterator[bytes]:
    """The messages of one `update` object: withdrawals, then a message for each family and next hop. Families that
    are not ours are left out. ExaBGP does not show an AS_PATH that is empty: of an internal peer, where that is usual,
    none is taken for an empty one. Raises ValueError, KeyError or TypeError where it is not as ExaBGP writes it."""
    for family, nlris in _ours(update.get("withdraw", {})):
        for part in _parts(nlris, family in add_path):
            yield _withdrawal(family, part)
    attributes = _attributes(update.get("attribute", {}), internal)
    for family, hops in _ours(update.get("announce", {})):
        for hop, nlris in hops.items():
            for part in _parts(nlris, family in add_path):
                yield _announcement(family, attributes, ipaddress.ip_address(hop).packed, part)


def end_of_rib(family: Family) -> bytes:
    """RFC 4724 s2."""
    if family is Family.IPV4:
        return build_update()
    return build_update(encode_attribute(Code.MP_UNREACH, _afi_safi(family)))


def _ours(families: Json) -> Iterator[tuple[Family, Any]]:
    return ((FAMILIES[name], value) for name, value in families.items() if name in FAMILIES)


def _parts(nlris: Sequence[Any], path_ids: bool) -> Iterator[bytes]:
    """NLRI in pieces that fit a message."""
    part = bytearray()
    for nlri in nlris:
        part += _nlri(nlri, path_ids)
        if len(part) > ROOM:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)


def _nlri(nlri: Any, path_ids: bool) -> bytes:
    """`{"nlri": "10.0.0.0/24", "path-information": "0.0.0.1"}`, or the prefix alone where the encoder is compact."""
    given = {"nlri": nlri} if isinstance(nlri, str) else nlri
    prefix = Prefix.parse(written(given["nlri"]))
    path_id = ipaddress.IPv4Address(given.get("path-information", 0)).packed if path_ids else b""
    return path_id + bytes([prefix.length]) + prefix.octets[: prefix.length + 7 >> 3]


def written(said: Any) -> str:
    """An address or prefix as text: `ipaddress` would take a number for one, and JSON's true for 0.0.0.1. Raises
    TypeError."""
    if not isinstance(said, str):
        raise TypeError(f"{said!r:.40} is no address")
    return said


def _withdrawal(family: Family, nlri: bytes) -> bytes:
    if family is Family.IPV4:
        return build_update(withdrawn=nlri)
    return build_update(encode_attribute(Code.MP_UNREACH, _afi_safi(family) + nlri))


def _announcement(family: Family, attributes: bytes, hop: bytes, nlri: bytes) -> bytes:
    if family is Family.IPV4 and len(hop) == 4:
        return build_update(attributes + encode_attribute(Code.NEXT_HOP, hop), nlri)
    reach = _afi_safi(family) + bytes([len(hop)]) + hop + b"\0" + nlri
    return build_update(encode_attribute(Code.MP_REACH, reach) + attributes)


def _afi_safi(family: Family) -> bytes:
    return int(family).to_bytes(2, "big") + b"\1"


# -- attributes -------------------------------------------------------------------------------------------------


def _attributes(given: Json, internal: bool) -> bytes:
    """All attributes but those of NLRI and next hop, in the order of their codes where they are known."""
    known = [(code, encode(given[name])) for name, (code, encode) in KNOWN.items() if name in given]
    path = _as_path(given)
    if path is None and internal:
        path = b""
    if path is not None:
        known.append((Code.AS_PATH, path))
    octets = b"".join(encode_attribute(code, value) for code, value in sorted(known))
    return octets + b"".join(_generic(name, value) for name, value in given.items() if name.startswith("attribute-0x"))


def _generic(name: str, value: str) -> bytes:
    """`"attribute-0xFF-0xE0": "0xacd9"`: code, flags, octets."""
    code, flags = (int(part, 16) for part in name.removeprefix("attribute-").split("-"))
    return encode_attribute(code, bytes.fromhex(value.removeprefix("0x")), flags & ~EXTENDED_LENGTH & 0xFF)


def _as_path(given: Json) -> bytes | None:
    path = given.get("as-path")
    if isinstance(path, Mapping):
        parts = [path[key] for key in sorted(path, key=int)]
        return b"".join(_segment(part["element"], part["value"]) for part in parts)
    if any(name in given for name in PATHS_OF_4_2):
        return b"".join(_segment(name, given[name]) for name in PATHS_OF_4_2 if given.get(name))
    return None


def _segment(element: str, asns: Sequence[int]) -> bytes:
    """RFC 4271 s4.3: at most 255 AS numbers a segment."""
    parts = [asns[first : first + 255] for first in range(0, len(asns), 255)]
    return b"".join(bytes([ELEMENTS[element], len(part)]) + b"".join(map(_u32, part)) for part in parts)


def _u32(value: int) -> bytes:
    return int(value).to_bytes(4, "big")


def _aggregator(value: str) -> bytes:
    asn, address = value.split(":")
    return _u32(int(asn)) + ipaddress.IPv4Address(address).packed


def _extended(communities: Sequence[Any]) -> bytes:
    """Objects with `value`; 4.2 writes the same."""
    return b"".join(int(community["value"]).to_bytes(8, "big") for community in communities)


def _numbers(width: int) -> Callable[[Sequence[Sequence[int]]], bytes]:
    def encode(communities: Sequence[Sequence[int]]) -> bytes:
        return b"".join(int(number).to_bytes(width, "big") for community in communities for number in community)

    return encode


def _addresses(value: Sequence[str]) -> bytes:
    return b"".join(ipaddress.IPv4Address(written(address)).packed for address in value)


KNOWN: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "origin": (Code.ORIGIN, lambda value: bytes([ORIGINS.index(value)])),
    "med": (Code.MED, _u32),
    "local-preference": (Code.LOCAL_PREF, _u32),
    "atomic-aggregate": (Code.ATOMIC_AGGREGATE, lambda _: b""),
    "aggregator": (Code.AGGREGATOR, _aggregator),
    "community": (Code.COMMUNITIES, _numbers(2)),
    "originator-id": (Code.ORIGINATOR_ID, lambda value: ipaddress.IPv4Address(written(value)).packed),
    "cluster-list": (Code.CLUSTER_LIST, _addresses),
    "extended-community": (Code.EXTENDED, _extended),
    "large-community": (Code.LARGE, _numbers(4)),
}

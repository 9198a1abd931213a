"""NLRI, one prefix at a time: the readable way, and the oracle for `bulk_nlri`.

RFC 4271 s4.3 (prefix encoding; bits beyond the length are irrelevant), RFC 4760 s5, RFC 7911 s3 (path
identifiers), RFC 7606 s5.3 (what makes the field incorrect).
"""

from __future__ import annotations

from collections.abc import Iterable

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Prefix

__all__ = ["Nlri", "decode_nlri", "encode_nlri"]

Nlri = tuple[Prefix, int]  # a prefix and its path identifier, 0 without ADD-PATH


def decode_nlri(data: bytes, start: int, end: int, family: Family, add_path: bool) -> tuple[Nlri, ...]:
    """The prefixes in `data[start:end]`. Raises WireError when a length does not fit the family or the
    last prefix does not fit the field."""
    found: list[Nlri] = []
    if start == end:
        return ()
    bits = family.bits
    path_id, position = 0, start
    while position < end:
        if add_path:
            if end - position < 5:
                raise WireError(f"a path identifier and a length do not fit {end - position} octets")
            path_id = int.from_bytes(data[position : position + 4], "big")
            position += 4
        length = data[position]
        stop = position + 1 + (length + 7 >> 3)
        if length > bits or stop > end:
            raise WireError(f"prefix length {length} of {family.label} with {end - position - 1} octets left")
        value = int.from_bytes(data[position + 1 : stop], "big") << (bits - 8 * (stop - position - 1))
        shift = bits - length
        found.append((Prefix(family, value >> shift << shift, length), path_id))
        position = stop
    return tuple(found)


def encode_nlri(prefixes: Iterable[Nlri], add_path: bool = False) -> bytes:
    """The field for these prefixes, with path identifiers or without."""
    out = bytearray()
    for prefix, path_id in prefixes:
        if add_path:
            out += path_id.to_bytes(4, "big")
        out.append(prefix.length)
        out += prefix.octets[: prefix.length + 7 >> 3]
    return bytes(out)

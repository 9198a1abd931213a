"""The plain UPDATE in one pass: a few IPv4 prefixes in the classic fields, nothing about it odd.

Most UPDATEs that come alone are such, and they are the ones that packets wait for. Whatever is not plain in every
respect is left to `raw_update`, which knows what is wrong with it; a property test holds the two equal.
"""

from __future__ import annotations

from bgpbridge.wire.attributes import DESCRIPTORS, EXTENDED_LENGTH, OPTIONAL, Code
from bgpbridge.wire.message import MARKER, MessageType

__all__ = ["MOST_PREFIXES", "Plain", "plain_route", "plain_update"]

MOST_PREFIXES = 16  # of each field; more of them are quicker in columns
Plain = tuple[list[tuple[int, int]], bytes, list[tuple[int, int]]]
"""Withdrawn (address, prefix length), attribute block, announced (address, prefix length)."""

_UPDATE = int(MessageType.UPDATE)
_NEVER_PLAIN = frozenset({int(Code.MP_REACH), int(Code.MP_UNREACH)})


def plain_update(message: bytes, maximum: int) -> Plain | None:
    """The parts of one whole UPDATE of at most `maximum` octets, None where it is not plain: damaged, an
    End-of-RIB, with MP attributes, or with more prefixes. For sessions with IPv4 and without ADD-PATH for it."""
    size = len(message)
    if not 23 < size <= maximum or message[18] != _UPDATE or message[16] << 8 | message[17] != size:
        return None
    start = 23 + (message[19] << 8 | message[20])
    if start > size or message[:16] != MARKER:
        return None
    end = start + (message[start - 2] << 8 | message[start - 1])
    if end > size or (end == start) != (end == size) or not _plain_attributes(message, start, end):
        return None
    withdrawn = _prefixes(message, 21, start - 2)
    announced = _prefixes(message, end, size)
    if withdrawn is None or announced is None:
        return None
    return withdrawn, message[start:end], announced


def plain_route(message: bytes, maximum: int) -> tuple[bytes, int, int] | None:
    """Attribute block (empty: withdrawn), address and length of the one prefix that an UPDATE is about; None where it
    is about more, or otherwise. What the block holds is for the caller to know, from `plain_update` of another one."""
    size = len(message)
    if not 23 < size <= maximum or message[18] != _UPDATE or message[16] << 8 | message[17] != size:
        return None
    gone = message[19] << 8 | message[20]
    position = 21 if gone else 23 + (message[21] << 8 | message[22])
    stop = 21 + gone if gone else size
    if position >= size or (message[stop:] != b"\0\0" if gone else position == 23):
        return None
    length = message[position]
    if length > 32 or position + 1 + (length + 7 >> 3) != stop or message[:16] != MARKER:
        return None
    value = int.from_bytes(message[position + 1 : stop], "big") << 8 * (position + 5 - stop)
    return b"" if gone else message[23:position], value >> 32 - length << 32 - length, length


def _plain_attributes(message: bytes, start: int, end: int) -> bool:
    """Every attribute fits, is known or optional, and none is about NLRI. What they hold is judged by id. There are
    NLRI behind `end`, so that its fourth octet can be read."""
    position = start
    while position < end:
        if end - position < 3:
            return False
        flags, code = message[position], message[position + 1]
        if flags & EXTENDED_LENGTH:
            position += 4 + (message[position + 2] << 8 | message[position + 3])
        else:
            position += 3 + message[position + 2]
        if code in _NEVER_PLAIN or (code not in DESCRIPTORS and not flags & OPTIONAL):
            return False
    return position == end


def _prefixes(message: bytes, position: int, end: int) -> list[tuple[int, int]] | None:
    """One field of NLRI, host bits cleared; None where it is not correct, or long."""
    found: list[tuple[int, int]] = []
    while position < end:
        length = message[position]
        stop = position + 1 + (length + 7 >> 3)
        if length > 32 or stop > end or len(found) == MOST_PREFIXES:
            return None
        value = int.from_bytes(message[position + 1 : stop], "big") << 8 * (position + 5 - stop)
        found.append((value >> 32 - length << 32 - length, length))
        position = stop
    return found

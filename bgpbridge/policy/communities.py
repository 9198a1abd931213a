"""Community patterns as operators write them, for all three kinds.

    65000:100   65000:*   *:666   65000:100-199   no-export   blackhole       standard (RFC 1997)
    65000:1:2   65000:*:*   65000:1-9:*                                       large (RFC 8092): three numbers
    rt:65000:100   soo:192.0.2.1:7   rt:4200000000:*   color:100   0x...      extended (RFC 4360, 5668)

Exact values are read by `wire.communities`, so what `bgpbridge routes` prints can be pasted here. A pattern is
a row of ranges over fields of the value as an integer of 32, 64 or 96 bits: one comparison for all kinds.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass

from bgpbridge.wire.communities import Large, parse_community, parse_extended, parse_large

__all__ = ["EXPECTED", "AnyCommunity", "CommunityKind", "CommunityPattern", "parse_pattern", "parse_value"]

EXPECTED = "65000:100, 65000:*, 65000:100-199, 65000:1:2 (large), rt:65000:100 (extended) or a name such as no-export"
AnyCommunity = int | bytes | Large
Field = tuple[int, int, int, int]  # shift, width in bits, lowest, highest

_SUBTYPES = {"rt": 0x02, "target": 0x02, "soo": 0x03, "ro": 0x03, "origin": 0x03}  # RFC 4360 s4 and s5


class CommunityKind(enum.IntEnum):
    """The three kinds, by the width of a value in bits."""

    STANDARD = 32
    EXTENDED = 64
    LARGE = 96


def as_integer(value: AnyCommunity) -> int:
    """A value of any kind as one integer, first octet on top."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return value[0] << 64 | value[1] << 32 | value[2] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class CommunityPattern:
    """What a value must be: each field between two bounds (both included)."""

    kind: CommunityKind
    fields: tuple[Field, ...]
    text: str

    def matches(self, value: AnyCommunity) -> bool:
        """True when every field of a value of this kind lies in its range."""
        number = as_integer(value)
        return all(low <= number >> shift & (1 << width) - 1 <= high for shift, width, low, high in self.fields)

    @property
    def value(self) -> AnyCommunity | None:
        """The one value that it matches, None for a pattern with wildcards."""
        if any(low != high for _, _, low, high in self.fields):
            return None
        number = sum(low << shift for shift, _, low, _ in self.fields)
        if self.kind is CommunityKind.LARGE:
            return number >> 64, number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF
        return number.to_bytes(8, "big") if self.kind is CommunityKind.EXTENDED else number

    def __str__(self) -> str:
        return self.text


def parse_value(text: str) -> tuple[CommunityKind, AnyCommunity]:
    """One community, without wildcards. Raises ValueError with what is wrong."""
    word = text.strip().lower()
    numbers = re.fullmatch(r"[0-9]+(:[0-9]+)+", word)
    if numbers and word.count(":") == 2:
        return CommunityKind.LARGE, parse_large(word)
    if numbers or not re.match(r"0x|[a-z]+:", word):
        return CommunityKind.STANDARD, parse_community(word)
    return CommunityKind.EXTENDED, parse_extended(word)


def parse_pattern(text: str) -> tuple[CommunityPattern, ...]:
    """The patterns that a text stands for: one, or several where an extended community's AS is `*`. Raises
    ValueError with what is wrong."""
    word = text.strip().lower()
    parts = word.split(":")
    if not any(re.fullmatch(r"\*|[0-9]+-[0-9]+", part) for part in parts):
        kind, value = parse_value(word)
        return (CommunityPattern(kind, _exactly(kind, as_integer(value)), word),)
    if parts[0] in _SUBTYPES and len(parts) == 3:
        return _extended(word, _SUBTYPES[parts[0]], parts[1], parts[2])
    if len(parts) == 2:
        fields = [(16, 16, *_range(parts[0], 16)), (0, 16, *_range(parts[1], 16))]
        return (CommunityPattern(CommunityKind.STANDARD, tuple(fields), word),)
    if len(parts) == 3:
        fields = [(shift, 32, *_range(part, 32)) for shift, part in zip((64, 32, 0), parts, strict=True)]
        return (CommunityPattern(CommunityKind.LARGE, tuple(fields), word),)
    raise ValueError(f"{text!r} is not a community")


def _exactly(kind: CommunityKind, number: int) -> tuple[Field, ...]:
    """One value, in fields of 32 bits."""
    shifts = range(int(kind) - 32, -1, -32)
    return tuple((shift, 32, number >> shift & 0xFFFFFFFF, number >> shift & 0xFFFFFFFF) for shift in shifts)


def _extended(word: str, subtype: int, administrator: str, local: str) -> tuple[CommunityPattern, ...]:
    """Route target or site of origin with a wildcard. The type octet says what the administrator is: 0 an AS
    of two octets, 1 an IPv4 address (RFC 4360 s3), 2 an AS of four (RFC 5668); `*` stands for all of them."""
    types = {0: 16, 1: 32, 2: 32} if administrator == "*" else {_administrator_type(administrator): 0}
    patterns = []
    for form in types:
        wide = 16 if form == 0 else 32
        bounds = (int(ipaddress.IPv4Address(administrator)),) * 2 if form == 1 and administrator != "*" else None
        low, high = bounds or _range(administrator.removesuffix("l"), wide)
        head: tuple[Field, ...] = ((56, 8, form, form), (48, 8, subtype, subtype))
        rest: tuple[Field, ...] = ((48 - wide, wide, low, high), (0, 48 - wide, *_range(local, 48 - wide)))
        patterns.append(CommunityPattern(CommunityKind.EXTENDED, head + rest, word))
    return tuple(patterns)


def _administrator_type(text: str) -> int:
    if "." in text:
        return 1
    wide = text.endswith("l") or _range(text, 32)[1] > 0xFFFF
    return 2 if wide else 0


def _range(text: str, bits: int) -> tuple[int, int]:
    """`7`, `7-9` or `*` as bounds."""
    highest = (1 << bits) - 1
    match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", text)
    if text == "*":
        return 0, highest
    if not match:
        raise ValueError(f"{text!r} is neither a number, a range such as 7-9, nor *")
    low, high = int(match[1]), int(match[2] or match[1])
    if not low <= high <= highest:
        raise ValueError(f"{text!r} is outside 0 to {highest}, or upside down")
    return low, high

"""AS numbers and AS paths in conditions: sets of numbers with ranges, and anchored patterns.

A pattern is a row of tokens that must match the whole path, neighbour first, origin last:

    64500              this AS                    64512-65534     one AS of a range
    ?                  any one AS                 *               any number of any ASes, none too
    @customers         one AS of a named set      (64500|@peers)  one of several
    64500+             once or more in a row (prepending)

A path is looked at as a row of elements: an AS_SET is one element that matches when any of its members does
(RFC 4271 s9.1.2.2 counts it as one), confederation segments are left out (RFC 5065 s5.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bgpbridge.wire.segments import Segment, SegmentKind

__all__ = ["EXPECTED_ASNS", "EXPECTED_PATTERN", "AsnSet", "PathPattern", "Token", "elements_of", "parse_asns"]

EXPECTED_ASNS = "an AS number (64500), a range (64512-65534) or the name of a set under `sets.asns`"
EXPECTED_PATTERN = "tokens with blanks between: 64500, 64512-65534, ?, *, @set, (64500|64501), 64500+"
MAX_ASN = 0xFFFFFFFF
MAX_TOKENS = 63  # states of a pattern are bits of one word

Elements = tuple[tuple[int, ...], ...]  # per element its AS numbers: one, or the members of an AS_SET


@dataclass(frozen=True, slots=True)
class AsnSet:
    """AS numbers as sorted ranges without overlap."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> AsnSet:
        """The union of ranges."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    def __contains__(self, asn: int) -> bool:
        return any(low <= asn <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)


def parse_asns(text: str) -> tuple[int, int]:
    """`64500`, `AS64500` or `64512-65534` as bounds. Raises ValueError."""
    match = re.fullmatch(r"(?:AS)?(\d{1,10})(?:-(?:AS)?(\d{1,10}))?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not an AS number")
    low, high = int(match[1]), int(match[2] or match[1])
    if not low <= high <= MAX_ASN:
        raise ValueError(f"{text!r} is outside 0 to {MAX_ASN}, or upside down")
    return low, high


@dataclass(frozen=True, slots=True)
class Token:
    """One place in a pattern: which ASes may stand there (None: any), and how often."""

    asns: AsnSet | None
    skippable: bool = False  # may stand for no AS at all
    repeats: bool = False  # may stand for several

    def accepts(self, element: tuple[int, ...]) -> bool:
        """True when the element may stand here."""
        return self.asns is None or any(asn in self.asns for asn in element)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """An anchored pattern; `text` is what the operator wrote."""

    tokens: tuple[Token, ...]
    text: str

    @classmethod
    def parse(cls, text: str, sets: Mapping[str, AsnSet]) -> PathPattern:
        """From text; `sets` are the named ones. Raises ValueError."""
        if odd := re.search(r"[][^${}\\]", text):
            raise ValueError(f"{text!r} holds {odd[0]!r}: a pattern describes the whole path, without ^ and $")
        words = re.sub(r"\s*\|\s*", "|", text.replace("(", " (").replace(")", ") ")).replace(") +", ")+").split()
        if not words:
            raise ValueError("an empty pattern matches the empty path only: say `path_length: 0` for that")
        if len(words) > MAX_TOKENS:
            raise ValueError(f"more than {MAX_TOKENS} tokens")
        return cls(tuple(_token(word, sets) for word in words), text)

    def matches(self, elements: Elements) -> bool:
        """True when the whole path fits: all ways are followed at once, so no path can make this slow."""
        states = self._skipped({0})
        for element in elements:
            reached: set[int] = set()
            for state in states:
                if state < len(self.tokens) and self.tokens[state].accepts(element):
                    reached.add(state + 1)
                    if self.tokens[state].repeats:
                        reached.add(state)
            states = self._skipped(reached)
            if not states:
                return False
        return len(self.tokens) in states

    def _skipped(self, states: set[int]) -> set[int]:
        """The states that are reached without reading an AS."""
        for state in range(len(self.tokens)):
            if state in states and self.tokens[state].skippable:
                states.add(state + 1)
        return states


def elements_of(path: Sequence[Segment]) -> Elements:
    """A path as the row of elements that patterns look at."""
    elements: list[tuple[int, ...]] = []
    for segment in path:
        if segment.kind is SegmentKind.AS_SEQUENCE:
            elements += [(asn,) for asn in segment.asns]
        elif segment.kind is SegmentKind.AS_SET:
            elements.append(segment.asns)
    return tuple(elements)


def _token(word: str, sets: Mapping[str, AsnSet]) -> Token:
    if word == "*":
        return Token(None, skippable=True, repeats=True)
    repeats = word.endswith("+")
    body = word.removesuffix("+")
    if body == "?":
        return Token(None, repeats=repeats)
    if body.startswith("(") != body.endswith(")"):
        raise ValueError(f"{word!r}: a parenthesis is missing")
    ranges: list[tuple[int, int]] = []
    for part in body.strip("()").split("|"):
        if part.startswith("@"):
            if part[1:] not in sets:
                raise ValueError(f"there is no AS set {part[1:]!r}")
            ranges += sets[part[1:]].ranges
        else:
            ranges.append(parse_asns(part))
    return Token(AsnSet.of(ranges), repeats=repeats)

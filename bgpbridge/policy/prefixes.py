"""Prefix patterns as operators write them, read with netaddr.

    192.0.2.0/24              exactly this prefix               2001:db8::/32 exact
    10.0.0.0/8 or-longer      it and everything inside
    10.0.0.0/8 ge 16 le 24    inside, from /16 to /24           (either bound alone: the other is the widest)
    192.0.2.0-192.0.2.191     every prefix inside a range       192.0.2.* and 192.0.2-5.*: of a glob
    192.0.2.1                 an address is a host prefix

netaddr takes 4 us a prefix: fine for files of thousands of entries, never for routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import netaddr

from bgpbridge.documents import read_text
from bgpbridge.errors import DocumentError, DocumentErrors, Place
from bgpbridge.types import Family, Prefix

__all__ = ["EXPECTED", "PrefixRange", "parse_prefixes", "read_prefix_file"]

EXPECTED = "192.0.2.0/24, 10.0.0.0/8 or-longer, 10.0.0.0/8 ge 16 le 24, 192.0.2.0-192.0.2.191, 192.0.2.*"
KEPT = 1 << 14  # lines whose ranges are remembered
EMPTY = "was it cut short while saving? If no prefix is meant, take the file out of the set"


@dataclass(frozen=True, slots=True, order=True)
class PrefixRange:
    """All prefixes inside `prefix` whose length is from `low` to `high`; low is at least prefix.length."""

    prefix: Prefix
    low: int
    high: int

    def matches(self, prefix: Prefix) -> bool:
        """True when the prefix is one of them."""
        return self.low <= prefix.length <= self.high and self.prefix.covers(prefix)

    def __str__(self) -> str:
        bits = self.prefix.family.bits
        if self.low == self.high == self.prefix.length:
            return str(self.prefix)
        if (self.low, self.high) == (self.prefix.length, bits):
            return f"{self.prefix} or-longer"
        return f"{self.prefix} ge {self.low} le {self.high}"


@lru_cache(KEPT)
def parse_prefixes(text: str, default: str = "exact") -> tuple[PrefixRange, ...]:
    """The ranges that one line stands for; of a file that is read again most are known. `default` is the qualifier of
    a prefix that has none. Raises ValueError with what is wrong and, where it can be guessed, what was meant."""
    subject, _, qualifier = text.strip().partition(" ")
    spans = "-" in subject or "*" in subject
    words = (qualifier.split() or ([] if spans else default.split())) or ["or-longer"]
    networks = _span(subject) if spans else [_network(subject)]
    return tuple(_qualified(network, words, text) for network in networks)


def _qualified(network: netaddr.IPNetwork, words: list[str], text: str) -> PrefixRange:
    family = Family.IPV4 if network.version == 4 else Family.IPV6
    prefix = Prefix(family, network.first, network.prefixlen)
    if words in (["exact"], ["or-longer"]):
        return PrefixRange(prefix, prefix.length, prefix.length if words == ["exact"] else family.bits)
    bounds = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or set(bounds) - {"ge", "le"} or len(bounds) * 2 != len(words):
        raise ValueError(f"{' '.join(words)!r} is no qualifier: exact, or-longer, ge N, le N")
    if not all(value.isdecimal() for value in bounds.values()):
        raise ValueError(f"{' '.join(words)!r}: ge and le take a length, a number from 0 to {family.bits}")
    low, high = int(bounds.get("ge", prefix.length)), int(bounds.get("le", family.bits))
    if not prefix.length <= low <= high <= family.bits:
        raise ValueError(f"{text.strip()!r} matches nothing: need {prefix.length} <= ge <= le <= {family.bits}")
    return PrefixRange(prefix, low, high)


def _network(text: str) -> netaddr.IPNetwork:
    """One prefix. Host bits must be zero: a typing error should not silently become another prefix."""
    try:
        network = netaddr.IPNetwork(text)
    except (netaddr.AddrFormatError, ValueError):
        raise ValueError(f"{text!r} is not a prefix") from None
    if network.ip != network.network:
        raise ValueError(f"{text!r} has host bits set: did you mean {network.cidr}?")
    return network


def _span(text: str) -> list[netaddr.IPNetwork]:
    """The prefixes that a range of addresses or a glob is made of."""
    try:
        if netaddr.valid_glob(text):
            return list(netaddr.glob_to_cidrs(text))
        first, _, last = text.partition("-")
        return list(netaddr.IPRange(first, last).cidrs())
    except (netaddr.AddrFormatError, ValueError):
        raise ValueError(f"{text!r} is neither a range FIRST-LAST of addresses nor a glob such as 192.0.2.*") from None


def read_prefix_file(path: Path, default: str) -> tuple[PrefixRange, ...]:
    """A text file, one pattern a line, `#` begins a comment. Raises DocumentError with every bad line; a file
    without prefixes or cut off in its last line is refused."""
    text = read_text(path)
    entries: list[PrefixRange] = []
    errors: list[DocumentError] = []
    for number, line in _lines(text):
        try:
            entries += parse_prefixes(line, default)
        except ValueError as error:
            errors.append(DocumentError(Place(str(path), number), str(error), expected=EXPECTED))
    if text and not text.endswith("\n"):
        last = Place(str(path), text.count("\n") + 1)
        mend = "fetch it again; if it is whole, end its last line with a line break"
        errors.append(DocumentError(last, "the last line has no end: the file may be cut short", mend=mend))
    if not entries and not errors:
        errors.append(DocumentError(Place(str(path)), "holds no prefix", expected="one prefix a line", mend=EMPTY))
    if errors:
        raise errors[0] if len(errors) == 1 else DocumentErrors(errors)
    return tuple(entries)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        bare = re.sub(r"#.*", "", line).strip()
        if bare:
            yield number, re.sub(r"\s+", " ", bare)

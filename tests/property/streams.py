"""Streams of what peers send, as octets: prefixes of few places, so that peers meet, and attributes of every kind, good
and bad. For tests that tell one stream in two ways."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.message import build_update
from tests.property.test_wire_bulk import message, mutated

__all__ = ["COMMON", "PREFIXES", "Word", "words"]

V4, V6 = Family.IPV4, Family.IPV6
PREFIXES = tuple(
    map(
        Prefix.parse,
        (
            "203.0.113.0/24",
            "203.0.113.128/25",
            "2001:db8:9::/48",
            "0.0.0.0/0",
            "198.18.0.0/15",
            "192.0.2.66/32",
            "::/0",
            "2001:db8:9::1/128",
            "2001:db8:a::/47",
            *(f"198.51.100.{number * 8}/29" for number in range(10)),
        ),
    )
)
HOPS4 = [IPv4Address(text) for text in ("10.0.1.2", "10.0.2.2", "10.0.9.9")]  # the last one is far away
HOPS6 = [IPv6Address(text) for text in ("2001:db8:1::2", "2001:db8:2::2", "2001:db8:f9::9")]
LINK_LOCAL = IPv6Address("fe80::77")
TAILS = ((), (64700,), (64701,), (64700, 64701), (64700, 70000))
Paths = tuple[tuple[int, int], ...]
"""(number of a prefix, path id)"""

COMMON = 9  # of them; the rest is for tables that overflow
# (type code, value, flags): what stands in an UPDATE beside the attributes that each has
QUIRKS: dict[str, tuple[int, bytes, int | None]] = {
    "med 5": (4, b"\0\0\0\5", None),
    "med 9": (4, b"\0\0\0\x09", None),
    "local-pref": (5, b"\0\0\0\xc8", None),  # from an external peer: to be discarded
    "tag": (8, bytes.fromhex("fde80001"), None),
    "tags": (8, bytes.fromhex("fde8000100010002"), None),
    "large": (32, bytes.fromhex("0000fde80000000100000002"), None),
    "atomic": (6, b"", None),
    "originator": (9, b"\x07\x07\x07\x07", None),
    "our own": (9, IPv4Address("192.0.2.250").packed, None),
    "clusters": (10, bytes(7) + b"\1", None),
    "not known": (200, b"abc", None),
    "bad med": (4, b"\0\0\0\0\5", None),
    "bad communities": (8, b"\0\0\1", None),
    "bad aggregator": (7, b"\0", None),
    "bad flags": (8, bytes.fromhex("fde80001"), 0x40),
    "not optional": (201, b"", 0x40),
    "otc": (35, bytes.fromhex("0000fde9"), None),  # of AS 65001, which is that of peers a and d (RFC 9234)
    "other otc": (35, bytes.fromhex("0000fbf4"), None),
    "bad otc": (35, b"\0\0\1", None),
    "bad unreach": (15, b"\0\2\1\xff", None),  # no prefix: the family is disabled
    "no unreach": (15, b"\0", None),
}
ODD = ("as set", "loop", "no path", "no origin", "twice", "no next hop", "bad hop", "long hop", "both", "bad nlri")
ENDS = {"eor ipv4": V4, "eor ipv6": V6}


@dataclass(frozen=True)
class Word:
    """One UPDATE before it is octets; two where it is of both families and not `both` at once."""

    announce: Paths
    withdraw: Paths
    tail: int
    hop: int
    quirk: str = ""
    seed: int = 0

    def octets(self, session: Session) -> list[bytes]:
        """As a peer says it in such a session."""
        if self.quirk in ENDS:
            return [build_update() if ENDS[self.quirk] is V4 else build_update(encode_attribute(15, b"\0\2\1"))]
        if self.quirk.startswith("wild"):
            rng = random.Random(self.seed)
            made = message(rng, session)
            return [mutated(rng, made) if self.quirk == "wild and damaged" else made]
        if self.quirk == "both":
            return [self._message(session, frozenset(Family))]
        numbers = [number for number, _ in self.announce + self.withdraw]
        return [self._message(session, frozenset({f})) for f in Family if any(PREFIXES[n].family is f for n in numbers)]

    def _message(self, session: Session, families: frozenset[Family]) -> bytes:
        come = {f: nlri(self.announce, f, session) if f in families else b"" for f in Family}
        gone = {f: nlri(self.withdraw, f, session) if f in families else b"" for f in Family}
        attributes = self._attributes(session) if any(come.values()) else b""
        if come[V4] and self.quirk != "no next hop":
            attributes += encode_attribute(3, bytes(4) if self.quirk == "bad hop" else HOPS4[self.hop].packed)
        if come[V6]:
            hop = HOPS6[self.hop].packed + (LINK_LOCAL.packed if self.quirk == "long hop" else b"")
            hop = hop[:5] if self.quirk == "bad hop" else hop
            attributes += encode_attribute(14, b"\0\2\1" + bytes([len(hop)]) + hop + b"\0" + come[V6])
        if gone[V6]:
            attributes += encode_attribute(15, b"\0\2\1" + gone[V6])
        return build_update(attributes, come[V4] + (b"\x21" if self.quirk == "bad nlri" else b""), gone[V4])

    def _attributes(self, session: Session) -> bytes:
        out = b"" if self.quirk == "no origin" else encode_attribute(1, b"\0")
        if self.quirk != "no path":
            out += encode_attribute(2, self._path(session))
        if self.quirk == "twice":
            out += encode_attribute(1, b"\2")
        if not session.ebgp and self.quirk != "local-pref":
            out += encode_attribute(5, b"\0\0\0\x64")
        if self.quirk in QUIRKS:
            out += encode_attribute(*QUIRKS[self.quirk])
        return out

    def _path(self, session: Session) -> bytes:
        first = (session.peer_as,) if session.ebgp else ()
        loop = (session.local_as,) if self.quirk == "loop" else ()
        path = (*first, *TAILS[self.tail], *loop)
        octets = 4 if session.asn4 else 2
        numbers = b"".join((asn if session.asn4 or asn < 1 << 16 else 23456).to_bytes(octets, "big") for asn in path)
        sequence = bytes([2, len(path)]) + numbers if path else b""
        return sequence + (bytes([1, 1]) + (64900).to_bytes(octets, "big") if self.quirk == "as set" else b"")


def nlri(paths: Paths, family: Family, session: Session) -> bytes:
    """Those of one family, with path ids where the session has them (RFC 7911)."""
    out = b""
    for number, path_id in paths:
        prefix = PREFIXES[number]
        if prefix.family is family:
            out += path_id.to_bytes(4, "big") if family in session.add_path else b""
            out += bytes([prefix.length]) + prefix.octets[: (prefix.length + 7) // 8]
    return out


NUMBER, ANY = st.sampled_from([0, 0, 0, 1, 2, 2, *range(COMMON)]), st.integers(0, len(PREFIXES) - 1)
PATH_ID = st.sampled_from([0, 0, 1, 2])
GOOD = [
    *("", "", "", "", "", "med 5", "med 9", "tag", "tags", "large", "long hop", "as set", "atomic", "not known"),
    *("otc", "other otc"),
]
SELDOM = [quirk for quirk in (*QUIRKS, *ODD) if quirk not in GOOD]


def words(*, bad: bool = True, gone: bool = True, many: bool = False) -> st.SearchStrategy[Word]:
    """UPDATEs; one in five is odd, or `bad`. `gone`: with withdrawals; `many`: of all prefixes."""
    pairs = st.tuples(ANY if many else NUMBER, PATH_ID)
    quirks = GOOD * 3 + [*SELDOM, *ENDS, "wild", "wild and damaged"] if bad else GOOD
    return st.builds(
        Word,
        announce=st.lists(pairs, min_size=int(not gone), max_size=5, unique=True).map(tuple),
        withdraw=st.lists(pairs, max_size=2 if gone else 0).map(tuple),
        tail=st.integers(0, len(TAILS) - 1),
        hop=st.integers(0, 2),
        quirk=st.sampled_from(quirks),
        seed=st.integers(0, 2**32 - 1),
    )

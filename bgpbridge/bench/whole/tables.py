"""What is announced, all of it made before any clock runs: octets, sampled addresses, marks.

A mark is one more prefix behind a feed, each neighbour's own: packets to it arrive when the whole feed has been worked
through. Feeds of several neighbours differ in AS and next hop only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bgpbridge.bench.feeds import Feed, Origin, made, replayed, update
from bgpbridge.bench.rig import Uplink, uplink
from bgpbridge.errors import LabError
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.message import build_update
from bgpbridge.wire.nlri import encode_nlri

__all__ = ["RECORDED", "Table", "from_another", "mark", "neighbour", "recorded", "table"]

RECORDED: Final = Path("../shared/data/mrt/full-table-2015.mrt.gz")
HEADER: Final = 19 + 2 + 2 + 4  # octets before the AS_PATH of an UPDATE that `feeds.update` has made
MARKS: Final = {Family.IPV4: "203.0.113.0/24", Family.IPV6: "2001:db8:ffff::/48"}
DEFAULT: Final = (0, 0)
AS_PATH, NEXT_HOP = 2, 3  # RFC 4271 s4.3
HERE: Final = tuple(Prefix.parse(text) for text in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))


@dataclass(frozen=True, slots=True)
class Table:
    """A feed with its mark behind it; `samples` are addresses that tell of one prefix each, the last sent among
    them and the mark's last of all. Everybody installs `least` of its prefixes, the mark included."""

    feed: Feed
    octets: bytes
    samples: tuple[IPAddress, ...]
    least: int


def neighbour(number: int, family: Family = Family.IPV4) -> Uplink:
    """Who feeds: 0 and 1 are the providers behind uplinks a and b, the others stand beside them in turn, with
    addresses of their own."""
    up = uplink("ab"[number % 2], family)
    if number < 2:
        return up
    return dataclasses.replace(up, name=f"up-{number}", asn=64610 + number, theirs=up.theirs + 10 * number)


def _mark(number: int, family: Family = Family.IPV4) -> Prefix:
    """The mark of a neighbour: one of 16 parts of a prefix that is in no feed."""
    whole = Prefix.parse(MARKS[family])
    length = whole.length + 4
    return Prefix(family, int(whole.address) + (number << family.bits - length), length)


@lru_cache(maxsize=8)
def _made(count: int, family: Family, longer: int) -> Feed:
    return made(count, neighbour(0, family).origin(longer), family=family)


@lru_cache(maxsize=8)
def _samples(count: int, family: Family, wanted: int) -> tuple[IPAddress, ...]:
    """Addresses along a made feed, whoever announces it."""
    return tuple(_made(count, family, 0).alone(wanted))


@lru_cache(maxsize=20)
def table(count: int, number: int, samples: int, family: Family = Family.IPV4, longer: int = 0) -> Table:
    """A made table from a neighbour. The same `count` is the same prefixes."""
    feed = _made(count, family, longer)
    origin = neighbour(number, family).origin(longer)
    if number and family is Family.IPV4:
        feed = from_another(feed, origin)
    elif number:
        feed = made(count, origin, family=family)
    return _marked(feed, number, _samples(count, family, samples))


def _marked(feed: Feed, number: int, samples: tuple[IPAddress, ...], *, internal: bool = False) -> Table:
    last = mark(number, feed.family, internal=internal)
    return Table(feed, feed.octets + last, (*samples, _mark(number, feed.family).address + 1), len(feed) + 1)


def mark(number: int, family: Family = Family.IPV4, *, internal: bool = False) -> bytes:
    """The UPDATE that announces a neighbour's mark alone."""
    up = neighbour(number, family)
    return update(family, encode_nlri([(_mark(number, family), 0)]), Origin(0 if internal else up.asn, up.theirs))


def from_another(feed: Feed, origin: Origin) -> Feed:
    """The same made IPv4 feed from somebody else, by changing AS and next hop in place: making it anew takes seconds.
    Paths are as long as they were."""
    octets = np.frombuffer(feed.octets, np.uint8).copy()
    starts = np.fromiter(_starts(feed.octets), np.int64, feed.updates)
    path = starts + HEADER + 3
    count = octets[path + 1].astype(np.int64)
    for place in range(1 + origin.longer):
        _store(octets, path + 2 + 4 * place, origin.asn.to_bytes(4, "big"))
    _store(octets, path + 2 + 4 * count + 3, origin.next_hop.packed)
    return dataclasses.replace(feed, octets=octets.tobytes())


def _store(octets: NDArray[np.uint8], at: NDArray[np.int64], what: bytes) -> None:
    for offset, octet in enumerate(what):
        octets[at + offset] = octet


def _starts(octets: bytes) -> Iterator[int]:
    """Where each message begins."""
    at = 0
    while at < len(octets):
        yield at
        at += octets[at + 16] << 8 | octets[at + 17]


# --- a recorded table ---------------------------------------------------------------------------------------


def recorded(path: Path, samples: int) -> Table:
    """The table of a recorded internal session, from neighbour 0: its octets as they came but for the next hop, which
    is the neighbour's (the recorded 3,771 are on no link of ours), and for the default route, which is left out: no
    packet could tell then whether the others are there. Raises LabError when there is no such file."""
    if not path.exists():
        raise LabError(f"there is no {path}", mend="the row is left out; it is not part of the repository")
    parts: list[bytes] = []
    found: dict[tuple[int, int], None] = {}
    for message in replayed(path):
        cut = 21 + int.from_bytes(message[19:21], "big")
        after = cut + 2 + int.from_bytes(message[cut : cut + 2], "big")
        attributes, used = _by_neighbour(message[cut + 2 : after])
        for one in (*_nlri(message[21:cut]), *_nlri(message[after:])):
            found.pop(one, None)
        announced = [one for one in _nlri(message[after:]) if one != DEFAULT]
        found |= dict.fromkeys(announced) if used else {}
        nlri = b"".join(_encoded(*one) for one in announced)
        parts.append(build_update(attributes, nlri, withdrawn=message[21:cut]))
    value = np.array([value for value, _ in found], np.uint64)
    length = np.array([length for _, length in found], np.uint8)
    feed = Feed(Family.IPV4, b"".join(parts), len(parts), value, length)
    found_alone = _elsewhere(feed.alone(samples + samples // 8), samples)
    marked = _marked(feed, 0, tuple(found_alone), internal=True)
    here = sum(any(prefix.covers(Prefix(Family.IPV4, *one)) for prefix in HERE) for one in found)
    return dataclasses.replace(marked, least=marked.least - here)


def _by_neighbour(attributes: bytes) -> tuple[bytes, bool]:
    """The same by way of neighbour 0; and whether anybody uses them: not with AS 0 in the path (RFC 7607 s2)."""
    octets, used = bytearray(attributes), True
    for kind, at, size in _values(attributes):
        if kind == NEXT_HOP:
            octets[at : at + size] = neighbour(0).theirs.packed
        elif kind == AS_PATH:
            used = not _has_as_0(attributes[at : at + size])
    return bytes(octets), used


def _encoded(value: int, length: int) -> bytes:
    return bytes([length]) + value.to_bytes(4, "big")[: length + 7 >> 3]


def _elsewhere(found: list[IPAddress], wanted: int) -> list[IPAddress]:
    """Without addresses that are this machine's whatever BGP says; the last ones stay."""
    return [address for address in found if not any(prefix.covers(address) for prefix in HERE)][-wanted:]


def _values(attributes: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, place and size of each path attribute's value (RFC 4271 s4.3)."""
    at = 0
    while at < len(attributes):
        wide = 4 if attributes[at] & 0x10 else 3
        size = int.from_bytes(attributes[at + 2 : at + wide], "big")
        yield attributes[at + 1], at + wide, size
        at += wide + size


def _nlri(octets: bytes) -> Iterator[tuple[int, int]]:
    """Value, its host bits off, and length of each prefix."""
    at = 0
    while at < len(octets):
        length, used = octets[at], octets[at] + 7 >> 3
        value = int.from_bytes(octets[at + 1 : at + 1 + used], "big") << 8 * (4 - used)
        yield value >> 32 - length << 32 - length, length
        at += 1 + used


def _has_as_0(path: bytes) -> bool:
    """AS 0 in a path of AS numbers of four octets: such a route is not used (RFC 7607 s2)."""
    at = 0
    while at < len(path):
        after = at + 2 + 4 * path[at + 1]
        if any(path[place : place + 4] == bytes(4) for place in range(at + 2, after, 4)):
            return True
        at = after
    return False

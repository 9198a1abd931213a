"""Random packets for a router, mostly right and now and then wrong, by a seed: the same seed, the same packets.

Each has a number (16 bits) where no router changes it and nothing here damages it: the identification of IPv4, the
low bits of IPv6's flow label. Who compares two ways through a router finds a packet's two ends by it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bgpbridge.datapath.frames import ETH_IPV4, ETH_IPV6, icmp, ipv4, ipv6, tcp, udp

__all__ = ["Pool", "number_of", "random_packet", "shares"]

NUMBERED = {4: (4, 5), 6: (1, 2, 3)}  # octets of the IP header that damage leaves alone
PORTLESS = (0, 2, 47, 50, 51, 59, 89, 94, 103, 112, 255)


@dataclass(frozen=True)
class Pool:
    """Addresses to choose from, each with its share."""

    sources: Mapping[str, int]
    destinations: Mapping[str, int]

    def choose(self, dice: random.Random) -> tuple[str, str]:
        """Source and destination; a star at the end becomes a random last part."""
        chosen = [_one(dice, pool) for pool in (self.sources, self.destinations)]
        return chosen[0], chosen[1]


def shares(text: str) -> Mapping[str, int]:
    """`a=3 b`: three times as many of a as of b."""
    return {name: int(share or 1) for name, _, share in (word.partition("=") for word in text.split())}


def _one(dice: random.Random, pool: Mapping[str, int]) -> str:
    text = dice.choices(list(pool), list(pool.values()))[0]
    return text.replace("*", format(dice.randrange(1, 255), "x" if ":" in text else "d"))


def _payload(dice: random.Random, longest: int) -> tuple[int, bytes]:
    """Protocol and payload of a packet, which may be longer than the egress takes."""
    octets = dice.randbytes(dice.choice((0, 8, 26, 100, 600, longest - 60, dice.randrange(longest))))
    make: Callable[[], tuple[int, bytes]] = dice.choice(
        (
            lambda: (17, udp(dice.randrange(1, 65536), dice.randrange(1, 65536), octets)),
            lambda: (6, tcp(dice.randrange(1, 65536), dice.randrange(1, 65536), dice.randrange(256), octets)),
            lambda: (1, icmp(dice.choice((0, 8, 13)), 0, octets)),
            lambda: (58, icmp(dice.choice((128, 129, 140)), 0, octets)),
            lambda: (dice.choice(PORTLESS), octets),
            lambda: (dice.choice((6, 17, 33, 132, 136)), octets[: dice.randrange(9)]),
        )
    )
    return make()


def _ttl(dice: random.Random) -> int:
    return dice.choice((0, 1, 2, 3, 64, 64, 64, 128, 255, dice.randrange(256)))


def _packet4(dice: random.Random, number: int, pool: Pool, longest: int) -> bytes:
    source, destination = pool.choose(dice)
    protocol, payload = _payload(dice, longest)
    return ipv4(
        payload,
        src=source,
        dst=destination,
        protocol=protocol,
        ttl=_ttl(dice),
        tos=dice.choice((0, 0, 0xB8, 0x01, dice.randrange(256))),
        ident=number,
        fragment=dice.choice((0, 0, 0, 0x4000, 0x2000, 0x2001, 0x00B9, 0x8000, dice.randrange(65536))),
        options=dice.choice((b"",) * 12 + (b"\1\1\1\0", b"\x94\4\0\0", b"\x07\x07\x04\0\0\0\0\0")),
    )


def _extension(dice: random.Random, following: int) -> tuple[int, bytes]:
    """An IPv6 extension header: its type and octets. Routing headers have nothing left to visit, or one stop."""
    kind = dice.choice((0, 43, 44, 60))
    if kind == 44:
        shape = dice.choice((0, 1, 8 | 1, 8, dice.randrange(65536)))
        return kind, struct.pack("!BBHI", following, 0, shape, dice.randrange(1 << 32))
    if kind == 43:
        return kind, struct.pack("!BBBB4x", following, 2, 0, dice.choice((0, 1))) + bytes(16)
    return kind, struct.pack("!BBBB4x", following, 0, dice.choice((1, 1, 5, 0xC2)), 4)


def _packet6(dice: random.Random, number: int, pool: Pool, longest: int) -> bytes:
    source, destination = pool.choose(dice)
    following, payload = _payload(dice, longest)
    for _ in range(dice.choice((0, 0, 0, 1, 2))):
        following, header = _extension(dice, following)
        payload = header + payload
    return ipv6(
        payload,
        src=source,
        dst=destination,
        next_header=following,
        hop_limit=_ttl(dice),
        flow=dice.choice((0, 0xB80, 0x3F0)) << 16 | number,
    )


def _damaged(dice: random.Random, packet: bytes) -> bytes:
    """One in twelve has an octet of its headers changed, one in thirty ends early, one in ten is padded."""
    version = packet[0] >> 4
    octets = bytearray(packet)
    if not dice.randrange(12):
        place = dice.randrange(min(len(octets), 60))
        if place not in NUMBERED[version]:
            octets[place] = dice.randrange(256)
    if not dice.randrange(30):
        del octets[dice.randrange(len(octets)) :]
    elif not dice.randrange(10):
        octets += bytes(dice.randrange(1, 40))
    return bytes(octets)


def random_packet(dice: random.Random, number: int, pools: tuple[Pool, Pool], longest: int) -> tuple[int, bytes]:
    """Ethertype and packet of about `longest` octets at most; `pools` are those of IPv4 and IPv6."""
    if dice.randrange(2):
        return ETH_IPV4, _damaged(dice, _packet4(dice, number, pools[0], longest))
    return ETH_IPV6, _damaged(dice, _packet6(dice, number, pools[1], longest))


def number_of(packet: bytes, kind: int) -> int | None:
    """The number of a packet that came out of a router; None for one that is none of these."""
    if kind == ETH_IPV4 and len(packet) >= 20:
        return int.from_bytes(packet[4:6], "big")
    if kind == ETH_IPV6 and len(packet) >= 40:
        return int.from_bytes(packet[2:4], "big")
    return None

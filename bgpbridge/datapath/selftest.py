"""A program proves itself before it meets a packet: a table of frames, run by BPF_PROG_TEST_RUN over maps of its own.

`prove` loads the program once more, over small maps with the routes below, and compares for each frame the verdict,
every octet that leaves and the reason that is counted. Frames that leave are built and summed from scratch
(`frames`), never taken from the program. The kernel's tag of both loads tells that it is one and the same program.

    198.51.100.0/24  2001:db8:1::/48     group 16    forwarded by adjacency 1
    203.0.113.0/24   2001:db8:2::/48     group 17    forwarded by adjacency 1 or 2
    198.18.1.0/24    2001:db8:a::/48     group 18    its adjacency is down
    198.18.2.0/24    2001:db8:b::/48     group 19    its egress takes no packets
    198.18.3.0/24    2001:db8:c::/48     group 20    no adjacency
    198.18.4.0/24    2001:db8:d::/48     group 21    never filled
    198.51.100.1/32  2001:db8:1::1/128   punt        an address of this machine
    198.51.100.66/32 2001:db8:1::66/128  blackhole
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Reason
from bgpbridge.datapath.frames import (
    ETH_IPV6,
    NEXT_HOP_MAC,
    ROUTER_MAC,
    ethernet,
    icmp,
    ipv4,
    ipv6,
    mac,
    tcp,
    udp,
)
from bgpbridge.datapath.loader import load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import run
from bgpbridge.errors import DatapathError
from bgpbridge.types import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from bgpbridge.datapath.loader import Program
    from bgpbridge.datapath.sources import Sources

__all__ = ["Case", "cases", "failures", "fill", "prove"]

LOOPBACK = 1  # test runs come in by it
NO_PORT = 4_000_000
SECOND_HOP_MAC = mac("00:00:5e:00:53:04")
TOLD = 5  # failures that an error names
ROUTES4 = (
    (0xC6336400, 24, 16),
    (0xCB007100, 24, 17),
    (0xC6120100, 24, 18),
    (0xC6120200, 24, 19),
    (0xC6120300, 24, 20),
    (0xC6120400, 24, 21),
    (0xC6336401, 32, abi.GROUP_PUNT),
    (0xC6336442, 32, abi.GROUP_BLACKHOLE),
)
NET6 = 0x20010DB8 << 32
ROUTES6 = (
    (NET6 | 1 << 16, 0, 48, 16),
    (NET6 | 2 << 16, 0, 48, 17),
    (NET6 | 0xA << 16, 0, 48, 18),
    (NET6 | 0xB << 16, 0, 48, 19),
    (NET6 | 0xC << 16, 0, 48, 20),
    (NET6 | 0xD << 16, 0, 48, 21),
    (NET6 | 1 << 16, 1, 128, abi.GROUP_PUNT),
    (NET6 | 1 << 16, 0x66, 128, abi.GROUP_BLACKHOLE),
)
TO4, TO6 = "198.51.100.7", "2001:db8:1::7"


@dataclass(frozen=True, slots=True)
class Case:
    """One frame: what it must count as, and how it must leave (`out`: as it came, or as one of these)."""

    name: str
    frame: bytes
    reason: Reason
    out: tuple[bytes, ...] = ()


def cases() -> Iterator[Case]:
    """The whole table, both families."""
    yield from _forwarded()
    yield from _kept4()
    yield from _kept6()
    good = ipv4(udp(), dst=TO4)
    yield Case("to the broadcast MAC", ethernet(good, dst=b"\xff" * 6), Reason.PASS_L2_GROUP)
    yield Case("to another station", ethernet(good, dst=NEXT_HOP_MAC), Reason.PASS_NOT_FOR_US)
    yield Case("ARP to our MAC", ethernet(bytes(28), 0x0806), Reason.PASS_NOT_IP)


def _forwarded() -> Iterator[Case]:
    """What leaves: one TTL less, MACs of the next hop, all else as it came."""
    payloads4 = {"UDP": (17, udp()), "TCP": (6, tcp(data=bytes(100))), "ICMP": (1, icmp()), "ESP": (50, bytes(24))}
    for name, (protocol, payload) in payloads4.items():
        yield _sent4(name, payload, protocol=protocol)
    yield _sent4("TTL 2", udp(), ttl=2)
    yield _sent4("TTL 255 with a type of service", udp(), ttl=255, tos=0xBB)
    yield _sent4("Don't Fragment", udp(), fragment=0x4000)
    yield _sent4("a later fragment", bytes(64), fragment=0x2000 | 9)
    yield _sent4("as large as the egress MTU", udp(data=bytes(1472)))
    yield _sent4("one of two neighbours", udp(), dst="203.0.113.9", hops=(NEXT_HOP_MAC, SECOND_HOP_MAC))
    payloads6 = {"UDP": (17, udp()), "TCP": (6, tcp(data=bytes(100))), "ICMPv6": (58, icmp(128))}
    for name, (header, payload) in payloads6.items():
        yield _sent6(name, payload, next_header=header)
    yield _sent6("hop limit 2", udp(), hop_limit=2)
    yield _sent6("with a flow label", udp(), flow=0xABCDEF)
    yield _sent6("as large as the egress MTU", udp(data=bytes(1452)))
    yield _sent6("one of two neighbours", udp(), dst="2001:db8:2::9", hops=(NEXT_HOP_MAC, SECOND_HOP_MAC))


def _sent4(
    name: str,
    payload: bytes,
    *,
    ttl: int = 64,
    dst: str = TO4,
    protocol: int = 17,
    tos: int = 0,
    fragment: int = 0,
    hops: tuple[bytes, ...] = (NEXT_HOP_MAC,),
) -> Case:
    def frame(ttl: int, dmac: bytes, smac: bytes | None = None) -> bytes:
        packet = ipv4(payload, dst=dst, protocol=protocol, ttl=ttl, tos=tos, fragment=fragment)
        return ethernet(packet, dst=dmac, src=smac) if smac else ethernet(packet, dst=dmac)

    out = tuple(frame(ttl - 1, hop, ROUTER_MAC) for hop in hops)
    return Case(f"IPv4 {name}", frame(ttl, ROUTER_MAC), Reason.FORWARDED, out)


def _sent6(
    name: str,
    payload: bytes,
    *,
    hop_limit: int = 64,
    dst: str = TO6,
    next_header: int = 17,
    flow: int = 0,
    hops: tuple[bytes, ...] = (NEXT_HOP_MAC,),
) -> Case:
    def frame(hop_limit: int, dmac: bytes, smac: bytes | None = None) -> bytes:
        packet = ipv6(payload, dst=dst, next_header=next_header, hop_limit=hop_limit, flow=flow)
        return ethernet(packet, ETH_IPV6, dst=dmac, src=smac) if smac else ethernet(packet, ETH_IPV6, dst=dmac)

    out = tuple(frame(hop_limit - 1, hop, ROUTER_MAC) for hop in hops)
    return Case(f"IPv6 {name}", frame(hop_limit, ROUTER_MAC), Reason.FORWARDED, out)


def _kept4() -> Iterator[Case]:
    """What the kernel gets as it came, and what is dropped."""
    by_destination = {
        "100.64.0.1": Reason.PASS_NO_ROUTE,
        "198.51.100.1": Reason.PASS_PUNT,
        "198.51.100.66": Reason.DROP_BLACKHOLE,
        "198.18.1.1": Reason.PASS_ADJACENCY_DOWN,
        "198.18.2.1": Reason.PASS_TX_PORT,
        "198.18.3.1": Reason.PASS_NO_ADJACENCY,
        "198.18.4.1": Reason.PASS_GROUP_INVALID,
        "224.0.0.5": Reason.PASS_MULTICAST,
        "169.254.0.1": Reason.PASS_LINK_LOCAL,
        "127.0.0.1": Reason.PASS_MARTIAN,
    }
    for dst, reason in by_destination.items():
        yield Case(f"IPv4 to {dst}", ethernet(ipv4(udp(), dst=dst)), reason)
    yield Case("IPv4 TTL 1", ethernet(ipv4(udp(), dst=TO4, ttl=1)), Reason.PASS_TTL)
    yield Case("IPv4 too large", ethernet(ipv4(udp(data=bytes(1473)), dst=TO4)), Reason.PASS_MTU)
    yield Case("IPv4 options", ethernet(ipv4(udp(), dst=TO4, options=b"\x94\x04\0\0")), Reason.PASS_OPTIONS)
    yield Case("IPv4 bad checksum", ethernet(ipv4(udp(), dst=TO4, check=0x1234)), Reason.PASS_BAD_CHECKSUM)
    yield Case("IPv4 version 5", ethernet(ipv4(udp(), dst=TO4, version=5)), Reason.PASS_BAD_HEADER)
    yield Case("IPv4 cut short", ethernet(ipv4(udp(), dst=TO4))[:30], Reason.PASS_SHORT)
    yield Case("IPv4 from loopback", ethernet(ipv4(udp(), dst=TO4, src="127.0.0.1")), Reason.PASS_MARTIAN)


def _kept6() -> Iterator[Case]:
    by_destination = {
        "2001:db8:ff::1": Reason.PASS_NO_ROUTE,
        "2001:db8:1::1": Reason.PASS_PUNT,
        "2001:db8:1::66": Reason.DROP_BLACKHOLE,
        "2001:db8:a::1": Reason.PASS_ADJACENCY_DOWN,
        "2001:db8:b::1": Reason.PASS_TX_PORT,
        "2001:db8:c::1": Reason.PASS_NO_ADJACENCY,
        "2001:db8:d::1": Reason.PASS_GROUP_INVALID,
        "ff02::5": Reason.PASS_MULTICAST,
        "fe80::1": Reason.PASS_LINK_LOCAL,
        "::1": Reason.PASS_MARTIAN,
    }
    for dst, reason in by_destination.items():
        yield Case(f"IPv6 to {dst}", ethernet(ipv6(udp(), dst=dst), ETH_IPV6), reason)
    yield Case("IPv6 hop limit 1", ethernet(ipv6(udp(), dst=TO6, hop_limit=1), ETH_IPV6), Reason.PASS_TTL)
    yield Case("IPv6 too large", ethernet(ipv6(udp(data=bytes(1453)), dst=TO6), ETH_IPV6), Reason.PASS_MTU)
    hop_by_hop = ipv6(b"\x11\0\x01\x04\0\0\0\0" + udp(), dst=TO6, next_header=0)
    yield Case("IPv6 hop-by-hop options", ethernet(hop_by_hop, ETH_IPV6), Reason.PASS_EXTENSION_HEADER)
    yield Case("IPv6 version 4", ethernet(ipv6(udp(), dst=TO6, version=4), ETH_IPV6), Reason.PASS_BAD_HEADER)
    yield Case("IPv6 cut short", ethernet(ipv6(udp(), dst=TO6), ETH_IPV6)[:50], Reason.PASS_SHORT)


def fill(maps: Maps) -> None:
    """The routes above, into maps that are empty."""
    maps.accept_interface(LOOPBACK, ROUTER_MAC)
    up, down = AdjacencyState.UP, AdjacencyState.DOWN
    maps.store_adjacency(1, Adjacency(NEXT_HOP_MAC, ROUTER_MAC, 1500, up, LOOPBACK))
    maps.store_adjacency(2, Adjacency(SECOND_HOP_MAC, ROUTER_MAC, 1500, up, LOOPBACK))
    maps.store_adjacency(3, Adjacency(NEXT_HOP_MAC, ROUTER_MAC, 1500, down, LOOPBACK))
    maps.store_adjacency(4, Adjacency(NEXT_HOP_MAC, ROUTER_MAC, 1500, up, NO_PORT))
    for group, slots in {16: 1, 18: 3, 19: 4, 20: 0}.items():
        maps.store_group(group, slots)
    maps.store_group(17, np.repeat([1, 2], abi.GROUP_SLOTS // 2))
    lo4, length4, group4 = (np.array(column) for column in zip(*ROUTES4, strict=True))
    maps.lpm4.update_batch(abi.lpm4_keys(lo4, length4), group4)
    columns = [np.array(column, np.uint64) for column in zip(*ROUTES6, strict=True)]
    maps.lpm6.update_batch(abi.lpm6_keys(*columns[:3]), columns[3])
    maps.enable(True)


def failures(program: int, maps: Maps) -> list[str]:
    """What the program over these filled maps does otherwise than the table says, a line each."""
    return [line for case in cases() if (line := _failure(program, maps, case))]


def _failure(program: int, maps: Maps, case: Case) -> str:
    seen = run(program, maps, case.frame)
    reasons = [reason.label for reason in seen.reasons]
    if reasons != [case.reason.label]:
        return f"{case.name}: counted as {', '.join(reasons) or 'nothing'}, should be {case.reason.label}"
    if seen.verdict is not case.reason.verdict:
        return f"{case.name}: {seen.verdict.name.lower()}, should be {case.reason.verdict.name.lower()}"
    if seen.frame in (case.out or (case.frame,)):
        return ""
    wanted = (case.out or (case.frame,))[0]
    at = next((n for n, (a, b) in enumerate(zip(seen.frame, wanted, strict=False)) if a != b), len(wanted))
    return f"{case.name}: octet {at} of the frame that leaves differs"


def prove(program: Program, sources: Sources | None = None, *, indexed: bool = False) -> int:
    """Load the same program over maps of its own and run the table on it, by the tries and (`indexed`) by the IPv4
    index; how many frames it took. Raises DatapathError with the first differences. Call it from a worker thread."""
    with closing(Maps.create(Sizes(1024, 1024, indexed=indexed))) as maps:
        fill(maps)
        with closing(load(maps.fds, program.loader, sources)) as twin:
            if twin.info.tag != program.info.tag:
                raise DatapathError(
                    f"two loads of the program differ ({program.info.tag}, {twin.info.tag})",
                    mend="the sources changed meanwhile: try again",
                )
            wrong = failures(twin.fd, maps)
            if maps.index4 is not None:
                _fill_index(maps, maps.index4)
                wrong += [f"by the index: {line}" for line in failures(twin.fd, maps)]
    if wrong:
        raise _wrong(wrong)
    return sum(1 for _ in cases())


def _fill_index(maps: Maps, slots: npt.NDArray[np.uint16]) -> None:
    """Each /24 with its group, marked where something longer lives (fib/index4.py keeps the real one)."""
    for network, length, group in ROUTES4:
        slots[network >> 8] = group if length == 24 else abi.INDEX4_DEEP
    maps.use_index(Family.IPV4, True)


def _wrong(wrong: list[str]) -> DatapathError:
    more = f"\n    and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
    told = "\n    ".join(wrong[:TOLD])
    return DatapathError(
        f"the new program fails {len(wrong)} frames of its self-test:\n    {told}{more}",
        mend="the program in force goes on; reinstall bgpbridge: its sources are not those that were tested",
    )

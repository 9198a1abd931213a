"""The packet table: what goes in, what comes out, and the reason that is counted; for both loaders.

Rows are made as rows.py says; those of VLANs, of the reverse-path check and of the limit on passed packets are in files
of their own.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath.abi import Reason, XdpVerdict
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, ethernet, icmp, ipv4, ipv6, mac, tcp, udp
from tests.bpf.conftest import Namespace, Rig
from tests.bpf.rows import TO4, TO6, V4, V6, Row, extension, fragment6, kept4, kept6, sent4, sent6
from tests.bpf.rows_source import LIMITED, LOOSE, STRICT
from tests.bpf.rows_vlan import VLAN_KEPT, VLAN_SENT

pytestmark = pytest.mark.root
R = Reason


ND = {"next_header": 58, "hop_limit": 255}

LINK = [
    Row("ARP request, broadcast", ethernet(bytes(28), 0x0806, dst=b"\xff" * 6), R.PASS_L2_GROUP),
    Row("ARP reply to our MAC", ethernet(bytes(28), 0x0806), R.PASS_NOT_IP),
    Row("LLDP to its group address", ethernet(bytes(46), 0x88CC, dst=mac("01:80:c2:00:00:0e")), R.PASS_L2_GROUP),
    Row("IPv4 to the broadcast MAC", ethernet(ipv4(udp(), dst=TO4), dst=b"\xff" * 6), R.PASS_L2_GROUP),
    Row("IPv4 to a multicast MAC", ethernet(ipv4(udp(), dst=TO4), dst=mac("01:00:5e:00:00:05")), R.PASS_L2_GROUP),
    Row("IPv6 to a multicast MAC", ethernet(ipv6(udp(), dst=TO6), V6, dst=mac("33:33:00:00:00:01")), R.PASS_L2_GROUP),
    Row("IPv4 to another station", ethernet(ipv4(udp(), dst=TO4), dst=NEXT_HOP_MAC), R.PASS_NOT_FOR_US),
    Row("IPv6 to another station", ethernet(ipv6(udp(), dst=TO6), V6, dst=NEXT_HOP_MAC), R.PASS_NOT_FOR_US),
    Row(
        "our MAC but for its last bit", ethernet(ipv4(udp(), dst=TO4), dst=mac("00:00:5e:00:53:82")), R.PASS_NOT_FOR_US
    ),
    Row(
        "our MAC but for its first octet",
        ethernet(ipv4(udp(), dst=TO4), dst=mac("02:00:5e:00:53:02")),
        R.PASS_NOT_FOR_US,
    ),
    Row(
        "neighbour solicitation to a solicited-node group",
        ethernet(ipv6(icmp(135), src="fe80::2", **ND, dst="ff02::1:ff00:1"), V6, dst=mac("33:33:ff:00:00:01")),
        R.PASS_L2_GROUP,
    ),
    Row(
        "router advertisement to all nodes",
        ethernet(ipv6(icmp(134), src="fe80::2", **ND, dst="ff02::1"), V6, dst=mac("33:33:00:00:00:01")),
        R.PASS_L2_GROUP,
    ),
    Row("MPLS", ethernet(bytes(24), 0x8847), R.PASS_NOT_IP),
    Row("PPPoE session", ethernet(bytes(24), 0x8864), R.PASS_NOT_IP),
    Row("802.3 with a length for a type", ethernet(bytes(46), 46), R.PASS_NOT_IP),
    Row("the ethertype of IPv4 in the wrong order", ethernet(ipv4(udp(), dst=TO4), 0x0008), R.PASS_NOT_IP),
    Row("IPv6 under IPv4's ethertype", ethernet(ipv6(udp(), dst=TO6), V4), R.PASS_BAD_HEADER),
    Row("IPv4 under IPv6's ethertype", ethernet(ipv4(udp(data=bytes(60)), dst=TO4), V6), R.PASS_BAD_HEADER),
    Row("an Ethernet header and no more", ethernet(b""), R.PASS_SHORT),
]

FORWARD4 = [
    sent4("UDP", udp(), protocol=17),
    sent4("TCP SYN", tcp(), protocol=6),
    sent4("TCP with data", tcp(flags=0x18, data=bytes(range(256))), protocol=6),
    sent4("ICMP echo", icmp(), protocol=1),
    sent4("ICMP unreachable passing through", icmp(3, 1, bytes(28)), protocol=1),
    sent4("GRE", bytes(24), protocol=47),
    sent4("ESP", bytes(24), protocol=50),
    sent4("SCTP", bytes(28), protocol=132),
    sent4("protocol 0 is a protocol in IPv4", bytes(8), protocol=0),
    sent4("protocol 255", bytes(8), protocol=255),
    sent4("a header and no payload", b"", protocol=59),
    sent4("padded to the minimum frame", udp(data=b""), pad=18),
    sent4("TTL 2 leaves as 1", udp(), ttl=2),
    sent4("TTL 255", udp(), ttl=255),
    sent4("DSCP and ECN are kept", udp(), tos=0xBB),
    sent4("Don't Fragment", udp(), fragment=0x4000),
    sent4("reserved flag is kept", udp(), fragment=0x8000),
    sent4("first fragment", udp(data=bytes(64)), fragment=0x2000),
    sent4("middle fragment", bytes(64), fragment=0x2000 | 9),
    sent4("last fragment", bytes(5), fragment=17),
    sent4("a fragment that must not be fragmented", bytes(64), fragment=0x6000 | 9),
    sent4("the furthest fragment", bytes(8), fragment=0x1FFF),
    sent4("every flag and the furthest offset", bytes(8), fragment=0xFFFF),
    sent4("a fragment of no octets", b"", fragment=0x2009, protocol=17),
    sent4("first fragment of UDP, shorter than ports", bytes(2), fragment=0x2000, protocol=17),
    sent4("later fragment of TCP, shorter than ports", bytes(2), fragment=185, protocol=6),
    sent4("checksum that overflows: 0xfeff becomes 0xffff's neighbour", udp(), ident=0),
    sent4("as large as the egress MTU", udp(data=bytes(1472))),
    sent4("padding that the egress MTU has room for", udp(data=bytes(1400)), pad=72),
    sent4("first address of the prefix", udp(), dst="198.51.100.0"),
    sent4("last address of the prefix", udp(), dst="198.51.100.255"),
    sent4("UDP with ports alone in reach", bytes(4), protocol=17),
    sent4("by an IPv6 next hop", udp(), dst="198.18.11.1"),
    sent4("a fragment by an IPv6 next hop", bytes(64), fragment=0x2000 | 9, dst="198.18.11.1"),
]

KEEP4 = [
    kept4("no route", R.PASS_NO_ROUTE, dst="100.64.0.1"),
    kept4("an entry whose group is 0", R.PASS_NO_ROUTE, dst="198.18.7.1"),
    kept4("own address inside a routed prefix", R.PASS_PUNT, dst="198.51.100.1"),
    kept4("connected network", R.PASS_PUNT, dst="192.0.2.77"),
    kept4("broadcast address of a connected network", R.PASS_PUNT, dst="192.0.2.255"),
    kept4("BGP with TTL 1 to an own address", R.PASS_TTL, tcp(), dst="198.51.100.1", protocol=6, ttl=1),
    kept4("BGP with TTL 255 to an own address (GTSM)", R.PASS_PUNT, tcp(), dst="198.51.100.1", protocol=6, ttl=255),
    kept4("fragment to an own address", R.PASS_PUNT, bytes(8), dst="198.51.100.1", fragment=0x2001),
    kept4("fragment to no route", R.PASS_NO_ROUTE, bytes(8), dst="100.64.0.1", fragment=0x2001),
    kept4("blackhole", R.DROP_BLACKHOLE, dst="198.51.100.66"),
    kept4("fragment in a blackhole", R.DROP_BLACKHOLE, bytes(8), dst="198.51.100.66", fragment=0x0005),
    kept4("group never filled", R.PASS_GROUP_INVALID, dst="198.18.4.1"),
    kept4("group beyond the array", R.PASS_GROUP_INVALID, dst="198.18.6.1"),
    kept4("slots empty", R.PASS_NO_ADJACENCY, dst="198.18.3.1"),
    kept4("adjacency down", R.PASS_ADJACENCY_DOWN, dst="198.18.1.1"),
    kept4("egress not in tx_ports", R.PASS_TX_PORT, dst="198.18.2.1"),
    kept4("one octet over the MTU", R.PASS_MTU, udp(data=bytes(1473))),
    kept4("one octet over a small MTU", R.PASS_MTU, udp(data=bytes(549)), dst="198.18.5.1"),
    kept4("over the MTU with Don't Fragment", R.PASS_MTU, udp(data=bytes(1473)), fragment=0x4000),
    Row(
        "padding that the egress MTU has no room for",
        ethernet(ipv4(udp(data=bytes(1400)), dst=TO4), pad=73),
        R.PASS_MTU,
    ),
    kept4("TTL 1", R.PASS_TTL, ttl=1),
    kept4("TTL 0", R.PASS_TTL, ttl=0),
    kept4("router alert option", R.PASS_OPTIONS, options=b"\x94\x04\0\0"),
    kept4("record route option", R.PASS_OPTIONS, options=b"\x07\x07\x04\0\0\0\0\0"),
    kept4("loose source route option", R.PASS_OPTIONS, options=b"\x83\x07\x04\xc6\x33\x64\x09\0"),
    kept4("options to the full", R.PASS_OPTIONS, options=b"\x01" * 40),
    kept4("version 5", R.PASS_BAD_HEADER, version=5),
    kept4("version 0", R.PASS_BAD_HEADER, version=0),
    kept4("header length 4 words", R.PASS_BAD_HEADER, ihl=4),
    kept4("header length 0", R.PASS_BAD_HEADER, ihl=0),
    kept4("header longer than the packet", R.PASS_BAD_HEADER, b"", ihl=15),
    kept4("total length under the header's", R.PASS_BAD_HEADER, total=19),
    kept4("total length 0", R.PASS_BAD_HEADER, total=0),
    kept4("total length one over the frame", R.PASS_SHORT, bytes(8), total=29),
    kept4("total length 65,535", R.PASS_SHORT, total=65535),
    kept4("UDP too short for ports", R.PASS_SHORT, bytes(3), protocol=17),
    kept4("TCP of no octets", R.PASS_SHORT, b"", protocol=6),
    kept4("ports beyond the length that IP tells", R.PASS_SHORT, bytes(16), total=23, protocol=17),
    kept4("checksum off by one", R.PASS_BAD_CHECKSUM, check=0x1235),
    kept4("checksum zero", R.PASS_BAD_CHECKSUM, check=0),
    kept4("source 0.0.0.0", R.PASS_MARTIAN, src="0.0.0.0"),
    kept4("source in 0/8", R.PASS_MARTIAN, src="0.1.2.3"),
    kept4("source loopback", R.PASS_MARTIAN, src="127.0.0.1"),
    kept4("source multicast", R.PASS_MARTIAN, src="224.0.0.5"),
    kept4("source broadcast", R.PASS_MARTIAN, src="255.255.255.255"),
    kept4("source in 240/4", R.PASS_MARTIAN, src="240.0.0.1"),
    kept4("destination 0.0.0.0", R.PASS_MARTIAN, dst="0.0.0.0"),
    kept4("destination loopback", R.PASS_MARTIAN, dst="127.0.0.53"),
    kept4("destination limited broadcast", R.PASS_MARTIAN, dst="255.255.255.255"),
    kept4("destination in 240/4", R.PASS_MARTIAN, dst="240.0.0.1"),
    kept4("destination all routers", R.PASS_MULTICAST, dst="224.0.0.2"),
    kept4("destination at the end of multicast", R.PASS_MULTICAST, dst="239.255.255.255"),
    kept4("source link-local", R.PASS_LINK_LOCAL, src="169.254.1.1"),
    kept4("destination link-local", R.PASS_LINK_LOCAL, dst="169.254.1.1"),
    kept4("169.253 is not link-local", R.PASS_NO_ROUTE, dst="169.253.1.1"),
    kept4("223.255.255.255 is unicast", R.PASS_NO_ROUTE, dst="223.255.255.255"),
]

FORWARD6 = [
    sent6("UDP", udp()),
    sent6("TCP SYN", tcp(), next_header=6),
    sent6("ICMPv6 echo", icmp(128), next_header=58),
    sent6("packet too big passing through", icmp(2, 0, bytes(60)), next_header=58),
    sent6("no next header", b"", next_header=59),
    sent6("hop limit 2 leaves as 1", udp(), hop_limit=2),
    sent6("hop limit 255", udp(), hop_limit=255),
    sent6("traffic class and flow label are kept", udp(), flow=0xFABCDEF),
    sent6("first fragment", fragment6(17, 0, more=True) + udp(data=bytes(64)), next_header=44),
    sent6("last fragment", fragment6(17, 9, more=False) + bytes(16), next_header=44),
    sent6("atomic fragment", fragment6(17, 0, more=False) + udp(), next_header=44),
    sent6("middle fragment", fragment6(17, 9, more=True) + bytes(16), next_header=44),
    sent6("the furthest fragment", fragment6(17, 0x1FFF, more=False) + bytes(8), next_header=44),
    sent6("fragment of a fragment", fragment6(44, 0, more=True) + fragment6(17, 3, more=True), next_header=44),
    sent6("fragment header cut in the middle", bytes(3), next_header=44),
    sent6("hop-by-hop options where they must not be", extension(0) + extension(17) + udp(), next_header=60),
    sent6("destination options", extension(17) + udp(), next_header=60),
    sent6("routing header on its way", extension(17, 24) + udp(), next_header=43),
    sent6("AH", bytes(24), next_header=51),
    sent6("ESP", bytes(24), next_header=50),
    sent6("SCTP", bytes(28), next_header=132),
    sent6("padded frame", udp(data=b""), pad=6),
    sent6("as large as the egress MTU", udp(data=bytes(1452))),
    sent6("first address of the prefix", udp(), dst="2001:db8:1::"),
    sent6("last address of the prefix", udp(), dst="2001:db8:1:ffff:ffff:ffff:ffff:ffff"),
    sent6("unique local source", udp(), src="fd00::1"),
]

KEEP6 = [
    kept6("no route", R.PASS_NO_ROUTE, dst="2001:db8:ffff::1"),
    kept6("own address inside a routed prefix", R.PASS_PUNT, dst="2001:db8:1::1"),
    kept6("connected network", R.PASS_PUNT, dst="2001:db8:f::77"),
    kept6("neighbour solicitation to an own address", R.PASS_PUNT, icmp(135), **ND, dst="2001:db8:1::1"),
    kept6("neighbour advertisement to us", R.PASS_LINK_LOCAL, icmp(136), **ND, src="fe80::2", dst="fe80::1"),
    kept6("neighbour advertisement to a global address", R.PASS_LINK_LOCAL, icmp(136), **ND, src="fe80::2"),
    kept6("multicast listener report", R.PASS_EXTENSION_HEADER, extension(58) + icmp(131), next_header=0, hop_limit=1),
    kept6("BGP with hop limit 1 to an own address", R.PASS_TTL, tcp(), dst="2001:db8:1::1", next_header=6, hop_limit=1),
    kept6("fragment to no route", R.PASS_NO_ROUTE, fragment6(17, 9, True) + bytes(8), dst="fd00::1", next_header=44),
    kept6("blackhole", R.DROP_BLACKHOLE, dst="2001:db8:1::66"),
    kept6("group never filled", R.PASS_GROUP_INVALID, dst="2001:db8:d::1"),
    kept6("slots empty", R.PASS_NO_ADJACENCY, dst="2001:db8:c::1"),
    kept6("adjacency down", R.PASS_ADJACENCY_DOWN, dst="2001:db8:a::1"),
    kept6("egress not in tx_ports", R.PASS_TX_PORT, dst="2001:db8:b::1"),
    kept6("one octet over the MTU", R.PASS_MTU, udp(data=bytes(1453))),
    kept6("over a small MTU", R.PASS_MTU, udp(data=bytes(529)), dst="2001:db8:e::1"),
    Row(
        "padding that the egress MTU has no room for",
        ethernet(ipv6(udp(data=bytes(1400)), dst=TO6), V6, pad=53),
        R.PASS_MTU,
    ),
    kept6("hop limit 1", R.PASS_TTL, hop_limit=1),
    kept6("hop limit 0", R.PASS_TTL, hop_limit=0),
    kept6("hop-by-hop options", R.PASS_EXTENSION_HEADER, extension(17) + udp(), next_header=0),
    kept6("jumbogram", R.PASS_EXTENSION_HEADER, b"\x11\0\xc2\x04\0\x01\0\0" + udp(), next_header=0, length=0),
    kept6("version 4", R.PASS_BAD_HEADER, version=4),
    kept6("version 7", R.PASS_BAD_HEADER, version=7),
    kept6("payload one octet over the frame", R.PASS_SHORT, bytes(16), length=17),
    kept6("payload length 65,535", R.PASS_SHORT, length=65535),
    kept6("UDP too short for ports", R.PASS_SHORT, bytes(3)),
    kept6("ports beyond the length that IP tells", R.PASS_SHORT, bytes(16), length=3),
    kept6("source unspecified", R.PASS_MARTIAN, src="::"),
    kept6("source loopback", R.PASS_MARTIAN, src="::1"),
    kept6("source multicast", R.PASS_MARTIAN, src="ff02::1"),
    kept6("source IPv4-mapped", R.PASS_MARTIAN, src="::ffff:192.0.2.1"),
    kept6("destination unspecified", R.PASS_MARTIAN, dst="::"),
    kept6("destination loopback", R.PASS_MARTIAN, dst="::1"),
    kept6("destination IPv4-mapped", R.PASS_MARTIAN, dst="::ffff:198.51.100.7"),
    kept6("destination all nodes", R.PASS_MULTICAST, dst="ff02::1"),
    kept6("destination global multicast", R.PASS_MULTICAST, dst="ff0e::101"),
    kept6("source link-local", R.PASS_LINK_LOCAL, src="fe80::1"),
    kept6("destination link-local", R.PASS_LINK_LOCAL, dst="fe80::1"),
    kept6("destination at the end of link-local", R.PASS_LINK_LOCAL, dst="febf::1"),
    kept6("fec0:: is not link-local", R.PASS_NO_ROUTE, dst="fec0::1"),
]

ROWS = {
    "link": LINK,
    "v4 sent": FORWARD4,
    "v4 kept": KEEP4,
    "v6 sent": FORWARD6,
    "v6 kept": KEEP6,
    "vlan sent": VLAN_SENT,
    "vlan kept": VLAN_KEPT,
    "loose": LOOSE,
    "strict": STRICT,
    "limited": LIMITED,
}
TABLE = {f"{part}{row.family}: {row.name}": row for part, rows in ROWS.items() for row in rows}
# Reasons that depend on maps and not on the frame have tests of their own below.
BY_MAPS = {Reason.PASS_DISABLED, Reason.PASS_INTERFACE}
MOST_METADATA = 216  # octets that a driver may put before a frame; its headroom of 256 is then used up


@pytest.fixture(scope="module")
def kernel_routes() -> Iterator[Namespace]:
    """A namespace that forwards, with the kernel's own routes of rows_source.py."""
    name = f"bb{os.getpid()}rows"
    there = Namespace(name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        there.ip("link set lo up")
        there.ip("link add d0 type veth peer name d1")
        there.ip("link set d1 up")
        there.ip("link set d0 up")
        for address in ("198.51.100.1/32", "2001:db8:1::1/128", "192.0.2.1/25 brd +", "2001:db8:f::1/64"):
            there.ip(f"addr add {address} dev d0{' nodad' if ':' in address else ''}")
        for route in ("192.0.2.128/25 dev lo", "2001:db8:f:1::/64 dev lo", "blackhole 192.0.2.66/32"):
            there.ip(f"route add {route}")
        with there.inside():
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path("/proc/sys/net", switch).write_text("1\n")
        yield there
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def told(rig: Rig, setting: str) -> Iterator[None]:
    """The datapath with one setting."""
    rig.maps.check_sources(loose=setting == "loose", strict=setting == "strict")
    if setting == "limited":  # one packet in four seconds, and every bucket is empty
        rig.maps.control["punt_cost_ns"], rig.maps.control["punt_burst_ns"] = 4_000_000_000, 0
        buckets = rig.maps.by_name["punt_buckets"]
        for reason in Reason:
            buckets.update(int(reason), np.full(buckets.per_cpu, time.monotonic_ns() + 10**10, np.uint64))
    try:
        yield
    finally:
        rig.maps.check_sources()
        rig.maps.limit_punts(0)


@pytest.mark.parametrize("name", TABLE)
def test_frame(rig: Rig, kernel_routes: Namespace, name: str) -> None:
    row = TABLE[name]
    with told(rig, row.setting), kernel_routes.inside():
        outcome = rig.run(row.frame, MOST_METADATA if row.setting == "no headroom" else 0)
    assert [reason.label for reason in outcome.reasons] == [row.reason.label]
    assert outcome.reasons[row.reason].packets == 1
    assert outcome.reasons[row.reason].octets == len(row.frame)
    assert outcome.verdict is row.reason.verdict
    assert outcome.frame == (row.frame if row.out is None else row.out)


def test_every_reason_has_a_row() -> None:
    assert {row.reason for row in TABLE.values()} | BY_MAPS == set(Reason)
    assert len(TABLE) == sum(map(len, ROWS.values())) >= 300


@pytest.mark.parametrize("frame", [FORWARD4[0].frame, FORWARD6[0].frame, bytes(60)], ids=["v4", "v6", "zeros"])
def test_off_passes_everything_at_once_and_on_forwards_again(rig, frame: bytes) -> None:
    rig.maps.enable(False)
    try:
        outcome = rig.run(frame)
    finally:
        rig.maps.enable(True)
    assert (outcome.verdict, list(outcome.reasons), outcome.frame) == (XdpVerdict.PASS, [R.PASS_DISABLED], frame)
    assert R.PASS_DISABLED not in rig.run(frame).reasons


def test_an_interface_that_we_do_not_take_from_passes(rig) -> None:
    rig.maps.interfaces.delete(np.uint64(1))
    try:
        outcome = rig.run(FORWARD4[0].frame)
    finally:
        rig.maps.accept_interface(1, ROUTER_MAC)
    assert (outcome.verdict, list(outcome.reasons)) == (XdpVerdict.PASS, [R.PASS_INTERFACE])
    assert outcome.frame == FORWARD4[0].frame


@pytest.mark.parametrize("check", [0x0000, 0x0001, 0xFEFD, 0xFEFE, 0xFEFF, 0xFF00, 0xFF01, 0xFFFE])
def test_the_checksum_is_right_wherever_its_sum_wraps(rig, check: int) -> None:
    # RFC 1624: the incremental update must not turn one zero of one's complement into the other
    ident = next(i for i in range(65536) if ipv4(udp(), dst=TO4, ident=i)[10:12] == struct.pack("!H", check))
    row = sent4("", udp(), ident=ident)
    assert rig.run(row.frame).frame == row.out

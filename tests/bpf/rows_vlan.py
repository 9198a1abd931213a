"""Rows of the packet table with VLAN tags on the way in, on the way out, or both. fib/rig.py lists the VLANs."""

from __future__ import annotations

from collections.abc import Iterator

from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, ethernet, ipv4, ipv6, mac, stacked, tcp, udp
from bgpbridge.fib.rig import VLAN_MAC
from tests.bpf.rows import TO4, TO6, V4, V6, Row

R = Reason
Q, AD = 0x8100, 0x88A8
Tags = tuple[tuple[int, int], ...]
NONE: Tags = ()
VLAN100, VLAN10, SERVICE40 = ((Q, 100),), ((Q, 10),), ((AD, 40),)
STACK, STACK_Q = ((AD, 20), (Q, 30)), ((Q, 100), (Q, 7))
NAMES = {NONE: "untagged", VLAN100: "VLAN 100", VLAN10: "VLAN 10", SERVICE40: "service VLAN 40"} | {
    STACK: "802.1ad 20 and 802.1Q 30",
    STACK_Q: "802.1Q twice",
}
EXITS = {NONE: (TO4, TO6), VLAN10: ("198.18.8.1", "2001:db8:10::1")} | {
    STACK: ("198.18.9.1", "2001:db8:11::1"),
    SERVICE40: ("198.18.10.1", "2001:db8:12::1"),
}


def _sent(name: str, came: Tags, leaves: Tags, payload: bytes = b"", to: bytes | None = None, **header: int) -> Row:
    """An IPv4 packet in by the tags `came` and out by the tags `leaves`."""
    payload, destination = payload or udp(data=b"tagged"), EXITS[leaves][0]
    mine = to or (VLAN_MAC if came == SERVICE40 else ROUTER_MAC)
    return Row(
        name,
        stacked(ipv4(payload, dst=destination, ttl=9, **header), came, V4, dst=mine),
        R.FORWARDED,
        stacked(ipv4(payload, dst=destination, ttl=8, **header), leaves, V4, dst=NEXT_HOP_MAC, src=ROUTER_MAC),
    )


def _sent6(name: str, came: Tags, leaves: Tags) -> Row:
    destination, mine = EXITS[leaves][1], VLAN_MAC if came == SERVICE40 else ROUTER_MAC
    return Row(
        name,
        stacked(ipv6(tcp(), dst=destination, next_header=6, hop_limit=9, flow=0xABCDEF), came, V6, dst=mine),
        R.FORWARDED,
        stacked(
            ipv6(tcp(), dst=destination, next_header=6, hop_limit=8, flow=0xABCDEF),
            *(leaves, V6),
            dst=NEXT_HOP_MAC,
            src=ROUTER_MAC,
        ),
    )


def _every_way() -> Iterator[Row]:
    """Every way in with every way out, both families."""
    for came in NAMES:
        for leaves in EXITS:
            if came or leaves:
                name = f"{NAMES[came]} to {NAMES[leaves]}"
                yield _sent(f"IPv4, {name}", came, leaves)
                yield _sent6(f"IPv6, {name}", came, leaves)


def _kept(name: str, reason: Reason, tags: Tags, *, to: bytes = ROUTER_MAC, **header: object) -> Row:
    payload = header.pop("payload", udp())
    return Row(name, stacked(ipv4(payload, **{"dst": TO4, **header}), tags, dst=to), reason)


def _kept6(name: str, reason: Reason, tags: Tags, **header: object) -> Row:
    return Row(name, stacked(ipv6(udp(), **{"dst": TO6, **header}), tags, V6), reason)


VLAN_SENT = [
    *_every_way(),
    _sent("priority and DEI end with the tag", ((Q, 0xF000 | 100),), VLAN10),
    _sent("a VLAN's own MAC", SERVICE40, NONE, to=VLAN_MAC),
    _sent("no payload at all, popped", VLAN100, NONE, payload=b"\0", protocol=59),
    _sent("as large as the VLAN's MTU", NONE, VLAN10, payload=udp(data=bytes(1472))),
    _sent("as large as the port's MTU, in two tags", STACK, STACK, payload=udp(data=bytes(1472))),
    _sent("first fragment, pushed", NONE, STACK, fragment=0x2000),
    _sent("last fragment, popped", STACK, NONE, fragment=0x0009),
]

VLAN_KEPT = [
    _kept("a VLAN that is nobody's", R.PASS_VLAN, ((Q, 101),)),
    _kept6("a VLAN that is nobody's, IPv6", R.PASS_VLAN, ((Q, 101),)),
    _kept("priority tag, VLAN 0", R.PASS_VLAN, ((Q, 0xE000),)),
    _kept("VLAN 4095, which is reserved", R.PASS_VLAN, ((Q, 4095),)),
    _kept("the id of a service VLAN in an 802.1Q tag", R.PASS_VLAN, ((Q, 40),), to=VLAN_MAC),
    _kept("the id of a VLAN in an 802.1ad tag", R.PASS_VLAN, ((AD, 100),)),
    _kept("an inner tag that is nobody's", R.PASS_VLAN, ((AD, 20), (Q, 31))),
    _kept("an outer tag that is nobody's", R.PASS_VLAN, ((AD, 21), (Q, 30))),
    _kept("the outer tag alone", R.PASS_VLAN, ((AD, 20),)),
    _kept("the inner tag alone", R.PASS_VLAN, ((Q, 30),)),
    _kept("both in the wrong order", R.PASS_VLAN, ((Q, 30), (AD, 20))),
    _kept("802.1ad inside 802.1ad", R.PASS_VLAN, ((AD, 20), (AD, 30))),
    _kept("a third tag", R.PASS_VLAN, ((AD, 20), (Q, 30), (Q, 1))),
    _kept("QinQ by the ethertype of old, 0x9100", R.PASS_NOT_IP, ((0x9100, 20), (Q, 30))),
    _kept("another station's MAC in a VLAN", R.PASS_NOT_FOR_US, VLAN100, to=NEXT_HOP_MAC),
    _kept("the port's MAC in a VLAN with its own", R.PASS_NOT_FOR_US, SERVICE40),
    _kept("broadcast in a VLAN", R.PASS_L2_GROUP, VLAN100, to=b"\xff" * 6),
    _kept("multicast in a VLAN", R.PASS_L2_GROUP, STACK, to=mac("01:00:5e:00:00:05")),
    Row("ARP reply in a VLAN", stacked(bytes(28), VLAN100, 0x0806), R.PASS_NOT_IP),
    Row("a tag and no more", stacked(b"", VLAN100, V4), R.PASS_SHORT),
    Row("a tag cut in the middle", ethernet(b"\0\x64", Q), R.PASS_SHORT),
    Row("an inner tag cut in the middle", ethernet(b"\0\x14\x81\0\0", AD), R.PASS_SHORT),
    _kept("TTL 1 in a VLAN", R.PASS_TTL, VLAN100, ttl=1),
    _kept("options in a VLAN", R.PASS_OPTIONS, VLAN100, options=b"\1\1\1\0"),
    _kept("wrong checksum in a VLAN", R.PASS_BAD_CHECKSUM, STACK, check=1),
    _kept("no route from a VLAN", R.PASS_NO_ROUTE, VLAN100, dst="100.64.0.1"),
    _kept("own address from a VLAN", R.PASS_PUNT, VLAN100, dst="198.51.100.1"),
    _kept("blackhole from a VLAN", R.DROP_BLACKHOLE, STACK, dst="198.51.100.66"),
    _kept("one octet over the MTU, popped", R.PASS_MTU, VLAN100, payload=udp(data=bytes(1473))),
    _kept("one octet over the MTU, pushed", R.PASS_MTU, NONE, payload=udp(data=bytes(1473)), dst="198.18.8.1"),
    _kept6("hop limit 1 in a VLAN", R.PASS_TTL, STACK, hop_limit=1),
    _kept6("no route from a VLAN, IPv6", R.PASS_NO_ROUTE, VLAN100, dst="2001:db8:ffff::1"),
    _kept6("blackhole from a VLAN, IPv6", R.DROP_BLACKHOLE, VLAN100, dst="2001:db8:1::66"),
    Row(
        "no headroom for a tag",
        stacked(ipv4(udp(), dst="198.18.8.1"), NONE),
        R.PASS_HEADROOM,
        setting="no headroom",
    ),
]

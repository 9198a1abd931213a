"""Frames in words: what people call them, and that no octets are too odd to be named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, ethernet, icmp, ipv4, ipv6, tagged, tcp, udp
from bgpbridge.datapath.packets import differences, packet_head

TO4, TO6 = "198.51.100.7", "2001:db8:1::7"
NAMED = {
    "UDP 192.0.2.2:4000 > 198.51.100.7:53, TTL 64": ethernet(ipv4(udp(), dst=TO4)),
    "TCP 192.0.2.2:4000 > 198.51.100.7:179, TTL 1": ethernet(ipv4(tcp(), dst=TO4, protocol=6, ttl=1)),
    "ICMP 192.0.2.2 > 198.51.100.7, TTL 64": ethernet(ipv4(icmp(), dst=TO4, protocol=1)),
    "UDP 192.0.2.2 > 198.51.100.7, fragment at 1480, TTL 64": ethernet(ipv4(bytes(40), dst=TO4, fragment=185)),
    "UDP 192.0.2.2 > 198.51.100.7, fragment at 0, TTL 64": ethernet(ipv4(udp(), dst=TO4, fragment=0x2000)),
    "UDP 192.0.2.2:4000 > 198.51.100.7:53, TTL 63": ethernet(ipv4(udp(), dst=TO4, ttl=63, options=bytes(4))),
    "protocol 200 192.0.2.2 > 198.51.100.7, TTL 64": ethernet(ipv4(bytes(8), dst=TO4, protocol=200)),
    "UDP [2001:db8:f::2]:4000 > [2001:db8:1::7]:53, hop limit 64": ethernet(ipv6(udp(), dst=TO6), 0x86DD),
    "fragment 2001:db8:f::2 > 2001:db8:1::7, hop limit 9": ethernet(
        ipv6(bytes(8), dst=TO6, next_header=44, hop_limit=9), 0x86DD
    ),
    "UDP 192.0.2.2:4000 > 198.51.100.7:53, TTL 64, VLAN 100": tagged(ipv4(udp(), dst=TO4), 0xE064),
    "UDP 192.0.2.2:4000 > 198.51.100.7:53, TTL 64, service VLAN 20, VLAN 30": tagged(
        b"\x00\x1e\x08\x00" + ipv4(udp(), dst=TO4), 20, 0x8100, tpid=0x88A8
    ),
    "ARP": ethernet(bytes(28), 0x0806),
    "ethertype 0x1234": ethernet(bytes(28), 0x1234),
    "IPv4, cut off in its header": ethernet(ipv4(dst=TO4)[:19]),
    "IPv6, cut off in its header": ethernet(ipv6(dst=TO6)[:39], 0x86DD),
    "cut off in the Ethernet header": bytes(13),
}


@pytest.mark.parametrize("text", NAMED)
def test_a_frame_is_named_as_people_name_it(text: str) -> None:
    assert packet_head(NAMED[text]).text == text


def test_addresses_are_values() -> None:
    found = packet_head(ethernet(ipv4(udp(), dst=TO4)))
    assert (str(found.source), str(found.destination), found.hops) == ("192.0.2.2", TO4, 64)


@given(st.binary(max_size=80), st.sampled_from([0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806]))
@settings(max_examples=300, deadline=None)
def test_every_frame_has_a_name(octets: bytes, kind: int) -> None:
    assert packet_head(ethernet(octets, kind)).text
    assert packet_head(octets).text


def test_what_forwarding_changes_is_told_field_by_field() -> None:
    before = ethernet(ipv4(udp(), dst=TO4))
    after = ethernet(ipv4(udp(), dst=TO4, ttl=63), dst=NEXT_HOP_MAC, src=ROUTER_MAC)
    assert differences(before, after) == (
        "destination MAC 00:00:5e:00:53:02 to 00:00:5e:00:53:03",
        "source MAC 00:00:5e:00:53:01 to 00:00:5e:00:53:02",
        "TTL 64 to 63",
    )
    assert differences(before, before) == ()
    into = tagged(ipv6(udp(), dst=TO6, hop_limit=8), 10, 0x86DD)
    assert differences(ethernet(ipv6(udp(), dst=TO6, hop_limit=9), 0x86DD), into) == (
        "tags none to VLAN 10",
        "hop limit 9 to 8",
    )

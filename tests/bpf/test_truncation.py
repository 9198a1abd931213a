"""Every header cut at every length, and every length that a header can claim: nothing is read past the end."""

from __future__ import annotations

import struct

import pytest

from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ethernet, ipv4, ipv6, stacked, tagged, tcp, udp

pytestmark = pytest.mark.root
ETHERNET = 14  # BPF_PROG_TEST_RUN takes no less
TO4, TO6 = "198.51.100.7", "2001:db8:1::7"
WHOLE = {
    "ipv4 udp": ethernet(ipv4(udp(), dst=TO4)),
    "ipv4 tcp": ethernet(ipv4(tcp(), dst=TO4, protocol=6)),
    "ipv4 options": ethernet(ipv4(udp(), dst=TO4, options=bytes(40))),
    "ipv6 udp": ethernet(ipv6(udp(), dst=TO6), 0x86DD),
    "ipv6 tcp": ethernet(ipv6(tcp(), dst=TO6, next_header=6), 0x86DD),
    "ipv6 fragment": ethernet(ipv6(bytes(8) + udp(), dst=TO6, next_header=44), 0x86DD),
    "vlan ipv4": tagged(ipv4(udp(), dst=TO4), 100),
    "qinq ipv4": stacked(ipv4(udp(), dst=TO4), ((0x88A8, 20), (0x8100, 30))),
    "qinq ipv6": stacked(ipv6(tcp(), dst=TO6, next_header=6), ((0x8100, 100), (0x8100, 7)), 0x86DD),
    "ipv6 hop-by-hop": ethernet(ipv6(bytes(8) + udp(), dst=TO6, next_header=0), 0x86DD),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_frame_cut_at_any_length_passes_as_short(rig, name: str) -> None:
    frame = WHOLE[name]
    for length in range(ETHERNET, len(frame)):
        outcome = rig.run(frame[:length])
        assert list(outcome.reasons) == [Reason.PASS_SHORT], f"cut at {length}"
        assert outcome.frame == frame[:length]


def test_a_frame_of_another_vlan_cut_at_any_length_passes_as_such(rig) -> None:
    frame = tagged(ipv4(udp(), dst=TO4), 5)
    for length in range(ETHERNET, len(frame)):
        reason = Reason.PASS_SHORT if length < ETHERNET + 4 else Reason.PASS_VLAN
        assert list(rig.run(frame[:length]).reasons) == [reason]


@pytest.mark.parametrize("protocol", [6, 17, 33, 132, 136])
@pytest.mark.parametrize("octets", range(8))
def test_ports_are_read_only_where_ip_says_they_are(rig, protocol: int, octets: int) -> None:
    expected = Reason.FORWARDED if octets >= 4 else Reason.PASS_SHORT
    padded4 = ethernet(ipv4(bytes(octets), dst=TO4, protocol=protocol), pad=20)
    padded6 = ethernet(ipv6(bytes(octets), dst=TO6, next_header=protocol), 0x86DD, pad=20)
    assert list(rig.run(padded4).reasons) == [expected]
    assert list(rig.run(padded6).reasons) == [expected]


def test_every_total_length_of_ipv4_is_believed_only_inside_the_frame(rig) -> None:
    # protocol 59 has no ports; 60 octets stand in the frame
    for total in (*range(70), 127, 128, 255, 256, 1500, 32767, 32768, 65535):
        reason = Reason.PASS_BAD_HEADER if total < 20 else Reason.FORWARDED if total <= 60 else Reason.PASS_SHORT
        outcome = rig.run(ethernet(ipv4(bytes(40), dst=TO4, protocol=59, total=total)))
        assert list(outcome.reasons) == [reason], f"total length {total}"


def test_every_payload_length_of_ipv6_is_believed_only_inside_the_frame(rig) -> None:
    for length in (*range(50), 255, 256, 1460, 32767, 32768, 65495, 65496, 65535):
        reason = Reason.FORWARDED if length <= 40 else Reason.PASS_SHORT
        outcome = rig.run(ethernet(ipv6(bytes(40), dst=TO6, next_header=59, length=length), 0x86DD))
        assert list(outcome.reasons) == [reason], f"payload length {length}"


def test_every_first_octet_of_ipv4_but_0x45_passes(rig) -> None:
    whole = bytearray(ethernet(ipv4(bytes(60), dst=TO4, protocol=59)))
    for first in range(256):
        whole[14] = first
        outcome = rig.run(bytes(whole))
        forwarded = Reason.FORWARDED in outcome.reasons
        assert forwarded == (first == 0x45), f"first octet {first:#04x}"
        assert outcome.frame[:6] == (NEXT_HOP_MAC if forwarded else bytes(whole[:6]))


def test_every_ethertype_but_the_two_of_ip_passes(rig) -> None:
    payload = ipv4(udp(), dst=TO4)
    for kind in (*range(0x0600, 0xFFFF, 257), 0x0801, 0x07FF, 0x86DC, 0x86DE, 0xDD86, 0x0008):
        frame = ethernet(payload, kind)
        if struct.unpack_from("!H", frame, 12)[0] not in (0x0800, 0x86DD):
            assert rig.run(frame).verdict.name == "PASS"

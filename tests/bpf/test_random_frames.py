"""Whatever comes in: at worst it passes untouched, and what leaves is a right packet one hop further on."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgpbridge.datapath.abi import Reason, XdpVerdict
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, SENDER_MAC, checksum, ethernet, ipv4, ipv6, udp

pytestmark = pytest.mark.root
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECOND_HOP_MAC = bytes.fromhex("00005e005304")
LEAVES = {b"", bytes.fromhex("8100000a"), bytes.fromhex("88a800148100001e"), bytes.fromhex("88a80028")}
CAME = {*LEAVES, bytes.fromhex("81000064"), bytes.fromhex("8100006481000007")}
TO4 = st.sampled_from(
    ["198.51.100.7", "203.0.113.9", "198.51.100.66", "192.0.2.1", "198.18.5.1", "198.18.8.1", "198.18.9.1"]
)
TO6 = st.sampled_from(
    ["2001:db8:1::7", "2001:db8:2::9", "2001:db8:1::66", "2001:db8:e::1", "2001:db8:10::1", "2001:db8:11::1"]
)


@st.composite
def damaged_frames(draw: st.DrawFn) -> bytes:
    """A frame that would be forwarded, with some octets of its headers replaced and perhaps its end cut off."""
    payload = udp(data=draw(st.binary(max_size=80)))
    if draw(st.booleans()):
        frame = bytearray(ethernet(ipv4(payload, dst=draw(TO4), ttl=draw(st.integers(0, 255)))))
    else:
        frame = bytearray(ethernet(ipv6(payload, dst=draw(TO6), hop_limit=draw(st.integers(0, 255))), 0x86DD))
    frame[12:12] = draw(st.sampled_from(sorted(CAME)))
    for _ in range(draw(st.integers(0, 4))):
        frame[draw(st.integers(0, min(len(frame), 62) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(14, len(frame)))])


def without_tags(frame: bytes) -> tuple[bytes, bytes]:
    """The tags, priority and DEI masked out, and the frame without."""
    tags = b""
    while frame[12:14] in (b"\x81\0", b"\x88\xa8"):
        tags += frame[12:14] + bytes([frame[14] & 0x0F, frame[15]])
        frame = frame[:12] + frame[16:]
    return tags, frame


def assert_one_hop_further(before: bytes, after: bytes) -> None:
    """`after` is `before` with new MACs and tags, one TTL less, a right IPv4 checksum, and nothing else."""
    assert after[:6] in (NEXT_HOP_MAC, SECOND_HOP_MAC)
    assert after[6:12] == ROUTER_MAC
    tags, after = without_tags(after)
    assert tags in LEAVES
    came, before = without_tags(before)
    assert came in CAME
    assert after[12:14] == before[12:14]
    if before[12:14] == b"\x08\x00":
        header = after[14:34]
        assert header[0] == 0x45
        assert checksum(header[:10] + b"\0\0" + header[12:]) == struct.unpack("!H", header[10:12])[0]
        assert after[22] == before[22] - 1 >= 1
        assert after[14:22] + after[23:24] + after[26:] == before[14:22] + before[23:24] + before[26:]
    else:
        assert after[14] >> 4 == 6
        assert after[21] == before[21] - 1 >= 1
        assert after[14:21] + after[22:] == before[14:21] + before[22:]


def assert_harmless(rig, frame: bytes) -> None:
    outcome = rig.run(frame)
    (reason,) = outcome.reasons
    assert outcome.reasons[reason].packets == 1
    assert outcome.reasons[reason].octets == len(frame)
    assert outcome.verdict is reason.verdict
    if outcome.verdict is XdpVerdict.REDIRECT:
        assert_one_hop_further(frame, outcome.frame)
    else:
        assert outcome.frame == frame
    if reason is Reason.DROP_BLACKHOLE:
        bare = without_tags(frame)[1]
        assert bare[30:34] == bytes([198, 51, 100, 66]) or bare[38:54].endswith(b"\x66")


@SETTINGS
@given(damaged_frames())
def test_a_damaged_frame_passes_or_leaves_right(rig, frame: bytes) -> None:
    assert_harmless(rig, frame)


@SETTINGS
@given(st.sampled_from([0x0800, 0x86DD, 0x8100, 0x88A8]), st.binary(max_size=200))
def test_random_octets_behind_an_ethertype(rig, kind: int, octets: bytes) -> None:
    assert_harmless(rig, ethernet(octets, kind))


@SETTINGS
@given(st.binary(min_size=14, max_size=200))
def test_random_octets(rig, octets: bytes) -> None:
    outcome = rig.run(octets)
    assert outcome.verdict is XdpVerdict.PASS
    assert outcome.frame == octets


@SETTINGS
@given(
    source=st.ip_addresses(v=4),
    destination=st.ip_addresses(v=4),
    protocol=st.integers(0, 255),
    ttl=st.integers(0, 255),
    fragment=st.integers(0, 0xFFFF),
)
def test_any_addresses_of_ipv4(rig, source, destination, protocol, ttl, fragment) -> None:
    for to in (str(destination), "198.51.100.200"):
        packet = ipv4(bytes(16), src=str(source), dst=to, protocol=protocol, ttl=ttl, fragment=fragment)
        assert_harmless(rig, ethernet(packet, src=SENDER_MAC))

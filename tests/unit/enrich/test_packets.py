"""Probes' octets against other people's: dissected by hand-made fixtures of known packets, and by the kernel in
tests/lab/test_probe.py."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.enrich import icmp, packets, tcp, udp
from bgpbridge.types import IPAddress

FOUR = (IPv4Address("192.0.2.1"), IPv4Address("198.51.100.9"))
SIX = (IPv6Address("2001:db8::1"), IPv6Address("2001:db8:f::9"))
PAIRS = st.sampled_from([FOUR, SIX])
TOKENS = st.binary(min_size=16, max_size=16)


def summed(ends: tuple[IPAddress, IPAddress], protocol: int, octets: bytes) -> int:
    """What a receiver computes, header and pseudo-header summed: 0 when the checksum is right."""
    pseudo = b"" if protocol == packets.ICMP else ends[0].packed + ends[1].packed
    pseudo += b"" if not pseudo else struct.pack("!II", len(octets), protocol)  # the same sum in both families
    total = sum(int.from_bytes((pseudo + octets + b"\0")[n : n + 2], "big") for n in range(0, len(pseudo + octets), 2))
    return ~(total % 0xFFFF or 0xFFFF) & 0xFFFF


def test_the_checksum_is_that_of_the_rfcs_example() -> None:
    assert packets.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 s3: the sum is ddf2


def test_the_ipv4_header_is_a_known_one() -> None:
    made = packets.header(IPv4Address("192.168.0.1"), IPv4Address("192.168.0.199"), 17, 95, 0x1234)
    assert made.hex() == "45000073123440004011" + made[10:12].hex() + "c0a80001c0a800c7"
    assert packets.checksum(made) == 0


@given(PAIRS, TOKENS, st.integers(0, 0xFFFF), st.integers(0, 1 << 20))
def test_every_checksum_is_right(ends: tuple[IPAddress, IPAddress], token: bytes, ident: int, sequence: int) -> None:
    ports = (ident or 1, sequence & 0xFFFF)
    echo = icmp.compose(*ends, ident, sequence, token)
    assert summed(ends, icmp.protocol(ends[0].version), echo) == 0
    assert summed(ends, packets.UDP, udp.compose(*ends, ports, token)) == 0
    assert summed(ends, packets.TCP, tcp.compose(*ends, ports, token[:4])) == 0


def test_a_udp_checksum_of_zero_is_sent_as_ones() -> None:
    without = udp.compose(*FOUR, (1, 2), b"\0\0")
    made = udp.compose(*FOUR, (1, 2), without[6:8])  # its own complement as payload: the sum is all ones
    assert made[6:8] == b"\xff\xff"


def test_echo_replies_give_their_token_and_requests_none() -> None:
    token = bytes(range(16))
    assert icmp.token_of(b"\0\0\0\0\0\0\0\0" + token, 4) == token
    assert icmp.token_of(b"\x81\0\0\0\0\0\0\0" + token, 6) == token
    assert icmp.token_of(icmp.compose(*FOUR, 1, 1, token), 4) is None
    assert icmp.token_of(b"\0\0\0\0\0\0\0\0" + token + b"!", 4) is None


@pytest.mark.parametrize(
    ("flags", "said"), [(0x12, "syn-ack"), (0x14, "rst"), (0x10, None), (0x02, None), (0x04, None), (0x13, None)]
)
def test_a_syn_is_answered_by_syn_ack_or_reset_only(flags: int, said: str | None) -> None:
    segment = struct.pack("!HHIIBBHHH", 80, 4000, 7, 0, 0x50, flags, 0, 0, 0)
    answer = tcp.read(segment, 4000)
    assert answer == (None if said is None else (80, b"\xff\xff\xff\xff", said)), "acknowledges one more than was sent"
    assert tcp.read(segment, 4001) is None


@given(st.binary(max_size=80), st.sampled_from([4, 6]))
def test_no_octets_break_the_readers(octets: bytes, version: int) -> None:
    packets.quote(octets, version)
    packets.quote(bytes([3 if version == 4 else 1, 3]) + octets, version)
    packets.transport_of(octets)
    icmp.token_of(octets, version)
    tcp.read(octets, 1)
    udp.token_of(octets)


@pytest.mark.parametrize(
    ("ends", "kind", "code", "port", "words"),
    [
        (FOUR, 3, 3, True, "port unreachable"),
        (FOUR, 3, 13, False, "unreachable, code 13"),
        (FOUR, 11, 0, False, "time exceeded"),
        (SIX, 1, 4, True, "port unreachable"),
        (SIX, 1, 0, False, "unreachable, code 0"),
        (SIX, 3, 0, False, "time exceeded"),
    ],
)
def test_errors_quote_what_was_sent(
    ends: tuple[IPAddress, IPAddress], kind: int, code: int, port: bool, words: str
) -> None:
    transport = udp.compose(*ends, (1000, 2000), bytes(16))
    packet = packets.header(*ends, packets.UDP, len(transport), 77) + transport
    quoted = packets.quote(bytes([kind, code, 0, 0, 0, 0, 0, 0]) + packet, ends[0].version)
    ident = 77 if ends is FOUR else 0
    assert quoted == packets.Quote(port, words, ends[1], ident, transport)
    assert packets.quote(bytes([8, 0, 0, 0, 0, 0, 0, 0]) + packet, ends[0].version) is None

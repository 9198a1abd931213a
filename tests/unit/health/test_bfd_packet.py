"""BFD Control packets: the octets of RFC 5880 s4.1, and every check of s6.8.6 that needs no session."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.health.bfd_packet import BfdState, ControlPacket, Refusal, decode, encode

# Written out by hand from the drawing in RFC 5880 s4.1: version 1, diagnostic 3, Up, Poll, multiplier 3.
DRAWN = bytes.fromhex("23 e0 03 18 00000001 00000002 0000c350 0000c350 00000000")
VALUE = ControlPacket(BfdState.UP, 1, 2, 50_000, 50_000, 3, diagnostic=3, poll=True)


def altered(**octets: int) -> bytes:
    """The drawn packet with octets by index (`at0=...`) changed."""
    changed = bytearray(DRAWN)
    for name, value in octets.items():
        changed[int(name[2:])] = value
    return bytes(changed)


def test_the_drawing_of_the_rfc_is_what_we_write_and_read() -> None:
    assert encode(VALUE) == DRAWN
    assert decode(DRAWN) == VALUE


@pytest.mark.parametrize(
    ("octets", "refusal"),
    [
        (b"", Refusal.SHORT),
        (DRAWN[:23], Refusal.SHORT),
        (altered(at0=0x03), Refusal.VERSION),
        (altered(at0=0x43), Refusal.VERSION),
        (altered(at3=23), Refusal.LENGTH),
        (altered(at3=25), Refusal.LENGTH),
        (altered(at1=0xE4, at3=24), Refusal.LENGTH),
        (altered(at2=0), Refusal.MULTIPLIER),
        (altered(at1=0xE1), Refusal.MULTIPOINT),
        (altered(at7=0), Refusal.MY_DISCRIMINATOR),
        (altered(at11=0), Refusal.NO_SUCH_STATE),
        (altered(at1=0x80, at11=0), Refusal.NO_SUCH_STATE),
        (altered(at1=0xE4, at3=26) + bytes(2), Refusal.AUTHENTICATION),
    ],
)
def test_each_reception_check(octets: bytes, refusal: Refusal) -> None:
    assert decode(octets) is refusal


@pytest.mark.parametrize("flags", [0x40, 0x00])
def test_down_and_admin_down_may_have_no_discriminator_of_ours(flags: int) -> None:
    assert isinstance(decode(altered(at1=flags, at11=0)), ControlPacket)


def test_octets_behind_the_length_are_not_ours_to_judge() -> None:
    assert decode(DRAWN + b"padding") == VALUE


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_packet_or_a_refusal(octets: bytes) -> None:
    read = decode(octets)
    if isinstance(read, ControlPacket):
        kept = bytearray(octets[:24])
        kept[3] = 24
        assert encode(read) == bytes(kept)


@given(st.integers(0, 23), st.integers(0, 255))
def test_a_changed_octet_never_raises(at: int, value: int) -> None:
    octets = bytearray(DRAWN)
    octets[at] = value
    assert isinstance(decode(bytes(octets)), ControlPacket | Refusal)


@given(
    st.builds(
        ControlPacket,
        state=st.sampled_from([BfdState.DOWN, BfdState.ADMIN_DOWN]),
        my_discriminator=st.integers(1, 2**32 - 1),
        your_discriminator=st.integers(0, 2**32 - 1),
        desired_min_tx_us=st.integers(0, 2**32 - 1),
        required_min_rx_us=st.integers(0, 2**32 - 1),
        multiplier=st.integers(1, 255),
        diagnostic=st.integers(0, 31),
        poll=st.booleans(),
        final=st.booleans(),
        control_plane_independent=st.booleans(),
        demand=st.booleans(),
        required_min_echo_rx_us=st.integers(0, 2**32 - 1),
    )
)
def test_what_is_written_is_read(packet: ControlPacket) -> None:
    assert decode(encode(packet)) == packet
    assert struct.unpack_from("!I", encode(packet), 4)[0] == packet.my_discriminator

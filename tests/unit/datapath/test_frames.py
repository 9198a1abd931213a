"""The frame builder against octets that others made."""

from __future__ import annotations

from bgpbridge.datapath import frames


def test_the_checksum_is_that_of_rfc_1071_section_3() -> None:
    # its example sums to 0xddf2
    assert frames.checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


def test_an_odd_octet_is_padded_on_the_right() -> None:
    assert frames.checksum(b"\x01") == ~0x0100 & 0xFFFF


def test_an_ipv4_header_is_the_one_that_linux_sends() -> None:
    # ping -c1 from 192.168.0.1 to 192.168.0.199, UDP of 95 octets
    header = bytes.fromhex("450000730000400040 11b861c0a80001c0a800c7".replace(" ", ""))
    built = frames.ipv4(bytes(95), src="192.168.0.1", dst="192.168.0.199", ident=0, fragment=0x4000)
    assert built[:20] == header


def test_a_tagged_frame_has_the_tag_before_its_type() -> None:
    frame = frames.tagged(b"payload", 0x0064)
    assert frame[12:18] == bytes.fromhex("810000640800")
    assert frame[18:] == b"payload"


def test_ipv6_carries_length_hop_limit_and_flow() -> None:
    packet = frames.ipv6(b"x" * 9, dst="2001:db8::1", hop_limit=3, flow=0x12345)
    assert packet[:8] == bytes.fromhex("6001234500091103")
    assert len(packet) == 49

"""Capture files, whole and torn: every complaint names the file, the frame and the octet."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath.capture import read_capture
from bgpbridge.datapath.frames import ethernet, ipv4, udp
from bgpbridge.errors import UsageError

FRAME = ethernet(ipv4(udp(), dst="198.51.100.7"))


def head(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    return struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 262_144, link)


def record(frame: bytes, order: str = "<", whole: int | None = None) -> bytes:
    return struct.pack(f"{order}IIII", 7, 9, len(frame), len(frame) if whole is None else whole) + frame


@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_come_in_order_with_their_numbers(tmp_path: Path, order: str, magic: int) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(head(order, magic) + record(FRAME, order) + record(FRAME[:20], order))
    assert [(one.number, one.frame, one.missing) for one in read_capture(path)] == [(1, FRAME, 0), (2, FRAME[:20], 0)]


def test_what_was_not_captured_is_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(head() + record(FRAME[:40], whole=len(FRAME)))
    (one,) = read_capture(path)
    assert (one.frame, one.missing) == (FRAME[:40] + bytes(len(FRAME) - 40), len(FRAME) - 40)


WRONG = {
    "nothing": (b"", "is no capture"),
    "a text": (b"# Release notes\n" * 9, "is no capture"),
    "pcapng": (struct.pack("<III", 0x0A0D0D0A, 28, 0x1A2B3C4D), "is a pcapng file"),
    "half a header": (head()[:20], "ends inside its header"),
    "cooked": (head(link=113), "holds frames of link type 113, not Ethernet"),
    "half a record's head": (
        head() + record(FRAME)[:9],
        "torn in frame 1: at octet 24 .* 16 octets, .* 9",
    ),
    "half a frame": (head() + record(FRAME) + record(FRAME)[:-5], "torn in frame 2"),
    "an endless frame": (head() + record(FRAME, whole=1 << 30), "says that it has 1073741824 octets"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str) -> None:
    octets, said = WRONG[name]
    path = tmp_path / "wrong.pcap"
    path.write_bytes(octets)
    with pytest.raises(UsageError, match=said) as told:
        list(read_capture(path))
    assert str(path) in told.value.what
    assert told.value.mend


def test_what_is_before_a_tear_can_be_had(tmp_path: Path) -> None:
    path = tmp_path / "torn.pcap"
    path.write_bytes(head() + record(FRAME) * 2 + record(FRAME)[:-5])
    with pytest.raises(UsageError) as told:
        list(read_capture(path))
    assert told.value.mend == "`--limit 2` takes what is before it"
    frames = read_capture(path)
    assert [next(frames).number, next(frames).number] == [1, 2]


def test_a_file_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        list(read_capture(tmp_path / "none.pcap"))
    with pytest.raises(UsageError, match="Is a directory"):
        list(read_capture(tmp_path))


@given(st.binary(max_size=120), st.sampled_from(["<", ">"]))
@settings(max_examples=200, deadline=None)
def test_no_octets_are_worse_than_a_complaint(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes, order: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.pcap"
    path.write_bytes(head(order) + octets)
    with contextlib.suppress(UsageError):
        list(read_capture(path))

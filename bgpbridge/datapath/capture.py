"""Frames out of a capture file: the classic pcap format of tcpdump and Wireshark (draft-ietf-opsawg-pcap), in either
byte order, with microseconds or nanoseconds. pcapng is told how it becomes one.

A capture is read frame by frame: what is whole before a tear can be had by asking for no more than that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bgpbridge.errors import UsageError

__all__ = ["Captured", "read_capture"]

MAGICS = (0xA1B2C3D4, 0xA1B23C4D)  # microseconds, nanoseconds
PCAPNG = 0x0A0D0D0A
ETHERNET = 1
LINK_TYPE = 0x0FFFFFFF  # what is above may tell of an FCS
LONGEST = 1 << 18  # octets of one frame: tcpdump's own limit
HEAD, RECORD = 24, 16


@dataclass(frozen=True, slots=True)
class Captured:
    """One frame, with its number in the file from 1 on. `missing` octets at its end were not captured: there they are
    zeros, so that its length is right."""

    number: int
    frame: bytes
    missing: int


def read_capture(path: Path) -> Iterator[Captured]:
    """The frames of a file, one after the other. Raises UsageError where it is no capture, or torn."""
    try:
        with path.open("rb") as file:
            yield from _frames(path, file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", mend="name a file that can be read") from None


def _frames(path: Path, file: BinaryIO) -> Iterator[Captured]:
    order, number, at = _order(path, file.read(HEAD)), 0, HEAD
    while head := file.read(RECORD):
        number += 1
        if len(head) < RECORD:
            raise _torn(path, number, at, RECORD, len(head))
        captured, whole = struct.unpack(f"{order}8x2I", head)
        if captured > LONGEST or whole > LONGEST:
            what = f"{path}: frame {number}, at octet {at}, says that it has {max(captured, whole)} octets"
            raise UsageError(what, mend=f"no frame has more than {LONGEST}: {_before(number)}")
        octets = file.read(captured)
        if len(octets) < captured:
            raise _torn(path, number, at + RECORD, captured, len(octets))
        missing = max(whole - captured, 0)
        yield Captured(number, octets + bytes(missing), missing)
        at += RECORD + captured


def _order(path: Path, head: bytes) -> str:
    """The byte order of a file, as struct writes it."""
    if len(head) >= 4 and struct.unpack_from("<I", head)[0] == PCAPNG:
        raise UsageError(
            f"{path} is a pcapng file", mend="`tcpdump -r IN -w OUT` or `editcap -F pcap IN OUT` makes it pcap"
        )
    order = next((o for o in "<>" if len(head) >= 4 and struct.unpack_from(f"{o}I", head)[0] in MAGICS), "")
    if not order:
        raise UsageError(f"{path} is no capture", mend="a pcap file is expected, such as `tcpdump -w FILE` writes")
    if len(head) < HEAD:
        raise UsageError(f"{path} ends inside its header", mend="capture anew")
    kind = struct.unpack_from(f"{order}I", head, 20)[0] & LINK_TYPE
    if kind != ETHERNET:
        mend = "capture on the interface itself, not on `any`"
        raise UsageError(f"{path} holds frames of link type {kind}, not Ethernet (1)", mend=mend)
    return order


def _torn(path: Path, number: int, at: int, expected: int, found: int) -> UsageError:
    what = f"{path} is torn in frame {number}: at octet {at} there should be {expected} octets, and there are {found}"
    return UsageError(what, mend=_before(number))


def _before(number: int) -> str:
    return f"`--limit {number - 1}` takes what is before it" if number > 1 else "capture anew"

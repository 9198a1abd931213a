"""BPF_PROG_TEST_RUN: the real program over the live maps, on a frame that never touches a wire.

Serves the packet table of the tests, `bgpbridge packet` and the benches. The kernel wants 14 octets at least.
Counters count such runs too: `reasons` says which, so that a caller can tell.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgpbridge.datapath.abi import XdpVerdict
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.syscalls import Command, bpf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgpbridge.datapath.abi import Reason
    from bgpbridge.datapath.counters import Count
    from bgpbridge.datapath.maps import Maps

__all__ = ["Outcome", "RawRun", "run", "run_raw"]

HEADROOM = 256
# struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
XDP_MD = struct.Struct("=6I")


@dataclass(frozen=True, slots=True)
class RawRun:
    """What the kernel says of one test run; `mean_ns` per repetition."""

    verdict: XdpVerdict
    frame: bytes
    mean_ns: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One frame through the program: verdict, the frame as it would leave, the reasons that it counted."""

    verdict: XdpVerdict
    frame: bytes
    reasons: Mapping[Reason, Count]


def run_raw(program: int, frame: bytes, *, ifindex: int = 0, repeat: int = 1, metadata: int = 0) -> RawRun:
    """Run `frame` as if received by `ifindex` (0: loopback's stead, seen as ifindex 1). With `repeat` the
    frame of one round is the input of the next, edits included. `metadata` octets before the frame are taken from
    its headroom, as a driver does that has much to tell."""
    data, room = bytes(metadata) + frame, metadata + len(frame) + HEADROOM
    data_in, data_out = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(room)
    context = ctypes.create_string_buffer(XDP_MD.pack(metadata, len(data), 0, ifindex, 0, 0), XDP_MD.size)
    with_context = (XDP_MD.size, ctypes.addressof(context)) if ifindex or metadata else (0, 0)
    attr = struct.pack(
        "=IIIIQQIIIIQQIII",
        *(program, 0, len(data), room, ctypes.addressof(data_in), ctypes.addressof(data_out), repeat, 0),
        *(with_context[0], 0, with_context[1], 0, 0, 0, 0),
    )
    _, out = bpf(Command.PROG_TEST_RUN, attr)
    verdict, _, size = struct.unpack_from("=III", out, 4)
    return RawRun(XdpVerdict(verdict), data_out.raw[metadata:size], struct.unpack_from("=I", out, 36)[0])


def run(program: int, maps: Maps, frame: bytes, *, ifindex: int = 0, metadata: int = 0) -> Outcome:
    """One frame through the program, with the counters that it moved (others' traffic included, if any)."""
    before = read_reasons(maps)
    raw = run_raw(program, frame, ifindex=ifindex, metadata=metadata)
    after = read_reasons(maps)
    moved = {reason: after[reason] - before[reason] for reason in after if after[reason] != before[reason]}
    return Outcome(raw.verdict, raw.frame, moved)

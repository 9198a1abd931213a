"""The layouts that user space shares with the XDP program: the Python half of bpf/abi.h.

Numpy dtypes for keys and values, reasons, flags and reserved ids. tests/bpf/test_abi.py compiles abi.h and
holds this file against its BTF, so a change on one side alone fails. Any change here is a change of LAYOUT,
and with it of the pin path.

The words of an adjacency and of an interface are u64 on purpose: one aligned store each, never half seen.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ADJACENCY",
    "CONTROL",
    "COUNTER",
    "GROUP",
    "GROUP_BLACKHOLE",
    "GROUP_FIRST_FREE",
    "GROUP_NONE",
    "GROUP_PUNT",
    "GROUP_SLOTS",
    "INDEX4_DEEP",
    "INDEX4_LINE",
    "INDEX4_LINES",
    "INDEX4_PAGE",
    "INDEX4_PAGES",
    "INDEX4_SLOTS",
    "INDEX6_GROUP",
    "INDEX6_HEAD",
    "INDEX6_LINE",
    "INDEX6_PAIR",
    "INDEX6_POINTER",
    "INDEX6_SHORT",
    "INDEX6_SLOTS",
    "INDEX6_WORDS",
    "INTERFACE",
    "LAYOUT",
    "LPM4_KEY",
    "LPM6_KEY",
    "MAX_ADJACENCIES",
    "MAX_GROUPS",
    "MAX_INTERFACES",
    "RTT_RING",
    "RTT_SAMPLES",
    "RTT_SHIFT",
    "RTT_START",
    "RTT_STARTS",
    "SLOT_LINE",
    "SOURCE_BITS",
    "TRACE_FILTER",
    "TRACE_OCTETS",
    "TRACE_RECORD",
    "TRACE_RECORDS",
    "TRACE_RING",
    "Adjacency",
    "AdjacencyState",
    "ControlFlag",
    "GroupFlag",
    "Place",
    "Reason",
    "TagFlag",
    "XdpVerdict",
    "interface_word",
    "lpm4_keys",
    "lpm6_keys",
]

LAYOUT = 3
GROUP_SLOTS = 64
MAX_GROUPS = 32768
MAX_ADJACENCIES = 4096
MAX_INTERFACES = 256
INDEX4_SLOTS = 1 << 24
INDEX4_PAGE = 256
INDEX4_PAGES = 16384
INDEX4_LINES = (INDEX4_SLOTS + INDEX4_PAGES * INDEX4_PAGE) // 4
INDEX4_DEEP = 0x8000
INDEX6_SHORT = 1 << 16
INDEX6_SLOTS = INDEX6_SHORT + (1 << 21)
INDEX6_WORDS = 16
INDEX6_HEAD = 10
INDEX6_POINTER = 0x80000000
INDEX6_GROUP = 0xFFFFFF
RTT_STARTS = 16384
RTT_SAMPLES = 256
RTT_SHIFT = 16
TRACE_RECORDS = 64
TRACE_OCTETS = 128
SOURCE_BITS = 64

GROUP_NONE, GROUP_PUNT, GROUP_BLACKHOLE, GROUP_FIRST_FREE = 0, 1, 2, 16

LPM4_KEY = np.dtype([("plen", "<u4"), ("addr", "u1", 4)])
LPM6_KEY = np.dtype([("plen", "<u4"), ("addr", "u1", 16)])
INDEX4_LINE = np.dtype([("slots", "<u2", 4)])
INDEX6_PAIR = np.dtype([("slots", "<u4", 2)])
INDEX6_LINE = np.dtype([("starts", "<u8", 4), ("inherited", "<u4"), ("before", "u1", 4), ("entries", "<u4", 6)])
GROUP = np.dtype([("generation", "<u4"), ("flags", "<u2"), ("reserved", "<u2")])
SLOT_LINE = np.dtype([("slots", "<u2", 4)])
ADJACENCY = np.dtype(
    [
        ("word0", "<u8"),
        ("word1", "<u8"),
        ("ifindex", "<u4"),
        ("outer", "<u2"),
        ("inner", "<u2"),
        ("reserved", "<u8"),
    ]
)
CONTROL = np.dtype(
    [
        ("enabled", "<u4"),
        ("layout", "<u4"),
        ("hash_seed", "<u8"),
        ("flags", "<u4"),
        ("rtt_mask", "<u4"),
        ("slot_bits", "<u4"),
        ("punt_cost_ns", "<u4"),
        ("punt_burst_ns", "<u4"),
        ("spare", "<u4"),
        ("reserved", "<u8", 3),
    ]
)
INTERFACE = np.dtype([("word", "<u8"), ("ifindex", "<u4"), ("reserved", "<u4")])
RTT_START = np.dtype([("began_ns", "<u8"), ("expected", "<u4"), ("adjacency", "<u4")])
RTT_RING = np.dtype([("head", "<u8"), ("samples", "<u8", RTT_SAMPLES)])
COUNTER = np.dtype([("packets", "<u8"), ("octets", "<u8")])
TRACE_FILTER = np.dtype(
    [
        *((name, "<u8", 2) for name in ("to", "to_mask", "from", "from_mask")),
        *((name, "<u4") for name in ("ifindex", "version", "sample_mask", "reserved")),
    ]
)
TRACE_RECORD = np.dtype(
    [
        ("at_ns", "<u8"),
        *((name, "<u4") for name in ("ifindex", "octets", "group", "adjacency")),
        *((name, "<u2") for name in ("slot", "reason", "captured", "reserved")),
        ("head", "u1", TRACE_OCTETS),
    ]
)
TRACE_RING = np.dtype(
    [
        *((name, "<u8") for name in ("head", "limit", "packets", "octets")),
        *((name, "<u4") for name in ("group", "slot", "adjacency", "reserved")),
        ("unused", "<u8", 2),
        ("records", TRACE_RECORD, TRACE_RECORDS),
    ]
)


class XdpVerdict(enum.IntEnum):
    """enum xdp_action of linux/bpf.h."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class Reason(enum.IntEnum):
    """What became of a packet: enum reason of bpf/abi.h, where each one is explained."""

    FORWARDED = 0
    PASS_DISABLED = 1
    PASS_INTERFACE = 2
    PASS_SHORT = 3
    PASS_L2_GROUP = 4
    PASS_NOT_FOR_US = 5
    PASS_VLAN = 6
    PASS_NOT_IP = 7
    PASS_BAD_HEADER = 8
    PASS_BAD_CHECKSUM = 9
    PASS_OPTIONS = 10
    PASS_EXTENSION_HEADER = 11
    PASS_TTL = 12
    PASS_MARTIAN = 13
    PASS_LINK_LOCAL = 14
    PASS_MULTICAST = 15
    PASS_NO_ROUTE = 16
    PASS_PUNT = 17
    PASS_GROUP_INVALID = 18
    PASS_NO_ADJACENCY = 19
    PASS_ADJACENCY_DOWN = 20
    PASS_MTU = 21
    PASS_TX_PORT = 22
    PASS_HEADROOM = 23
    PASS_SOURCE = 24
    DROP_BLACKHOLE = 25
    DROP_REVERSE_PATH = 26
    DROP_PUNT_RATE = 27

    @property
    def label(self) -> str:
        """The word in counters, metrics, JSON and explain: `pass_no_route`."""
        return self.name.lower()

    @property
    def verdict(self) -> XdpVerdict:
        """What the program returned with this reason."""
        if self is Reason.FORWARDED:
            return XdpVerdict.REDIRECT
        return XdpVerdict.DROP if self >= Reason.DROP_BLACKHOLE else XdpVerdict.PASS


class GroupFlag(enum.IntFlag):
    """`flags` of struct group. A group without VALID passes its packets."""

    VALID = 1
    PUNT = 2
    BLACKHOLE = 4


class ControlFlag(enum.IntFlag):
    """`flags` of struct control."""

    RTT = 1
    INDEX4 = 2
    INDEX6 = 4
    TRACE = 8
    OFF = 16
    LOOSE = 0x100
    STRICT = 0x200
    FLOW_LABEL = 0x400


class AdjacencyState(enum.IntEnum):
    """`state` in word1 of struct adjacency."""

    DOWN = 0
    UP = 1


class TagFlag(enum.IntFlag):
    """A VLAN tag of a place, beside its id in the low 12 bits."""

    PRESENT = 0x1000
    SERVICE = 0x8000


@dataclass(frozen=True, slots=True)
class Place:
    """Where frames come in or go out: a port and the VLAN tags that they bear there, 0 for none; the outer one is
    first on the wire. As one word it is the key of `interfaces` and the third word of an adjacency."""

    ifindex: int
    outer: int = 0
    inner: int = 0

    @property
    def word(self) -> int:
        """As the program reads it."""
        return self.ifindex | self.outer << 32 | self.inner << 48

    @property
    def tags(self) -> int:
        """How many tags there are."""
        return bool(self.outer) + bool(self.inner)

    @classmethod
    def of(cls, word: int) -> Place:
        """From the word."""
        return cls(word & 0xFFFFFFFF, word >> 32 & 0xFFFF, word >> 48)


@dataclass(frozen=True, slots=True)
class Adjacency:
    """One adjacency as values. MACs are 6 octets; `mtu` is the egress interface's, in L3 octets; `ifindex` is the
    port, `outer` and `inner` the tags that frames get there (`Place`)."""

    dmac: bytes
    smac: bytes
    mtu: int
    state: AdjacencyState
    ifindex: int
    outer: int = 0
    inner: int = 0

    @property
    def word0(self) -> int:
        """{ dmac, mtu } as the program reads it. An MTU that u16 can't hold is as good as 65,535."""
        return int.from_bytes(self.dmac + min(self.mtu, 0xFFFF).to_bytes(2, "little"), "little")

    @property
    def word1(self) -> int:
        """{ smac, state } as the program reads it."""
        return int.from_bytes(self.smac + int(self.state).to_bytes(2, "little"), "little")

    @classmethod
    def of(cls, row: np.void) -> Adjacency:
        """From one element of the adjacencies map."""
        word0, word1 = (int(row[name]).to_bytes(8, "little") for name in ("word0", "word1"))
        state = AdjacencyState(int.from_bytes(word1[6:], "little") == AdjacencyState.UP)
        place = (int(row[name]) for name in ("ifindex", "outer", "inner"))
        return cls(word0[:6], word1[:6], int.from_bytes(word0[6:], "little"), state, *place)


def interface_word(mac: bytes, number: int = 0) -> int:
    """The first word of a value of `interfaces`: { mac, number } as the program reads it."""
    return int.from_bytes(mac + number.to_bytes(2, "little"), "little")


def lpm4_keys(lo: npt.NDArray[Any], length: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Keys of lpm4 from columns: addresses as integers (host order), prefix lengths."""
    keys = np.empty(len(lo), LPM4_KEY)
    keys["plen"] = length
    keys["addr"] = lo.astype(">u4").view(np.uint8).reshape(-1, 4)
    return keys


def lpm6_keys(hi: npt.NDArray[Any], lo: npt.NDArray[Any], length: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Keys of lpm6 from columns: address halves as u64 (host order), prefix lengths."""
    keys = np.empty(len(lo), LPM6_KEY)
    keys["plen"] = length
    keys["addr"][:, :8] = hi.astype(">u8").view(np.uint8).reshape(-1, 8)
    keys["addr"][:, 8:] = lo.astype(">u8").view(np.uint8).reshape(-1, 8)
    return keys

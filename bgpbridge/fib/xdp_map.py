"""Columns of prefixes into an LPM trie map, and out of it again. No state: `xdp_trie` keeps that.

Sorted by prefix a batch runs at twice the speed of a shuffled one. An element that the kernel refuses is left
out and the rest goes on, up to a few refusals; then the rest counts as refused for the same reason.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.datapath.elements import Batch, BpfMap
from bgpbridge.errors import BpfSyscallError
from bgpbridge.fib.keys import U32, Keys, Rows
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["Refused", "dump", "key_of", "remove", "store"]

BATCH = 1024
SINGLES = 4
GIVE_UP_AFTER = 8
NOBODY: Rows = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Refused:
    """Which elements (by index) are not as asked, and what the kernel said to the last of them."""

    index: Rows
    errno: int = 0
    said: str = ""


def store(bpf_map: BpfMap, keys: Keys, values: U32) -> Refused:
    """Write entries, new or over old ones."""
    packed = _pack(keys)
    if len(keys) <= SINGLES:
        return _each(len(keys), lambda i: bpf_map.update(packed[i], values[i]))
    order = _sorted(keys)
    packed, values = packed[order], values[order].astype(bpf_map.value)
    return _batches(order, lambda part: bpf_map.update_batch(packed[part], values[part]))


def key_of(family: Family, hi: int, lo: int, length: int) -> bytes:
    """One key as the map wants it (struct bpf_lpm_trie_key: length in the machine's order, address in the wire's)."""
    if family is Family.IPV4:
        return length.to_bytes(4, sys.byteorder) + lo.to_bytes(4, "big")
    return length.to_bytes(4, sys.byteorder) + hi.to_bytes(8, "big") + lo.to_bytes(8, "big")


def remove(bpf_map: BpfMap, keys: Keys) -> Refused:
    """Take entries out; one that is not there counts as gone."""
    packed = _pack(keys)
    if len(keys) <= SINGLES:
        return _each(len(keys), lambda i: bpf_map.delete(packed[i]))
    order = _sorted(keys)
    packed = packed[order]
    return _batches(order, lambda part: bpf_map.delete_batch(packed[part]))


def dump(bpf_map: BpfMap, family: Family) -> tuple[Keys, U32]:
    """Every entry of the trie. May run in a thread; what changes meanwhile may or may not be seen."""
    # As columns part by part: elements as the kernel gives them take twice as much, and pages that are new are slow.
    octets, lengths, values = (
        [np.empty((0, family.octets), np.uint8)],
        [np.empty(0, np.uint8)],
        [np.empty(0, np.uint32)],
    )
    for packed, groups in bpf_map.chunks():
        octets.append(packed["addr"].copy())
        lengths.append(packed["plen"].astype(np.uint8))
        values.append(groups.astype(np.uint32))
        breathe()
    return Keys.from_octets(family, np.concatenate(octets), np.concatenate(lengths)), np.concatenate(values)


def _pack(keys: Keys) -> npt.NDArray[np.void]:
    if keys.family is Family.IPV4:
        return abi.lpm4_keys(keys.lo, keys.length)
    return abi.lpm6_keys(keys.hi, keys.lo, keys.length)


def _sorted(keys: Keys) -> Rows:
    return np.argsort(keys.lo if keys.family is Family.IPV4 else keys.hi, kind="stable")


def _each(count: int, write: Any) -> Refused:
    failed, last = [], Refused(NOBODY)
    for index in range(count):
        try:
            write(index)
        except BpfSyscallError as error:
            failed.append(index)
            last = Refused(np.array(failed), error.errno, error.what)
    return last


def _batches(order: Rows, write: Any) -> Refused:
    failed: list[int] = []
    at, error = 0, None
    while at < len(order):
        result: Batch = write(slice(at, min(at + BATCH, len(order))))
        at += result.done
        if result.error is not None:
            error = result.error
            failed.append(at)
            at += 1
            if len(failed) == GIVE_UP_AFTER:
                failed.extend(range(at, len(order)))
                break
    return Refused(order[failed], error.errno, error.what) if error else Refused(NOBODY)

"""NLRI of many messages in lock-step.

Round k reads the k-th prefix of every message that still has one. What the rounds find is put back in
message order. When few messages are left, the rest is walked one prefix at a time, which is then quicker.
Held equal to `nlri.decode_nlri`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family
from bgpbridge.wire.bulk_frame import I64, U64, Octets, nonzero

__all__ = ["Prefixes", "walk_nlri"]

_FEW = 24  # messages; below, a round costs more than the prefixes one by one
_NEVER = 1 << 40  # a step out of any field: a length that the family does not have


def _steps(bits: int) -> I64:
    """Octets from one prefix to the next, by the length octet."""
    return np.array([1 + (n + 7 >> 3) if n <= bits else _NEVER for n in range(256)], np.int64)


def _masks(first_bit: int, bits: int) -> U64:
    """The bits of one word of the address that a prefix length keeps. `first_bit` is the word's place in
    the address, `bits` its width; the word stands at the right."""
    kept = [min(max(n - first_bit, 0), bits) for n in range(256)]
    return np.array([((1 << n) - 1) << (bits - n) for n in kept], np.uint64)


_STEP = {Family.IPV4: _steps(32), Family.IPV6: _steps(128)}
_STEP_LIST = {family: table.tolist() for family, table in _STEP.items()}
_MASK4, _MASK_HI, _MASK_LO = _masks(0, 32), _masks(0, 64), _masks(64, 64)


@dataclass(slots=True)
class Prefixes:
    """Prefixes in message order. `field` says in which of the walked fields each stands; `bad` are the
    fields that are syntactically incorrect, none of whose prefixes are here."""

    field: I64
    hi: U64
    lo: U64
    length: npt.NDArray[np.uint8]
    path_id: npt.NDArray[np.uint32]
    bad: I64


def walk_nlri(octets: Octets, start: I64, end: I64, family: Family, add_path: bool) -> Prefixes:
    """All prefixes of the fields `start[i]..end[i]`."""
    field, position, bad = _positions(octets, start, end, family, add_path)
    if len(bad):
        good = nonzero(~np.isin(field, bad))
        field, position = field.take(good), position.take(good)
    path_id = np.zeros(len(field), np.uint32)
    if add_path:
        path_id = (octets.load(position) >> np.uint64(32)).astype(np.uint32)
        position = position + 4
    return Prefixes(field, *_addresses(octets, position, family), path_id, bad)


def _addresses(octets: Octets, position: I64, family: Family) -> tuple[U64, U64, npt.NDArray[np.uint8]]:
    """High and low word and length of the prefixes whose length octets stand at these positions."""
    word = octets.load(position)
    length = (word >> np.uint64(56)).view(np.int64)
    if family is Family.IPV4:
        low = (word >> np.uint64(24)) & _MASK4.take(length)
        return np.zeros(len(low), np.uint64), low, length.astype(np.uint8)
    high = octets.load(position + 1)
    high &= _MASK_HI.take(length)
    low = np.zeros(len(high), np.uint64)
    long = nonzero(length > 64)
    if len(long):
        low[long] = octets.load(position.take(long) + 9) & _MASK_LO.take(length.take(long))
    return high, low, length.astype(np.uint8)


def _positions(octets: Octets, start: I64, end: I64, family: Family, add_path: bool) -> tuple[I64, I64, I64]:
    """Field and position of every prefix, in field order, and the fields that are incorrect."""
    step, ahead = _STEP[family], 4 if add_path else 0
    active = nonzero(start < end)
    position, stop = start.take(active), end.take(active)
    fields: list[I64] = []
    positions: list[I64] = []
    bad: list[I64] = []
    while len(active) >= _FEW:
        fields.append(active)
        positions.append(position)
        position = position + step.take(octets.data.take(position + ahead, mode="clip"))
        if ahead:
            position += ahead
        going = nonzero(position < stop)
        if len(going) < len(active):
            bad.append(active.compress(position > stop))
            active, position, stop = active.take(going), position.take(going), stop.take(going)
    walked = len(fields)
    rounds = [np.repeat(np.arange(walked), [len(field) for field in fields])]
    if len(active):
        rest = _one_by_one(octets, active, position, stop, _STEP_LIST[family], ahead)
        fields.append(rest[0])
        positions.append(rest[1])
        rounds.append(rest[2] + walked)
        bad.append(rest[3])
    if not fields:
        return active, active, active
    wrong = np.concatenate(bad) if bad else active[:0]
    if len(fields) == 1:
        return fields[0], positions[0], wrong
    return (*_in_order(np.concatenate(fields), np.concatenate(positions), np.concatenate(rounds), len(start)), wrong)


def _in_order(field: I64, position: I64, rounds: I64, fields: int) -> tuple[I64, I64]:
    """Prefixes by field, within a field by round: each field's rounds count up from 0."""
    count = np.bincount(field, minlength=fields)
    place = (np.cumsum(count) - count).take(field) + rounds
    ordered = np.empty_like(position)
    ordered[place] = position
    return np.repeat(np.arange(fields), count), ordered


def _one_by_one(
    octets: Octets, active: I64, position: I64, stop: I64, step: list[int], ahead: int
) -> tuple[I64, I64, I64, I64]:
    """The last few fields: field, position and round (from 0) of each prefix, and the incorrect ones."""
    fields: list[int] = []
    positions: list[int] = []
    rounds: list[int] = []
    bad: list[int] = []
    for field, first, last in zip(active.tolist(), position.tolist(), stop.tolist(), strict=True):
        data = octets.slice(first, last + 4)
        size = last - first
        here = 0
        before = len(positions)
        while here < size:
            positions.append(first + here)
            here += ahead + step[data[here + ahead]]
        if here > size:
            bad.append(field)
        found = len(positions) - before
        fields += [field] * found
        rounds += range(found)
    return (
        np.array(fields, np.int64),
        np.array(positions, np.int64),
        np.array(rounds, np.int64),
        np.array(bad, np.int64),
    )

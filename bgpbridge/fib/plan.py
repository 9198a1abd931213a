"""From the members of a next-hop group to what the two planes store. Pure.

XDP picks one of 64 slots (to 512: `datapath.group_slots`) by the flow's hash; a slot holds an adjacency id. What must
hold when members change: a flow keeps its adjacency unless that adjacency was lost, or its slot is needed to give
another member its share ("resilient hashing"). The kernel takes members with weights instead of slots; both planes get
the same shares, so a packet that XDP passes up is still spread the same way.

Called by `xdp.XdpFib` and `kernel.KernelFib` through the pipeline, for each group that changes. Slots are octets here,
as the map has them: packets wait for them, and no array is made for them.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd

import numpy as np

__all__ = [
    "MAX_KERNEL_WEIGHT",
    "SLOTS",
    "Weights",
    "alone",
    "fill_slots",
    "kernel_weights",
    "lose_each",
    "merge_members",
]

SLOTS = 64
MAX_KERNEL_WEIGHT = 256
"""`struct nexthop_grp.weight` is weight - 1 in one octet (linux/nexthop.h; wider only since Linux 6.12)."""

REMEMBERED = 4096  # answers of `fill_slots`: groups of the same members are filled alike, and change alike

Weights = tuple[tuple[int, int], ...]
"""Members and their shares, ascending, without a common divisor."""


def merge_members(members: Iterable[tuple[int, int]], most: int = SLOTS) -> dict[int, int]:
    """(id, weight) pairs as one weight per id: weights of the same id add up, ids without a positive
    weight fall out. At most as many stay as there are slots, the heaviest (lowest id first among equals)."""
    total: dict[int, int] = {}
    for member, weight in members:
        if member and weight > 0:
            total[member] = total.get(member, 0) + weight
    if len(total) > most:
        heaviest = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:most]
        total = dict(heaviest)
    return dict(sorted(total.items()))


def alone(member: int, size: int = SLOTS) -> bytes:
    """The slots of a group of one member; 0 is none."""
    return member.to_bytes(2, sys.byteorder) * size


def fill_slots(members: Iterable[tuple[int, int]], previous: bytes | None = None, size: int = SLOTS) -> bytes:
    """`size` slots of adjacency ids (u16), each member holding its share rounded down or up.

    `previous` is what stands now: a slot moves only if its member is gone, or holds more than its share
    rounded up, or if another member would otherwise stay under its share rounded down. No members gives
    zeros (no adjacency: the packet is passed to the kernel). The same input gives the same output.
    """
    weights = merge_members(members, size)
    if len(weights) < 2:
        return alone(next(iter(weights), 0), size)
    return _shared(_lowest(weights), previous or alone(0, size), size)


def lose_each(members: Iterable[tuple[int, int]], slots: bytes) -> int:
    """Fill the slots as they would be without each of these members in turn, so that `fill_slots` knows the answer when
    one is lost. Returns how many answers that were."""
    size = len(slots) // 2
    weights = merge_members(members, size)
    if len(weights) < 3:
        return 0  # one is left: `alone`
    for lost in weights:
        _shared(_lowest({member: weight for member, weight in weights.items() if member != lost}), slots, size)
    return len(weights)


def _lowest(weights: dict[int, int]) -> Weights:
    common = gcd(*weights.values())
    return tuple((member, weight // common) for member, weight in weights.items())


@lru_cache(REMEMBERED)
def _shared(shares: Weights, previous: bytes, size: int) -> bytes:
    weights, layout = dict(shares), f"={size}H"
    slots = list(struct.unpack(layout, previous))
    total = sum(weights.values())
    floor = {member: weight * size // total for member, weight in weights.items()}
    ceiling = {member: -(-weight * size // total) for member, weight in weights.items()}
    count, free = _keep(slots, ceiling)
    # Everything below compares count against share; scaled by `total` all of it is integers.
    ahead = {member: count[member] * total - weight * size for member, weight in weights.items()}
    for slot in free:
        needy = min(ahead, key=ahead.__getitem__)
        slots[slot] = needy
        count[needy] += 1
        ahead[needy] += total
    _even_out(slots, count, floor, ahead, total)
    return struct.pack(layout, *slots)


def _keep(slots: Sequence[int], ceiling: dict[int, int]) -> tuple[dict[int, int], list[int]]:
    """How many slots each member keeps, and the slots that are free: not a member's, or above its ceiling."""
    count = dict.fromkeys(ceiling, 0)
    free: list[int] = []
    for slot, member in enumerate(slots):
        if member in count and count[member] < ceiling[member]:
            count[member] += 1
        else:
            free.append(slot)
    return count, free


def _even_out(
    slots: list[int], count: dict[int, int], floor: dict[int, int], ahead: dict[int, int], total: int
) -> None:
    """Take slots from the member furthest above its share while another is below its share rounded down.
    Rarely needed: only when earlier roundings went against each other."""
    for member, least in floor.items():
        while count[member] < least:
            donor = max(ahead, key=ahead.__getitem__)
            slot = len(slots) - 1 - slots[::-1].index(donor)
            slots[slot] = member
            for changed, step in ((donor, -1), (member, 1)):
                count[changed] += step
                ahead[changed] += step * total


def kernel_weights(weights: Sequence[int]) -> tuple[int, ...]:
    """The same shares as weights of 1..256: as they are (divided by what they have in common) where they
    fit, else scaled to the largest and rounded, never below 1."""
    if not weights:
        return ()
    common = int(np.gcd.reduce(np.array(weights, np.int64)))
    small = [weight // common for weight in weights]
    largest = max(small)
    if largest <= MAX_KERNEL_WEIGHT:
        return tuple(small)
    return tuple(max(1, round(Fraction(weight * MAX_KERNEL_WEIGHT, largest))) for weight in small)

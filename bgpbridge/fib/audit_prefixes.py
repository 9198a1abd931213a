"""Two tables held against each other prefix by prefix, and what there is to say of the differences. Pure.

What changed or was waiting while we looked is pending, what a plane has refused and will be tried again is refused:
those differences have a reason. The others should not be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.fib.keys import U32, Keys, KeyTable, Rows
from bgpbridge.fib.order import in_order, unlike
from bgpbridge.types import Family, Prefix

__all__ = ["KINDS", "Differences", "Judged", "differences", "judge", "nothing", "with_overlay", "without_nothing"]

KINDS = ("missing", "extra", "other group")
"""What `Differences.kind` counts."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Where a table differs from what is wanted: prefix, kind, what it has and should have, as columns."""

    keys: Keys
    kind: Rows
    have: U32
    want: U32

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, which: Rows | slice) -> Differences:
        """Some of them."""
        return Differences(self.keys.take(which), self.kind[which], self.have[which], self.want[which])


@dataclass(frozen=True, slots=True)
class Judged:
    """Differences without a reason, and how many have one."""

    wrong: Differences
    pending: int
    refused: int


def differences(have: tuple[Keys, U32], want: tuple[Keys, U32]) -> Differences:
    """Compare two tables. A million prefixes that are the same take a tenth of a second, most of it without the GIL."""
    (have_keys, have_values), (want_keys, want_values) = unlike(in_order(have), in_order(want))
    table = KeyTable(have_keys)
    at = table.find(want_keys)
    found = np.zeros(len(want_keys), np.uint32)
    found[at >= 0] = have_values[at[at >= 0]]
    wrong = np.flatnonzero(found != want_values)
    kind = np.where(found[wrong] == 0, 0, np.where(want_values[wrong] == 0, 1, 2))
    alone = np.ones(len(have_keys), np.bool_)
    alone[at[at >= 0]] = False
    extra = np.flatnonzero(alone)
    extra = extra[table.find(have_keys.take(extra)) == extra]  # a dump under change may tell of an entry twice
    return Differences(
        Keys.joined(want_keys.family, [want_keys.take(wrong), have_keys.take(extra)]),
        np.concatenate([kind, np.ones(len(extra), np.int64)]).astype(np.int64),
        np.concatenate([found[wrong], have_values[extra]]),
        np.concatenate([want_values[wrong], np.zeros(len(extra), np.uint32)]),
    )


def judge(found: Differences, moving: Keys, refused: Keys) -> Judged:
    """Sort out what changed or waited meanwhile (`moving`), and what a plane will not take."""
    in_motion = KeyTable(moving).find(found.keys) >= 0
    named = (KeyTable(refused).find(found.keys) >= 0) & ~in_motion
    wrong = found.take(np.flatnonzero(~in_motion & ~named))
    return Judged(wrong, int(in_motion.sum()), int(named.sum()))


def with_overlay(want: tuple[Keys, U32], punted: list[Prefix]) -> tuple[Keys, U32]:
    """What XDP should hold: PUNT under every punted prefix, also under those that the RIB does not have."""
    keys, groups = want
    if not punted:
        return want
    overlay = Keys.of(keys.family, punted)
    at = KeyTable(overlay).find(keys)
    groups = np.where(at >= 0, np.uint32(abi.GROUP_PUNT), groups)
    lone = np.ones(len(overlay), np.bool_)
    lone[at[at >= 0]] = False
    count = int(lone.sum())
    return (
        Keys.joined(keys.family, [keys, overlay.take(lone)]),
        np.concatenate([groups, np.full(count, abi.GROUP_PUNT, np.uint32)]),
    )


def without_nothing(want: tuple[Keys, U32]) -> tuple[Keys, U32]:
    """Only prefixes with a route: one without is no prefix to a longest match."""
    keys, groups = want
    held = groups != 0
    return want if held.all() else (keys.take(held), groups[held])


def nothing(family: Family) -> Keys:
    """No prefixes."""
    return Keys.of(family, [])

"""Conditions on AS paths, communities and OTC over flat columns: all routes of a batch in step.

Patterns run as in `as_paths.PathPattern`, but the states of one path are bits of a word, and the k-th AS of all
paths is read at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bgpbridge.policy.as_paths import AsnSet, PathPattern
from bgpbridge.policy.communities import CommunityKind, CommunityPattern
from bgpbridge.policy.conditions import OtcIs
from bgpbridge.wire.bulk_lists import AttributeLists

__all__ = ["contains", "with_asn", "with_community", "with_otc", "with_path"]

Truth = npt.NDArray[np.bool_]
ONE = np.uint64(1)


def contains(asns: AsnSet, values: npt.NDArray[np.uint32]) -> Truth:
    """Which values are in a set of ranges."""
    if not asns.ranges:
        return np.zeros(len(values), np.bool_)
    lows = np.array([low for low, _ in asns.ranges], np.uint32)
    highs = np.array([high for _, high in asns.ranges], np.uint32)
    at = np.searchsorted(lows, values, side="right") - 1
    inside: Truth = (at >= 0) & (values <= highs.take(np.maximum(at, 0)))
    return inside


def with_asn(lists: AttributeLists, asns: AsnSet) -> Truth:
    """Whose path holds one of these."""
    result = np.zeros(len(lists.odd), np.bool_)
    result[lists.asn_block.compress(contains(asns, lists.asns))] = True
    return result


def with_community(lists: AttributeLists, patterns: Sequence[CommunityPattern]) -> Truth:
    """Who has a community that fits one of these."""
    result = np.zeros(len(lists.odd), np.bool_)
    standard = [p for p in patterns if p.kind is CommunityKind.STANDARD]
    exact = [value for p in standard if isinstance(value := p.value, int)]
    if exact:
        result[lists.standard_block.compress(np.isin(lists.standard, np.array(exact, np.uint32)))] = True
    for pattern in standard:
        if pattern.value is None:
            words = lists.standard.astype(np.uint64)
            result[lists.standard_block.compress(_fits(pattern, words, 0))] = True
    for pattern in patterns:
        if pattern.kind is CommunityKind.EXTENDED:
            result[lists.extended_block.compress(_fits(pattern, lists.extended, 0))] = True
        elif pattern.kind is CommunityKind.LARGE:
            fits = _fits(pattern, lists.large_local, 0) & _fits(pattern, lists.large_global.astype(np.uint64), 64)
            result[lists.large_block.compress(fits)] = True
    return result


def with_otc(lists: AttributeLists, wanted: OtcIs, neighbor_as: npt.NDArray[np.uint32]) -> Truth:
    """Whose OTC is as wanted; `neighbor_as` is the first AS of each path."""
    result = np.full(len(lists.odd), wanted.absent)
    fits = contains(wanted.asns, lists.otc)
    if wanted.neighbor:
        fits |= lists.otc == neighbor_as.take(lists.otc_block)
    result[lists.otc_block] = fits
    return result


def _fits(pattern: CommunityPattern, words: npt.NDArray[np.uint64], base: int) -> Truth:
    """The fields of a pattern that lie in bits base..base+63 of the value, which is what `words` holds."""
    result = np.ones(len(words), np.bool_)
    for shift, width, low, high in pattern.fields:
        if base <= shift < base + 64:
            field = words >> np.uint64(shift - base) & np.uint64((1 << width) - 1)
            result &= (field >= np.uint64(low)) & (field <= np.uint64(high))
    return result


def with_path(lists: AttributeLists, pattern: PathPattern) -> Truth:
    """Whose whole path fits the pattern."""
    tokens = pattern.tokens
    start = _skip(np.array([1], np.uint64), pattern)[0]
    states = np.full(len(lists.odd), start, np.uint64)
    order = np.argsort(-lists.path_count, kind="stable")  # the longest first: those that go on are a head
    counts, begins = lists.path_count.take(order), lists.path_start.take(order)
    accepts = [np.ones(len(lists.asns), np.bool_) if t.asns is None else contains(t.asns, lists.asns) for t in tokens]
    accepted = sum((a.astype(np.uint64) << np.uint64(bit) for bit, a in enumerate(accepts)), np.uint64(0))
    accepted = np.broadcast_to(accepted, len(lists.asns))
    again = np.uint64(sum(1 << bit for bit, token in enumerate(tokens) if token.repeats))
    longest = int(counts[0]) if len(counts) else 0
    for step in range(longest):
        going = int(np.searchsorted(-counts, -step))
        rows = order[:going]
        reached = states.take(rows) & accepted.take(begins[:going] + step)
        states[rows] = _skip((reached << ONE) | (reached & again), pattern)
    return (states >> np.uint64(len(tokens)) & ONE).astype(np.bool_)


def _skip(states: npt.NDArray[np.uint64], pattern: PathPattern) -> npt.NDArray[np.uint64]:
    """The states that are reached without reading an AS."""
    for bit, token in enumerate(pattern.tokens):
        if token.skippable:
            states |= (states >> np.uint64(bit) & ONE) << np.uint64(bit + 1)
    return states

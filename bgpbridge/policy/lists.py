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
FEW = 8


def contains(asns: AsnSet, values: npt.NDArray[np.uint32]) -> Truth:
    """Which values are in a set of ranges."""
    if not asns.ranges:
        return np.zeros(len(values), np.bool_)
    if len(asns.ranges) <= FEW:  # a comparison of all is quicker than a search for each
        found = _within(values, *asns.ranges[0])
        for low, high in asns.ranges[1:]:
            found |= _within(values, low, high)
        return found
    lows = np.array([low for low, _ in asns.ranges], np.uint32)
    highs = np.array([high for _, high in asns.ranges], np.uint32)
    at = np.searchsorted(lows, values, side="right") - 1
    inside: Truth = (at >= 0) & (values <= highs.take(np.maximum(at, 0)))
    return inside


def _within(values: npt.NDArray[np.uint32], low: int, high: int) -> Truth:
    """Which values lie between two bounds: what is below the lower one wraps round to a high number."""
    inside: Truth = values == np.uint32(low) if low == high else values - np.uint32(low) <= np.uint32(high - low)
    return inside


def with_asn(lists: AttributeLists, asns: AsnSet) -> Truth:
    """Whose path holds one of these."""
    return _anywhere(lists, contains(asns, lists.asns))


def with_community(lists: AttributeLists, patterns: Sequence[CommunityPattern]) -> Truth:
    """Who has a community that fits one of these."""
    result = np.zeros(len(lists.odd), np.bool_)
    standard = [p for p in patterns if p.kind is CommunityKind.STANDARD]
    exact = [value for p in standard if isinstance(value := p.value, int)]
    if exact and len(lists.standard):
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
    """Whose whole path fits the pattern. An AS that has to be there rules most paths out before any is walked."""
    accepts = [None if token.asns is None else contains(token.asns, lists.asns) for token in pattern.tokens]
    possible = np.ones(len(lists.odd), np.bool_)
    for token, accept in zip(pattern.tokens, accepts, strict=True):
        if accept is not None and not token.skippable:
            possible &= _anywhere(lists, accept)
    blocks = np.flatnonzero(possible)
    possible[blocks] = _walked(lists, blocks, pattern, accepts)
    return possible


def _anywhere(lists: AttributeLists, accept: Truth) -> Truth:
    """Whose path holds an AS for which `accept` is true."""
    result = np.zeros(len(lists.odd), np.bool_)
    result[lists.asn_block.compress(accept)] = True
    return result


def _walked(
    lists: AttributeLists, blocks: npt.NDArray[np.int64], pattern: PathPattern, accepts: Sequence[Truth | None]
) -> Truth:
    """Which of these paths fit. `accepts` says of each token which of `lists.asns` it takes, None: all."""
    tokens = pattern.tokens
    order = blocks.take(np.argsort(-lists.path_count.take(blocks), kind="stable"))  # those that go on are a head
    states = np.full(len(order), _skip(np.array([1], np.uint64), pattern)[0], np.uint64)
    counts, begins = lists.path_count.take(order), lists.path_start.take(order)
    always = np.uint64(sum(1 << bit for bit, accept in enumerate(accepts) if accept is None))
    again = np.uint64(sum(1 << bit for bit, token in enumerate(tokens) if token.repeats))
    for step in range(int(counts[0]) if len(counts) else 0):
        going = int(np.searchsorted(-counts, -step))
        at = begins[:going] + step
        accepted = np.full(going, always)
        for bit, accept in enumerate(accepts):
            if accept is not None:
                accepted |= accept.take(at).astype(np.uint64) << np.uint64(bit)
        reached = states[:going] & accepted
        states[:going] = _skip((reached << ONE) | (reached & again), pattern)
    fits = np.zeros(len(lists.odd), np.bool_)
    fits[order] = states >> np.uint64(len(tokens)) & ONE
    return fits.take(blocks)


def _skip(states: npt.NDArray[np.uint64], pattern: PathPattern) -> npt.NDArray[np.uint64]:
    """The states that are reached without reading an AS."""
    for bit, token in enumerate(pattern.tokens):
        if token.skippable:
            states |= (states >> np.uint64(bit) & ONE) << np.uint64(bit + 1)
    return states

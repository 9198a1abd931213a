"""Conditions on attributes, for many attribute ids at once.

What the decision's columns hold (path length, origin, MED, first and last AS) is compared column by column.
Communities, whole paths and next hops are looked at in the decoded attributes, once per distinct value of a
batch, and only for ids whose flags say that there is something to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bgpbridge.policy import conditions as c
from bgpbridge.policy.as_paths import AsnSet
from bgpbridge.policy.communities import CommunityKind
from bgpbridge.types import AttributeChanges, Verdict
from bgpbridge.wire.fields import FieldFlag
from bgpbridge.wire.path_attributes import Decoded, PathAttributes

__all__ = ["AttributeBatch", "AttributeView", "Ids", "Truth"]

Ids = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


class AttributeView(Protocol):
    """What policy asks of the attribute table: columns by id, and the rest decoded."""

    verdict: Any
    flags: Any
    origin: Any
    path_length: Any
    neighbor_as: Any
    origin_as: Any
    local_pref: Any
    med: Any

    def get(self, number: int) -> Decoded:
        """All attributes of an id."""
        ...

    def derive(self, number: int, changes: AttributeChanges) -> int:
        """The id of changed attributes."""
        ...

    def keep(self, ids: Ids) -> None:
        """These ids are in use."""
        ...

    def on_release(self, forget: Callable[[Ids], None]) -> None:
        """Calls back before ids are given to others."""
        ...


_FLAG_OF = {
    CommunityKind.STANDARD: FieldFlag.COMMUNITIES,
    CommunityKind.EXTENDED: FieldFlag.EXTENDED,
    CommunityKind.LARGE: FieldFlag.LARGE,
}


class AttributeBatch:
    """Some ids of a view, and the truth of conditions about them."""

    def __init__(self, view: AttributeView, ids: Ids) -> None:
        self.view = view
        self.ids = ids
        self._truths: dict[int, Truth] = {}
        self._decoded: dict[int, PathAttributes] = {}

    @property
    def readable(self) -> Truth:
        """Where there are attributes that routes may have (RFC 7606: others are treated as withdrawn)."""
        usable: Truth = self.view.verdict.take(self.ids) < Verdict.TREAT_AS_WITHDRAW
        usable &= self.ids != 0
        return usable

    def truth(self, condition: c.AttributeCondition) -> Truth:
        """For which ids the condition holds; meaningless where not `readable`."""
        found = self._truths.get(id(condition))
        if found is None:
            found = self._truths[id(condition)] = self._work_out(condition)
        return found

    def _work_out(self, condition: c.AttributeCondition) -> Truth:
        view, ids = self.view, self.ids
        match condition:
            case c.PathLengthIn():
                return _between(view.path_length.take(ids), condition)
            case c.MedIn():
                return _between(view.med.take(ids), condition)
            case c.LocalPrefIn():
                return _between(view.local_pref.take(ids), condition)
            case c.OriginIn():
                wanted = np.zeros(256, np.bool_)
                wanted[list(condition.values)] = True
                return np.asarray(wanted[view.origin.take(ids)], np.bool_)
            case c.OriginAsIn():
                return contains(condition.asns, view.origin_as.take(ids))
            case c.NeighborAsIn():
                return contains(condition.asns, view.neighbor_as.take(ids))
            case c.HasCommunity():
                flags = sum({_FLAG_OF[pattern.kind] for pattern in condition.patterns})
                return self._by_value(condition, lambda a: (a.communities, a.extended, a.large), flags)
            case c.NextHopIn():
                return self._by_value(condition, lambda a: a.next_hop)
            case _:
                return self._by_value(condition, lambda a: a.as_path)

    def _by_value(
        self, condition: c.AttributeCondition, key: Callable[[PathAttributes], Hashable], flags: int = 0
    ) -> Truth:
        """By the decoded attributes, once per distinct value of `key`; where none of `flags` (if any) is set,
        the condition cannot hold."""
        result = np.zeros(len(self.ids), np.bool_)
        wanted = self.readable
        if flags:
            wanted &= (self.view.flags.take(self.ids) & np.uint16(flags)) != 0
        known: dict[Hashable, bool] = {}
        for row in np.flatnonzero(wanted).tolist():
            attributes = self._attributes(int(self.ids[row]))
            value = key(attributes)
            holds = known.get(value)
            if holds is None:
                holds = known[value] = condition.holds(attributes)
            result[row] = holds
        return result

    def _attributes(self, number: int) -> PathAttributes:
        found = self._decoded.get(number)
        if found is None:
            decoded = self.view.get(number).attributes
            found = self._decoded[number] = PathAttributes() if decoded is None else decoded
        return found


def _between(values: npt.NDArray[Any], bounds: c.PathLengthIn | c.MedIn | c.LocalPrefIn) -> Truth:
    inside: Truth = (values >= bounds.low) & (values <= min(bounds.high, np.iinfo(values.dtype).max))
    return inside


def contains(asns: AsnSet, values: npt.NDArray[np.uint32]) -> Truth:
    """Which values are in a set of ranges."""
    if not asns.ranges:
        return np.zeros(len(values), np.bool_)
    lows = np.array([low for low, _ in asns.ranges], np.uint32)
    highs = np.array([high for _, high in asns.ranges], np.uint32)
    at = np.searchsorted(lows, values, side="right") - 1
    inside: Truth = (at >= 0) & (values <= highs.take(np.maximum(at, 0)))
    return inside

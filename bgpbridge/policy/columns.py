"""Conditions on attributes, for many attribute ids at once.

What the decision's columns hold (path length, origin, MED, first and last AS) is compared column by column.
Paths and communities come as flat columns (`lists`). Next hops are looked at once per distinct one, and what is too
odd for columns in the decoded attributes, once per distinct value of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bgpbridge.policy import conditions as c
from bgpbridge.policy.lists import contains, with_asn, with_community, with_otc, with_path
from bgpbridge.types import AttributeChanges, Verdict
from bgpbridge.wire.bulk_lists import AttributeLists
from bgpbridge.wire.path_attributes import Decoded, PathAttributes

__all__ = ["AttributeBatch", "AttributeView", "Ids", "Truth"]

Ids = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


class AttributeView(Protocol):
    """What policy asks of the attribute table: columns by id, and the rest decoded."""

    verdict: Any
    origin: Any
    path_length: Any
    neighbor_as: Any
    origin_as: Any
    local_pref: Any
    med: Any
    next_hop: Any

    def get(self, number: int) -> Decoded:
        """All attributes of an id."""
        ...

    def lists(self, ids: Ids) -> AttributeLists:
        """Paths and communities of many ids."""
        ...

    def derive(self, number: int, changes: AttributeChanges) -> int:
        """The id of changed attributes."""
        ...

    def derive_many(self, ids: Ids, changes: AttributeChanges) -> Ids:
        """The same for many distinct ids."""
        ...

    def keep(self, ids: Ids) -> None:
        """These ids are in use."""
        ...

    def on_release(self, forget: Callable[[Ids], None]) -> None:
        """Calls back before ids are given to others."""
        ...


class AttributeBatch:
    """Some ids of a view, and the truth of conditions about them."""

    def __init__(self, view: AttributeView, ids: Ids) -> None:
        self.view = view
        self.ids = ids
        self._truths: dict[int, Truth] = {}
        self._decoded: dict[int, PathAttributes] = {}

    @cached_property
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
            case c.NextHopIn():
                return self._by_next_hop(condition)
            case c.HasCommunity():
                found = with_community(self.lists, condition.patterns)
                return self._and_odd(found, condition, lambda a: (a.communities, a.extended, a.large))
            case c.OtcIs():
                found = with_otc(self.lists, condition, view.neighbor_as.take(ids))
                return self._and_odd(found, condition, lambda a: (a.otc, a.neighbor_as))
            case c.PathContains():
                return self._and_odd(with_asn(self.lists, condition.asns), condition, lambda a: a.as_path)
            case c.PathMatches():
                found = np.logical_or.reduce([with_path(self.lists, pattern) for pattern in condition.patterns])
                return self._and_odd(found, condition, lambda a: a.as_path)

    @cached_property
    def lists(self) -> AttributeLists:
        """Paths and communities, read once for all conditions."""
        return self.view.lists(self.ids)

    @cached_property
    def odd(self) -> Ids:
        """The rows that `lists` says nothing about."""
        return np.flatnonzero(self.lists.odd & self.readable)

    def _and_odd(
        self, found: Truth, condition: c.AttributeCondition, key: Callable[[PathAttributes], Hashable]
    ) -> Truth:
        """What the columns say, and one by one where they say nothing."""
        found[self.odd] = self._by_value(condition, self.odd, key)
        return found

    def _by_next_hop(self, condition: c.NextHopIn) -> Truth:
        """Once per distinct next hop; one by one where the table of next hops was full (number 0)."""
        numbers = self.view.next_hop.take(self.ids)
        result = np.zeros(len(self.ids), np.bool_)
        rows = np.flatnonzero(self.readable & (numbers != 0))
        _, first, back = np.unique(numbers.take(rows), return_index=True, return_inverse=True)
        result[rows] = self._by_value(condition, rows.take(first), lambda a: a.next_hop).take(back)
        rows = np.flatnonzero(self.readable & (numbers == 0))
        result[rows] = self._by_value(condition, rows, lambda a: a.next_hop)
        return result

    def _by_value(self, condition: c.AttributeCondition, rows: Ids, key: Callable[[PathAttributes], Hashable]) -> Truth:
        """By the decoded attributes, once per distinct value of `key`."""
        result = np.zeros(len(rows), np.bool_)
        known: dict[Hashable, bool] = {}
        for at, number in enumerate(self.ids.take(rows).tolist()):
            attributes = self._attributes(number)
            value = key(attributes)
            holds = known.get(value)
            if holds is None:
                holds = known[value] = condition.holds(attributes)
            result[at] = holds
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

"""Attributes in a list, seen as policy sees the attribute table: for trying a policy on routes that are in no
RIB (tests, benchmarks, a policy file under review)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bgpbridge.policy.columns import Ids
from bgpbridge.types import AttributeChanges, IPAddress, Verdict
from bgpbridge.wire.bulk_lists import AttributeLists
from bgpbridge.wire.fields import Fields, fields_of
from bgpbridge.wire.path_attributes import Decoded, PathAttributes
from bgpbridge.wire.segments import SegmentKind

__all__ = ["ListedAttributes"]


class ListedAttributes:
    """An AttributeView whose id n is the n-th of the list, counted from 1. Derived ids are interned behind."""

    def __init__(self, listed: Sequence[PathAttributes | None]) -> None:
        self._decoded = [Decoded(None, Verdict.TREAT_AS_WITHDRAW, ()), *map(_decoded, listed)]
        fields = Fields.empty(len(self._decoded))
        fields.put(np.arange(len(self._decoded)), map(fields_of, self._decoded))
        self.verdict, self.origin = fields.verdict, fields.origin
        self.path_length, self.neighbor_as, self.origin_as = fields.path_length, fields.neighbor_as, fields.origin_as
        self.local_pref, self.med = fields.local_pref, fields.med
        self._next_hops: dict[IPAddress, int] = {}
        self.next_hop = np.array([self._next_hop(decoded) for decoded in self._decoded], np.uint16)
        self.derived: dict[tuple[int, AttributeChanges], int] = {}
        self.changes: dict[int, tuple[int, AttributeChanges]] = {}
        self._released: list[Callable[[Ids], None]] = []

    def get(self, number: int) -> Decoded:
        """The attributes of a listed id."""
        return self._decoded[number]

    def lists(self, ids: Ids) -> AttributeLists:
        """Paths and communities as columns; a path of more than one sequence is odd."""
        found = [self._decoded[number].attributes or PathAttributes() for number in ids.tolist()]
        plain = [all(s.kind is SegmentKind.AS_SEQUENCE for s in a.as_path) and len(a.as_path) < 2 for a in found]
        paths = [a.as_path[0].asns if simple and a.as_path else () for a, simple in zip(found, plain, strict=True)]
        count = np.array([len(path) for path in paths], np.int64)
        large = [(row, value) for row, a in enumerate(found) for value in a.large]
        return AttributeLists(
            np.cumsum(count) - count,
            count,
            np.array([asn for path in paths for asn in path], np.uint32),
            np.array([row for row, a in enumerate(found) for _ in a.communities], np.int64),
            np.array([value for a in found for value in a.communities], np.uint32),
            np.array([row for row, a in enumerate(found) for _ in a.extended], np.int64),
            np.array([int.from_bytes(value, "big") for a in found for value in a.extended], np.uint64),
            np.array([row for row, _ in large], np.int64),
            np.array([value[0] for _, value in large], np.uint32),
            np.array([value[1] << 32 | value[2] for _, value in large], np.uint64),
            np.array([row for row, a in enumerate(found) if a.otc is not None], np.int64),
            np.array([a.otc for a in found if a.otc is not None], np.uint32),
            ~np.array(plain, np.bool_),
        )

    def derive(self, number: int, changes: AttributeChanges) -> int:
        """An id that stands for listed attributes after changes; `changes[id]` tells which."""
        if changes.empty:
            return number
        new = self.derived.setdefault((number, changes), len(self._decoded) + len(self.derived))
        self.changes[new] = (number, changes)
        return new

    def derive_many(self, ids: Ids, changes: AttributeChanges) -> Ids:
        """The same for many."""
        return np.array([self.derive(number, changes) for number in ids.tolist()], np.int64)

    def keep(self, ids: Ids) -> None:
        """Nothing here is ever collected."""

    def on_release(self, forget: Callable[[Ids], None]) -> None:
        """Called back by `release`."""
        self._released.append(forget)

    def release(self, ids: Sequence[int]) -> None:
        """Tells those who asked that ids will mean something else."""
        for forget in self._released:
            forget(np.array(ids, np.int64))

    def replace(self, number: int, attributes: PathAttributes) -> None:
        """Gives an id to other attributes; release it first."""
        self._decoded[number] = _decoded(attributes)
        row = fields_of(self._decoded[number])
        for name in ("verdict", "origin", "path_length", "neighbor_as", "origin_as", "local_pref", "med"):
            getattr(self, name)[number] = getattr(row, name)
        self.next_hop[number] = self._next_hop(self._decoded[number])

    def _next_hop(self, decoded: Decoded) -> int:
        """The number of a next hop, 0 for none."""
        address = decoded.attributes.next_hop if decoded.attributes else None
        return self._next_hops.setdefault(address, len(self._next_hops) + 1) if address else 0


def _decoded(attributes: PathAttributes | None) -> Decoded:
    return Decoded(attributes, Verdict.TREAT_AS_WITHDRAW if attributes is None else Verdict.ACCEPT, ())

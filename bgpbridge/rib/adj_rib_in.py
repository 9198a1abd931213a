"""Adj-RIB-In: what one peer sent in one family, a cell per prefix row and path.

Planes are numbered 0, 1, ...: a session without ADD-PATH uses plane 0 alone, with ADD-PATH (RFC 7911) a
path takes the lowest plane that is free in its row. `raw` is what came in, `effective` what import policy
made of it (0 = refused): both are attribute ids, and keeping both is what makes a policy change need no
route refresh. As long as they are the same everywhere they are one column. Nothing here decides or judges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bgpbridge.rib.tables import Ids, cells, place_of, zeros

__all__ = ["DOOMED", "FRESH", "STALE", "UNLIMITED", "AdjRibIn", "Ceiling", "Mask", "Plane"]

FRESH = 0
STALE = 1  # kept over a restart of the peer (RFC 4724), or not yet sent again after BoRR (RFC 7313)
DOOMED = 2  # to be removed by the sweep that is under way, unless it is announced again before

NOWHERE = -1
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Ceiling(NamedTuple):
    """The most routes of a peer that are taken in, and whether those count that policy accepted, or all."""

    most: int
    accepted: bool = False


UNLIMITED = Ceiling(1 << 62)


class Plane:
    """The columns of one path per row. `slot` numbers the plane within its family."""

    __slots__ = (
        "changed",
        "changed_view",
        "effective",
        "effective_view",
        "path_id",
        "path_view",
        "raw",
        "raw_view",
        "slot",
        "stale",
    )

    def __init__(self, slot: int, rows: int, *, path_ids: bool) -> None:
        self.slot = slot
        self.raw = zeros(rows, np.uint32)
        self.changed = zeros(rows, np.uint32)
        self.stale = zeros(rows, np.uint8)
        self.path_id = zeros(rows, np.uint32) if path_ids else None
        self.raw_view, self.changed_view = self.raw.data, self.changed.data
        self.path_view = self.path_id.data if self.path_id is not None else None
        self.effective, self.effective_view = self.raw, self.raw_view  # until policy changes something: `part`

    @property
    def parted(self) -> bool:
        """Whether policy has changed or refused something so far: then `effective` is a column of its own."""
        return self.effective is not self.raw

    def part(self) -> None:
        """From now on `effective` may be otherwise than `raw`. A million rows take a millisecond or two."""
        if not self.parted:
            self.effective = zeros(len(self.raw), np.uint32)
            np.copyto(self.effective, self.raw, where=self.raw != 0)  # the other pages stay untouched
            self.effective_view = self.effective.data

    def path(self, row: int) -> int:
        """The path identifier in a row, 0 without ADD-PATH."""
        return 0 if self.path_view is None else int(self.path_view[row])

    def ensure_path_ids(self, rows: int) -> None:
        """The peer has begun to send path identifiers."""
        if self.path_id is None:
            self.path_id = zeros(rows, np.uint32)
            self.path_view = self.path_id.data


class AdjRibIn:
    """One peer, one family. `refused` counts paths beyond the ADD-PATH limit, `blocked` those beyond the `ceiling`."""

    def __init__(self, rows: int, *, limit: int, ceiling: Ceiling = UNLIMITED) -> None:
        self.rows = rows
        self.limit = limit
        self.blocked = 0
        self.set_ceiling(ceiling)
        self.planes: list[Plane] = []
        self.add_path = False
        self.received = 0
        self.accepted = 0
        self.refused = 0
        self.may_be_stale = False

    # -- how many, and how many more -------------------------------------------------------------------

    def set_ceiling(self, ceiling: Ceiling) -> None:
        """Another limit. What is there stays, whatever it says."""
        self.ceiling, self.by_accepted = ceiling

    @property
    def lone_plane(self) -> Plane | None:
        """The one plane of a session without ADD-PATH, none of whose routes is stale; None otherwise."""
        return None if self.add_path or self.may_be_stale or len(self.planes) != 1 else self.planes[0]

    def near(self, more: int) -> bool:
        """True when so many more might go beyond the ceiling."""
        return (self.accepted if self.by_accepted else self.received) + more > self.ceiling

    def fresh_count(self, top: int) -> int:
        """How many routes in rows up to `top` count against the ceiling: those that are not stale."""
        if not self.may_be_stale:
            return self.accepted if self.by_accepted else self.received
        return sum(
            int(np.count_nonzero((self._counting(plane)[: top + 1] != 0) & (plane.stale[: top + 1] == FRESH)))
            for plane in self.planes
        )

    def counted_now(self, rows: Ids, path_ids: Ids) -> Mask:
        """Which of these paths are there, fresh, and count."""
        found = np.zeros(len(rows), np.bool_)
        where = self.locate(rows, path_ids)
        for number, plane in enumerate(self.planes):
            here = (where == number) & (plane.stale.take(rows) == FRESH)
            found |= here & (self._counting(plane).take(rows) != 0)
        return found

    def _counting(self, plane: Plane) -> Any:
        return plane.effective if self.by_accepted else plane.raw

    def grow(self, slot: int) -> Plane:
        """One more plane."""
        plane = Plane(slot, self.rows, path_ids=self.add_path)
        self.planes.append(plane)
        return plane

    def use_path_ids(self) -> None:
        """The session carries path identifiers from now on."""
        self.add_path = True
        for plane in self.planes:
            plane.ensure_path_ids(self.rows)

    # -- finding the plane of a path ------------------------------------------------------------------

    def locate(self, rows: Ids, path_ids: Ids) -> Ids:
        """The plane that holds each path, NOWHERE (-1) where none does."""
        where = np.full(len(rows), NOWHERE, np.int64)
        for number, plane in enumerate(self.planes):
            held = plane.raw.take(rows) != 0
            if plane.path_id is not None:
                held &= plane.path_id.take(rows) == path_ids
            else:
                held &= path_ids == 0
            where[held] = number
        return where

    def free_in(self, number: int, rows: Ids) -> Mask:
        """Where a plane has no path yet."""
        free: Mask = self.planes[number].raw.take(rows) == 0
        return free

    def locate_one(self, row: int, path_id: int) -> int:
        """The plane that holds a path, -1 if none does."""
        for number, plane in enumerate(self.planes):
            if plane.raw_view[row] and plane.path(row) == path_id:
                return number
        return NOWHERE

    def free_one(self, row: int) -> int:
        """The lowest plane without a path in that row; `len(planes)` when another one is needed."""
        for number, plane in enumerate(self.planes):
            if not plane.raw_view[row]:
                return number
        return len(self.planes)

    # -- cells ----------------------------------------------------------------------------------------

    def store(self, number: int, rows: Ids, raw: Ids, effective: Ids, path_ids: Any, now: int) -> Mask:
        """Write cells of one plane (no row twice). True where the effective attributes changed."""
        plane = self.planes[number]
        if not plane.parted and not np.array_equal(raw, effective):
            plane.part()
        if not len(rows):
            return np.empty(0, np.bool_)
        at = place_of(rows)
        old_raw = cells(plane.raw, at)
        old_effective = cells(plane.effective, at) if plane.parted else old_raw
        self.received += int(np.count_nonzero(raw)) - int(np.count_nonzero(old_raw))
        self.accepted += int(np.count_nonzero(effective)) - int(np.count_nonzero(old_effective))
        plane.raw[at] = raw
        if plane.parted:
            plane.effective[at] = effective
        plane.changed[at] = now
        if plane.path_id is not None:
            plane.path_id[at] = path_ids
        if self.may_be_stale:
            plane.stale[at] = FRESH
        changed: Mask = old_effective != effective
        return changed

    def store_one(self, number: int, row: int, raw: int, effective: int, path_id: int, now: int) -> bool:
        """Write one cell. True when the effective attributes changed."""
        plane = self.planes[number]
        if raw != effective:
            plane.part()
        old_raw, old_effective = plane.raw_view[row], plane.effective_view[row]
        self.received += (raw != 0) - (old_raw != 0)
        self.accepted += (effective != 0) - (old_effective != 0)
        plane.raw_view[row], plane.effective_view[row] = raw, effective
        plane.changed_view[row] = now
        if plane.path_view is not None:
            plane.path_view[row] = path_id
        if self.may_be_stale:
            plane.stale[row] = FRESH
        return bool(old_effective != effective)

    def judged(self, number: int, rows: Ids, effective: Ids) -> Mask:
        """Another verdict of policy on what is there. True where the effective attributes changed."""
        plane = self.planes[number]
        old = plane.effective.take(rows)
        self.accepted += int(np.count_nonzero(effective)) - int(np.count_nonzero(old))
        changed: Mask = old != effective
        if changed.any():
            plane.part()
            plane.effective[rows.compress(changed)] = effective.compress(changed)
        return changed

    # -- graceful restart -----------------------------------------------------------------------------

    def mark_stale(self, top: int) -> None:
        """Whatever is there now, in rows up to `top`, is stale until it is announced again."""
        for plane in self.planes:
            raw, stale = plane.raw[: top + 1], plane.stale[: top + 1]
            np.copyto(stale, STALE, where=(raw != 0) & (stale == FRESH))
        self.may_be_stale = True

    def doom(self, top: int, *, only_stale: bool) -> None:
        """Give routes in rows up to `top` to the sweep: those that are stale, or all of them."""
        for plane in self.planes:
            raw, stale = plane.raw[: top + 1], plane.stale[: top + 1]
            wanted = raw != 0
            if only_stale:
                wanted &= stale != FRESH
            np.copyto(stale, DOOMED, where=wanted)
        self.may_be_stale = True

    def doomed(self, number: int, first: int, last: int) -> Ids:
        """Rows first..last-1 of a plane that the sweep must remove."""
        found: Ids = np.flatnonzero(self.planes[number].stale[first:last] == DOOMED) + first
        return found

    def stale_count(self, top: int) -> int:
        """How many routes in rows up to `top` are stale."""
        if not self.may_be_stale:
            return 0
        return sum(int(np.count_nonzero(plane.stale[: top + 1])) for plane in self.planes)

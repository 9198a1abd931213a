"""A plan's counts of prefixes and groups: who would carry which traffic, and what would be asked of the planes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bgpbridge.pipeline.plan_report import EXAMPLES, GroupsPlan, MovePlan, RouteExample, TablePlan
from bgpbridge.rib.family import DROPPED
from bgpbridge.rib.groups import PINNED
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.tables import Ids
from bgpbridge.rib.trial import Outlook, members_of
from bgpbridge.types import Family

__all__ = ["TableTally"]

KINDS = ("gained", "lost", "moved", "backups")
NOBODY, NOWHERE = -1, -2  # in place of a peer
Key = tuple[int, ...]
"""How many members are active, then the member words."""


class TableTally:
    """`take` every slice, then `table` and `groups`. `name` gives a peer's name by index."""

    def __init__(self, rib: Rib, name: Callable[[int], str]) -> None:
        self.rib, self.name = rib, name
        self._counts: dict[Family, Counter[str]] = {family: Counter() for family in Family}
        self._moves: dict[Family, Counter[tuple[int, int]]] = {family: Counter() for family in Family}
        self._examples: dict[tuple[Family, str], list[RouteExample]] = {}
        self._left: Ids = np.zeros(rib.groups.limit + 1, np.int64)
        self._joined: Counter[Key] = Counter()

    def take(self, part: Outlook) -> None:
        """Rows that would have another group."""
        if not len(part.rows):
            return
        words, active = members_of(self.rib.groups, part.group)
        places = np.arange(words.shape[1])
        carrying = places < np.maximum(active, part.active)[:, None]
        other = (active != part.active) | ((words != part.words) & carrying).any(axis=1)
        none, gone = part.group == 0, part.active == 0
        masks = (none, gone, other & ~none & ~gone, ~other)
        for kind, mask in zip(KINDS, masks, strict=True):
            at = np.flatnonzero(mask)
            self._counts[part.family][kind] += len(at)
            self._show(part, kind, at)
        ways = np.stack([_carriers(words, active), _carriers(part.words, part.active)])[:, other]
        for way, count in zip(*np.unique(ways.T, axis=0, return_counts=True), strict=True):
            self._moves[part.family][int(way[0]), int(way[1])] += int(count)
        self._left += np.bincount(part.group, minlength=len(self._left))
        self._count_joined(part, np.flatnonzero(part.active >= 0))

    def _count_joined(self, part: Outlook, at: Ids) -> None:
        """The groups that rows would have; what is dropped has none of its own."""
        if not len(at):
            return
        first, count = self.rib.groups.distinct(part.words[at], part.active.take(at))
        for position, times in zip(at.take(first).tolist(), count.tolist(), strict=True):
            self._joined[_key(part, position)] += times

    def _show(self, part: Outlook, kind: str, at: Ids) -> None:
        shown = self._examples.setdefault((part.family, kind), [])
        for position in at[: EXAMPLES - len(shown)].tolist():
            before = members_of(self.rib.groups, part.group[position : position + 1])
            was = self._text((int(before[1][0]), *_present(before[0][0])))
            will = self._text(_key(part, position))
            text = {"gained": will, "lost": was}.get(kind, f"{was} -> {will}")
            prefix = self.rib.families[part.family].prefixes.prefix(int(part.rows[position]))
            shown.append(RouteExample(str(prefix), text))

    def _text(self, key: Key) -> str:
        """The active members of a group."""
        active, words = key[0], key[1:]
        if active == DROPPED:
            return "dropped"
        return " + ".join(self._member(word) for word in words[:active]) or "no route"

    def _member(self, word: int) -> str:
        hop = self.rib.next_hops[word & 0xFFFF].address if word & 0xFFFF else "nowhere"
        pinned = " (pinned)" if word >> 32 + PINNED else ""
        return f"{self.name(word >> 16 & 0xFFFF)} via {hop}{pinned}"

    # -- the report -----------------------------------------------------------------------------------------

    def table(self, family: Family) -> TablePlan:
        """One family."""
        counts, routes = self._counts[family], self.rib.families[family].routes
        moves = [MovePlan(self._named(a), self._named(b), n) for (a, b), n in self._moves[family].most_common()]
        shown = {kind: tuple(self._examples.get((family, kind), ())) for kind in KINDS}
        return TablePlan(
            family=family,
            routes_before=routes,
            routes_after=routes + counts["gained"] - counts["lost"],
            gained=counts["gained"],
            lost=counts["lost"],
            moved=counts["moved"],
            backups=counts["backups"],
            moves=tuple(moves),
            gained_examples=shown["gained"],
            lost_examples=shown["lost"],
            moved_examples=shown["moved"],
        )

    def _named(self, peer: int) -> str:
        return {NOBODY: "", NOWHERE: "(dropped)"}.get(peer) or (self.name(peer) if peer >= 0 else "")

    def groups(self) -> GroupsPlan:
        """Groups in use now and then."""
        table = self.rib.groups
        ids = table.ids()
        then = {number: int(table.refs[number] - self._left[number]) for number in ids}
        come: list[Key] = []
        for key, count in self._joined.items():
            number = table.known(key[1:], key[0])
            if number:
                then[number] += count
            elif len(key) > 1:
                come.append(key)
        used = {number for number in ids if table.refs[number]}
        later = {number for number, count in then.items() if count > 0}
        revived, gone = sorted(later - used), sorted(used - later)
        texts = [*map(self._text, come), *(self._text(self._key_of(number)) for number in revived)]
        return GroupsPlan(
            before=len(used),
            after=len(later) + len(come),
            come=len(texts),
            go=len(gone),
            come_examples=tuple(texts[:EXAMPLES]),
            go_examples=tuple(f"group {number}: {self._text(self._key_of(number))}" for number in gone[:EXAMPLES]),
        )

    def _key_of(self, number: int) -> Key:
        words, active = self.rib.groups.members(np.array([number]))
        return (int(active[0]), *_present(words[0]))


def _carriers(words: Any, active: Ids) -> Ids:
    """The peer of the best path; NOBODY without one, NOWHERE where an override drops the traffic."""
    peers: Ids = (words[:, 0] >> np.uint64(16) & np.uint64(0xFFFF)).astype(np.int64)
    return np.select([active == 0, active == DROPPED], [NOBODY, NOWHERE], peers)


def _key(part: Outlook, at: int) -> Key:
    return (int(part.active[at]), *_present(part.words[at]))


def _present(words: Any) -> list[int]:
    return [word for word in words.tolist() if word]

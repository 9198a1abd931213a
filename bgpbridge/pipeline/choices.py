"""What latency can choose among: groups whose usable members leave by the same exits in the same order have one choice.

A full table has thousands of groups and few exits, so few choices; each is judged once for all its groups. The index is
kept where groups are filled (`Paths.arrange` asks for every one of them), so it costs nothing while nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bgpbridge.enrich.score import Arrangement, Candidate, Decision, Memory, arrange
from bgpbridge.rib.groups import Group, Member

__all__ = ["Choice", "Choices", "Key", "Place"]

REMEMBERED = 4096  # choices that no group has any more are forgotten beyond so many

Key = tuple[tuple[tuple[int, ...], int, bool], ...]
"""For each member its exits, its weight, and whether it is active in BGP."""


@dataclass(frozen=True, slots=True)
class Place:
    """One member of a choice: `name` is that of its exits, told apart where two members have the same."""

    name: str
    exits: tuple[int, ...]
    weight: int
    active: bool


@dataclass(slots=True, eq=False)
class Choice:
    """The members by their exits, the groups that have them, and what was decided. `carried` are positions of members
    with weights where that is not what BGP has, else None."""

    places: tuple[Place, ...]
    groups: set[int] = field(default_factory=set)
    memory: Memory = field(default_factory=Memory)
    decision: Decision | None = None
    carried: tuple[tuple[int, int], ...] | None = None

    @property
    def open(self) -> bool:
        """True when there is anything to choose."""
        return len({place.exits for place in self.places}) > 1

    def take(self, decision: Decision) -> None:
        """What was decided holds from now on."""
        self.decision, self.memory = decision, decision.memory
        self._carry(decision.arrangement)

    def follow(self, before: Choice) -> None:
        """Members came or went: those that stay go on as they were in the choice `before`, until it is judged."""
        self.memory = before.memory
        members = [Candidate(place.name, place.weight, place.active, None) for place in self.places]
        self._carry(arrange(members, self.memory.standings()))

    def _carry(self, arrangement: Arrangement) -> None:
        at = {place.name: number for number, place in enumerate(self.places)}
        positions = tuple((at[name], weight) for name, weight in arrangement.active)
        by_bgp = tuple((at, place.weight) for at, place in enumerate(self.places) if place.active)
        self.carried = None if positions == by_bgp else positions

    def forget(self) -> None:
        """Plain BGP again. That members kept turning bad is remembered."""
        self.decision, self.carried = None, None
        self.memory = Memory(self.memory.members, frozenset(), self.memory.moved_s)

    def members(self, usable: Group) -> tuple[Member, ...]:
        """Those of a group's usable members that carry traffic, with their weights."""
        if self.carried is None:
            return usable.active
        members = (*usable.active, *usable.backup)
        return tuple(members[at]._replace(weight=weight) for at, weight in self.carried)

    def carriers(self) -> tuple[tuple[str, int], ...]:
        """The same by name: who carries, or would carry, the traffic."""
        if self.carried is None:
            return tuple((place.name, place.weight) for place in self.places if place.active)
        return tuple((self.places[at].name, weight) for at, weight in self.carried)

    def words(self) -> tuple[str, ...]:
        """Why, line by line; the last one sums up."""
        if self.decision is not None:
            return self.decision.would
        return ("not judged yet" if self.carried is None else "members came or went: the others go on as they were",)


class Choices:
    """All choices, by group and in turn. `exits` gives the adjacencies of a next hop, `name` the name of one."""

    def __init__(self, exits: Callable[[int], tuple[int, ...]], name: Callable[[int], str]) -> None:
        self._exits, self._name = exits, name
        self._by_key: dict[Key, Choice] = {}
        self._by_group: dict[int, Choice] = {}
        self._turns: list[Choice] = []

    def __iter__(self) -> Iterator[Choice]:
        return (choice for choice in self._by_key.values() if choice.groups)

    def of(self, group: int) -> Choice | None:
        """The choice of a group."""
        return self._by_group.get(group)

    def place(self, group: int, usable: Group) -> Choice:
        """The choice that a group has with these usable members, which it has from now on."""
        key = tuple(
            [(self._exits(member.next_hop), member.weight, True) for member in usable.active]
            + [(self._exits(member.next_hop), member.weight, False) for member in usable.backup]
        )
        choice = self._by_key.get(key)
        if choice is None or not choice.groups:
            choice = self._made(key, choice)
        before = self._by_group.get(group)
        if before is not choice:
            if before is not None and before.carried is not None and choice.decision is None and choice.carried is None:
                choice.follow(before)
            choice.groups.add(group)
            self._by_group[group] = choice
            if before is not None:
                self._left(before, group)
        return choice

    def leave(self, group: int) -> None:
        """The group is no more."""
        choice = self._by_group.pop(group, None)
        if choice is not None:
            self._left(choice, group)

    def next(self, count: int) -> list[Choice]:
        """The next so many that have groups, in turn; all have been given before one comes again."""
        found: list[Choice] = []
        while len(found) < count:
            if not self._turns:
                if found:
                    return found
                self._turns = [choice for choice in self if choice.open]
                if not self._turns:
                    return found
            choice = self._turns.pop()
            if choice.groups:
                found.append(choice)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._by_key.clear()
        self._by_group.clear()
        self._turns.clear()

    def _left(self, choice: Choice, group: int) -> None:
        choice.groups.discard(group)
        if not choice.groups:
            choice.forget()

    def _made(self, key: Key, before: Choice | None) -> Choice:
        """A new choice. The names of a former one of that key may not hold: ids of adjacencies are given out anew."""
        choice = Choice(tuple(self._places(key)))
        if before is not None and before.places == choice.places:
            return before
        if len(self._by_key) >= REMEMBERED:
            self._by_key = {known: kept for known, kept in self._by_key.items() if kept.groups}
        self._by_key[key] = choice
        return choice

    def _places(self, key: Key) -> Iterator[Place]:
        seen: dict[str, int] = {}
        for exits, weight, active in key:
            name = "+".join(map(self._name, exits)) or "nowhere"
            seen[name] = seen.get(name, 0) + 1
            yield Place(f"{name}#{seen[name]}" if seen[name] > 1 else name, exits, weight, active)

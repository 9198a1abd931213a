"""What an audit found: counts, and examples that can be told in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bgpbridge.fib.audit_prefixes import KINDS, Judged
from bgpbridge.fib.sweep import Compared
from bgpbridge.types import Family, Prefix

__all__ = ["ADJACENCY", "CONTROL", "EXAMPLES", "GROUP", "INDEX", "AuditReport", "Divergence", "Tally"]

EXAMPLES = 20
GROUP, INDEX, ADJACENCY, CONTROL = "group", "index", "adjacency", "control"


@dataclass(frozen=True, slots=True)
class Divergence:
    """One thing that a plane (`xdp`, `kernel`) has otherwise than it should: group ids, 0 = no route.
    Kind `index`: a range of addresses, `prefix` is where it begins, `detail` its last address if it goes on; DEFER
    stands for "the trie is asked". Kind `group`: the group itself stands otherwise than wanted, `prefix` is one behind
    it. `adjacency`, `control`: the same by `detail` alone."""

    plane: str
    kind: str
    prefix: Prefix | None
    have: int
    want: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """By plane and family label: `checked` prefixes, `addresses` that the plane answers otherwise than it should.
    `divergent` counts by (plane, kind); `stores` how many groups, adjacencies and control words were looked at; `dirty`
    are the parts in which something differed."""

    checked: Mapping[tuple[str, str], int]
    divergent: dict[tuple[str, str], int]
    addresses: Mapping[tuple[str, str], int]
    stores: Mapping[str, int]
    dirty: frozenset[tuple[str, str]]
    examples: tuple[Divergence, ...]
    pending: int
    refused: int
    took_s: float

    @property
    def clean(self) -> bool:
        """Nothing differs without a name for it."""
        return not self.divergent


@dataclass(slots=True)
class Tally:
    """Adds up. Differences with a reason are counted, those without are told."""

    checked: dict[tuple[str, str], int] = field(default_factory=dict)
    divergent: dict[tuple[str, str], int] = field(default_factory=dict)
    addresses: dict[tuple[str, str], int] = field(default_factory=dict)
    stores: dict[str, int] = field(default_factory=dict)
    dirty: set[tuple[str, str]] = field(default_factory=set)
    examples: list[Divergence] = field(default_factory=list)
    pending: int = 0
    refused: int = 0

    @contextmanager
    def part(self, plane: str, label: str) -> Iterator[None]:
        """What is added meanwhile belongs to this part."""
        before = sum(self.divergent.values())
        try:
            yield
        finally:
            if sum(self.divergent.values()) > before:
                self.dirty.add((plane, label))

    def join(self, other: Tally) -> None:
        """What another one has of another plane."""
        for mine, theirs in (
            (self.checked, other.checked),
            (self.divergent, other.divergent),
            (self.addresses, other.addresses),
        ):
            mine.update(theirs)
        self.dirty |= other.dirty
        self.examples += other.examples[: self._room]
        self.pending += other.pending
        self.refused += other.refused

    def add(self, plane: str, judged: Judged) -> None:
        """What differs in one plane and family, by prefix."""
        self.pending += judged.pending
        self.refused += judged.refused
        wrong = judged.wrong
        for number, kind in enumerate(KINDS):
            which = (wrong.kind == number).nonzero()[0]
            self._count(plane, kind, len(which))
            for index in which[: self._room].tolist():
                have, want = int(wrong.have[index]), int(wrong.want[index])
                self.examples.append(Divergence(plane, kind, wrong.keys.prefix(index), have, want))

    def add_index(self, plane: str, compared: Compared) -> None:
        """Ranges that an index has otherwise than it should."""
        which = compared.wrong()
        self._count(plane, INDEX, len(which))
        for index in which[: self._room].tolist():
            have, want = int(compared.have[index]), int(compared.want[index])
            prefix, (_, last) = compared.pieces.prefix(index), compared.pieces.ends(index)
            self.examples.append(Divergence(plane, INDEX, prefix, have, want, _beyond(prefix, last)))

    def add_groups(self, plane: str, groups: list[int], example: Callable[[int], Prefix | None]) -> None:
        """Groups that stand otherwise than wanted."""
        self.add_all(Divergence(plane, GROUP, example(group), group, group) for group in groups[: EXAMPLES + 1])
        self._count(plane, GROUP, max(0, len(groups) - EXAMPLES - 1))

    def add_all(self, found: Iterable[Divergence]) -> None:
        """Anything else, one by one."""
        for one in found:
            self._count(one.plane, one.kind, 1)
            if self._room:
                self.examples.append(one)

    def add_addresses(self, plane: str, family: Family, compared: Compared) -> None:
        """How many addresses of a family a plane answers otherwise than it should."""
        self.addresses[plane, family.label] = compared.addresses()

    @property
    def _room(self) -> int:
        return max(0, EXAMPLES - len(self.examples))

    def _count(self, plane: str, kind: str, count: int) -> None:
        if count:
            self.divergent[plane, kind] = self.divergent.get((plane, kind), 0) + count


def _beyond(prefix: Prefix, last: int) -> str:
    """The last address of a range that begins with a prefix; empty where the prefix is all of it."""
    bits = prefix.family.bits
    whole = prefix.value | (1 << (bits - prefix.length)) - 1
    return "" if last == whole else str(Prefix(prefix.family, last, bits).address)

"""What a plan says, as values with names: what would change, counted, and the first few of each kind."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.types import Family

__all__ = [
    "EXAMPLES",
    "GroupsPlan",
    "MovePlan",
    "OverridesPlan",
    "PeerPlan",
    "Plan",
    "RouteExample",
    "RoutesPlan",
    "TablePlan",
    "TermPlan",
]

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """A peer that comes, goes or changes. `change` is added, removed or changed; `keys` are those that differ; `reset`:
    its session begins anew. What it would send then is taken to be what it has sent."""

    name: str
    change: str
    keys: tuple[str, ...] = ()
    reset: bool = False
    rejudged: bool = False


@dataclass(frozen=True, slots=True)
class TermPlan:
    """How many routes a term would decide on that another one did before. `place` is its file and line."""

    policy: str
    term: str
    place: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class RouteExample:
    """One prefix. `text` says what would become of it."""

    prefix: str
    text: str


@dataclass(frozen=True, slots=True)
class RoutesPlan:
    """Routes of one peer and family under the other policy: `same` stay as they are, `changed` are accepted as before
    with other attributes (`attributes` counts by which)."""

    peer: str
    family: Family
    routes: int
    accepted: int
    rejected: int
    changed: int
    accepted_by: tuple[TermPlan, ...]
    rejected_by: tuple[TermPlan, ...]
    attributes: dict[str, int]
    accepted_examples: tuple[RouteExample, ...]
    rejected_examples: tuple[RouteExample, ...]
    changed_examples: tuple[RouteExample, ...]


@dataclass(frozen=True, slots=True)
class MovePlan:
    """Prefixes whose best path would be another peer's. An empty name is no route, `(dropped)` what an override drops,
    `(override)` a next hop of its own; the same name twice is another next hop or share of the same peer, or a pin."""

    before: str
    after: str
    count: int


@dataclass(frozen=True, slots=True)
class TablePlan:
    """The Loc-RIB of a family: prefixes that would gain or lose their route, carry traffic over other paths (`moved`),
    or have only other backups."""

    family: Family
    routes_before: int
    routes_after: int
    gained: int
    lost: int
    moved: int
    backups: int
    moves: tuple[MovePlan, ...]
    gained_examples: tuple[RouteExample, ...]
    lost_examples: tuple[RouteExample, ...]
    moved_examples: tuple[RouteExample, ...]


@dataclass(frozen=True, slots=True)
class GroupsPlan:
    """Next-hop groups that prefixes point at: how many now and then, and the first of those that come and go."""

    before: int
    after: int
    come: int
    go: int
    come_examples: tuple[str, ...]
    go_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OverridesPlan:
    """Overrides of the files: how many come or are others, how many go, and the first of each."""

    come: int = 0
    go: int = 0
    come_examples: tuple[str, ...] = ()
    go_examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload of `file` would do. True as of `commit`; `commits_meanwhile` says how often the table changed while
    it was looked through, `jobs` how much of an earlier change was still under way. `held_ms` is the longest time for
    which nothing else was served."""

    file: str
    changes: bool
    commit: int
    commits_meanwhile: int
    jobs: int
    took_s: float
    held_ms: float
    peers: tuple[PeerPlan, ...]
    decision: bool
    live: tuple[str, ...]
    restart: tuple[str, ...]
    routes: tuple[RoutesPlan, ...]
    tables: tuple[TablePlan, ...]
    groups: GroupsPlan
    overrides: OverridesPlan
    warnings: tuple[str, ...]

"""The decision process, RFC 4271 s9.1, as ONE function with numbered steps.

`decide` is the oracle and serves `explain`: for every path that lost it names the step and the winner that
it lost to. `decision_bulk` does the same for columns, by integer keys; a property test holds them equal.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "Candidate",
    "Decision",
    "DecisionOptions",
    "Elimination",
    "MedMode",
    "MissingMed",
    "Step",
    "bandwidth_weights",
    "decide",
]

DEFAULT_LOCAL_PREF = 100
WORST_MED = 0xFFFFFFFF


class Step(enum.IntEnum):
    """The steps, in order. `text` is what `explain` prints; `rfc` where the step comes from. An operator's override
    stands before what the RFCs number."""

    OVERRIDE = -1
    NEXT_HOP = 0
    WEIGHT = 1
    LOCAL_PREF = 2
    AS_PATH_LENGTH = 3
    ORIGIN = 4
    MED = 5
    EBGP = 6
    IGP_METRIC = 7
    OLDEST = 8
    ROUTER_ID = 9
    CLUSTER_LIST = 10
    PEER_ADDRESS = 11
    PATH_ID = 12

    @property
    def text(self) -> str:
        """What the step asks."""
        return STEP_TEXT[self][0]

    @property
    def rfc(self) -> str:
        """Where the step is laid down; `common practice` for those that every vendor has."""
        return STEP_TEXT[self][1]


STEP_TEXT: dict[Step, tuple[str, str]] = {
    Step.OVERRIDE: ("an override decides", "an operator's word"),
    Step.NEXT_HOP: ("next hop is reachable", "RFC 4271 s9.1.2"),
    Step.WEIGHT: ("higher weight", "common practice"),
    Step.LOCAL_PREF: ("higher local preference", "RFC 4271 s9.1.1"),
    Step.AS_PATH_LENGTH: ("shorter AS path", "RFC 4271 s9.1.2.2 a"),
    Step.ORIGIN: ("lower origin", "RFC 4271 s9.1.2.2 b"),
    Step.MED: ("lower MED", "RFC 4271 s9.1.2.2 c"),
    Step.EBGP: ("external over internal", "RFC 4271 s9.1.2.2 d"),
    Step.IGP_METRIC: ("lower IGP metric to the next hop", "RFC 4271 s9.1.2.2 e"),
    Step.OLDEST: ("the present best path stays", "RFC 5004"),
    Step.ROUTER_ID: ("lower router id or ORIGINATOR_ID", "RFC 4271 s9.1.2.2 f, RFC 4456 s9"),
    Step.CLUSTER_LIST: ("shorter CLUSTER_LIST", "RFC 4456 s9"),
    Step.PEER_ADDRESS: ("lower peer address", "RFC 4271 s9.1.2.2 g"),
    Step.PATH_ID: ("lower path identifier", "RFC 7911"),
}


class MedMode(enum.Enum):
    """Between which paths MED is compared."""

    SAME_NEIGHBOR = "same-neighbor"
    ALWAYS = "always"
    IGNORE = "ignore"


class MissingMed(enum.Enum):
    """What a path without MED counts as: 0 (RFC 4271) or the highest value."""

    BEST = "best"
    WORST = "worst"


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """Knobs of the decision. `ebgp_paths` and `ibgp_paths` are the most active paths of a group (1 = no
    multipath); `relax` lets equal-cost paths differ in AS path; `backups` is how many to keep in order."""

    med: MedMode = MedMode.SAME_NEIGHBOR
    missing_med: MissingMed = MissingMed.BEST
    compare_router_id: bool = True
    prefer_oldest: bool = False
    ebgp_paths: int = 1
    ibgp_paths: int = 1
    relax: bool = False
    backups: int = 2
    link_bandwidth: bool = False

    @property
    def multipath(self) -> bool:
        """True when more than one path may be active."""
        return self.ebgp_paths > 1 or self.ibgp_paths > 1

    def __post_init__(self) -> None:
        if not (1 <= self.ebgp_paths <= 16 and 1 <= self.ibgp_paths <= 16 and 0 <= self.backups <= 8):
            raise ValueError("multipath is 1..16 paths, backups 0..8")


class Candidate(NamedTuple):
    """One path for one prefix, as the decision sees it. `med` None = absent; `router_id` is the
    ORIGINATOR_ID where there is one; `peer_order` is the place of the peer's address among all peers;
    `as_path` any hashable value that is equal for equal AS paths; `next_hop` a next-hop id."""

    peer: int
    path_id: int
    next_hop: int
    reachable: bool = True
    weight: int = 0
    local_pref: int = DEFAULT_LOCAL_PREF
    path_length: int = 0
    origin: int = 0
    med: int | None = None
    neighbor_as: int = 0
    ebgp: bool = True
    metric: int = 0
    router_id: int = 0
    cluster_length: int = 0
    peer_order: int = 0
    as_path: object = None
    link_bandwidth: float = 0.0  # octets per second, 0 = none
    attributes: int = 0  # id in the AttributeTable, after policy
    standing: int = 0  # what an override makes of it: 1 pinned, -1 left out


class Elimination(NamedTuple):
    """`loser` lost to `winner` at `step`."""

    loser: Candidate
    step: Step
    winner: Candidate | None


@dataclass(frozen=True, slots=True)
class Decision:
    """`multipath` is the active set, best first; `eliminated` says of every other path why it is not
    the best (members of `multipath` and `backups` are among them)."""

    best: Candidate | None
    multipath: tuple[Candidate, ...] = ()
    backups: tuple[Candidate, ...] = ()
    eliminated: tuple[Elimination, ...] = ()


Key = Callable[[Candidate], Any]

BEFORE_MED: tuple[tuple[Step, Key], ...] = (
    (Step.WEIGHT, lambda c: -c.weight),
    (Step.LOCAL_PREF, lambda c: -c.local_pref),
    (Step.AS_PATH_LENGTH, lambda c: c.path_length),
    (Step.ORIGIN, lambda c: c.origin),
)
AFTER_MED: tuple[tuple[Step, Key], ...] = (
    (Step.EBGP, lambda c: not c.ebgp),
    (Step.IGP_METRIC, lambda c: c.metric),
)
TIE_BREAKS: tuple[tuple[Step, Key], ...] = (
    (Step.ROUTER_ID, lambda c: c.router_id),
    (Step.CLUSTER_LIST, lambda c: c.cluster_length),
    (Step.PEER_ADDRESS, lambda c: c.peer_order),
    (Step.PATH_ID, lambda c: c.path_id),
)

PINNED: tuple[tuple[Step, Key], ...] = ((Step.OVERRIDE, lambda c: -c.standing),)
BEFORE_MED_PINNED = PINNED + BEFORE_MED
MOST_SHARED = 16

Losses = list[tuple[Candidate, Step, Candidate | None]]


def decide(
    candidates: Sequence[Candidate],
    options: DecisionOptions,
    current: tuple[int, int] | None = None,
    *,
    share: bool = False,
) -> Decision:
    """The best path, its equals, backups in order, and why each other path lost.

    Where an override has pinned paths (`standing`) the best of them wins and the others are backups, before those that
    are not pinned; with `share` all pinned ones by next hops of their own are active.
    `current` is (peer, path id) of the path that is best now, for step 8. A backup is the best of what is
    left when all before it are taken away, so MED may let a path come back that it had put out.
    """
    losses: Losses = [(c, Step.NEXT_HOP, None) for c in candidates if not c.reachable]
    left = [c for c in candidates if c.reachable]
    if any(c.standing < 0 for c in left):
        losses += [(c, Step.OVERRIDE, None) for c in left if c.standing < 0]
        left = [c for c in left if c.standing >= 0]
    if not left:
        return Decision(None, eliminated=tuple(Elimination(*loss) for loss in losses))
    best, equal = _select(left, options, current, losses)
    shared = share and best.standing > 0
    active = _shared(best, left, options, current) if shared else _multipath(best, equal, options)
    backups: list[Candidate] = []
    left = [c for c in left if c not in active]
    while left and len(backups) < options.backups:
        backup, _ = _select(left, options, current, None)
        backups.append(backup)
        left.remove(backup)
    eliminated = tuple(Elimination(loser, step, winner) for loser, step, winner in losses)
    return Decision(best, active, tuple(backups), eliminated)


def _select(
    left: list[Candidate], options: DecisionOptions, current: tuple[int, int] | None, losses: Losses | None
) -> tuple[Candidate, list[Candidate]]:
    """Steps 1 to 12 among reachable paths: (the best, all that were equal after step 7)."""
    mine: Losses | None = None if losses is None else []
    # 1 weight, 2 local preference, 3 AS-path length, 4 origin
    left = _lowest(left, BEFORE_MED_PINNED if any(c.standing for c in left) else BEFORE_MED, mine)
    # 5 MED, within one neighbour AS unless told otherwise
    left = _by_med(left, options, mine)
    # 6 external over internal, 7 IGP metric to the next hop
    left = equal = _lowest(left, AFTER_MED, mine)
    # 8 RFC 5004: among external paths the present best one stays
    left = _oldest(left, options, current, mine)
    # 9 router id, 10 CLUSTER_LIST length, 11 peer address, 12 path identifier
    left = _lowest(left, TIE_BREAKS if options.compare_router_id else TIE_BREAKS[1:], mine)
    if losses is not None and mine is not None:
        losses.extend((loser, step, winner or left[0]) for loser, step, winner in mine)
    return left[0], equal


def _lowest(left: list[Candidate], steps: tuple[tuple[Step, Key], ...], losses: Losses | None) -> list[Candidate]:
    """Keep those with the lowest key, step by step. Whoever wins in the end is the winner to name."""
    for step, key in steps:
        if len(left) == 1:
            break
        lowest = min(map(key, left))
        if losses is not None:
            losses.extend((c, step, None) for c in left if key(c) != lowest)
        left = [c for c in left if key(c) == lowest]
    return left


def _by_med(left: list[Candidate], options: DecisionOptions, losses: Losses | None) -> list[Candidate]:
    """Step 5. All paths are compared with the full set, so the order in which they came can't matter."""
    if len(left) == 1 or options.med is MedMode.IGNORE:
        return left
    missing = WORST_MED if options.missing_med is MissingMed.WORST else 0
    rivals: dict[int, list[tuple[int, Candidate]]] = {}
    for c in left:
        neighbor = c.neighbor_as if options.med is MedMode.SAME_NEIGHBOR else 0
        rivals.setdefault(neighbor, []).append((missing if c.med is None else c.med, c))
    out: dict[Candidate, Candidate] = {}
    for group in rivals.values():
        lowest = min(med for med, _ in group)
        winner = min((c for med, c in group if med == lowest), key=_place)
        out.update((c, winner) for med, c in group if med > lowest)
    if losses is not None:
        losses.extend((c, Step.MED, winner) for c, winner in out.items())
    return [c for c in left if c not in out] if out else left


def _place(c: Candidate) -> tuple[Any, ...]:
    """All steps behind MED at once: to name the same winner whatever the order."""
    return tuple(key(c) for _, key in (*AFTER_MED, *TIE_BREAKS))


def _oldest(
    left: list[Candidate], options: DecisionOptions, current: tuple[int, int] | None, losses: Losses | None
) -> list[Candidate]:
    if not options.prefer_oldest or current is None or len(left) == 1 or not left[0].ebgp:
        return left  # after step 6 all are external or all internal
    kept = [c for c in left if (c.peer, c.path_id) == current]
    if kept and losses is not None:
        losses.extend((c, Step.OLDEST, kept[0]) for c in left if c is not kept[0])
    return kept or left


def _multipath(best: Candidate, equal: list[Candidate], options: DecisionOptions) -> tuple[Candidate, ...]:
    """Best first, then its equals in order of the tie-breaks; two ways to one next hop count as one."""
    limit = options.ebgp_paths if best.ebgp else options.ibgp_paths
    active = [best]
    if limit == 1 or len(equal) == 1:
        return (best,)
    steps = TIE_BREAKS if options.compare_router_id else TIE_BREAKS[1:]
    for c in sorted(equal, key=lambda c: tuple(key(c) for _, key in steps)):
        same_path = options.relax or c.as_path == best.as_path
        if len(active) < limit and same_path and c.next_hop not in {a.next_hop for a in active}:
            active.append(c)
    return tuple(active)


def _shared(
    best: Candidate, left: list[Candidate], options: DecisionOptions, current: tuple[int, int] | None
) -> tuple[Candidate, ...]:
    """All pinned ways, the best path of each next hop, in order of the decision."""
    active = [best]
    left = [c for c in left if c.standing > 0 and c.next_hop != best.next_hop]
    while left and len(active) < MOST_SHARED:
        path, _ = _select(left, options, current, None)
        active.append(path)
        left = [c for c in left if c.next_hop != path.next_hop]
    return tuple(active)


def bandwidth_weights(bandwidths: Sequence[float]) -> list[int]:
    """Weights 1..255 in proportion to link bandwidths; all 1 when one of them is not known."""
    if not bandwidths or min(bandwidths) <= 0:
        return [1] * len(bandwidths)
    top = max(bandwidths)
    return [max(1, round(255 * bandwidth / top)) if bandwidth < top else 255 for bandwidth in bandwidths]

"""Latency: probes every way out, and arranges the members of groups by what comes of it.

    exits (pick) ──probes──▶ facts ──combined──▶ a figure for each exit ──decide──▶ choices ──▶ groups

Once a second: which exits there are now, their figures, and the next few choices (`choices`: groups that can choose
among the same exits). Traffic that was moved is looked at every time when a figure of it is missing or stale, so that
it is back on plain BGP within a second. With `mode: act` groups are filled again and `Paths` asks `arrange`, which can
only give a group's own usable members; with `observe` the same is decided and remembered, and nothing is filled.

No prefix is ever created or announced: groups are all that this room knows. No facts, no probes, an exit that is left
out, a room that is off: plain BGP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config.latency import Latency as Settings
from bgpbridge.config.latency import LatencyMode
from bgpbridge.enrich.facts import Facts, FactTable, Keeping, Way
from bgpbridge.enrich.figures import combined, dead
from bgpbridge.enrich.probe import Prober, note
from bgpbridge.enrich.schedule import Budget
from bgpbridge.enrich.score import Candidate, ChangeBudget, Rules, decide
from bgpbridge.enrich.targets import Exit, Outcome, Target
from bgpbridge.errors import BridgeError, CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.pipeline.choices import Choice, Choices
from bgpbridge.pipeline.exits import Picked, exit_name, most_exits, pick, probes_of, targets_of
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.planes import Committer
from bgpbridge.rib.groups import Group, Member

__all__ = ["Counts", "Latency", "Probing"]

EVERY_S = 1.0
PRUNE_EVERY = 60  # turns
CHOICES_A_TURN = 64
GROUPS_A_TURN = 1024  # to be filled or to be placed at once
EVENTS_A_TURN = 8
RETRY_S = 60.0
OFF = Settings(mode=LatencyMode.OFF)


class Probing:
    """What asks: `Prober`, or a test's own."""

    def set_probes(self, probes: Mapping[Way, tuple[Exit, Target]]) -> None:
        """What is probed from now on."""

    def close(self) -> None:
        """Stop."""


Open = Callable[[Callable[[Outcome], None], Settings], "Prober | Probing"]


def _open(heard: Callable[[Outcome], None], settings: Settings) -> Prober:
    budget = Budget(rate_pps=settings.budget_pps, interval_s=settings.interval_s)
    return Prober(heard, budget, timeout_s=settings.timeout_s)


@dataclass(slots=True)
class Counts:
    """Since the start: what was moved, what would have been, what went back to plain BGP."""

    moved: int = 0
    would: int = 0
    returned: int = 0


class Latency:
    """The room. `apply` takes settings at the start and at every reload; `keep` runs as a task."""

    def __init__(
        self,
        paths: Paths,
        committer: Committer,
        adjacencies: AdjacencyTable,
        kernel: KernelState,
        events: EventLog,
        opened: Open = _open,
    ) -> None:
        self.paths, self.committer, self.adjacencies, self.kernel = paths, committer, adjacencies, kernel
        self.events, self._opened = events, opened
        self.settings = OFF
        self.counts = Counts()
        self.picked = Picked({})
        self.figures: dict[int, Facts | None] = {}
        self.choices = Choices(paths.exits, self._name)
        self.table = FactTable()
        self.refused: dict[Way, str] = {}
        self.trouble = ""  # why nothing is probed though it should be
        self.now_s = 0.0
        self._rules, self._budget = Rules(), ChangeBudget(1)
        self._prober: Prober | Probing | None = None
        self._probes: dict[Way, tuple[Exit, Target]] = {}
        self._to_place: list[int] = []
        self._retry_s = 0.0
        self._turns = 0

    @property
    def mode(self) -> LatencyMode:
        """What becomes of the figures."""
        return self.settings.mode

    # -- settings ---------------------------------------------------------------------------------------

    def apply(self, settings: Settings | None) -> None:
        """Take these settings; None is off. Facts stay where they mean the same; a changed mode begins at plain BGP."""
        new, old = settings or OFF, self.settings
        self._rules = Rules(
            absolute_s=new.threshold.absolute_ms / 1000,
            relative=new.threshold.relative_percent / 100,
            least_probes=new.least_samples,
            hold_s=new.hold_s,
            most_wait_s=new.back_off_s,
        )
        if new.moves_per_minute != old.moves_per_minute or old is OFF:
            self._budget = ChangeBudget(new.moves_per_minute)
        if new.mode is not old.mode:
            self._start_anew(new)
        self.settings = new
        if _pace(new) != _pace(old) or new.mode is LatencyMode.OFF:
            self._close_prober()
        if _keeping(new) != self.table.keeping:
            self.table = FactTable(_keeping(new))

    def _start_anew(self, new: Settings) -> None:
        """Everything as BGP has it; the index is made again by and by."""
        moved = [group for choice in self.choices if choice.carried is not None for group in choice.groups]
        acted = self.mode is LatencyMode.ACT
        self.settings = new
        for choice in self.choices:
            choice.forget()
        if new.mode is LatencyMode.OFF:
            self.paths.arrange = None
            self.choices.clear()
            self._to_place, self.picked, self.figures = [], Picked({}), {}
        elif self.paths.arrange is None:
            self.paths.arrange = self.arrange
            self._to_place = self.paths.groups.ids()
        if acted and moved:
            self.committer.groups(set(moved), Cause(CauseKind.LATENCY, detail=f"mode {new.mode}: plain BGP"))

    def close(self) -> None:
        """Stop probing."""
        self._close_prober()

    def _close_prober(self) -> None:
        if self._prober is not None:
            self._prober.close()
        self._prober, self._probes, self._retry_s = None, {}, 0.0
        self.trouble = ""

    # -- what groups get --------------------------------------------------------------------------------

    def arrange(self, group: int, usable: Group) -> tuple[Member, ...]:
        """For `Paths`: which of a group's usable members carry traffic."""
        choice = self.choices.place(group, usable)
        return choice.members(usable) if self.mode is LatencyMode.ACT else usable.active

    # -- every second -----------------------------------------------------------------------------------

    async def keep(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(EVERY_S)
            if self.mode is not LatencyMode.OFF:
                for groups, cause in self.turn(loop.time()):
                    self.committer.groups(groups, cause)
                    await asyncio.sleep(0)

    def turn(self, now_s: float) -> list[tuple[set[int], Cause]]:
        """Look at everything that is due; what is to be filled, in parts that hold nobody up for long."""
        self.now_s, self._turns = now_s, self._turns + 1
        self._place_some()
        self._follow_exits(now_s)
        self.figures = self._figures(now_s)
        due = {id(choice): choice for choice in self._lost_facts()}
        due.update((id(choice), choice) for choice in self.choices.next(CHOICES_A_TURN))
        moved = [choice for choice in due.values() if self._judge(choice, now_s)]
        self._tell(moved)
        if self.mode is not LatencyMode.ACT:
            return []
        return [part for choice in moved for part in _parts(choice)]

    def _place_some(self) -> None:
        for group in self._to_place[-GROUPS_A_TURN:]:
            if group not in self.paths.groups:
                continue
            usable = self.paths.usable(group)
            if usable.active and not usable.pinned:  # an override has the last word
                self.choices.place(group, usable)
        del self._to_place[-GROUPS_A_TURN:]
        if not self._turns % PRUNE_EVERY:
            gone = [group for choice in self.choices for group in choice.groups if group not in self.paths.groups]
            for group in gone:
                self.choices.leave(group)

    def _follow_exits(self, now_s: float) -> None:
        """Probes come and go with the exits."""
        most = most_exits(self.settings)
        before = self.picked
        self.picked = pick(self.paths.ways_out(), self.adjacencies, before.exits, most)
        if self.picked.left_out and not before.left_out:
            text = f"{self.picked.left_out} exits are not probed: {most} are the most"
            mend = "raise latency.exits or latency.budget_pps"
            self.events.add("latency-left-out", "exits", f"{text} ({mend})", Severity.WARNING)
        if self._prober is None and not self._open_prober(now_s):
            return
        probes = probes_of(self.picked.exits.values(), self.settings, self.kernel.addresses)
        if probes != self._probes:
            assert self._prober is not None
            self._probes = probes
            self.refused = {way: words for way, words in self.refused.items() if way in probes}
            self._prober.set_probes(probes)
            self.table.keep_only(frozenset(probes))

    def _open_prober(self, now_s: float) -> bool:
        if now_s < self._retry_s:
            return False
        try:
            self._prober = self._opened(self.heard, self.settings)
        except (BridgeError, OSError) as error:
            if not self.trouble:
                self.events.add("latency-cannot-probe", "latency", f"{error}: plain BGP", Severity.ERROR)
            self.trouble, self._retry_s = str(error), now_s + RETRY_S
            return False
        self.trouble = ""
        return True

    def heard(self, outcome: Outcome) -> None:
        """What became of a probe."""
        if outcome.way not in self._probes:
            return
        try:
            note(self.table, outcome)
        except CapacityError as error:
            self.refused[outcome.way] = error.what
            return
        if outcome.rtt_s is None and outcome.words:
            self.refused[outcome.way] = outcome.words
        else:
            self.refused.pop(outcome.way, None)

    # -- judging ----------------------------------------------------------------------------------------

    def facts_of(self, exit_: int, now_s: float) -> list[tuple[Target, Facts | None]]:
        """An exit's targets with what is known of each."""
        seen = self.picked.exits[exit_]
        name = exit_name(seen)
        targets = targets_of(seen, self.settings)
        return [(target, self.table.get(Way(name, target.name), now_s)) for target in targets]

    def _figures(self, now_s: float) -> dict[int, Facts | None]:
        """One figure for each exit that is probed."""
        seen = {number: self.facts_of(number, now_s) for number in self.picked.exits}
        by_target: dict[str, list[Facts]] = {}
        for parts in seen.values():
            for target, facts in parts:
                if facts is not None and not self._at_next_hop(target):
                    by_target.setdefault(target.name, []).append(facts)
        silent = dead(by_target)
        return {
            number: combined([facts for target, facts in parts if target.name not in silent])
            for number, parts in seen.items()
        }

    def _at_next_hop(self, target: Target) -> bool:
        return all(target.name != probe.label for probe in self.settings.targets)

    def _yardstick(self, exit_: int) -> int:
        """What an exit is measured by: targets of a family (4, 6), or its own neighbour (0)."""
        seen = self.picked.exits.get(exit_)
        if seen is None or seen.gateway is None:
            return 0
        version = seen.gateway.version
        return version if any(probe.address.version == version for probe in self.settings.targets) else 0

    def _lost_facts(self) -> list[Choice]:
        """Choices that are not plain BGP though a figure of theirs is missing or stale."""
        bad = {number for number, facts in self.figures.items() if facts is None or facts.stale}
        return [
            choice
            for choice in self.choices
            if choice.carried is not None
            and any(number in bad or number not in self.figures for place in choice.places for number in place.exits)
        ]

    def _judge(self, choice: Choice, now_s: float) -> bool:
        """Decide; True when its traffic goes, or would go, another way now."""
        candidates = self._candidates(choice)
        before = choice.carried
        decision = decide(candidates, choice.memory, self._rules, now_s, free=self._budget.free(now_s))
        choice.take(decision)
        if choice.carried == before:
            return False
        self._budget.spend(now_s)
        if choice.carried is None:
            self.counts.returned += 1
        elif self.mode is LatencyMode.ACT:
            self.counts.moved += 1
        else:
            self.counts.would += 1
        return True

    def _candidates(self, choice: Choice) -> list[Candidate]:
        """Members with their figures; those that are measured by something else cannot be compared."""
        wanted = self._yardstick(choice.places[0].exits[0]) if choice.places[0].exits else 0
        return [
            Candidate(
                place.name,
                place.weight,
                place.active,
                combined([self.figures.get(number) for number in place.exits])
                if all(self._yardstick(number) == wanted for number in place.exits)
                else None,
            )
            for place in choice.places
        ]

    # -- telling ----------------------------------------------------------------------------------------

    def prefixes(self, groups: Iterable[int]) -> int:
        """How many prefixes point at these groups."""
        return sum(int(self.paths.groups.refs[group]) for group in groups)

    def _tell(self, moved: list[Choice]) -> None:
        kind = "latency-moved" if self.mode is LatencyMode.ACT else "latency-would-move"
        for choice in moved[:EVENTS_A_TURN]:
            assert choice.decision is not None
            *figures, last = choice.decision.would
            size = f"{len(choice.groups)} groups, {self.prefixes(choice.groups)} prefixes"
            text = "; ".join((f"{last} ({size})", *figures))
            self.events.add(kind, choice.places[0].name, text, Severity.NOTICE)
        if len(moved) > EVENTS_A_TURN:
            self.events.add(kind, "latency", f"and {len(moved) - EVENTS_A_TURN} more at the same time", Severity.NOTICE)

    def _name(self, exit_: int) -> str:
        seen = self.adjacencies.get(exit_)
        return exit_name(seen) if seen is not None else str(exit_)


def _parts(choice: Choice) -> list[tuple[set[int], Cause]]:
    assert choice.decision is not None
    cause = Cause(CauseKind.LATENCY, detail=choice.decision.would[-1])
    groups = sorted(choice.groups)
    return [(set(groups[at : at + GROUPS_A_TURN]), cause) for at in range(0, len(groups), GROUPS_A_TURN)]


def _pace(settings: Settings) -> tuple[float, float, float]:
    return settings.budget_pps, settings.interval_s, settings.timeout_s


def _keeping(settings: Settings) -> Keeping:
    ways = settings.exits * max(1, len(settings.targets))
    return Keeping(window_s=settings.window_s, stale_after_s=settings.stale_after_s, ways=ways)

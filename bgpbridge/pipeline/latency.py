"""Latency: arranges the members of groups by what probes find out about every way out (`measuring`).

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
from collections.abc import Iterable
from dataclasses import dataclass

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config.latency import Latency as Settings
from bgpbridge.config.latency import LatencyMode
from bgpbridge.enrich.figures import combined
from bgpbridge.enrich.score import Candidate, ChangeBudget, Rules, decide
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.pipeline.choices import Choice, Choices
from bgpbridge.pipeline.exits import exit_name
from bgpbridge.pipeline.measuring import OFF, Measuring, Open, open_prober
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.planes import Committer
from bgpbridge.rib.groups import Group, Member
from bgpbridge.scheduling import beat

__all__ = ["Counts", "Latency"]

EVERY_S = 1.0
PRUNE_EVERY = 60  # turns
CHOICES_A_TURN = 64
GROUPS_A_TURN = 1024  # to be filled or to be placed at once
EVENTS_A_TURN = 8


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
        opened: Open = open_prober,
    ) -> None:
        self.paths, self.committer, self.adjacencies, self.events = paths, committer, adjacencies, events
        self.measured = Measuring(paths, adjacencies, kernel, events, opened)
        self.settings = OFF
        self.counts = Counts()
        self.choices = Choices(paths.exits, self._name)
        self._rules, self._budget = Rules(), ChangeBudget(1)
        self._to_place: list[int] = []
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
        self.measured.apply(new)

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
            self._to_place = []
        elif self.paths.arrange is None:
            self.paths.arrange = self.arrange
            self._to_place = self.paths.groups.ids()
        if acted and moved:
            self.committer.groups(set(moved), Cause(CauseKind.LATENCY, detail=f"mode {new.mode}: plain BGP"))

    def close(self) -> None:
        """Stop probing."""
        self.measured.close()

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
            await beat(EVERY_S)
            if self.mode is not LatencyMode.OFF:
                for groups, cause in self.turn(loop.time()):
                    self.committer.groups(groups, cause)
                    await asyncio.sleep(0)

    def turn(self, now_s: float) -> list[tuple[set[int], Cause]]:
        """Look at everything that is due; what is to be filled, in parts that hold nobody up for long."""
        self._turns += 1
        self._place_some()
        self.measured.turn(now_s)
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

    # -- judging ----------------------------------------------------------------------------------------

    def _lost_facts(self) -> list[Choice]:
        """Choices that are not plain BGP though a figure of theirs is missing or stale."""
        figures = self.measured.figures
        bad = {number for number, facts in figures.items() if facts is None or facts.stale}
        return [
            choice
            for choice in self.choices
            if choice.carried is not None
            and any(number in bad or number not in figures for place in choice.places for number in place.exits)
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
        measured = self.measured
        wanted = measured.yardstick(choice.places[0].exits[0]) if choice.places[0].exits else 0
        return [
            Candidate(
                place.name,
                place.weight,
                place.active,
                combined([measured.figures.get(number) for number in place.exits])
                if all(measured.yardstick(number) == wanted for number in place.exits)
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

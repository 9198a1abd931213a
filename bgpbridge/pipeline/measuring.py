"""What is known of every way out: which exits are probed, what came of it, one figure for each.

No facts, no probes, an exit that is left out: no figure, and so plain BGP (`latency`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bgpbridge.config.latency import Latency as Settings
from bgpbridge.config.latency import LatencyMode
from bgpbridge.enrich.facts import Facts, FactTable, Keeping, Way
from bgpbridge.enrich.figures import combined, dead
from bgpbridge.enrich.probe import Prober, note
from bgpbridge.enrich.schedule import Budget
from bgpbridge.enrich.targets import Exit, Outcome, Target
from bgpbridge.errors import BridgeError, CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.pipeline.exits import Picked, exit_name, most_exits, pick, probes_of, targets_of
from bgpbridge.pipeline.paths import Paths

__all__ = ["OFF", "Measuring", "Open", "Probing", "open_prober"]

RETRY_S = 60.0
OFF = Settings(mode=LatencyMode.OFF)


class Probing:
    """What asks: `Prober`, or a test's own."""

    def set_probes(self, probes: Mapping[Way, tuple[Exit, Target]]) -> None:
        """What is probed from now on."""

    def close(self) -> None:
        """Stop."""


Open = Callable[[Callable[[Outcome], None], Settings], "Prober | Probing"]


def open_prober(heard: Callable[[Outcome], None], settings: Settings) -> Prober:
    """The one that sends."""
    budget = Budget(rate_pps=settings.budget_pps, interval_s=settings.interval_s)
    return Prober(heard, budget, timeout_s=settings.timeout_s)


class Measuring:
    """`turn` once a second; `figures` are by adjacency id, None where nothing is known."""

    def __init__(
        self, paths: Paths, adjacencies: AdjacencyTable, kernel: KernelState, events: EventLog, opened: Open
    ) -> None:
        self._paths, self._adjacencies, self._kernel = paths, adjacencies, kernel
        self._events, self._opened = events, opened
        self.settings = OFF
        self.picked = Picked({})
        self.figures: dict[int, Facts | None] = {}
        self.table = FactTable()
        self.refused: dict[Way, str] = {}
        self.trouble = ""  # why nothing is probed though it should be
        self.now_s = 0.0
        self._prober: Prober | Probing | None = None
        self._probes: dict[Way, tuple[Exit, Target]] = {}
        self._retry_s = 0.0

    def apply(self, settings: Settings) -> None:
        """Facts stay where they mean the same."""
        new, old = settings, self.settings
        self.settings = new
        if new.mode is LatencyMode.OFF:
            self.picked, self.figures = Picked({}), {}
        if _pace(new) != _pace(old) or new.mode is LatencyMode.OFF:
            self.close()
        if _keeping(new) != self.table.keeping:
            self.table = FactTable(_keeping(new))

    def close(self) -> None:
        """Stop probing."""
        if self._prober is not None:
            self._prober.close()
        self._prober, self._probes, self._retry_s = None, {}, 0.0
        self.trouble = ""

    # -- probes -----------------------------------------------------------------------------------------

    def turn(self, now_s: float) -> None:
        """Which exits there are now, and the figure of each."""
        self.now_s = now_s
        self._follow_exits(now_s)
        self.figures = self._figures(now_s)

    def _follow_exits(self, now_s: float) -> None:
        """Probes come and go with the exits."""
        most = most_exits(self.settings)
        before = self.picked
        self.picked = pick(self._paths.ways_out(), self._adjacencies, before.exits, most)
        if self.picked.left_out and not before.left_out:
            text = f"{self.picked.left_out} exits are not probed: {most} are the most"
            mend = "raise latency.exits or latency.budget_pps"
            self._events.add("latency-left-out", "exits", f"{text} ({mend})", Severity.WARNING)
        if self._prober is None and not self._open_prober(now_s):
            return
        probes = probes_of(self.picked.exits.values(), self.settings, self._kernel.addresses)
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
                self._events.add("latency-cannot-probe", "latency", f"{error}: plain BGP", Severity.ERROR)
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

    # -- figures ----------------------------------------------------------------------------------------

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

    def yardstick(self, exit_: int) -> int:
        """What an exit is measured by: targets of a family (4, 6), or its own neighbour (0)."""
        seen = self.picked.exits.get(exit_)
        if seen is None or seen.gateway is None:
            return 0
        version = seen.gateway.version
        return version if any(probe.address.version == version for probe in self.settings.targets) else 0


def _pace(settings: Settings) -> tuple[float, float, float]:
    return settings.budget_pps, settings.interval_s, settings.timeout_s


def _keeping(settings: Settings) -> Keeping:
    ways = settings.exits * max(1, len(settings.targets))
    return Keeping(window_s=settings.window_s, stale_after_s=settings.stale_after_s, ways=ways)

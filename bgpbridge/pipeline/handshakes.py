"""Round-trip times of the TCP handshakes that pass, for each exit: what users see, without a probe (bpf/rtt.h).

They are shown and move nothing. Each exit carries other destinations than the next one, so a far customer behind one is
no reason to leave it; probes ask the same targets through all exits, and it is those that `latency` compares.
"""

from __future__ import annotations

import asyncio

import numpy as np

from bgpbridge.config.latency import Latency as Settings
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.rtt import HandshakeTimes
from bgpbridge.enrich.facts import Facts, FactTable, Keeping, Way
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.pipeline.exits import exit_name
from bgpbridge.scheduling import beat

__all__ = ["Handshakes"]

EVERY_S = 1.0
FORGET_EVERY = 60  # turns
MOST = 256  # samples of one exit and turn, the newest: as many as facts are made of
TARGET = "tcp"


class Handshakes:
    """`apply` takes settings at the start and at every reload, `keep` runs as a task. `maps` is None where no
    interface has XDP."""

    def __init__(self, maps: Maps | None, adjacencies: AdjacencyTable, events: EventLog) -> None:
        self._maps, self._adjacencies, self._events = maps, adjacencies, events
        self.one_in = 0
        self.counts: dict[str, int] = {}
        self.now_s = 0.0
        self._table = FactTable()
        self._turns = 0
        self._times: HandshakeTimes | None = None

    def apply(self, settings: Settings | None) -> None:
        """Measure as these settings say; None is not at all. The datapath outlives us, so it is told each time."""
        wanted = settings.handshakes if settings is not None else 0
        if self._maps is None:
            if wanted:
                text = "handshakes are seen by XDP, which is on no interface (datapath.interfaces)"
                self._events.add("handshakes-not-seen", "latency", text, Severity.WARNING)
            return
        if wanted and not self._maps.mapped:
            text = "what XDP notes of handshakes is read from mapped arrays, which this kernel has not (Linux 5.5)"
            self._events.add("handshakes-not-seen", "latency", text, Severity.WARNING)
        keeping = Keeping(outcomes=MOST, window_s=settings.window_s) if settings is not None else Keeping()
        if keeping != self._table.keeping:
            self._table = FactTable(keeping)
        if wanted and not self.one_in:
            self._times = HandshakeTimes(self._maps.rtt_rings)
        elif not wanted:
            self._times, self._table = None, FactTable(keeping)
        self._maps.measure_handshakes(wanted)
        self.one_in = wanted

    def move(self, maps: Maps) -> None:
        """From now on other maps; handshakes under way are not measured."""
        self._maps = maps
        if self._times is not None:
            self._times = HandshakeTimes(maps.rtt_rings)

    async def keep(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            await beat(EVERY_S)
            if self._times is not None:
                self.turn(loop.time())

    def turn(self, now_s: float) -> None:
        """Take what the datapath has noted since the last turn."""
        self.now_s, self._turns = now_s, self._turns + 1
        if self._times is None:
            return
        if not self._turns % FORGET_EVERY:
            self._forget()
        seen = self._times.take()
        for number in np.unique(seen.adjacency).tolist():
            name = self._name_of(number)
            if name is None:
                continue
            times = seen.rtt_s[seen.adjacency == number]
            self.counts[name] = self.counts.get(name, 0) + len(times)
            for rtt_s in times[-MOST:].tolist():
                self._table.answered(Way(name, TARGET), now_s, rtt_s)

    def _name_of(self, adjacency: int) -> str | None:
        seen = self._adjacencies.get(adjacency)
        return exit_name(seen) if seen is not None and seen.gateway is not None else None

    def _forget(self) -> None:
        """What is no exit any more."""
        names = {exit_name(seen) for seen in self._adjacencies.view() if seen.gateway is not None}
        self._table.keep_only(frozenset(Way(name, TARGET) for name in names))
        self.counts = {name: count for name, count in self.counts.items() if name in names}

    def facts(self, exit_: str) -> Facts | None:
        """What is known of an exit; None before its first handshake."""
        return self._table.get(Way(exit_, TARGET), self.now_s)

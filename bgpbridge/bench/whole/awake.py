"""Whether the event loop stays awake while a whole table comes in: how late it is by its own histogram, and how long a
question at the control socket waits for its answer, from the first octet until all samples are forwarded. And until the
kernel has the table as well: whether probes and KEEPALIVEs leave in time for another neighbour, who sends nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bgpbridge.bench.records import percentile
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import Uplink
from bgpbridge.bench.whole import histogram
from bgpbridge.bench.whole.configurations import ours
from bgpbridge.bench.whole.contenders import Contender, Who
from bgpbridge.bench.whole.on_time import HOLD_S, LATENCY, OnTime
from bgpbridge.bench.whole.parts import Metrics, Part, with_audit
from bgpbridge.bench.whole.scale import Scale
from bgpbridge.bench.whole.tables import Table, mark, table
from bgpbridge.bench.whole.turn import Turn
from bgpbridge.errors import BridgeError

__all__ = ["METRICS", "awake"]

METRICS: Final = {
    "loop_lag_p99_load": "ms",
    "status_p99_load": "ms",
    "probe_late_p99_load": "ms",
    "keepalive_gap_load": "s",
}
QUIET: Final = 1  # the neighbour that probes go to
LAG: Final = "bgpbridge_loop_lag_seconds"
SHARE: Final = 0.99
PAUSE_S: Final = 0.02  # between an answer and the next question: they are to see the load, not to be one


def awake(scale: Scale) -> Part:
    """Ours alone: the others have no such loop."""

    def first() -> Table:
        return table(scale.ipv4, 0, scale.samples)

    def metrics(who: Who) -> Metrics:
        return with_audit(who, METRICS)

    def text(_: Who, peers: Sequence[Uplink], __: Path) -> str:
        return ours(peers, scale.ipv4 + 1, latency=LATENCY)

    neighbours = (0, QUIET)
    return Part(
        *("awake", scale.ipv4, metrics, lambda turn: _one(turn, first()), (Who.OURS,), neighbours),
        prepare=first,
        room=scale.ipv4 + 1,
        text=text,
    )


def _one(turn: Turn, first: Table) -> Iterator[Figure]:
    """A route of each neighbour stands before anything is measured: then nothing is new about the ways out."""
    loading, quiet = turn.tester(0, mark(0)), turn.tester(QUIET, mark(QUIET), hold_time_s=HOLD_S)
    sender = threading.Thread(target=loading.send, args=(first.octets,), daemon=True)
    turn.rest()
    with OnTime(turn.place.inside("far"), quiet.router.address, quiet) as on_time:
        on_time.begin(turn.left_s("probes"))
        yield from _loaded(turn, first, sender)
        turn.rest()
        late_s, gap_s = on_time.probes_late_s(SHARE), on_time.keepalive_gap_s()
    yield Figure("probe_late_p99_load", "ms", None if late_s is None else 1e3 * late_s)
    yield Figure("keepalive_gap_load", "s", gap_s)
    yield from turn.audited()


def _loaded(turn: Turn, first: Table, sender: threading.Thread) -> Iterator[Figure]:
    before, over, answers = histogram.read(turn.place, LAG), threading.Event(), list[float]()
    asker = threading.Thread(target=_ask, args=(turn.contender, over, answers), daemon=True)
    asker.start()
    try:
        sender.start()
        turn.forwards(first.samples, turn.port(0), "loading")
    finally:
        over.set()
        asker.join()
    late_s = histogram.quantile(before, histogram.read(turn.place, LAG), SHARE)
    sender.join()
    yield Figure("loop_lag_p99_load", "ms", None if late_s is None else 1e3 * late_s)
    yield Figure("status_p99_load", "ms", 1e3 * percentile(answers, SHARE) if answers else None)


def _ask(contender: Contender, over: threading.Event, answers: list[float]) -> None:
    """Seconds that each `status` took; none once one failed."""
    client = contender.client
    while not over.is_set():
        asked = time.monotonic()
        try:
            client.get("/v1/status")
        except BridgeError:
            answers.clear()
            return
        answers.append(time.monotonic() - asked)
        over.wait(PAUSE_S)

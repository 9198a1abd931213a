"""Whether the event loop stays awake while a whole table comes in: how late it is by its own histogram, and how long a
question at the control socket waits for its answer, from the first octet until all samples are forwarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

from bgpbridge.bench.records import percentile
from bgpbridge.bench.results import Figure
from bgpbridge.bench.whole import histogram
from bgpbridge.bench.whole.contenders import Contender, Who
from bgpbridge.bench.whole.parts import Metrics, Part, with_audit
from bgpbridge.bench.whole.scale import Scale
from bgpbridge.bench.whole.tables import Table, table
from bgpbridge.bench.whole.turn import Turn
from bgpbridge.errors import BridgeError

__all__ = ["METRICS", "awake"]

METRICS: Final = {"loop_lag_p99_load": "ms", "status_p99_load": "ms"}
LAG: Final = "bgpbridge_loop_lag_seconds"
SHARE: Final = 0.99
PAUSE_S: Final = 0.02  # between an answer and the next question: they are to see the load, not to be one


def awake(scale: Scale) -> Part:
    """Ours alone: the others have no such loop."""

    def first() -> Table:
        return table(scale.ipv4, 0, scale.samples)

    def metrics(who: Who) -> Metrics:
        return with_audit(who, METRICS)

    return Part("awake", scale.ipv4, metrics, lambda turn: _one(turn, first()), (Who.OURS,), prepare=first)


def _one(turn: Turn, first: Table) -> Iterator[Figure]:
    sender = threading.Thread(target=turn.tester(0).send, args=(first.octets,), daemon=True)
    turn.rest()
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
    yield from turn.audited()


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

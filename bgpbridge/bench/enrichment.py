"""Detection: how long until packets leave by the other uplink when the way by the better one fails, or turns bad.

Behind the edge's own link to uplink a stands a wire, so that a path dies, loses packets or grows long while the carrier
stays up. Each failure is met by each subject with the means that it has (`guards`): BFD, checks or the hold timer,
probes of latency. Sampled addresses are probed in rounds from the moment of the failure; a subject that has not moved
them by the end of the scenario is told so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bgpbridge.bench.driver import Bench, Stand
from bgpbridge.bench.failover import Table
from bgpbridge.bench.guards import FAR_BFD, HOLD_S, Guard, guarded, quicker
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import Rig
from bgpbridge.bench.tester import Tester
from bgpbridge.bench.watch import LinkWatch
from bgpbridge.errors import LabError
from bgpbridge.lab import runner
from bgpbridge.lab.topology import Daemon
from bgpbridge.types import IPAddress

__all__ = ["BENCH", "SCENARIOS", "Case", "Scenario"]

SAMPLES = 8
ROUND_S = 0.002  # 4,000 packets a second: the wire carries five times as many
LATE_S = 5.0
UP_S = 30.0
LOOK_S = 0.05
BROWN_OUT_PERCENT, STEP_MS = 20.0, 50.0
FAR = "far-bfd"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What goes wrong, for all subjects alike: `strike` makes it so, `mend` undoes it; it is watched for `late_s`."""

    name: str
    guard: Guard
    strike: Callable[[Rig, Tester], object]
    late_s: float = LATE_S
    mend: Callable[[Rig], object] = lambda place: place.shape(loss_percent=0, delay_ms=0)


SCENARIOS = (
    Scenario("session lost", Guard.BFD, lambda _, a: a.drop(), mend=lambda _: None),
    Scenario(
        "cable pulled",
        Guard.BFD,
        lambda place, _: place.cut_wire(cut=True),
        mend=lambda place: place.cut_wire(cut=False),
    ),
    Scenario("silent blackhole, BFD", Guard.BFD, lambda place, _: place.shape(loss_percent=100)),
    Scenario("silent blackhole, no BFD", Guard.CHECK, lambda place, _: place.shape(loss_percent=100), HOLD_S + 6.0),
    Scenario(f"latency +{STEP_MS:.0f} ms", Guard.LATENCY, lambda place, _: place.shape(delay_ms=STEP_MS / 2)),
    Scenario(
        f"brown-out, {BROWN_OUT_PERCENT:.0f}% loss",
        Guard.LATENCY,
        lambda place, _: place.shape(loss_percent=BROWN_OUT_PERCENT),
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One start of a subject: a guard, and the scenarios that it meets, one after the other."""

    guard: Guard
    scenarios: tuple[Scenario, ...]
    table: Table


def _cases(plan: Plan) -> Iterator[Case]:
    """What BFD finds needs one start; what probes of latency find needs one each, for they remember."""
    table = Table.of(plan.small)
    quick = tuple(scenario for scenario in SCENARIOS if scenario.guard is Guard.BFD)
    yield Case(Guard.BFD, quick, table)
    for scenario in SCENARIOS:
        if scenario not in quick:
            yield Case(scenario.guard, (scenario,), table)


def _one(stand: Stand, case: Case) -> list[Figure]:
    """Milliseconds until the first and the last sampled prefix have moved, for each scenario of the case."""
    bfd = _far_bfd(stand.place) if case.guard is Guard.BFD else contextlib.nullcontext()
    with bfd, stand.place.tester("b", table=case.table.octets["b"]) as b:
        b.until_up()
        return [figure for scenario in case.scenarios for figure in _met(stand, case, scenario)]


def _met(stand: Stand, case: Case, scenario: Scenario) -> Iterator[Figure]:
    """One scenario, from traffic by uplink a to uplink a as it was."""
    hold_s = HOLD_S if case.guard is Guard.CHECK else 90
    with stand.place.tester("a", table=case.table.octets["a"], hold_time_s=hold_s) as a:
        a.until_up(UP_S)
        if case.guard is Guard.BFD:
            _until_bfd_is_up(stand.place)
        samples = case.table.samples[:SAMPLES]
        if not stand.loaded(samples):
            raise LabError(f"{stand.daemon}: no traffic by uplink a before `{scenario.name}`")
        began, arrived = _strike(stand, scenario, a, samples)
        scenario.mend(stand.place)
    for which, row in (("first", 0), ("last", -1)):
        late_ms = (arrived[row] - began) / 1e6 if arrived else None
        yield Figure(f"{scenario.name}: {which}", "ms", late_ms)


def _strike(stand: Stand, scenario: Scenario, a: Tester, samples: list[IPAddress]) -> tuple[int, list[int] | None]:
    """When it began, in ns, and when each sample had moved. A cable counts from the kernel's own word."""
    with LinkWatch(stand.place.inside("edge"), "eth1") as watch:
        began = time.monotonic_ns()
        striking = threading.Thread(target=scenario.strike, args=(stand.place, a))
        striking.start()
        arrived = stand.prober.all_of(samples, "eth2", scenario.late_s, look=watch.look, round_s=ROUND_S)
        striking.join()
        watch.look()
    return watch.down_ns or began, arrived


@contextlib.contextmanager
def _far_bfd(place: Rig) -> Iterator[None]:
    """BIRD's BFD behind uplink a."""
    place.start(Daemon.BIRD, FAR_BFD, FAR, "far")
    try:
        yield
    finally:
        place.stop(FAR)


def _until_bfd_is_up(place: Rig) -> None:
    """As the far end has it. Raises LabError."""
    command = ["birdc", "-s", str(place.lab.node_folder(FAR) / "bird.ctl"), "show", "bfd", "sessions"]
    deadline = time.monotonic() + UP_S
    while " Up " not in (said := runner.exec_in(place.lab, "far", command).stdout):
        if time.monotonic() > deadline:
            raise LabError(f"BFD with the edge is not up within {UP_S:.0f} s: {said.strip()}")
        time.sleep(LOOK_S)


def _note(_: Plan) -> str:
    return (
        f"1,000 prefixes from both providers; packets to {SAMPLES} of them, in rounds of {ROUND_S * 1000:.0f} ms: the "
        "first and the last to arrive by the other uplink. A cable counts from the kernel's link event, everything "
        "else from the moment it was done; all but the cable leave the link up, for a wire loses or delays the frames "
        "behind it. BFD: 3 x 50 ms with BIRD behind the uplink, for all three. No BFD: bgpbridge has an ICMP check, "
        f"3 x 100 ms; BIRD and FRR have the hold timer, {HOLD_S} s. Latency and brown-out (loss in both directions): "
        "bgpbridge acts on its probes; BIRD and FRR have nothing that looks, and stay where they are: "
        f"over {LATE_S:.0f} s is not moved by then. What bgpbridge does sooner or more often than by default here "
        f"(default in parentheses): {quicker()}."
    )


BENCH = Bench("enrichment", LATE_S, _cases, _one, _note, lambda daemon, case: guarded(daemon, case.guard), wired=True)

"""The steps of an expect file, carried out on a lab that is up."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces, runner
from bgpbridge.lab.expect import Expect, MeasureStep, Step, expect_file, read
from bgpbridge.lab.making import Say
from bgpbridge.lab.matching import difference, text_difference
from bgpbridge.lab.measure import Report
from bgpbridge.lab.state import Lab
from bgpbridge.lab.topology import load
from bgpbridge.lab.traffic import Stream, StreamSpec

__all__ = ["Outcome", "check", "judge", "play"]

BETWEEN_LOOKS_S = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step. `wrong` says what was not as expected, and is empty when all was."""

    step: Step
    took_s: float
    wrong: str = ""
    report: Report | None = None


@dataclass(slots=True)
class _Stage:
    """A lab and the streams that flow in it."""

    lab: Lab
    streams: dict[str, Stream] = field(default_factory=dict)

    def carry_out(self, step: Step) -> tuple[str, Report | None]:
        """Do one step: what is wrong, and the report of a stream that was measured."""
        if step.measure:
            return self._measure(step.measure)
        if step.traffic:
            item = step.traffic
            spec = StreamSpec(item.source, item.sink, item.addresses, item.rate_pps)
            self.streams[item.name] = Stream.start(self.lab, spec, f"traffic-{item.name}")
        elif step.cable:
            name = self.lab.namespace(step.cable.node)
            namespaces.set_link(name, step.cable.interface, up=step.cable.up)
        elif step.kill:
            number = signal.Signals[f"SIG{step.kill.signal}"]
            runner.kill(self.lab, step.kill.node, step.kill.program, number)
        elif step.start:
            runner.restart(self.lab, step.start.node, step.start.program)
        elif step.pause_s:
            time.sleep(step.pause_s)
        else:
            return _until(step.within_s, lambda: _look(self.lab, step)), None
        return "", None

    def _measure(self, wanted: MeasureStep) -> tuple[str, Report | None]:
        if wanted.traffic not in self.streams:
            return f"no traffic `{wanted.traffic}` is under way", None
        report = self.streams.pop(wanted.traffic).stop()
        return judge(report, wanted), report


def judge(report: Report, wanted: MeasureStep) -> str:
    """What in a report is outside of the bounds."""
    longest_ms = max((outage.lasted_ms for outage in report.outages), default=0.0)
    if report.received < wanted.received_at_least:
        return f"{report.received} packets arrived, expected at least {wanted.received_at_least}"
    if wanted.lost_at_most is not None and report.lost > wanted.lost_at_most:
        return (
            f"{report.lost} of {report.sent} packets lost in {longest_ms:.1f} ms, at most {wanted.lost_at_most} may be"
        )
    if wanted.outage_ms_at_most is not None and longest_ms > wanted.outage_ms_at_most:
        return f"packets were lost for {longest_ms:.1f} ms, expected at most {wanted.outage_ms_at_most:g}"
    if wanted.last_way is not None and report.last_way != wanted.last_way:
        return f"the last packets came by {report.last_way or 'no way'}, expected {wanted.last_way}"
    return difference(wanted.ways, dict(report.ways), "ways") if wanted.ways else ""


def play(lab: Lab, expect: Expect) -> Iterator[Outcome]:
    """Carry the steps out one after the other; ends after the first that goes wrong."""
    stage = _Stage(lab)
    try:
        for step in expect.steps:
            began = time.monotonic()
            try:
                wrong, report = stage.carry_out(step)
            except LabError as error:
                wrong, report = str(error), None
            yield Outcome(step, time.monotonic() - began, wrong, report)
            if wrong:
                return
    finally:
        for stream in stage.streams.values():
            with contextlib.suppress(LabError):
                stream.stop()


def check(
    topology: Path, expect: Path | None = None, name: str | None = None, *, say: Say, heard: Callable[[Outcome], None]
) -> bool:
    """Bring a topology up, play its expect file, take it down; True when all was as expected."""
    load(topology)  # a wrong topology is told before an expect file that nobody named
    steps = read(expect or expect_file(topology))
    fine = True
    with runner.running(topology, name, say=say) as lab:
        for outcome in play(lab, steps):
            heard(outcome)
            fine = fine and not outcome.wrong
    return fine


def _look(lab: Lab, step: Step) -> str:
    """Run the step's command once: what is not as expected."""
    assert step.node is not None
    assert step.run is not None
    done = runner.exec_in(lab, step.node, shlex.split(step.run))
    output = done.stdout + done.stderr
    if done.returncode != step.exit:
        return f"exit code {done.returncode}, expected {step.exit}: {_last_line(output)}"
    if wrong := text_difference(step.says, step.says_not, output):
        return wrong
    if step.json_ is None:
        return ""
    try:
        return difference(step.json_, json.loads(done.stdout))
    except ValueError:
        return f"the output is not JSON: {_last_line(output)}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "(no output)"


def _until(seconds: float, look: Callable[[], str]) -> str:
    """Look again until nothing is wrong or the time is over; what was wrong at the last look."""
    deadline = time.monotonic() + seconds
    while (wrong := look()) and time.monotonic() < deadline:
        time.sleep(BETWEEN_LOOKS_S)
    return f"{wrong} (after {seconds:g} s)" if wrong and seconds else wrong

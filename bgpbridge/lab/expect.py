"""Expect files: what a lab must show, step by step, readable by a person and run by a test.

    steps:
      - say: both sessions come up
        node: edge
        run: bgpbridge --json peers
        within_s: 30
        json: {peers: [{name: isp-a, state: established}]}
      - say: packets flow
        traffic: {name: web, source: host, sink: internet, addresses: [198.51.100.1], rate_pps: 2000}
      - say: the cable of uplink A is pulled
        cable: {node: edge, interface: eth1, up: false}
      - pause_s: 1
      - say: little was lost, and packets come by the other uplink
        measure: {traffic: web, lost_at_most: 50, outage_ms_at_most: 10, last_way: eth2}

A step does one thing: `run` a command in a node, move a `cable`, `kill` or `start` a program, start `traffic`,
`measure` (and so end) it, or let time pass.
"""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from bgpbridge.documents import Strict, load, refuse

__all__ = ["CableStep", "Expect", "KillStep", "MeasureStep", "StartStep", "Step", "TrafficStep", "expect_file", "read"]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise refuse(f"`{text}` is no regular expression: {error}") from None
    return text


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise refuse(f"`{text}` is no command: {str(error).lower()}") from None
    if not words:
        raise refuse("the command is empty", "a program and its arguments")
    return text


def _signal(text: str) -> str:
    if f"SIG{text}" not in signal.Signals.__members__:
        raise refuse(f"`{text}` is no signal", "a name such as KILL or TERM")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class CableStep(Strict):
    """Pull a cable or put it back."""

    node: str
    interface: str
    up: bool

    def __str__(self) -> str:
        return f"cable {self.node}:{self.interface} {'in' if self.up else 'out'}"


class KillStep(Strict):
    """Send a signal to a program of a node: one that the lab started, or a word of any command line."""

    node: str
    program: str
    signal: Annotated[str, AfterValidator(_signal)] = "KILL"

    def __str__(self) -> str:
        return f"{self.signal} to {self.program} on {self.node}"


class StartStep(Strict):
    """Start a program of a node again."""

    node: str
    program: str

    def __str__(self) -> str:
        return f"start {self.program} on {self.node}"


class TrafficStep(Strict):
    """A stream of numbered packets that flows until it is measured."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    source: str
    sink: str
    addresses: tuple[str, ...] = Field(min_length=1)
    rate_pps: int = Field(default=2000, ge=1, le=20000)

    def __str__(self) -> str:
        return f"traffic {self.name} from {self.source} to {self.sink}"


class MeasureStep(Strict):
    """End a stream and hold it against bounds. Ways are interfaces of the sink."""

    traffic: str
    lost_at_most: int | None = Field(default=None, ge=0)
    outage_ms_at_most: float | None = Field(default=None, ge=0)
    received_at_least: int = Field(default=1, ge=0)
    last_way: str | None = None
    ways: dict[str, str] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"measure traffic {self.traffic}"


class Step(Strict):
    """One step; exactly one of the actions."""

    say: str = ""
    node: str | None = None
    run: Annotated[str, AfterValidator(_command)] | None = None
    within_s: float = Field(default=0, ge=0, le=120)
    exit: int = 0
    json_: Any = Field(default=None, alias="json")
    says: tuple[Pattern, ...] = ()
    says_not: tuple[Pattern, ...] = ()
    cable: CableStep | None = None
    kill: KillStep | None = None
    start: StartStep | None = None
    traffic: TrafficStep | None = None
    measure: MeasureStep | None = None
    pause_s: float | None = Field(default=None, gt=0, le=60)

    @model_validator(mode="after")
    def _one_action(self) -> Step:
        actions = ("run", "cable", "kill", "start", "traffic", "measure", "pause_s")
        given = [name for name in actions if getattr(self, name) is not None]
        if len(given) != 1:
            raise refuse(
                f"a step does one thing; this one does {' and '.join(given) or 'nothing'}",
                "one of " + ", ".join(actions),
            )
        if (self.run is None) != (self.node is None):
            raise refuse("`run` and `node` go together", "node: the node's name, run: the command")
        return self

    @property
    def title(self) -> str:
        """What a person reads."""
        action = self.cable or self.kill or self.start or self.traffic or self.measure
        given = f"{self.node}: {self.run}" if self.run else f"wait {self.pause_s} s"
        return self.say or (str(action) if action else given)


class Expect(Strict):
    """A whole file."""

    steps: tuple[Step, ...] = Field(min_length=1)


def expect_file(topology: Path) -> Path:
    """The expect file that belongs to a topology: `x.expect.yml` beside `x.clab.yml`."""
    return topology.with_name(topology.name.removesuffix(".yml").removesuffix(".clab") + ".expect.yml")


def read(path: Path) -> Expect:
    """The file. Raises DocumentError."""
    return load(path, Expect)

"""Runs checks: ICMP and TCP by the probers of `enrich`, HTTP and commands as tasks, each at its own pace.

    checks = Checks(report, commands)
    checks.set_seats({key: Seat(check, exit_, address)})      # any time, again and again; the others go on
    await checks.close()

A seat is one check at one subject. `report` is called in the loop with the key and a `CheckResult` for each run. One
run of a seat at a time: when it has not ended as the next is due, the next waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bgpbridge.config.health import Check, CheckKind, OnTimeout
from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.probe import Prober
from bgpbridge.enrich.schedule import Budget
from bgpbridge.enrich.targets import Exit, How, Method, Outcome, Target
from bgpbridge.errors import BridgeError
from bgpbridge.health.commands import Command, CommandResult, Commands
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.types import IPAddress

__all__ = ["NOT_BEFORE_A_RESTART", "Checks", "Key", "Seat", "judge_command", "judge_probe"]

NOT_BEFORE_A_RESTART = CheckResult(
    Said.UNKNOWN,
    "waits for a restart: the right to run commands was given up at the start, when there was no check",
    mend="restart bgpbridge: packets go on being forwarded",
)
SEE_HEALTH = "is it there, and may its `user` run it?"
NOT_STARTED = {  # how the trouble ends: how to mend it
    os.strerror(
        errno.ENOENT
    ): "`command:` begins with the whole path of a program; a script's interpreter is needed too",
    os.strerror(errno.EACCES): "make it executable (`chmod +x`) and its folders open for the `user:` of the check",
    os.strerror(errno.ENOEXEC): "begin the script with the line `#!/bin/sh`",
}
MOST_PPS = 5000.0  # of one prober: only against what nobody can mean
Key = tuple[str, str]  # subject, check
Report = Callable[[Key, CheckResult], None]
Pace = tuple[int, int]  # interval and timeout in milliseconds


@dataclass(frozen=True, slots=True)
class Seat:
    """One check at one subject. `exit_` None: there is no way there, and `why` says so; `address` is what is asked."""

    check: Check
    exit_: Exit | None
    address: IPAddress | None
    why: str = ""

    @property
    def probed(self) -> bool:
        """True when a prober asks."""
        return self.check.kind in {CheckKind.ICMP, CheckKind.TCP}


def judge_probe(outcome: Outcome) -> CheckResult:
    """What an ICMP or TCP probe says: a refused connection is an answer, but of no service."""
    if outcome.how is How.UNSENT:
        return CheckResult(Said.UNKNOWN, outcome.words, mend=_unsent(outcome.words))
    if outcome.how is How.ANSWERED and outcome.words != "rst":
        return CheckResult(Said.PASS, outcome.words, outcome.rtt_s)
    text = "connection refused" if outcome.words == "rst" else outcome.words
    return CheckResult(Said.FAIL, text, outcome.rtt_s)


def judge_command(result: CommandResult, check: Check) -> CheckResult:
    """What a command says. One that is missing or hangs is no word about the subject, unless told otherwise."""
    said = " ".join(result.output.split())[:200]
    if result.trouble:
        mend = next((mend for end, mend in NOT_STARTED.items() if result.trouble.endswith(end)), SEE_HEALTH)
        return CheckResult(Said.UNKNOWN, result.trouble, result.took_s, mend)
    if result.killed:
        verdict = Said.FAIL if check.on_timeout is OnTimeout.FAIL else Said.UNKNOWN
        mend = "give it a time limit of its own, a longer `timeout_ms`, or `on_timeout: fail`"
        text = f"killed after {check.timeout_ms} ms" + (f": {said}" if said else "")
        return CheckResult(verdict, text, result.took_s, mend, "killed")
    if result.code in {126, 127}:
        mend = "126 and 127 are what shells say when they could not run it"
        cause = f"exit code {result.code}"
        return CheckResult(Said.UNKNOWN, f"{cause}: {said}", result.took_s, mend, cause)
    text = f"exit code {result.code}" + (f": {said}" if said else "")
    return CheckResult(Said.FAIL if result.code else Said.PASS, text, result.took_s)


def _unsent(words: str) -> str:
    """How to mend what kept a probe from being sent."""
    if words.endswith(os.strerror(errno.EPERM)):
        return "a firewall of this machine refuses it: look for chains of hook output in `nft list ruleset`"
    if words.endswith("to probe from"):
        return "give the link an address of that family, or ask a `target` of the other"
    return "is the link up, and does it have an address?"


@dataclass(slots=True)
class _Group:
    """The seats of one pace and their prober."""

    prober: Prober
    keys: dict[Way, Key] = field(default_factory=dict)


class Checks:
    """All seats of the bridge."""

    def __init__(self, report: Report, commands: Commands | None) -> None:
        self.commands = commands
        self._report = report
        self._seats: dict[Key, Seat] = {}
        self._groups: dict[Pace, _Group] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def set_seats(self, seats: Mapping[Key, Seat]) -> None:
        """What is checked from now on. Raises BridgeError when a prober cannot be had; then nothing is probed by it."""
        before, self._seats = self._seats, dict(seats)
        self._set_probes()
        for key in list(self._tasks):
            seat = self._seats.get(key)
            if seat is None or seat.probed or seat.check != before[key].check:
                self._tasks.pop(key).cancel()
        for key, seat in self._seats.items():
            if not seat.probed and key not in self._tasks:
                self._tasks[key] = asyncio.get_running_loop().create_task(self._serve(key), name=f"check {key}")

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for group in self._groups.values():
            group.prober.close()
        self._tasks.clear()
        self._groups.clear()

    # -- ICMP and TCP

    def _set_probes(self) -> None:
        wanted: dict[Pace, dict[Way, tuple[Key, Exit, Target]]] = {}
        for key, seat in self._seats.items():
            if seat.probed and seat.exit_ is not None and seat.address is not None:
                pace = (seat.check.interval_ms, seat.check.timeout_ms)
                wanted.setdefault(pace, {})[Way(*key)] = (key, seat.exit_, _target(seat, seat.address))
        for pace in [pace for pace in self._groups if pace not in wanted]:
            self._groups.pop(pace).prober.close()
        for pace, probes in wanted.items():
            group = self._groups.get(pace) or self._open(pace)
            group.keys = {way: key for way, (key, _, _) in probes.items()}
            group.prober.set_probes({way: (exit_, target) for way, (_, exit_, target) in probes.items()})

    def _open(self, pace: Pace) -> _Group:
        interval_ms, timeout_ms = pace

        def heard(outcome: Outcome) -> None:
            key = group.keys.get(outcome.way)
            if key is not None:
                self._report(key, judge_probe(outcome))

        prober = Prober(heard, Budget(MOST_PPS, interval_ms / 1000), timeout_s=timeout_ms / 1000)
        group = self._groups[pace] = _Group(prober)
        return group

    # -- HTTP and commands

    async def _serve(self, key: Key) -> None:
        """One seat, for as long as it is there. Seats begin at odd times, so that they do not run all at once."""
        loop = asyncio.get_running_loop()
        interval_s = self._seats[key].check.interval_ms / 1000
        due_s = loop.time() + random.random() * min(interval_s, 1.0)  # noqa: S311 - no secret
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = max(due_s + interval_s, loop.time())
            seat = self._seats[key]
            if seat.exit_ is None and seat.check.kind is CheckKind.HTTP and seat.why:
                continue  # told by whoever looked for a way
            result = await (self._command(seat.check) if seat.check.kind is CheckKind.COMMAND else _http(seat))
            self._report(key, result)

    async def _command(self, check: Check) -> CheckResult:
        if self.commands is None:
            return NOT_BEFORE_A_RESTART
        order = Command(check.command, check.user, check.timeout_ms / 1000, check.processes, check.memory_mib)
        try:
            return judge_command(await self.commands.run(order), check)
        except BridgeError as error:
            return CheckResult(Said.UNKNOWN, error.what, mend=error.mend)


def _target(seat: Seat, address: IPAddress) -> Target:
    if seat.check.kind is CheckKind.TCP:
        return Target(seat.check.name, address, Method.TCP, seat.check.port or 0)
    return Target(seat.check.name, address)


async def _http(seat: Seat) -> CheckResult:
    from bgpbridge.health.http_check import HttpQuestion, ask_http  # noqa: PLC0415 - not before the doors have (0.1 s)

    check = seat.check
    return await ask_http(
        HttpQuestion(
            url=check.url or "",
            timeout_s=check.timeout_ms / 1000,
            status=check.status,
            body=check.body,
            tls_verify=check.tls_verify,
            tls_ca=check.tls_ca,
            target=check.target,
            ifindex=seat.exit_.ifindex if seat.exit_ is not None else 0,
        )
    )

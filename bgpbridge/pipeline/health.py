"""Health: what checks and BFD find out becomes paths that are not used, and announcements that are withdrawn.

    result ──rise, fall, hold-down, damping──▶ verdict ──▶ Paths.hold_down ──▶ groups filled
                                                     └──▶ announcements of services

A subject is a peer (all its routes), a next hop (whoever announces it) or a service (a prefix that we announce). It is
bad while one of its checks is. What is bad acts at once, recovery waits; where everything is bad, traffic stays
(`Paths.usable`). A check that cannot be made is *unknown*, which is not bad: what was known goes on, and an event says
what to mend.

Nothing here adds a path or an announcement: a withdrawn prefix comes back because the configuration lists it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config import Config
from bgpbridge.config.health import CheckKind
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.resolve import Resolver
from bgpbridge.health.checks import NOT_BEFORE_A_RESTART, Key
from bgpbridge.health.commands import Commands
from bgpbridge.health.damping import Health, Verdict
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.pipeline.asking import Asking
from bgpbridge.pipeline.bfd import BfdWatch, rules_of
from bgpbridge.pipeline.checked import Row
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.subjects import Subject, SubjectKind, subjects_of
from bgpbridge.pipeline.withdrawals import Withdrawals
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.scheduling import beat

__all__ = ["HealthWatch"]

EVERY_S = 1.0


class HealthWatch:
    """All checks, and BFD. `announce` is told which prefixes are withdrawn when these are others; `memory` keeps them
    over a restart."""

    def __init__(
        self,
        peers: PeerTable,
        next_hops: NextHopTable,
        committer: Committer,
        sessions: Sessions,
        state: KernelState,
        resolver: Resolver,
        events: EventLog,
        announce: Callable[[], None],
        memory: Path,
    ) -> None:
        self.peers, self.next_hops, self.committer = peers, next_hops, committer
        self.events = events
        self.rows: dict[Key, Row] = {}
        self.withdrawals = Withdrawals(memory, events, announce)
        self.asking = Asking(state, resolver, events, self.heard)
        self.ask: Callable[[], None] | None = None  # for the process of commands, where somebody may give it
        self._asked = False
        self.bfd = BfdWatch(peers, sessions, state, resolver, events, self._bfd_changed)
        self._subjects: list[Subject] = []
        self._timer: asyncio.TimerHandle | None = None
        self._held: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        self._named: frozenset[str] = frozenset()  # those of `waiting` that an event has named

    @property
    def withdrawn(self) -> frozenset[str]:
        """Prefixes of services that are announced to nobody now."""
        return self.withdrawals.withdrawn

    # -- configuration

    def prepare(self, config: Config) -> None:
        """Before privileges are given up: what is needed to run commands. Raises BridgeError."""
        self.withdrawals.start()
        if config.health.checks:
            self.asking.prepare()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Checks come and go; those that stay the same go on with all that is known."""
        now_s = asyncio.get_running_loop().time()
        self._subjects = list(subjects_of(config))
        wanted = {
            (str(subject), name): (subject, check)
            for subject in self._subjects
            for name in subject.checks
            if (check := config.health.check(name)) is not None
        }
        for key in [key for key in self.rows if key not in wanted]:
            del self.rows[key]
        for key, (subject, check) in wanted.items():
            row = self.rows.get(key)
            if row is None or row.asks_otherwise(subject, check):
                self.rows[key] = Row(subject, check, Health(rules_of(check, check.rise, check.fall), now_s))
            else:
                row.subject, row.check = subject, check
                row.health.change(rules_of(check, check.rise, check.fall), now_s)
        self._ask_for_commands()
        self._name_those_that_wait()
        self.bfd.configure(config)
        self._act("configuration")

    @property
    def waiting(self) -> tuple[str, ...]:
        """Keys of command checks that only a restart begins: the right to change users was given up at the start, and
        nobody gave us the process that has it."""
        if self.asking.prepared or self._asked:
            return ()
        checks = [row.check for row in self.rows.values()]
        return tuple(dict.fromkeys(f"health.checks.{one.name}" for one in checks if one.kind is CheckKind.COMMAND))

    def _ask_for_commands(self) -> None:
        """The first command check has come by a reload: the supervisor can give us what runs it."""
        if self.waiting and self.ask is not None:
            self._asked = True
            self.ask()

    def take_commands(self, commands: Commands) -> None:
        """The process that runs commands has been given."""
        self._asked, self._named = False, frozenset()
        self.asking.take(commands)

    def commands_refused(self, why: str) -> None:
        """It has not: the next reload asks again, or a restart begins with it."""
        self._asked = False
        self._name_those_that_wait(f": {why}")

    def _name_those_that_wait(self, why: str = "") -> None:
        """Once for each check, and at each of its rows from now on."""
        waiting = self.waiting
        for key in waiting:
            if key not in self._named:
                text = f"{NOT_BEFORE_A_RESTART.text}{why}\n  mend: {NOT_BEFORE_A_RESTART.mend}"
                self.events.add("restart-needed", key, text, Severity.WARNING)
        self._named = frozenset(waiting)
        for row in self.rows.values() if waiting else ():
            if row.check.kind is CheckKind.COMMAND and row.last is None:
                row.last, row.last_at, row.told = NOT_BEFORE_A_RESTART, time.time(), NOT_BEFORE_A_RESTART.text

    # -- life

    async def keep(self) -> None:
        """For ever: ways are looked for anew, BFD sessions kept in line, verdicts given that are due."""
        try:
            while True:
                self.asking.follow(self._begun())
                await self.bfd.keep_up()
                self._on_time()
                self._act("next hops")
                self.withdrawals.keep_up()
                await beat(EVERY_S)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _begun(self) -> dict[Key, Row]:
        """All checks, but for commands while the process that runs them has been asked for."""
        if not self._asked:
            return self.rows
        return {key: row for key, row in self.rows.items() if row.check.kind is not CheckKind.COMMAND}

    async def close(self) -> None:
        """Stop asking; BFD peers hear AdminDown."""
        await self.asking.close()
        await self.bfd.close()

    # -- results

    def heard(self, key: Key, result: CheckResult) -> None:
        """One run of a check."""
        row = self.rows.get(key)
        if row is None:
            return
        row.last, row.last_at = result, time.time()
        row.counts[result.said] += 1
        now_s = asyncio.get_running_loop().time()
        if result.said is Said.UNKNOWN:
            if row.told != (cause := result.cause or result.text):
                row.told = cause
                text = f"{row.check.name}: {result.text}; what was known goes on"
                mend = f"\n  mend: {result.mend}" if result.mend else ""
                self.events.add("check-unknown", str(row.subject), text + mend, Severity.WARNING)
            return
        row.told = ""
        (row.health.passed if result.said is Said.PASS else row.health.failed)(now_s)
        self._judge(row, now_s)

    def _judge(self, row: Row, now_s: float) -> None:
        verdict, before = row.health.verdict(now_s), row.verdict
        if verdict is before:
            return
        row.verdict, row.since = verdict, time.time()
        if verdict.bad != before.bad or row.is_service:
            self._act(f"{row.subject}: {row.check.name}")
        said = row.last.text if row.last is not None else ""
        severity = Severity.ERROR if verdict is Verdict.UNHEALTHY else Severity.NOTICE
        self.events.add(f"health-{verdict}", str(row.subject), f"{row.check.name}: {said}", severity)
        self._plan()

    def _bfd_changed(self, name: str) -> None:
        self._act(f"BFD with {name}")
        self._plan()

    def _plan(self) -> None:
        """Wake up for the verdict that changes by itself next."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        dues = [due for row in self.rows.values() if (due := row.health.due_s(now_s)) is not None]
        bfd_due = self.bfd.due_s(now_s)
        if self._timer is not None:
            self._timer.cancel()
        first = min([*dues, *([bfd_due] if bfd_due is not None else [])], default=None)
        self._timer = None if first is None else loop.call_at(first, self._on_time)

    def _on_time(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for row in list(self.rows.values()):
            self._judge(row, now_s)
        for one in list(self.bfd.watched.values()):
            self.bfd.judge(one, now_s)
        self._plan()

    # -- what follows

    def _act(self, detail: str) -> None:
        """Hold down what is bad and nothing else."""
        bad = [row.subject for row in self.rows.values() if row.verdict.bad]
        names = {subject.name for subject in bad if subject.kind is SubjectKind.PEER}
        addresses = {subject.address for subject in bad if subject.kind is SubjectKind.NEXT_HOP}
        for one in self.bfd.bad():
            names.add(one.name)
            if (peer := self.peers.named(one.name)) is not None:
                addresses.add(peer.config.address)
        peers = frozenset(peer.index for name in names if (peer := self.peers.named(name)) is not None)
        hops = (
            frozenset(n for n in self.next_hops.ids() if self.next_hops[n].address in addresses) if addresses else None
        )
        held = (peers, hops or frozenset())
        if held != self._held:
            self._held = held
            groups = self.committer.paths.hold_down(*held)
            self.committer.groups(groups, Cause(CauseKind.HEALTH, detail=detail))
        services = ((row.subject.name, row.verdict) for row in self.rows.values() if row.is_service)
        self.withdrawals.follow(tuple(services))

    def why(self, peer: int, next_hop: int) -> str:
        """Why a member of a group is held down, in words; empty when it is not."""
        name, address = self.peers.name(peer), self.next_hops[next_hop].address
        return "; ".join(self._reasons(name, str(address)))

    def why_peer(self, name: str) -> str:
        """Why a peer's paths are held down; empty when they are not."""
        return "; ".join(self._reasons(name, ""))

    def _reasons(self, name: str, address: str) -> Iterator[str]:
        for row in self.rows.values():
            if row.verdict.bad and (row.subject.kind, row.subject.name) in {
                (SubjectKind.PEER, name),
                (SubjectKind.NEXT_HOP, address),
            }:
                yield f"{row.check.name} of {row.subject} is {row.verdict}"
        for one in self.bfd.bad():
            peer = self.peers.named(one.name)
            if one.name == name or (peer is not None and str(peer.config.address) == address):
                yield f"BFD with {one.name} is {'down' if one.verdict is Verdict.UNHEALTHY else one.verdict}"

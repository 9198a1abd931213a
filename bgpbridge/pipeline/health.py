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
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config import Config
from bgpbridge.config.health import Check, CheckKind
from bgpbridge.enrich.targets import Exit
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.resolve import Resolver
from bgpbridge.health.checks import NOT_BEFORE_A_RESTART, Checks, Key, Seat
from bgpbridge.health.commands import Commands
from bgpbridge.health.damping import Health, Rules, Verdict
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.pipeline.bfd import BfdWatch, rules_of
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.subjects import Subject, SubjectKind, subjects_of
from bgpbridge.pipeline.ways import way_to
from bgpbridge.rib.next_hops import NextHopTable

__all__ = ["HealthWatch", "Row"]

EVERY_S = 1.0


@dataclass(slots=True)
class Row:
    """One check at one subject. Times of day are Unix seconds."""

    subject: Subject
    check: Check
    health: Health
    verdict: Verdict = Verdict.UNKNOWN
    since: float = field(default_factory=time.time)
    last: CheckResult | None = None
    last_at: float = 0.0
    counts: Counter[Said] = field(default_factory=Counter)
    told: str = ""  # why it is unknown, as last said

    @property
    def key(self) -> Key:
        """What it is known by."""
        return str(self.subject), self.check.name


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
        self.state, self.resolver, self.events = state, resolver, events
        self.rows: dict[Key, Row] = {}
        self.withdrawn: frozenset[str] = frozenset()
        self._recalled: frozenset[str] = frozenset()
        self.commands: Commands | None = None
        self.bfd = BfdWatch(peers, sessions, state, resolver, events, self._bfd_changed)
        self._announce, self._memory = announce, memory
        self._checks: Checks | None = None
        self._seats: dict[Key, Seat] = {}
        self._subjects: list[Subject] = []
        self._timer: asyncio.TimerHandle | None = None
        self._held: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        self._trouble = ""
        self._behind = False
        self._named: frozenset[str] = frozenset()  # those of `waiting` that an event has named

    # -- configuration

    def prepare(self, config: Config) -> None:
        """Before privileges are given up: what is needed to run commands. Raises BridgeError."""
        self.withdrawn = self._recalled = self._remembered()
        if config.health.checks:
            self.commands = Commands()
            self.commands.start()
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
            if row is None or _asks_otherwise(row, subject, check):
                self.rows[key] = Row(subject, check, Health(_rules(check), now_s))
            else:
                row.subject, row.check = subject, check
                row.health.change(_rules(check), now_s)
        self._name_those_that_wait()
        self.bfd.configure(config)
        self._act("configuration")

    @property
    def waiting(self) -> tuple[str, ...]:
        """Keys of command checks that only a restart begins: the right to change users was given up at the start."""
        checks = [row.check for row in self.rows.values()] if self.commands is None else []
        return tuple(dict.fromkeys(f"health.checks.{one.name}" for one in checks if one.kind is CheckKind.COMMAND))

    def _name_those_that_wait(self) -> None:
        """Once for each check, and at each of its rows from now on."""
        waiting = self.waiting
        for key in waiting:
            if key not in self._named:
                text = f"{NOT_BEFORE_A_RESTART.text}\n  mend: {NOT_BEFORE_A_RESTART.mend}"
                self.events.add("restart-needed", key, text, Severity.WARNING)
        self._named = frozenset(waiting)
        for row in self.rows.values():
            if self.commands is None and row.check.kind is CheckKind.COMMAND and row.last is None:
                row.last, row.last_at, row.told = NOT_BEFORE_A_RESTART, time.time(), NOT_BEFORE_A_RESTART.text

    # -- life

    async def keep(self) -> None:
        """For ever: ways are looked for anew, BFD sessions kept in line, verdicts given that are due."""
        try:
            while True:
                self._find_ways()
                await self.bfd.keep_up()
                self._on_time()
                self._act("next hops")
                if self._behind:
                    self._tell_speaker()
                await asyncio.sleep(EVERY_S)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def close(self) -> None:
        """Stop asking; BFD peers hear AdminDown."""
        if self._checks is not None:
            await self._checks.close()
        if self.commands is not None:
            await self.commands.stop()
        await self.bfd.close()

    def _find_ways(self) -> None:
        """Where each check leaves now. Only what has changed is told to those who ask."""
        seats = {key: self._seat(row) for key, row in self.rows.items()}
        if seats != self._seats:
            try:
                if self._checks is None:
                    self._checks = Checks(self.heard, self.commands)
                self._checks.set_seats(seats)
                self._seats, self._trouble = seats, ""
            except BridgeError as error:  # tried again in a second
                if self._trouble != error.what:
                    self._trouble = error.what
                    self.events.add("check-refused", "health", str(error), Severity.ERROR)
        for key, seat in seats.items():
            if seat.why:
                mend = "`bgpbridge adjacencies` and `ip route get` show the way there"
                self.heard(key, CheckResult(Said.UNKNOWN, seat.why, mend=mend))

    def _seat(self, row: Row) -> Seat:
        check, subject = row.check, row.subject
        if check.kind is CheckKind.COMMAND or (check.kind is CheckKind.HTTP and subject.kind is SubjectKind.SERVICE):
            return Seat(check, None, None)
        through = subject.address if subject.kind is not SubjectKind.SERVICE else check.target or subject.address
        if through is None:
            return Seat(check, None, None, "there is no address to ask")
        asked = check.target or subject.address
        way = way_to(self.state, self.resolver, through, asked if check.kind is not CheckKind.HTTP else None)
        return Seat(check, way, asked) if isinstance(way, Exit) else Seat(check, None, asked, way)

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
            if row.told != result.text:
                row.told = result.text
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
        if verdict.bad != before.bad or row.subject.kind is SubjectKind.SERVICE:
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
        self._withdraw()

    def _withdraw(self) -> None:
        """Services that are not well are not announced. One that nothing is known of yet stays as an earlier run left
        it, until the first of its checks has spoken."""
        rows = [row for row in self.rows.values() if row.subject.kind is SubjectKind.SERVICE]
        self._recalled -= {row.subject.name for row in rows if row.verdict is not Verdict.UNKNOWN}
        self._recalled &= {row.subject.name for row in rows}
        withdrawn = self._recalled | {row.subject.name for row in rows if row.verdict.bad}
        if withdrawn == self.withdrawn:
            return
        gone, back = withdrawn - self.withdrawn, self.withdrawn - withdrawn
        self.withdrawn = withdrawn
        self._remember()
        for prefix in sorted(gone):
            self.events.add("service-withdrawn", prefix, "announced to no peer until it is well", Severity.ERROR)
        for prefix in sorted(back):
            self.events.add("service-announced", prefix, "announced again, as configured", Severity.NOTICE)
        self._tell_speaker()

    def _tell_speaker(self) -> None:
        """Tried again each second until the speaker has it."""
        try:
            self._announce()
            self._behind = False
        except BridgeError as error:
            if not self._behind:
                self.events.add("speaker-behind", "speaker", str(error), Severity.ERROR)
            self._behind = True

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

    # -- memory

    def _remembered(self) -> frozenset[str]:
        try:
            found = json.loads(self._memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return frozenset()
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def _remember(self) -> None:
        try:
            self._memory.write_text(json.dumps(sorted(self.withdrawn)), encoding="utf-8")
        except OSError as error:
            self.events.add("state-not-written", str(self._memory), str(error), Severity.WARNING)


def _rules(check: Check) -> Rules:
    return rules_of(check, check.rise, check.fall)


def _asks_otherwise(row: Row, subject: Subject, check: Check) -> bool:
    """True when what is known answers another question: not for other patience alone."""
    patience = {"rise", "fall", "hold_down_s", "damping", "interval_ms", "timeout_ms"}
    before, after = (one.model_dump(exclude=patience) for one in (row.check, check))
    return before != after or row.subject.address != subject.address

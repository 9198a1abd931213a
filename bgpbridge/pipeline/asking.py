"""Who makes the checks, and by which way each leaves: looked for anew each second, for routes and links change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bgpbridge.config.health import CheckKind
from bgpbridge.enrich.targets import Exit
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.resolve import Resolver
from bgpbridge.health.checks import Checks, Key, Seat
from bgpbridge.health.commands import Commands
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.pipeline.checked import Row
from bgpbridge.pipeline.subjects import SubjectKind
from bgpbridge.pipeline.ways import way_to

__all__ = ["Asking"]


class Asking:
    """`heard` is given every result, and why a check cannot be made."""

    def __init__(
        self, state: KernelState, resolver: Resolver, events: EventLog, heard: Callable[[Key, CheckResult], None]
    ) -> None:
        self._state, self._resolver, self._events, self._heard = state, resolver, events, heard
        self._commands: Commands | None = None
        self._checks: Checks | None = None
        self._seats: dict[Key, Seat] = {}
        self._trouble = ""

    @property
    def prepared(self) -> bool:
        """True when commands can be run."""
        return self._commands is not None

    def prepare(self) -> None:
        """Before privileges are given up: what is needed to run commands. Raises BridgeError."""
        self._commands = Commands()
        self._commands.start()

    def take(self, commands: Commands) -> None:
        """What another process was asked for: commands can be run from now on."""
        self._commands = commands
        if self._checks is not None:
            self._checks.commands = commands

    def follow(self, rows: Mapping[Key, Row]) -> None:
        """Where each check leaves now. Only what has changed is told to those who ask."""
        seats = {key: self._seat(row) for key, row in rows.items()}
        if seats != self._seats:
            try:
                if self._checks is None:
                    self._checks = Checks(self._heard, self._commands)
                self._checks.set_seats(seats)
                self._seats, self._trouble = seats, ""
            except BridgeError as error:  # tried again in a second
                if self._trouble != error.what:
                    self._trouble = error.what
                    self._events.add("check-refused", "health", str(error), Severity.ERROR)
        for key, seat in seats.items():
            if seat.why:
                mend = "`bgpbridge adjacencies` and `ip route get` show the way there"
                self._heard(key, CheckResult(Said.UNKNOWN, seat.why, mend=mend))

    def _seat(self, row: Row) -> Seat:
        check, subject = row.check, row.subject
        if check.kind is CheckKind.COMMAND or (check.kind is CheckKind.HTTP and subject.kind is SubjectKind.SERVICE):
            return Seat(check, None, None)
        through = subject.address if subject.kind is not SubjectKind.SERVICE else check.target or subject.address
        if through is None:
            return Seat(check, None, None, "there is no address to ask")
        asked = check.target or subject.address
        way = way_to(self._state, self._resolver, through, asked if check.kind is not CheckKind.HTTP else None)
        return Seat(check, way, asked) if isinstance(way, Exit) else Seat(check, None, asked, way)

    async def close(self) -> None:
        """Ask no more."""
        if self._checks is not None:
            await self._checks.close()
        if self._commands is not None:
            await self._commands.stop()

"""Services that are not well are announced to nobody; which they are outlives a restart.

Nothing here adds an announcement: a withdrawn prefix comes back because the configuration lists it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.health.damping import Verdict

__all__ = ["Withdrawals"]


class Withdrawals:
    """`announce` has the speaker told of `withdrawn` when it is another; `memory` is the file that keeps it."""

    def __init__(self, memory: Path, events: EventLog, announce: Callable[[], None]) -> None:
        self.withdrawn: frozenset[str] = frozenset()
        self._recalled: frozenset[str] = frozenset()
        self._memory, self._events, self._announce = memory, events, announce
        self._behind = False

    def start(self) -> None:
        """As an earlier run left it."""
        self.withdrawn = self._recalled = self._remembered()

    def follow(self, services: Sequence[tuple[str, Verdict]]) -> None:
        """What each check says of each service (by its prefix). One that nothing is known of yet stays as an earlier
        run left it, until the first of its checks has spoken."""
        self._recalled -= {name for name, verdict in services if verdict is not Verdict.UNKNOWN}
        self._recalled &= {name for name, _ in services}
        withdrawn = self._recalled | {name for name, verdict in services if verdict.bad}
        if withdrawn == self.withdrawn:
            return
        gone, back = withdrawn - self.withdrawn, self.withdrawn - withdrawn
        self.withdrawn = withdrawn
        self._remember()
        for prefix in sorted(gone):
            self._events.add("service-withdrawn", prefix, "announced to no peer until it is well", Severity.ERROR)
        for prefix in sorted(back):
            self._events.add("service-announced", prefix, "announced again, as configured", Severity.NOTICE)
        self._tell_speaker()

    def keep_up(self) -> None:
        """Each second: the speaker is told again until it has it."""
        if self._behind:
            self._tell_speaker()

    def _tell_speaker(self) -> None:
        try:
            self._announce()
            self._behind = False
        except BridgeError as error:
            if not self._behind:
                self._events.add("speaker-behind", "speaker", str(error), Severity.ERROR)
            self._behind = True

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
            self._events.add("state-not-written", str(self._memory), str(error), Severity.WARNING)

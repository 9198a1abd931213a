"""A VRP file that is looked at again and again: what of it takes effect, and what is wrong with it.

A validator that fails writes a short file, and a short file makes valid routes of hijacks. So a file that lost more
than a share of its payloads at once, or all, changes nothing: what was there goes on, with an alarm that stays until
the file is well again. The same for a file that is gone, torn or wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.errors import DocumentError
from bgpbridge.rpki.vrp_file import read_vrps
from bgpbridge.rpki.vrps import VrpTable

__all__ = ["DEFAULT_MAX_SHRINK_PERCENT", "VrpSource", "offered_by", "shrink_alarm"]

DEFAULT_MAX_SHRINK_PERCENT = 50


def shrink_alarm(present: int, offered: int, max_shrink_percent: int = DEFAULT_MAX_SHRINK_PERCENT) -> str:
    """Why a table of `offered` payloads must not follow one of `present`; empty when it may. 100 allows everything."""
    if max_shrink_percent >= 100 or (offered and (present - offered) * 100 <= present * max_shrink_percent):
        return ""
    if not offered:
        return f"holds no VRP that counts now; the {present:,} from before stay in use"
    lost = (present - offered) * 100 // present
    return (
        f"shrank from {present:,} VRPs to {offered:,} ({lost}% less, {max_shrink_percent}% is allowed at once); "
        "those from before stay in use"
    )


def offered_by(path: Path, now_s: float) -> VrpTable | str:
    """What a file offers at a time (Unix, seconds), or what is wrong with it. Values that another process can give."""
    try:
        return read_vrps(path, now_s).table
    except DocumentError as error:
        return str(error)


@dataclass(slots=True)
class VrpSource:
    """One file. `table` is what counts, `alarm` what is wrong now (empty: nothing)."""

    path: Path
    max_shrink_percent: int = DEFAULT_MAX_SHRINK_PERCENT
    table: VrpTable = field(default_factory=VrpTable)
    alarm: str = ""
    read: Callable[[Path, float], VrpTable | str] = offered_by
    _seen: tuple[int, ...] = ()

    def look(self, now_s: float, *, again: bool = False) -> bool:
        """Read the file if it is another than last time (or `again`: VRPs end by time too). True when `table` is
        another one now. `now_s` is Unix time; whoever has an event loop calls this from a thread."""
        seen = self._stamp()
        if seen == self._seen and seen and not again:
            return False
        self._seen = seen
        offered = self.read(self.path, now_s)
        if isinstance(offered, str):
            self.alarm = offered
            return False
        alarm = shrink_alarm(len(self.table), len(offered), self.max_shrink_percent)
        if alarm:
            self.alarm = f"{self.path} {alarm}\n  mend: see why the validator wrote so few; if they are right, "
            self.alarm += "set rpki.max_shrink_percent to 100 and reload"
            return False
        self.alarm, self.table = "", offered
        return True

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

"""TCP MD5 (RFC 2385) that fails is silence: a segment with no or another signature is dropped, and neither side hears
of it. What is left are the kernel's counters; they are those of the whole network namespace, so what they say about
one peer is a hint and worded as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgpbridge.feed.frames import NoticeKind

if TYPE_CHECKING:
    from bgpbridge.speaker.peer import TapPeer

__all__ = ["TELL_AGAIN_S", "SignatureWatch", "Signatures", "no_answer"]

_LOOK_EVERY_S: Final = 10.0
TELL_AGAIN_S: Final = 300.0

_NETSTAT: Final = Path("/proc/self/net/netstat")
_COUNTERS: Final = {"TCPMD5Failure": "wrong", "TCPMD5NotFound": "missing", "TCPMD5Unexpected": "unexpected"}


@dataclass(frozen=True, slots=True)
class Signatures:
    """Segments that the kernel dropped: signed with another password than ours, not signed though a password is set
    for their sender, signed though none is."""

    wrong: int = 0
    missing: int = 0
    unexpected: int = 0

    def __sub__(self, before: Signatures) -> Signatures:
        return Signatures(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))

    @classmethod
    def now(cls, path: Path = _NETSTAT) -> Signatures:
        """The counters of this network namespace; zeros where the kernel has none."""
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError:
            return cls()
        found = dict(
            pair
            for names, values in zip(lines[::2], lines[1::2], strict=False)
            for pair in zip(names.split(), values.split(), strict=False)
        )
        return cls(**{ours: int(found.get(theirs, 0)) for theirs, ours in _COUNTERS.items()})

    def about(self, *, password: bool) -> str:
        """What these counts say of a peer that has a password here or has none; empty when nothing."""
        if password:
            parts = [
                text
                for count, text in (
                    (self.wrong, f"{_segments(self.wrong)} with a wrong MD5 signature"),
                    (self.missing, f"{_segments(self.missing)} without one"),
                )
                if count
            ]
            return f"the kernel dropped {' and '.join(parts)} meanwhile" if parts else ""
        if not self.unexpected:
            return ""
        return (
            f"the kernel dropped {_segments(self.unexpected)} with an MD5 signature that nobody here has a password for"
        )


def no_answer(seconds: float, *, password: bool, dropped: Signatures) -> str:
    """Why TCP may have had no answer for so long."""
    counted = dropped.about(password=password)
    if password:
        text = f"no answer for {seconds:.0f} s; this peer has a password: has the other side the same one?"
        return f"{text} {counted[0].upper()}{counted[1:]}" if counted else f"{text} Or filtered, or no route back"
    if counted:
        return f"no answer for {seconds:.0f} s; {counted}: does the other side have one for us?"
    return f"no answer for {seconds:.0f} s: filtered, no route back, or the other side has a password for us"


@dataclass(slots=True)
class SignatureWatch:
    """Tells of passive peers that are down while the kernel drops segments that may be theirs: they make no attempt of
    ours fail that would tell. A notice when it begins, and now and then while it lasts."""

    read: Callable[[], Signatures] = Signatures.now
    clock: Callable[[], float] = time.monotonic
    _before: Signatures | None = None
    _next: float = 0.0
    _told: dict[int, float] = field(default_factory=dict)

    def look(self, peers: Iterable[TapPeer]) -> None:
        """To be called every turn; looks every ten seconds."""
        now = self.clock()
        if now < self._next:
            return
        self._next = now + _LOOK_EVERY_S
        waiting = [peer for peer in peers if peer.session is None and peer.neighbor["passive"]]
        self._told = {number: at for number, at in self._told.items() if number in {p.number for p in waiting}}
        if not waiting:
            self._before = None
            return
        counts, before = self.read(), self._before
        self._before = counts
        if before is not None:
            for peer in waiting:
                self._tell(peer, counts - before, now)

    def _tell(self, peer: TapPeer, dropped: Signatures, now: float) -> None:
        password = bool(peer.neighbor["md5-password"])
        counted = dropped.about(password=password)
        if not counted or now < self._told.get(peer.number, 0.0):
            return
        self._told[peer.number] = now + TELL_AGAIN_S
        asked = "has the other side the same password?" if password else "does the other side have one for us?"
        text = f"it has not connected; {counted}, perhaps its own: {asked}"
        peer.outbox.notice(NoticeKind.SIGNATURE_REFUSED, text, peer=peer.number)


def _segments(count: int) -> str:
    return f"{count} segment{'' if count == 1 else 's'}"

"""Ctrl-C, SIGTERM and SIGHUP, heard only where they do no harm.

Python raises KeyboardInterrupt wherever it happens to be: also after a process has started and before it is noted,
or inside the `finally` that was to end it. Here a signal is noted, and what comes of it depends on where we are:

- in an `interruptible` block KeyboardInterrupt is raised at once, and once: what follows is the way down, and a
  second signal does not stop that;
- in a `held` block nothing is raised before the block ends. Whoever waits in there looks at `asked`, in any thread.

One hole is left to close: an exception that is raised as a `with` calls the `__exit__` of the block it leaves, so
that this `__exit__` never begins. So what must be undone is named (`undone`), and the outermost `interruptible` does
what is still open: its own `__exit__` can't be hit, since the one exception that there is has been raised by then.

Only the main thread hears signals; in other threads the blocks do nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

__all__ = ["asked", "held", "interruptible", "released", "too_late", "undone"]

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Ear:
    """What has been heard, and whether it may be said: for the time of one outermost block. A block keeps the ear it
    began with, so one whose `__exit__` comes late (a generator that is collected) changes nothing for the next."""

    heard: int = 0  # the number of the first signal that has come
    blocks: int = 0  # `interruptible` blocks that we are in
    holds: int = 0  # `held` blocks that we are in
    raised: bool = False
    kept: dict[int, Any] = field(default_factory=dict)  # the handlers from before
    undo: list[Callable[[], None]] = field(default_factory=list)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        del frame
        self.heard = self.heard or number
        self.say()

    def say(self) -> None:
        """Raise KeyboardInterrupt if a signal has come and this is the place."""
        if self.heard and self.blocks and not self.holds and not self.raised:
            self.raised = True
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Signals come to us. One that is ignored (nohup) stays so, and one of another library's stays there."""
        for number in NUMBERS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self.kept[number] = signal.signal(number, self.hear)

    def leave(self) -> None:
        """Signals go where they went before; one that has come and was not said goes there now."""
        for number, handler in reversed(self.kept.items()):  # SIGINT last: its own handler may raise at once
            signal.signal(number, handler)
        if self.heard and not self.raised:
            signal.raise_signal(self.heard)


_EARS: list[_Ear] = []  # the one that listens, if any does: signals belong to the process


def asked() -> bool:
    """True when a signal has come that asks us to end: for those who wait in a `held` block."""
    return any(ear.heard for ear in _EARS)


def too_late() -> None:
    """The work is done and was told, and the process about to end: what has come is forgotten, and what comes until
    then is ignored, so that the exit code says what became of the work."""
    for ear in _EARS:
        ear.heard = 0
        for number in ear.kept:
            signal.signal(number, signal.SIG_IGN)
        ear.kept.clear()


@contextlib.contextmanager
def _ear() -> Iterator[_Ear | None]:
    """The ear that listens, put in place by the outermost block; None in a thread that hears nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield None
    elif _EARS:
        yield _EARS[0]
    else:
        ear = _Ear()
        _EARS.append(ear)
        try:
            ear.listen()
            yield ear
        finally:
            _EARS.remove(ear)
            ear.leave()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does: by one KeyboardInterrupt, so that what it holds is undone."""
    with _ear() as ear:
        if ear is None:
            yield
            return
        blocks, holds = ear.blocks, ear.holds
        try:
            ear.blocks = blocks + 1
            yield
        finally:
            ear.holds = holds + 1  # from here on a signal is noted only
            try:
                while not blocks and ear.undo:  # the outermost does what those who were to have not done
                    ear.undo.pop()()
            finally:
                ear.blocks, ear.holds = blocks, holds


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Nothing is raised in the block; a signal that came meanwhile is heard at its end, unless it was nested."""
    with _ear() as ear:
        if ear is None:
            yield
            return
        holds = ear.holds
        ear.holds = holds + 1
        try:
            yield
        finally:
            ear.holds = holds
            ear.say()


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Inside a `held` block that is not nested: signals are heard for a while, first the one that has come."""
    with _ear() as ear:
        if ear is None:
            yield
            return
        holds = ear.holds
        try:
            ear.holds = holds - 1
            ear.say()
            yield
        finally:
            ear.holds = holds


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Inside a `held` block: `undo` is called when the block ends, however that comes about."""
    with _ear() as ear:
        open_ones = [] if ear is None else ear.undo
        open_ones.append(undo)
        try:
            yield
        finally:
            try:
                undo()
            finally:
                with contextlib.suppress(ValueError):  # the outermost block was first
                    open_ones.remove(undo)

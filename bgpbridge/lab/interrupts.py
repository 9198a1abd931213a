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

__all__ = ["asked", "forget", "held", "interruptible", "released", "undone"]

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Ear:
    """What has been heard, and whether it may be said. There is one: signals belong to the process."""

    heard: int = 0  # the number of the first signal that has come
    blocks: int = 0  # `interruptible` blocks that we are in
    holds: int = 0  # `held` blocks that we are in
    raised: bool = False
    kept: dict[int, Any] = field(default_factory=dict)  # the handlers from before; empty while we do not listen
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
        kept, self.kept = self.kept, {}
        for number, handler in reversed(kept.items()):  # SIGINT last: its own handler may raise as soon as it is back
            signal.signal(number, handler)
        number, self.heard = 0 if self.raised else self.heard, 0
        self.raised = False
        if number:
            signal.raise_signal(number)


_EAR = _Ear()


def asked() -> bool:
    """True when a signal has come that asks us to end: for those who wait in a `held` block."""
    return _EAR.heard != 0


def forget() -> None:
    """What came by now came too late: the work is done and was told."""
    _EAR.heard = 0


@contextlib.contextmanager
def _listening() -> Iterator[bool]:
    """Our handlers are in place; gives False in a thread that hears nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    outermost = not _EAR.kept
    if outermost:
        _EAR.listen()
    try:
        yield True
    finally:
        if outermost:
            _EAR.leave()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does: by one KeyboardInterrupt, so that what it holds is undone."""
    with _listening() as here:
        if not here:
            yield
            return
        blocks, holds = _EAR.blocks, _EAR.holds
        try:
            _EAR.blocks = blocks + 1
            yield
        finally:
            _EAR.holds = holds + 1  # from here on a signal is noted only
            try:
                _undo_rest(blocks)
            finally:
                _EAR.blocks, _EAR.holds = blocks, holds


def _undo_rest(outer_blocks: int) -> None:
    """In the outermost block: what those who were to undo it have not."""
    while not outer_blocks and _EAR.undo:
        _EAR.undo.pop()()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Nothing is raised in the block; a signal that came meanwhile is heard at its end, unless it was nested."""
    with _listening() as here:
        if not here:
            yield
            return
        holds = _EAR.holds
        _EAR.holds = holds + 1
        try:
            yield
        finally:
            _EAR.holds = holds
            _EAR.say()


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Inside a `held` block that is not nested: signals are heard for a while, first the one that has come."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    holds = _EAR.holds
    try:
        _EAR.holds = holds - 1
        _EAR.say()
        yield
    finally:
        _EAR.holds = holds


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Inside a `held` block: `undo` is called when the block ends, however that comes about."""
    if threading.current_thread() is not threading.main_thread():
        try:
            yield
        finally:
            undo()
        return
    _EAR.undo.append(undo)
    try:
        yield
    finally:
        try:
            undo()
        finally:
            with contextlib.suppress(ValueError):  # the outermost block was first
                _EAR.undo.remove(undo)

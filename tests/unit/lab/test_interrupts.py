"""Signals end what may be ended, once, and never what is being made or cleared."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from bgpbridge.lab import interrupts
from bgpbridge.lab.interrupts import asked, held, interruptible, released, undone

interrupted = partial(pytest.raises, KeyboardInterrupt)
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Afterwards every signal goes where it went before."""
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    assert [signal.getsignal(number) for number in NUMBERS] == before
    assert not asked()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_an_interruptible_block(number: signal.Signals) -> None:
    done = []
    with interrupted(), interruptible():
        signal.raise_signal(number)
        done.append("went on")
    assert done == []


@pytest.mark.parametrize("number", NUMBERS)
def test_a_held_block_comes_to_its_end_first(number: signal.Signals) -> None:
    done = []
    with interrupted(), interruptible():
        with held():
            signal.raise_signal(number)
            with held():
                assert asked()
            done.append("inside")
        done.append("behind")
    assert done == ["inside"]


def test_what_the_block_raises_gives_way_to_the_signal() -> None:
    with interrupted(), interruptible(), held():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError


def test_a_second_signal_does_not_disturb_the_way_down() -> None:
    done = []
    with interrupted(), interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            for number in NUMBERS:
                signal.raise_signal(number)
            done.append("cleared")
    assert done == ["cleared"]


def test_a_signal_is_heard_where_it_is_released_and_undone_once() -> None:
    done: list[str] = []
    with interrupted(), interruptible(), held():
        signal.raise_signal(signal.SIGHUP)
        done.append("made")
        with undone(lambda: done.append("undone")), released():
            done.append("in use")
    assert done == ["made", "undone"]


def test_signals_while_it_is_undone_are_heard_behind_it() -> None:
    done: list[str] = []

    def undo() -> None:
        signal.raise_signal(signal.SIGTERM)
        done.append("undone")

    with interrupted(), interruptible():
        with held(), undone(undo), released():
            done.append("in use")
        done.append("behind")
    assert done == ["in use", "undone"]


def test_an_exit_that_was_never_entered_is_made_good_by_the_outermost_block() -> None:
    """As when the exception is raised between a block and its `__exit__`."""
    done: list[str] = []

    @contextlib.contextmanager
    def running() -> Iterator[None]:
        with interruptible(), held(), undone(lambda: done.append("undone")), released():
            yield

    with interrupted(), interruptible():
        block = running()
        block.__enter__()
        signal.raise_signal(signal.SIGINT)
    assert done == ["undone"]
    with contextlib.suppress(StopIteration):
        block.__exit__(None, None, None)


TOO_LATE = """
import signal
from bgpbridge.lab.interrupts import held, interruptible, too_late
with interruptible(), held():
    signal.raise_signal(signal.SIGINT)
    print("done")
    too_late()
    signal.raise_signal(signal.SIGHUP)
signal.raise_signal(signal.SIGTERM)
"""


def test_what_comes_too_late_changes_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", TOO_LATE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr


def test_without_an_interruptible_block_a_held_signal_goes_to_who_had_it() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with held():
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_see_that_we_were_asked_and_their_own_blocks_do_nothing() -> None:
    seen: list[object] = []

    def inside() -> None:
        with interruptible(), held(), undone(lambda: seen.append("undone")), released():
            seen.append(interrupts.asked())

    with interrupted(), interruptible(), held():
        signal.raise_signal(signal.SIGINT)
        run(inside)
    assert seen == [True, "undone"]


def run(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

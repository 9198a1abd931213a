"""The wait of the reactor: what is no more than UPDATEs does not end it."""

from __future__ import annotations

import select
from types import SimpleNamespace
from typing import Any

import pytest

from bgpbridge.speaker.reactor import TapReactor

IN = select.POLLIN
SESSION, OTHER, COMMANDS, WOKEN = 5, 6, 7, 8


class Proto:
    """A session whose read-ahead says each time what it is told to say."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)

    def read_ahead(self) -> bool:
        return self.answers.pop(0)


class Poller:
    def __init__(self, *found: list[tuple[int, int]]) -> None:
        self.found = list(found)
        self.asked: list[int] = []
        self.gone: list[int] = []

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        self.asked.append(timeout_ms)
        return self.found.pop(0)

    def unregister(self, fd: int) -> None:
        self.gone.append(fd)


def reactor(poller: Poller, *answers: bool, calm: bool = True) -> Any:
    made = object.__new__(TapReactor)
    made._poller = poller
    made._woken = WOKEN
    made._serving = {SESSION: SimpleNamespace(session=True, proto=Proto(*answers))}
    made.outbox = SimpleNamespace(waiting=not calm)
    made.asynchronous = SimpleNamespace(ready=lambda: True)
    made._peers = {}
    return made


def test_the_wait_goes_on_while_updates_are_all_that_comes() -> None:
    poller = Poller([(SESSION, IN)], [(SESSION, IN)], [(COMMANDS, IN)])
    assert list(reactor(poller, True, True)._wait_for_io(100)) == [COMMANDS]
    assert poller.found == []


@pytest.mark.parametrize("event", [IN | select.POLLHUP, select.POLLERR])
def test_the_end_of_a_session_is_the_reactors(event: int) -> None:
    assert list(reactor(Poller([(SESSION, event)]), True)._wait_for_io(100)) == [SESSION]


def test_what_is_left_to_do_ends_the_wait() -> None:
    poller = Poller([(SESSION, IN)], [(SESSION, IN), (OTHER, IN)])
    assert list(reactor(poller, True, False)._wait_for_io(100)) == [SESSION, OTHER]


def test_whoever_is_not_calm_waits_once_and_for_as_long_as_exabgp_says() -> None:
    poller = Poller([(SESSION, IN)])
    assert list(reactor(poller, True, calm=False)._wait_for_io(10)) == [SESSION]
    assert poller.asked == [10]
    poller = Poller([(SESSION, IN)])
    assert list(reactor(poller, True)._wait_for_io(0)) == [SESSION]
    assert poller.asked == [0]


def test_a_descriptor_that_is_gone_ends_the_wait_and_is_polled_no_more() -> None:
    poller = Poller([(OTHER, select.POLLNVAL)])
    assert list(reactor(poller)._wait_for_io(100)) == []
    assert poller.gone == [OTHER]


def test_timers_have_their_turn_though_updates_never_cease(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr("bgpbridge.speaker.reactor.time.monotonic", lambda: next(now) / 8)
    poller = Poller(*[[(SESSION, IN)]] * 20)
    assert list(reactor(poller, *[True] * 20)._wait_for_io(100)) == []
    assert poller.asked == [500, 2, 2, 2]  # short ones, for UPDATEs come now and then

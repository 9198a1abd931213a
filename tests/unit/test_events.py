"""Events are kept in order, and a slow follower loses its own, never others'."""

from __future__ import annotations

import asyncio

from bgpbridge import events
from bgpbridge.events import EventLog, Severity


def test_tail_gives_the_last_ones_oldest_first() -> None:
    log = EventLog(clock=lambda: 7.0)
    for name in "abc":
        log.add("session-up", name, "up")
    assert [e.subject for e in log.tail(2)] == ["b", "c"]
    assert log.tail(0) == []
    assert log.total == 3
    assert log.tail(1)[0].at == 7.0


def test_a_follower_sees_what_comes_after_it_joined() -> None:
    async def story() -> list[str]:
        log = EventLog()
        log.add("x", "before", "")
        seen: list[str] = []

        async def read() -> None:
            async for event in log.follow():
                seen.append(event.subject)
                if len(seen) == 2:
                    return

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        log.add("x", "one", "", Severity.WARNING)
        log.add("x", "two", "")
        await task
        return seen

    assert asyncio.run(story()) == ["one", "two"]


def test_a_follower_that_does_not_read_is_counted_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(events, "FOLLOWER_ROOM", 2)

    async def story() -> int:
        log = EventLog()
        follower = log.follow()
        first = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        for _ in range(5):
            log.add("x", "s", "")
        await first
        await follower.aclose()
        return log.missed

    assert asyncio.run(story()) == 3

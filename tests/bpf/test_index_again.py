"""An index of real maps that gave up: it is built again when its routes fit, slice by slice, while routes change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.events import EventLog
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.pipeline.index_again import IndexAgain
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
V6 = Family.IPV6
NEAR = [Prefix(V6, 0x20010DB8 << 96 | number << 80, 48) for number in range(5000)]
FAR = [Prefix(V6, (0x2001 << 112) + (number << 104) + 1, 128) for number in range(6000)]  # 13 lines each
ROOM = len(NEAR) + len(FAR) + 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def change(fib: XdpFib, prefixes: list[Prefix], first_row: int, group: int) -> None:
    keys, count = Keys.of(V6, prefixes), len(prefixes)
    rows = np.arange(first_row, first_row + count)
    none, groups = np.zeros(count, np.uint32), np.full(count, group, np.uint32)
    fib.apply(Changes(V6, rows, keys.hi, keys.lo, keys.length, none, groups))


@pytest.fixture
def fib() -> Iterator[XdpFib]:
    """5,000 routes that the index has room for, and 6,000 that it has none for."""
    maps = Maps.create(Sizes(max_ipv4=1000, max_ipv6=ROOM))
    made = XdpFib(maps, Engine.INDEX)
    made.set_members(16, [(1, 1)])
    change(made, NEAR, 1, 16)
    assert made.engine_of(V6) is Engine.INDEX
    change(made, FAR, len(NEAR) + 1, 16)
    assert made.engine_of(V6) is Engine.LPM
    yield made
    maps.close()


def answers(fib: XdpFib, prefixes: list[Prefix]) -> set[int]:
    return {fib.lookup(prefix.address) for prefix in prefixes}


def run(build: Callable[[], object]) -> None:
    async def inside() -> None:
        await build()  # type: ignore[misc]

    asyncio.run(inside())


def test_an_index_is_built_again_after_growing_pauses_and_said_so(fib: XdpFib) -> None:
    events, clock = EventLog(), Clock()
    again = IndexAgain(events, clock)
    told = lambda: [event.kind for event in events.tail()]  # noqa: E731
    for pause in (0, 59, 61, 61, 61):  # at once, after 60 s, after 120 s more
        clock.now += pause
        run(lambda: again.build(fib))
    assert told() == ["index-not-built"] * 3
    assert "no room" in events.tail()[0].text
    assert events.tail()[-1].text.endswith("next attempt in 240 s")
    change(fib, FAR, len(NEAR) + 1, 0)
    run(lambda: again.build(fib))
    assert len(told()) == 3
    run(lambda: again.build(fib, at_once=True))
    assert told()[3:] == ["index-built"]
    assert events.tail()[-1].text.startswith("built again from 5,000 routes in ")
    assert fib.index_trouble()[V6] == ""
    assert fib.engine_of(V6) is Engine.INDEX
    assert answers(fib, NEAR) == {16}


def test_packets_do_not_ask_it_before_it_is_whole_and_changes_go_on(fib: XdpFib) -> None:
    change(fib, FAR, len(NEAR) + 1, 0)
    steps = fib.build_index(V6)
    assert next(steps) == 0
    next(steps)
    fib.set_members(17, [(2, 1)])
    change(fib, NEAR[:10], 1, 17)
    change(fib, NEAR[10:20], 11, 0)
    change(fib, NEAR[-10:], len(NEAR) - 9, 17)
    assert fib.engine_of(V6) is Engine.LPM
    assert "no room" in fib.index_trouble()[V6]
    for _ in steps:
        pass
    assert fib.engine_of(V6) is Engine.INDEX
    index = fib.index(V6)
    assert index is not None
    assert not len(index.compared(*fib.table(V6)).wrong())
    assert [answers(fib, part) for part in (NEAR[:10], NEAR[10:20], NEAR[20:-10], NEAR[-10:])] == [
        {17},
        {0},
        {16},
        {17},
    ]


def test_one_that_nobody_built_to_its_end_answers_nobody(fib: XdpFib) -> None:
    change(fib, FAR, len(NEAR) + 1, 0)
    steps = fib.build_index(V6)
    next(steps)
    next(steps)
    steps.close()
    change(fib, NEAR[:10], 1, 0)
    assert fib.engine_of(V6) is Engine.LPM
    run(lambda: IndexAgain(EventLog()).build(fib))
    assert fib.engine_of(V6) is Engine.INDEX
    assert answers(fib, NEAR[:10]) == {0}
    assert answers(fib, NEAR[10:]) == {16}

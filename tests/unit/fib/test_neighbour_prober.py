"""What is asked of a prober that is closed is forgotten, in the moments of a bridge's end as well."""

from __future__ import annotations

import asyncio

from bgpbridge.fib.probe import NeighbourProber
from bgpbridge.types import parse_address


def test_what_is_asked_before_and_after_the_end_goes_nowhere() -> None:
    troubles: list[object] = []

    async def scenario() -> NeighbourProber:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        prober = NeighbourProber()
        prober.resolve(parse_address("192.0.2.1"), 1)
        prober.close()
        prober.confirm(parse_address("192.0.2.1"), 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return prober

    assert asyncio.run(scenario()).sent == 0
    assert troubles == []

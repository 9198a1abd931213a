"""The TCP side of RTR on loopback, with a cache that says what the test wants and a clock that the test turns."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from bgpbridge.rpki.rtr import RtrClient, RtrState
from bgpbridge.rpki.rtr_data import RtrData

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = bytes.fromhex(
    "0103000700000008"  # Cache Response, session 7
    "0104000000000014 01081000 0a000000 0000fde8"  # 10.0.0.0/8 max 16 AS65000
    "0107000700000018 00000003 00000e10 00000258 00000258"  # End of Data, serial 3; expires after 600 s
)


class Cache:
    """A server that hands each connection to the next of its talks, and the last one to all that follow."""

    def __init__(self, *talks: Talk) -> None:
        self.talks = list(talks)
        self.versions: list[int] = []
        self.open: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        talk = self.talks.pop(0) if len(self.talks) > 1 else self.talks[0]
        with suppress(OSError, asyncio.IncompleteReadError):
            self.versions.append((await reader.readexactly(8))[0])
            await talk(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


async def answer_and_stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)
    await reader.read()


async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await reader.read()


async def other_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Other octets on every try."""
    writer.write(bytes((next(OTHERS),)) * 16)
    await reader.read()


async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Version 0 only, and says so."""
    writer.write(struct.pack("!BBHIII", 0, 10, 4, 16, 0, 0))
    await reader.read()


OTHERS = itertools.count(2)


class Changes:
    """Waits for what a client tells."""

    def __init__(self) -> None:
        self.counts: asyncio.Queue[int] = asyncio.Queue()

    def told(self, data: RtrData) -> None:
        self.counts.put_nowait(len(data))


@asynccontextmanager
async def running(cache: Cache, changes: Changes, clock: Callable[[], float] | None = None) -> AsyncIterator[RtrClient]:
    server = await asyncio.start_server(cache.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    extra = {} if clock is None else {"clock": clock}
    client = RtrClient("127.0.0.1", port, changes.told, pauses_s=(0.01, 0.02), **extra)
    task = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(30):
            yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.close()
        await asyncio.gather(*cache.open)


async def until(condition: Callable[[], bool]) -> None:
    """Turns the loop until something holds; `running` limits the time."""
    while not condition():  # noqa: ASYNC110 - the client has no event for it, and needs none
        await asyncio.sleep(0.001)


def test_data_comes_and_is_told() -> None:
    async def case() -> None:
        changes = Changes()
        async with running(Cache(answer_and_stay), changes) as client:
            assert await changes.counts.get() == 1
            status = client.status()
            assert (status.state, status.version, status.session, status.serial) == (RtrState.SYNCHRONISED, 1, 7, 3)
            assert (status.vrps, status.error) == (1, "")

    asyncio.run(case())


def test_a_cache_that_talks_nonsense_or_closes_is_tried_again() -> None:
    async def case() -> None:
        changes, cache = Changes(), Cache(nonsense, close, nonsense, answer_and_stay)
        async with running(cache, changes) as client:
            await until(lambda: "speaks RTR version 50" in client.status().error)
            assert await changes.counts.get() == 1
            assert client.status().error == ""
        assert cache.versions == [1, 1, 1, 1]

    asyncio.run(case())


def test_a_connection_that_ends_leaves_the_data() -> None:
    async def case() -> None:
        changes = Changes()
        async with running(Cache(answer, close), changes) as client:
            await until(lambda: client.status().error == "the cache closed the connection")
            assert client.status().vrps == 1

    asyncio.run(case())


def test_version_0_is_spoken_to_a_cache_that_knows_no_other() -> None:
    async def case() -> None:
        cache = Cache(old, close, close)
        async with running(cache, Changes()):
            await until(lambda: len(cache.versions) >= 3)
        assert cache.versions[:3] == [1, 0, 1]

    asyncio.run(case())


def test_what_is_too_old_is_dropped_and_told() -> None:
    """Connected or not: the clock goes past the expire interval behind the client's back."""

    async def case(talk: Talk, state: RtrState) -> None:
        changes, now = Changes(), [0.0]
        async with running(Cache(talk, close), changes, lambda: now[0] + asyncio.get_running_loop().time()) as client:
            assert await changes.counts.get() == 1
            await until(lambda: client.status().state is state)
            now[0] += 599.0
            assert client.status().vrps == 1
            now[0] += 10_000.0
            assert await changes.counts.get() == 0
            assert client.status().age_s is None

    asyncio.run(case(answer, RtrState.DOWN))


def test_nobody_there_is_said() -> None:
    async def case() -> None:
        async with running(Cache(close), Changes()) as client:
            client.port = 1  # tcpmux: nobody listens
            await until(lambda: client.status().error == "no connection: connection refused")
            assert client.status().state in {RtrState.DOWN, RtrState.CONNECTING}

    asyncio.run(case())


def test_other_nonsense_on_every_try_is_told_once() -> None:
    async def case() -> None:
        news: list[str] = []
        changes = Changes()
        async with running(Cache(other_nonsense), changes) as client:
            client._news = lambda kind, text: news.append(f"{kind}: {text}")
            await until(lambda: "version 6" in client.nonsense)
        assert len([one for one in news if one.startswith("rpki-nonsense")]) == 1

    asyncio.run(case())

"""Our RTR client against Debian's stayrtr on loopback: data, changes by serial, a server that is killed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bgpbridge.rpki.rtr import RtrClient, RtrState
from bgpbridge.rpki.rtr_data import RtrData
from bgpbridge.rpki.vrps import Validity, VrpTable
from bgpbridge.types import Family, Prefix

LIMIT_S = 40


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class StayRtr:
    """The server and the file that it watches once a second."""

    def __init__(self, folder: Path, version: int) -> None:
        self.port, self.version, self.file, self.log = free_port(), version, folder / "vrps.json", folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.second = 0  # of the last start

    def write(self, *roas: tuple[str, int, int]) -> None:
        listed = [
            {"asn": asn, "prefix": prefix, "maxLength": longest, "ta": "lab", "expires": 4_000_000_000}
            for prefix, longest, asn in roas
        ]
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": listed}))
        fresh.replace(self.file)

    def start(self) -> None:
        """Its session id is made of the second in which it starts: two starts in one would have the same."""
        while int(time.time()) == self.second:
            time.sleep(0.02)
        self.second = int(time.time())
        options = ["-cache", str(self.file), "-checktime=false", "-metrics.addr", "", "-refresh", "1"]
        options += ["-bind", f"127.0.0.1:{self.port}", "-protocol", str(self.version), "-rtr.refresh", "77"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["stayrtr", *options], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Rig:
    """A server, our client, and what the client has told so far."""

    def __init__(self, server: StayRtr) -> None:
        self.server = server
        self.client = RtrClient("127.0.0.1", server.port, self.told, pauses_s=(0.05, 0.2))
        self.tables: asyncio.Queue[VrpTable] = asyncio.Queue()

    def told(self, data: RtrData) -> None:
        self.tables.put_nowait(VrpTable({family: data.columns(family) for family in Family}))


@asynccontextmanager
async def running(folder: Path, version: int = 1) -> AsyncIterator[Rig]:
    server = StayRtr(folder, version)
    server.write(("192.0.2.0/24", 24, 65001), ("2001:db8::/32", 48, 65002))
    server.start()
    rig = Rig(server)
    task = asyncio.create_task(rig.client.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            yield rig
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.kill()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
        await asyncio.sleep(0.02)


def state(table: VrpTable, prefix: str, origin: int) -> str:
    return table.validate_one(Prefix.parse(prefix), origin).label


@pytest.mark.parametrize("version", [0, 1, 2])
def test_data_comes_and_changes_by_serial(tmp_path: Path, version: int) -> None:
    """A server that could speak version 2 is asked in version 1 and answers in it."""

    async def case() -> None:
        async with running(tmp_path, version) as rig:
            first = await rig.tables.get()
            assert state(first, "2001:db8:1::/48", 65002) == "valid"
            assert state(first, "192.0.2.0/24", 65009) == "invalid"
            before = rig.client.status()
            assert (before.state, before.version) == (RtrState.SYNCHRONISED, min(version, 1))
            assert rig.client.data.timers.refresh_s == (77 if version else 3600)
            rig.server.write(("192.0.2.0/24", 24, 65009), ("2001:db8::/32", 48, 65002))
            second = await rig.tables.get()
            after = rig.client.status()
            assert after.session == before.session
            assert (before.serial, after.serial) == (0, 1)
            assert state(second, "192.0.2.0/24", 65009) == "valid"
            assert state(second, "192.0.2.0/24", 65001) == "invalid"
            assert len(second.changed_since(first, Family.IPV4)) == 1
            assert len(second.changed_since(first, Family.IPV6)) == 0

    asyncio.run(case())


def test_a_server_that_is_killed_and_comes_back_with_other_data(tmp_path: Path) -> None:
    """While it is away what it told stays; its new session id has everything asked for anew."""

    async def case() -> None:
        async with running(tmp_path) as rig:
            first = await rig.tables.get()
            session = rig.client.status().session
            rig.server.kill()
            await until(lambda: "connection refused" in rig.client.status().error)
            assert rig.client.status().vrps == 2
            rig.server.write(("192.0.2.0/24", 24, 65009))
            rig.server.start()
            tables = [first]
            while state(tables[-1], "192.0.2.0/24", 65009) != Validity.VALID.label:
                tables.append(await rig.tables.get())
            assert len(tables[-1]) == 1
            await until(lambda: rig.client.status().state is RtrState.SYNCHRONISED)
            status = rig.client.status()
            assert status.session != session
            assert status.error == ""

    asyncio.run(case())


def test_a_server_killed_in_the_midst_of_an_answer(tmp_path: Path) -> None:
    """20,000 VRPs, stopped after the first octets: nothing of them takes effect until a later answer is whole."""

    async def case() -> None:
        async with running(tmp_path) as rig:
            await rig.tables.get()
            rig.server.kill()
            rig.server.write(*((f"10.{n >> 8}.{n & 255}.0/24", 24, 65000 + n % 3) for n in range(20_000)))
            rig.server.start()
            await until(lambda: rig.client.status().state is RtrState.SYNCHRONISING or rig.client.status().vrps > 2)
            rig.server.kill()
            held = rig.client.status().vrps
            assert held in {2, 20_000}
            rig.server.start()
            table = await rig.tables.get()
            while len(table) != 20_000:
                table = await rig.tables.get()
                assert len(table) in {2, 20_000}

    asyncio.run(case())


def test_stayrtr_finds_nothing_wrong_with_what_we_say(tmp_path: Path) -> None:
    async def case() -> None:
        async with running(tmp_path) as rig:
            await rig.tables.get()
            rig.server.write(("192.0.2.0/24", 25, 65001))
            await rig.tables.get()

    asyncio.run(case())
    log = (tmp_path / "log").read_text()
    assert "Accepted tcp connection" in log
    assert "level=error" not in log

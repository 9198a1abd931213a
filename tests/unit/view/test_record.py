"""`bgpbridge record` as a process beside a real bridge; what it writes is read by bgpdump and by `replay`."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgpbridge.api.server import ControlApi
from bgpbridge.feed.frames import DownReason, SessionDown, Updates
from bgpbridge.pipeline.replay import Replay
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.message import build_update
from bgpbridge.wire.mrt import MessageRecord, StateChange, read_mrt

WITHIN_S = 20


@pytest.fixture
def record(rig, tmp_path):
    """Run `happening()` while `record` listens; what it printed, its exit code and its file."""
    socket, file = tmp_path / "control.sock", tmp_path / "feed.mrt"

    def recorded(happening, *words: str, end: signal.Signals = signal.SIGINT, records: int):
        async def beside():
            api = ControlApi(rig.bridge, socket)
            await api.start()
            command = [sys.executable, "-m", "bgpbridge", "-s", str(socket), "record", "--json", *words, str(file)]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            try:
                await until(lambda: rig.bridge.ingest.taps or process.returncode is not None)
                happening()
                await until(lambda: whole(file) >= records or process.returncode is not None)
                if process.returncode is None:
                    process.send_signal(end)
                out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
                await until(lambda: not rig.bridge.ingest.taps)
            finally:
                if process.returncode is None:
                    process.kill()
                await api.stop()
            return process.returncode, out.decode(), err.decode()

        return (*rig.loop.run_until_complete(beside()), file)

    return recorded


async def until(met) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not met():  # noqa: ASYNC110 - another process and its file are waited for
            await asyncio.sleep(0.02)


def whole(file: Path) -> int:
    """Records that are on disk."""
    return len(list(read_mrt(file))) if file.exists() else 0


def hear(rig, name: str, record) -> None:
    rig.bridge.ingest.one(rig.bridge.peers_by_name(name).index, record)


def story(rig):
    """A session that was up announces, another loses its routes; a run goes by columns."""
    attributes = b"\x40\x01\x01\x00\x40\x02\x06\x02\x01\0\0\xfc\x59\x40\x03\x04\xcb\0\x71\x02"
    runs = [build_update(attributes, nlri=bytes([24, 100, 64, number])) for number in range(50)]

    def happening():
        hear(rig, "isp-a", Updates(runs[0]))
        index = rig.bridge.peers_by_name("isp-a").index
        for _ in rig.bridge.ingest.run(index, b"".join(runs[1:])):
            pass
        hear(rig, "isp-a", Updates(build_update(withdrawn=bytes([24, 100, 64, 7]))))
        hear(rig, "isp-b", SessionDown(DownReason.HOLD_TIMER))

    return happening


@pytest.fixture
def up(rig):
    rig.session("isp-a")
    rig.session("isp-b")
    return rig


def test_what_is_recorded_replays_to_the_same_routes(up, record):
    code, out, err, file = record(story(up), records=52)
    assert (code, err) == (0, ""), out
    records = list(read_mrt(file))
    assert sum(isinstance(one, MessageRecord) for one in records) == 51
    (down,) = (one for one in records if isinstance(one, StateChange))
    assert (down.peer.address, down.old, down.new) == (ip_address("203.0.113.6"), 6, 1)
    run = Replay()
    for one in records:
        run.take(one)
    run.finish()
    assert run.rib.families[Family.IPV4].routes == up.bridge.rib.counts(1)[Family.IPV4].received == 49


def test_bgpdump_reads_it(up, record):
    if shutil.which("bgpdump") is None:
        pytest.skip("bgpdump is not installed (Debian: bgpdump)")
    *_, file = record(story(up), records=52)
    done = subprocess.run(["bgpdump", "-m", str(file)], capture_output=True, text=True, check=True, timeout=WITHIN_S)
    fields = [line.split("|") for line in done.stdout.splitlines()]
    announced = {(line[3], line[4], line[5], line[6], line[8]) for line in fields if line[2] == "A"}
    assert announced == {
        ("203.0.113.2", "64601", str(Prefix.parse(f"100.64.{number}.0/24")), "64601", "203.0.113.2")
        for number in range(50)
    }
    assert [line[3:6] for line in fields if line[2] == "W"] == [["203.0.113.2", "64601", "100.64.7.0/24"]]
    assert [line[3:] for line in fields if line[2] == "STATE"] == [["203.0.113.6", "64602", "6", "1"]]


def test_one_peer_alone_and_sigterm(up, record):
    code, _, err, file = record(story(up), "--peer", "isp-b", end=signal.SIGTERM, records=1)
    assert (code, err) == (0, "")
    assert [type(one) for one in read_mrt(file)] == [StateChange]


def test_a_peer_that_is_not_there_is_refused_and_leaves_no_file(up, record):
    code, _, err, file = record(lambda: None, "--peer", "nobody", records=1)
    assert (code, "there is no peer nobody" in err) == (2, True)
    assert not file.exists()

"""`clear` takes away what a daemon left behind, and nothing else. In a namespace with routes, XDP and pins."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bgpbridge.config import Config, loads_config
from bgpbridge.daemon.clear import clear, find
from bgpbridge.daemon.runtime import RuntimeFolder
from bgpbridge.datapath.attach import attach
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.errors import UsageError
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, parse_address

pytestmark = pytest.mark.root

LINK = 101  # near0 of the pair


@pytest.fixture
def config(tmp_path):
    pins = tmp_path / "bpf"
    text = (
        "router: {asn: 64700, router_id: 192.0.2.1}\n"
        f"datapath: {{interfaces: [near0], pin_path: {pins}/bgpbridge, max_ipv4: 2000, max_ipv6: 2000}}\n"
        f"runtime: {{directory: {tmp_path}/run}}\n"
    )
    pins.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(pins)], check=True)
    try:
        yield loads_config(text, tmp_path / "bgpbridge.yaml")
    finally:
        subprocess.run(["umount", str(pins)], check=True)


async def leave_things(config: Config) -> None:
    """What a stopped daemon leaves."""
    pin_path = config.datapath.pin_path
    ensure_bpffs(pin_path)
    maps, _ = Maps.open(pin_path, Sizes(2000, 2000))
    program = load(maps.fds, Loader.AUTO)
    attach(program.fd, LINK, pin_path)
    program.close()
    maps.close()
    kernel = KernelFib()
    kernel.start()
    kernel.set_group(16, [Hop(parse_address("192.0.2.2"), LINK, 1)])
    count = 300
    lo = (np.arange(count, dtype=np.uint64) << np.uint64(8)) + np.uint64(100 << 24)
    ids = np.full(count, 16, np.uint32)
    zero, length = np.zeros(count, np.uint64), np.full(count, 24, np.uint8)
    kernel.apply(Changes(Family.IPV4, np.arange(1, count + 1), zero, lo, length, ids * 0, ids))
    await asyncio.wrap_future(kernel.settled())
    kernel.stop()
    folder = RuntimeFolder(config.runtime.directory)
    os.close(folder.hold())
    folder.state.write_text("{}")
    folder.program.write_text("{}")
    folder.speaker_config.parent.mkdir()
    folder.speaker_config.write_text("neighbor")


def test_everything_of_ours_goes_and_the_rest_stays(pair, config):
    pair.ip("route add 198.51.100.0/24 via 192.0.2.2")

    def commands() -> None:
        there = find(config)
        assert there.interfaces == ("near0",)
        assert there.routes == {Family.IPV4: 300, Family.IPV6: 0}
        assert there.nexthops == 2
        assert there.pins > 5
        assert {file.name for file in there.files} == {"lock", "groups.json", "program.json", "exabgp.conf"}
        assert clear(config) == there
        assert not find(config).any
        assert not clear(config).any

    inside(pair, config, commands)
    assert "198.51.100.0/24" in pair.ip("route show")
    assert "proto 203" not in pair.ip("route show")
    assert pair.ip("nexthop show") == ""
    assert "xdp" not in pair.ip("link show near0")
    assert not config.datapath.pin_path.exists()
    assert not config.runtime.directory.exists()


def test_a_running_daemon_is_not_cleared_under(pair, config):
    def commands() -> None:
        lock = RuntimeFolder(config.runtime.directory).hold()
        with pytest.raises(UsageError, match=f"process {os.getpid()}") as told:
            clear(config)
        assert "stop it first" in told.value.mend
        assert find(config).routes[Family.IPV4] == 300
        os.close(lock)
        clear(config)

    inside(pair, config, commands)


def inside(pair: Any, config: Config, commands: Callable[[], None]) -> None:
    """What a daemon leaves, then the commands, in a thread without a loop as the command line has it."""

    async def scenario() -> None:
        await leave_things(config)
        await asyncio.to_thread(commands)

    pair.inside(scenario)

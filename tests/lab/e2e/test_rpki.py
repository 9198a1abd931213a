"""A real stayrtr beside a running bridge with real routes: killed, started again with other data, emptied."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.rig import bridge_config, uplink

pytestmark = pytest.mark.root

PORT = 8282
ALL, REFUSED = 3000, 40
POLICY = """
policies:
  validated:
    terms:
      - {term: invalid, match: {rpki: invalid}, then: reject, reason: RPKI invalid}
      - {term: rest, then: accept}
"""


class StayRtr:
    """Debian's, on the edge's own loopback, with a file that it looks at every second."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.file, self.log = namespace, folder / "vrps.json", folder / "stayrtr.log"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, prefixes: list[Any], asn: int) -> None:
        roas = [{"asn": asn, "prefix": str(p), "maxLength": p.length, "ta": "lab"} for p in prefixes]
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": roas}))
        fresh.replace(self.file)

    def start(self) -> None:
        options = ["-cache", str(self.file), "-checktime=false", "-metrics.addr", "", "-refresh", "1"]
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "--", "stayrtr", "-bind", f"127.0.0.1:{PORT}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def cache(edge: Any, tmp_path: Path) -> Iterator[StayRtr]:
    server = StayRtr(edge.namespace, tmp_path)
    yield server
    server.kill()


def test_stayrtr_killed_and_started_again_under_way(
    edge: Any, feeds: dict[str, Feed], cache: StayRtr, tmp_path: Path
) -> None:
    edge.stop()
    policy = tmp_path / "policy.yml"
    policy.write_text(POLICY)
    prefixes = [feeds["a"].prefix(row) for row in range(ALL)]
    ordered = sorted(prefixes)  # a prefix stands before what lies in it
    lone = [p for p, after in itertools.pairwise(ordered) if not p.covers(after)][:REFUSED]
    cache.write(lone, 1)
    cache.start()
    servers = [{"name": "stayrtr", "address": "127.0.0.1", "port": PORT, "retry_s": 1, "refresh_s": 1}]
    up = uplink("a")
    peer = {"name": up.name, "address": str(up.theirs), "asn": up.asn, "import": "validated"}
    edge.start(bridge_config([peer], policies=[str(policy)], rpki={"servers": servers}))
    edge.tester("a", table=feeds["a"].octets)
    edge.settled({"ipv4": ALL - REFUSED, "ipv6": 0})
    refused = edge.client.get("/v1/routes", {"rejected": "1"})
    assert {route["prefix"] for route in refused} == set(map(str, lone))
    shown = edge.get(f"/v1/explain/{lone[0]}")["rpki"]
    assert (shown["state"], shown["covering"]) == ("invalid", [f"{lone[0]} max {lone[0].length} AS1"])

    cache.kill()
    edge.until(lambda: edge.events("rpki-server-lost"), "the bridge hears of it")
    assert edge.settled({"ipv4": ALL - REFUSED, "ipv6": 0})["routes"]["ipv4"] == ALL - REFUSED, "what it told stays"
    cache.write(lone[: REFUSED * 3 // 4], 1)
    cache.start()
    edge.settled({"ipv4": ALL - REFUSED * 3 // 4, "ipv6": 0})
    assert len(edge.events("rpki-server-up")) >= 2

    cache.write([], 1)  # and now it has nothing any more
    edge.until(lambda: edge.status()["rpki"], "an alarm")
    edge.settled({"ipv4": ALL - REFUSED * 3 // 4, "ipv6": 0})
    assert edge.cli("rpki", str(lone[0]), "1").stdout.startswith(f"{lone[0]} from AS 1: valid")
    assert "offers" not in edge.cli("rpki").stdout
    edge.assert_clean()

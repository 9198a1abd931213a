"""A real BIRD that sends more than its max_prefix: it is told why, stays out, and comes back when it may."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgpbridge.bench.rig import bridge_config, uplink
from bgpbridge.lab import runner
from bgpbridge.lab.topology import Bind, Daemon, Node

pytestmark = pytest.mark.root

LIMIT, SENT = 40, 60
BIRD = """
router id 10.0.1.2;
protocol device {{}}
protocol static {{ ipv4; {routes} }}
protocol bgp edge {{
  local 10.0.1.2 as {up.asn};
  neighbor {up.ours} as 64700;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 {{ import none; export all; next hop self; }};
}}
"""


def configuration(limit: int, action: str = "disconnect") -> str:
    whole = yaml.safe_load(bridge_config())
    whole["peers"] = whole["peers"][:1]
    whole["peers"][0]["max_prefix"] = {"ipv4": {"limit": limit, "action": action}}
    return yaml.safe_dump(whole)


def test_bird_is_told_stays_out_and_comes_back_when_it_may(edge: Any, tmp_path: Path) -> None:
    edge.stop()
    edge.start(configuration(LIMIT))
    conf, log = tmp_path / "bird.conf", tmp_path / "bird.log"
    routes = " ".join(f"route 198.18.{number}.0/24 blackhole;" for number in range(SENT))
    conf.write_text(f'log "{log}" all;\n' + BIRD.format(up=uplink("a"), routes=routes))
    os.chmod(tmp_path, 0o755)  # noqa: PTH101 - BIRD writes its log here
    runner.start_daemon(edge.rig.lab, Node("sender", 9, Daemon.BIRD, binds=(Bind(conf, "/etc/bird/bird.conf"),)), "far")
    try:
        peer = uplink("a").name
        edge.until(lambda: edge.peer(peer)["state"] == "idle", "the peer is held off")
        edge.until(lambda: "Maximum number of prefixes reached" in log.read_text(), "BIRD knows why")
        shown = edge.settled({"ipv4": 0, "ipv6": 0})
        assert edge.peer(peer)["hold_off"] == {"left_s": None, "why": f"ipv4: more than {LIMIT} prefixes received"}
        assert "until an operator clears it" in shown["waiting"][0]["why"]

        edge.kill("bgpbridge.daemon.bridge")  # a new one knows it, too
        edge.until(lambda: edge.status()["process"] != shown["process"], "a new bridge")
        edge.until(lambda: edge.peer(peer)["hold_off"], "the latch is remembered")
        assert edge.peer(peer)["established"] == 0

        (edge.folder / "bgpbridge.yaml").write_text(configuration(LIMIT, "block"))
        edge.client.post("/v1/reload")
        edge.settled({"ipv4": LIMIT, "ipv6": 0})
        seen = edge.peer(peer)["limits"]["ipv4"]
        assert (seen["used"], seen["blocked"], seen["level"]) == (LIMIT, SENT - LIMIT, "beyond")
        (edge.folder / "bgpbridge.yaml").write_text(configuration(2 * SENT))
        edge.client.post("/v1/reload")
        edge.settled({"ipv4": SENT, "ipv6": 0})
        edge.assert_clean()
    finally:
        edge.rig.stop("sender")

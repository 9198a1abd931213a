"""A real BIRD that sends what it must not. More than its max_prefix: it is told why, stays out, and comes back when it
may. Routes that it leaks (RFC 9234): they are refused before policy, with the reason, and stand in no plane."""

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
LEAKED, OWN, OTHER_AS = "198.18.1.0/24", "198.18.2.0/24", 64999  # OTC of another AS, OTC of the peer itself
BIRD = """
router id 10.0.1.2;
protocol device {{}}
protocol static {{ ipv4; {routes} }}
filter leaking {{
  if net = {leaked} then bgp_otc = {other};
  if net = {own} then bgp_otc = {up.asn};
  accept;
}}
protocol bgp edge {{
  local 10.0.1.2 as {up.asn};
  neighbor {up.ours} as 64700;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 {{ import none; export filter leaking; next hop self; }};
}}
"""


def configuration(limit: int, action: str = "disconnect", **keys: str) -> str:
    whole = yaml.safe_load(bridge_config())
    whole["peers"] = whole["peers"][:1]
    whole["peers"][0]["max_prefix"] = {"ipv4": {"limit": limit, "action": action}}
    whole["peers"][0].update(keys)
    return yaml.safe_dump(whole)


def test_bird_is_told_stays_out_and_comes_back_when_it_may(edge: Any, tmp_path: Path) -> None:
    edge.stop()
    edge.start(configuration(LIMIT))
    conf, log = tmp_path / "bird.conf", tmp_path / "bird.log"
    routes = " ".join(f"route 198.18.{number}.0/24 blackhole;" for number in range(SENT))
    conf.write_text(
        f'log "{log}" all;\n' + BIRD.format(up=uplink("a"), routes=routes, leaked=LEAKED, own=OWN, other=OTHER_AS)
    )
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
        seen = edge.until(lambda: blocked(edge, peer, SENT - LIMIT), "all that is beyond the limit is counted")
        assert (seen["used"], seen["level"]) == (LIMIT, "beyond")
        (edge.folder / "bgpbridge.yaml").write_text(configuration(2 * SENT))
        edge.client.post("/v1/reload")
        edge.settled({"ipv4": SENT, "ipv6": 0})
        edge.assert_clean()
        what_it_leaks_is_refused_with_the_reason(edge)  # with the same bridge: to start one takes longer than all this
    finally:
        edge.rig.stop("sender")


def blocked(edge: Any, peer: str, count: int) -> Any:
    """The peer's limit, once so many announcements were not taken in: BIRD sends them in more than one UPDATE."""
    limit = edge.peer(peer)["limits"]["ipv4"]
    return limit if limit["blocked"] == count else None


def what_it_leaks_is_refused_with_the_reason(edge: Any) -> None:
    """As our customer it may send no OTC at all; as our peer, its own AS."""
    customer = uplink("a").name
    for role, refused in (("provider", {LEAKED: OTHER_AS, OWN: uplink("a").asn}), ("peer", {LEAKED: OTHER_AS})):
        sessions = edge.peer(customer)["established"]
        (edge.folder / "bgpbridge.yaml").write_text(configuration(2 * SENT, role=role))
        edge.client.post("/v1/reload")
        edge.until(lambda known=sessions: edge.peer(customer)["established"] > known, "a session in the other role")
        edge.until(lambda: edge.peer(customer)["end_of_rib"] == ["ipv4"], "the table by that session")
        edge.settled({"ipv4": SENT - len(refused), "ipv6": 0})
        told = edge.cli("routes", "--rejected").stdout
        assert told.count("route leak: OTC") == len(refused), told
        for prefix, otc in refused.items():
            assert f"route leak: OTC {otc} from" in edge.cli("explain", prefix).stdout
            assert prefix in told
    assert f"from peer {customer} (AS {uplink('a').asn})" in told
    edge.assert_clean()

"""`packet`, `trace` and the talkers, on a running bridge under traffic: what is foretold is what is seen to pass."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from bgpbridge.bench.feeds import Feed
from bgpbridge.datapath.frames import ethernet
from bgpbridge.errors import UsageError
from bgpbridge.types import Prefix

pytestmark = pytest.mark.root
SAME = ("interface", "verdict", "reason", "prefix", "group", "adjacency", "gateway", "link", "peer", "next_hop")


def ran_json(edge: Any, *words: str) -> Any:
    ran = edge.cli(*words, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def counted(edge: Any, reason: str) -> int:
    found: int = next(one["packets"] for one in edge.get("/v1/counters") if one["reason"] == reason)
    return found


def test_the_way_of_a_packet_is_told_before_and_as_it_passes(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("a", table=feeds["a"].octets)
    edge.settled({"ipv4": 3000, "ipv6": 0})
    address = feeds["a"].alone(1)[0]
    forwarded = counted(edge, "forwarded")
    foretold = ran_json(edge, "packet", "--in", "eth3", "--to", str(address))
    way = foretold["way"]
    assert [way[key] for key in ("verdict", "reason", "link", "peer")] == ["redirect", "forwarded", "eth1", "up-a"]
    assert Prefix.parse(way["prefix"]).covers(address)
    assert (foretold["route"]["prefix"], foretold["policy"]["accepted"]) == (way["prefix"], True)
    assert foretold["changes"][-1] == "TTL 64 to 63"
    late = ran_json(edge, "packet", "--in", "eth1", "--to", str(address), "--ttl", "1", "--proto", "tcp")
    assert (late["way"]["reason"], late["way"]["group"]) == ("pass_ttl", 0)
    assert counted(edge, "forwarded") == forwarded
    passing(edge, address, way)
    cannot_be_tried(edge)


def passing(edge: Any, address: Any, way: Any) -> None:
    stream = edge.stream([address])
    *told, end = map(
        json.loads, edge.cli("trace", "--to", f"{address}/32", "--count", "5", "--json").stdout.splitlines()
    )
    assert (len(told), end["ended"]) == (5, "the count is reached")
    for one in told:
        assert {key: one["way"][key] for key in SAME} == {key: way[key] for key in SAME}
    with closing(edge.client.follow("/v1/trace", {"to": f"{address}/32", "count": "100000"})) as leaving:
        next(leaving)
        refused = edge.cli("trace", "--in", "eth3")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"`trace --to {address}/32` has been running" in refused.stderr
    edge.until(lambda: left(edge), "the one that left is off")
    seen = ran_json(edge, "counters", "--prefixes", "--seconds", "1")
    assert seen["talkers"][0]["prefix"] == way["prefix"]
    assert seen["talkers"][0]["share"] > 0.9
    assert stream.stop().lost == 0


def left(edge: Any) -> bool:
    try:
        edge.client.get("/v1/counters/prefixes", {"seconds": "0"})
    except UsageError:
        return False
    return True


def refused(edge: Any, **query: str) -> str:
    with pytest.raises(UsageError) as told:
        edge.client.get("/v1/packet", {"to": "192.0.2.1", **query})
    return str(told.value)


def cannot_be_tried(edge: Any) -> None:
    ran = edge.cli("packet", "--in", "eth9", "--to", "192.0.2.1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "there is no interface eth9\n  mend: those with XDP are: eth1, eth2, eth3" in ran.stderr
    assert "XDP is not on lo" in refused(edge, **{"in": "lo"})
    assert "of two families" in refused(edge, **{"in": "eth1", "from": "2001:db8::1"})
    frames = [ethernet(bytes(30), 0x0806, dst=b"\xff" * 6).hex()] * 2
    found = edge.client.post("/v1/packet/frames", body={"interface": "eth2", "frames": frames})
    assert [one["way"]["reason"] for one in found] == ["pass_l2_group"] * 2

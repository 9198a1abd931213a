"""Somebody with root changes what our planes hold: it is found, told in words, and put back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bgpbridge.bench.feeds import Feed
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib import xdp_map
from bgpbridge.fib.keys import Keys
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root


def keys(*prefixes: Prefix) -> Keys:
    return Keys.of(Family.IPV4, list(prefixes))


def spoil(edge: Any, lost: Prefix, flipped: Prefix, slot: Prefix) -> None:
    """By the pinned maps, as any other program with root could."""
    maps, adopted = Maps.open(edge.folder / "bpf" / "bgpbridge", Sizes(*edge.status()["xdp"]["capacity"].values()))
    assert adopted
    xdp_map.remove(maps.lpm4, keys(lost))
    xdp_map.store(maps.lpm4, keys(flipped), np.array([2], np.uint32))
    assert maps.index4 is not None
    maps.index4[slot.value >> 8] = 2
    group = 16 + int(np.flatnonzero(maps.groups["flags"][16:])[0])
    maps.slots[group, 7] = 4095
    maps.adjacencies["word0"][1] ^= np.uint64(1)
    maps.control["hash_seed"][0] ^= np.uint64(1)
    maps.close()


def test_what_somebody_else_changed_is_named_put_back_and_counted(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("a", table=feeds["a"].octets)
    edge.settled({"ipv4": 3000, "ipv6": 0})
    feed = feeds["a"]
    lost, flipped = feed.prefix(3), feed.prefix(7)
    slot = next(feed.prefix(row) for row in range(8, len(feed)) if feed.length[row] == 24)
    assert edge.client.post("/v1/audit")["clean"]
    spoil(edge, lost, flipped, slot)
    ran = edge.cli("audit", "--repair", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["clean"]
    texts = " ".join([*report["examples"], *(event["text"] for event in edge.events("audit-repaired"))])
    assert f"xdp {lost}: nothing there, should be group" in texts  # found by this audit, or by one in the background
    assert f"xdp index at {slot}: blackhole, should be group" in texts
    assert "of its slots lead elsewhere, slot 7 to adjacency 4095" in texts
    assert "xdp adjacency 1: far MAC and MTU" in texts
    assert "xdp control: hash_seed is" in texts
    assert texts.count("s at most") == len(edge.events("audit-repaired")) >= 5
    assert " addresses went another way" in texts
    assert report["addresses"] == dict.fromkeys(report["checked"], 0)
    assert max(report["last_clean_s"].values()) < 10
    assert f"xdp {flipped}: blackhole there, should be group" in texts
    assert edge.settled({"ipv4": 3000, "ipv6": 0})["xdp"]["entries"]["ipv4"] >= 3000
    edge.assert_clean()


def test_a_nexthop_object_that_somebody_deletes_is_made_again_and_told(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("a", table=feeds["a"].octets)
    edge.settled({"ipv4": 3000, "ipv6": 0})
    number = next(one["id"] for one in json.loads(edge.ip("-j", "nexthop")) if "group" not in one)
    edge.ip("nexthop", "del", "id", str(number))
    (event,) = edge.until(lambda: edge.events("nexthop-deleted"), "the deletion is told")
    assert event["subject"] == f"id {number}"
    edge.settled({"ipv4": 3000, "ipv6": 0})
    edge.assert_clean()

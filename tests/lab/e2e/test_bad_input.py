"""Feeds that break off and routes that lead nowhere: each is a state with a reason, and nobody else notices."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest

from bgpbridge.bench.feeds import Feed, made, update
from bgpbridge.bench.rig import bridge_config, uplink
from bgpbridge.types import Family

pytestmark = pytest.mark.root

NOWHERE, LOST = ipaddress.ip_address("10.99.0.9"), "203.0.113.0/24"


def test_what_breaks_off_or_leads_nowhere_harms_nobody_else(place: Any, edge_on: Any) -> None:
    edge = edge_on(place)
    kept = made(300, uplink("b").origin(), seed=7)
    with edge.fed(bridge_config(), {"b": kept.octets}, len(kept)):
        stream = edge.stream(kept.alone(20))
        a_feed_that_ends_in_mid_message(edge, len(kept))
        a_next_hop_that_does_not_resolve(edge, len(kept))
        report = stream.stop()
        assert (report.lost, report.ways) == (0, {"eth2": report.received})
        assert edge.testers[0].sessions == 1
        edge.assert_clean()


def a_feed_that_ends_in_mid_message(edge: Any, others: int) -> None:
    """All whole messages count while the session is there; of the last one nothing does."""
    feed: Feed = made(200, uplink("a").origin(), seed=8)
    cut = edge.tester("a").until_up()
    cut.send(feed.octets + update(Family.IPV4, bytes([24, 203, 0, 113]), uplink("a").origin())[:-3])
    edge.settled({"ipv4": others + len(feed), "ipv6": 0})
    cut.drop()
    edge.settled({"ipv4": others, "ipv6": 0})
    assert edge.events("session-down")[-1]["subject"] == "up-a"
    assert edge.get(f"/v1/explain/{LOST}")["paths"] == []


def a_next_hop_that_does_not_resolve(edge: Any, others: int) -> None:
    """It is known and explained, and in no plane, until the kernel has a way there."""
    lost = dataclasses.replace(uplink("a").origin(), next_hop=NOWHERE)
    edge.tester("a", table=update(Family.IPV4, bytes([24, 203, 0, 113]), lost)).until_up()
    edge.until(lambda: edge.status()["next_hops_unreachable"] == 1, "the next hop is known")
    edge.settled({"ipv4": others, "ipv6": 0})
    told = edge.cli("explain", LOST).stdout
    assert str(NOWHERE) in told
    assert "no route" in told, told
    assert f"{LOST} " not in edge.ip("route", "show", "protocol", "203")
    edge.ip("route", "add", "10.99.0.0/24", "via", str(uplink("a").theirs))
    try:
        edge.settled({"ipv4": others + 1, "ipv6": 0})
        assert edge.status()["next_hops_unreachable"] == 0
        assert LOST in edge.ip("route", "show", "protocol", "203")
    finally:
        edge.ip("route", "del", "10.99.0.0/24")
    edge.settled({"ipv4": others, "ipv6": 0})

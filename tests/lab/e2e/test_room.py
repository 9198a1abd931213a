"""More prefixes than there is room for: the maps grow with no packet lost, or the one who sends them is sent away and
told why, and nobody else notices either."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bgpbridge.bench.feeds import Feed, made
from bgpbridge.bench.rig import bridge_config, uplink

pytestmark = pytest.mark.root

ROOM, KEPT, MORE = 4096, 600, 4000


def configuration(**datapath: Any) -> str:
    whole = yaml.safe_load(bridge_config())
    whole["datapath"] |= {"max_ipv4": ROOM, "max_ipv6": 1024, **datapath}
    return yaml.safe_dump(whole)


def in_use(edge: Any) -> int:
    """Prefixes, as the one family in trouble tells them: "ipv4: 3,864 of 4,096 prefixes are in use; ..."."""
    (told,) = edge.status()["troubles"]
    return int(told.split()[1].replace(",", ""))


@pytest.fixture(scope="module")
def kept() -> Feed:
    """What an honest peer has."""
    return made(KEPT, uplink("b").origin(), seed=7)


@pytest.fixture(scope="module")
def flood() -> Feed:
    return made(MORE, uplink("a").origin(), seed=8)


@pytest.fixture
def edge(place: Any, edge_on: Any) -> Any:
    return edge_on(place)


def test_maps_grow_under_traffic_and_who_was_sent_away_is_let_in(edge: Any, kept: Feed, flood: Feed) -> None:
    with edge.fed(configuration(), {"b": kept.octets}, KEPT):
        stream = edge.stream(kept.alone(20))
        edge.tester("a", table=flood.octets)
        edge.until(lambda: edge.events("room-grown"), "the maps have grown")
        edge.settled({"ipv4": KEPT + MORE, "ipv6": 0})
        report = stream.stop()
        assert (report.lost, report.ways) == (0, {"eth2": report.received})
        status = edge.status()
        assert (status["xdp"]["capacity"]["ipv4"], status["troubles"]) == (2 * ROOM, [])
        assert edge.testers[0].sessions == 1
        edge.assert_clean()


def test_without_leave_to_grow_it_is_refused_in_words_and_room_comes_back(edge: Any, kept: Feed, flood: Feed) -> None:
    with edge.fed(configuration(grow=False), {"b": kept.octets}, KEPT):
        stream = edge.stream(kept.alone(20))
        flooder = edge.tester("a", table=flood.octets)
        assert "Cease / Out of Resources" in flooder.until_ended()
        assert "do not fit in 4096" in edge.until(lambda: edge.peer("up-a")["hold_off"], "it is held off")["why"]
        edge.until(lambda: edge.status()["troubles"], "it is told")
        (told,) = edge.status()["troubles"]
        assert "datapath.grow is off; sent away for want of room: up-a" in told
        honest = edge.testers[0]
        more = made(ROOM - 700, uplink("b").origin(), seed=9)
        edge.settled({"ipv4": KEPT, "ipv6": 0})
        edge.until(lambda: in_use(edge) < 2 * KEPT, "what the flood left is given back")
        honest.table += more.octets
        honest.send(more.octets)
        edge.settled({"ipv4": KEPT + len(more), "ipv6": 0})
        report = stream.stop()
        assert (report.lost, report.ways) == (0, {"eth2": report.received})
        assert honest.sessions == 1
        edge.assert_clean()

"""The same UPDATEs by a session of our own, by a stock ExaBGP's pipe and by a live replay: the same tables."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.bench.feeds import replayed
from bgpbridge.bench.rig import ASN, Rig, bridge_config, uplink
from bgpbridge.wire.mrt import MessageRecord, MrtPeer
from bgpbridge.wire.mrt_write import mrt_message
from tests.lab.e2e.test_pipe import StockExaBGP

pytestmark = pytest.mark.root

UPDATES = 500
OF_THE_WAY = {"peer", "changed", "group"}  # numbers of groups are given as they come


def configured(source: str) -> str:
    """One internal peer; `passive` is for sessions of ours."""
    peer = {"name": f"by-{source}", "address": str(uplink("a").theirs), "asn": ASN, "source": source}
    return bridge_config([peer])


@pytest.fixture
def edge(place: Rig, edge_on: Callable[[Rig], Any]) -> Iterator[Any]:
    """A bridge whose kernel has a way to every next hop of the real table."""
    made = edge_on(place)
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        made.ip("route", "add", half, "via", str(uplink("a").theirs))
    made.start(configured("session"))
    try:
        yield made
    finally:
        for tester in made.testers:
            tester.stop()
        made.stop()
    made.assert_no_traceback()
    made.wipe()


def test_the_same_updates_make_the_same_tables(edge: Any, shared_data: Path, tmp_path: Path) -> None:
    messages = list(itertools.islice(replayed(shared_data / "mrt/full-table-2015.mrt.gz"), UPDATES))
    edge.tester("a", table=b"".join(messages), asn=ASN)
    count = received(edge, "session")
    by_session = tables(edge, "session", count)
    assert by_session[1]

    turn_to(edge, "replay")
    file = tmp_path / "feed.mrt"
    up = uplink("a")
    peer = MrtPeer(ASN, up.theirs, 0, up.ours)
    file.write_bytes(b"".join(mrt_message(MessageRecord(1.0, peer, one, asn4=True)) for one in messages))
    ran = edge.cli(
        "replay", "--live", "--keep", "--as", "by-replay", "--feed", str(edge.folder / "feed.sock"), str(file)
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    by_replay = tables(edge, "replay", count)

    turn_to(edge, "pipe")
    exabgp = StockExaBGP(edge, "5.0", tmp_path, peer_as=ASN)
    try:
        by_pipe = tables(edge, "pipe", count)
    except (AssertionError, subprocess.SubprocessError) as error:
        error.add_note(exabgp.log.read_text()[-3000:])
        raise
    finally:
        exabgp.stop()
    for other in (by_replay, by_pipe):
        assert differences(by_session[0], other[0]) == []
        assert differences(by_session[1], other[1]) == []
    edge.assert_clean()


def turn_to(edge: Any, source: str) -> None:
    """The peer goes, and comes by another way."""
    (edge.folder / "bgpbridge.yaml").write_text(configured(source))
    edge.client.post("/v1/reload")
    edge.settled({"ipv4": 0, "ipv6": 0})


def received(edge: Any, source: str) -> int:
    """How many routes there are when all have come."""
    edge.until(lambda: edge.peer(f"by-{source}")["end_of_rib"] == ["ipv4"], "the whole table came")
    count: int = edge.peer(f"by-{source}")["routes"]["ipv4"]["received"]
    return count


def tables(edge: Any, source: str, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Adj-RIB-In of the peer and Loc-RIB, by prefix, without what the way itself makes different."""
    edge.settled({"ipv4": count, "ipv6": 0})
    edge.until(lambda: not edge.peer(f"by-{source}")["routes"]["ipv4"]["stale"], "a refresh that was asked for is over")
    parts = []
    for query in ({"peer": f"by-{source}"}, {"best": "1"}):
        found = edge.client.get("/v1/routes", {**query, "limit": "0"})
        parts.append(
            {route["prefix"]: {key: value for key, value in route.items() if key not in OF_THE_WAY} for route in found}
        )
        assert len(parts[-1]) == len(found) == count
    return parts[0], parts[1]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Some prefixes that are not the same in both."""
    return [
        (prefix, one.get(prefix), other.get(prefix)) for prefix in one | other if one.get(prefix) != other.get(prefix)
    ][:3]

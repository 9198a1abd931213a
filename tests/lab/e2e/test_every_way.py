"""The same UPDATEs by a session of our own, by a stock ExaBGP's pipe and by a live replay: the same tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.bench.feeds import Origin, made, replayed
from bgpbridge.bench.rig import ASN, Rig, bridge_config, uplink
from bgpbridge.types import Family
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.message import build_update, iter_messages
from bgpbridge.wire.mrt import MessageRecord, MrtPeer
from bgpbridge.wire.mrt_write import mrt_message
from bgpbridge.wire.nlri import encode_nlri
from tests.lab.e2e.test_pipe import StockExaBGP

pytestmark = pytest.mark.root

UPDATES = 500
SHORT = 120  # octets of an UPDATE: few prefixes each, so that the tables hold many attributes
MADE_IPV6 = 100
OF_THE_WAY = {"peer", "changed", "group"}  # numbers of groups are given as they come


def configured(source: str) -> str:
    """One internal peer; `passive` is for sessions of ours."""
    peer = {"name": f"by-{source}", "address": str(uplink("a").theirs), "asn": ASN, "source": source}
    peer["families"] = ["ipv4", "ipv6"]
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


def sent(file: Path) -> list[bytes]:
    """UPDATEs of a real table, made ones of IPv6, and withdrawals of some of both."""
    real = list(itertools.islice((one for one in replayed(file) if len(one) < SHORT), UPDATES))
    table6 = made(MADE_IPV6, Origin(0, uplink("a", Family.IPV6).theirs), family=Family.IPV6)
    nlri6 = [table6.prefix(row) for row in range(0, MADE_IPV6, 5)]
    unreach = b"\0\2\1" + encode_nlri([(prefix, 0) for prefix in nlri6])
    return [
        *real,
        table6.octets,
        *(build_update(withdrawn=nlri(message)) for message in real[::10]),
        build_update(encode_attribute(Code.MP_UNREACH, unreach)),
    ]


def nlri(message: bytes) -> bytes:
    """The IPv4 prefixes that an UPDATE without withdrawals announces (RFC 4271 s4.3)."""
    return message[23 + int.from_bytes(message[21:23]) :]


def test_the_same_updates_make_the_same_tables(edge: Any, shared_data: Path, tmp_path: Path) -> None:
    octets = b"".join(sent(shared_data / "mrt/full-table-2015.mrt.gz"))
    edge.tester("a", table=octets, asn=ASN, families=tuple(Family))
    count = received(edge, "session")
    assert count["ipv4"] > UPDATES
    assert count["ipv6"] == MADE_IPV6 * 4 // 5
    by_session = tables(edge, "session", count)

    turn_to(edge, "replay")
    file = tmp_path / "feed.mrt"
    up = uplink("a")
    peer = MrtPeer(ASN, up.theirs, 0, up.ours)
    file.write_bytes(b"".join(mrt_message(MessageRecord(1.0, peer, one, asn4=True)) for one in iter_messages(octets)))
    ran = edge.cli(
        "replay", "--live", "--keep", "--as", "by-replay", "--feed", str(edge.folder / "feed.sock"), str(file)
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    by_replay = tables(edge, "replay", count)

    turn_to(edge, "pipe")
    exabgp = StockExaBGP(edge, "5.0", tmp_path, peer_as=ASN)
    try:
        received(edge, "pipe")
        # A refresh that the pipe asked for tells withdrawn routes again, and then withdraws them.
        edge.until(lambda: tables(edge, "pipe", count) == by_session, "the same tables by the pipe")
    except AssertionError as error:
        error.add_note(f"{[differences(*both) for both in zip(by_session, tables(edge, 'pipe', count), strict=True)]}")
        error.add_note(exabgp.log.read_text()[-3000:])
        raise
    finally:
        exabgp.stop()
    assert differences(by_session[0], by_replay[0]) == []
    assert differences(by_session[1], by_replay[1]) == []
    edge.assert_clean()


def turn_to(edge: Any, source: str) -> None:
    """The peer goes, and comes by another way."""
    (edge.folder / "bgpbridge.yaml").write_text(configured(source))
    edge.client.post("/v1/reload")
    edge.settled({"ipv4": 0, "ipv6": 0})


def received(edge: Any, source: str) -> dict[str, int]:
    """How many routes there are when all have come."""
    edge.until(lambda: edge.peer(f"by-{source}")["end_of_rib"] == ["ipv4", "ipv6"], "the whole table came")
    routes = edge.peer(f"by-{source}")["routes"]
    return {family: routes[family]["received"] for family in routes}


def tables(edge: Any, source: str, count: dict[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Adj-RIB-In of the peer and Loc-RIB, by prefix, without what the way itself makes different."""
    edge.settled(count)
    edge.until(lambda: not stale(edge, source), "a refresh that was asked for is over")
    parts = []
    for query in ({"peer": f"by-{source}"}, {"best": "1"}):
        found = edge.client.get("/v1/routes", {**query, "limit": "0"})
        parts.append(
            {route["prefix"]: {key: value for key, value in route.items() if key not in OF_THE_WAY} for route in found}
        )
        assert len(parts[-1]) == len(found)
    return parts[0], parts[1]


def stale(edge: Any, source: str) -> int:
    """Routes that wait to be told again."""
    return sum(family["stale"] for family in edge.peer(f"by-{source}")["routes"].values())


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Some prefixes that are not the same in both."""
    return [
        (prefix, one.get(prefix), other.get(prefix)) for prefix in one | other if one.get(prefix) != other.get(prefix)
    ][:3]

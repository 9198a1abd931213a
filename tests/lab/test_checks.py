"""ICMP, TCP and HTTP checks between two namespaces, with real servers, over both families; each leaves by its link."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from bgpbridge.config.health import Check
from bgpbridge.enrich.targets import Exit
from bgpbridge.health.checks import Checks, Key, Seat
from bgpbridge.health.results import CheckResult, Said

from .conftest import Pair

pytestmark = pytest.mark.root
NEAR = tuple(map(ip_address, ("192.0.2.1", "2001:db8::1")))
FAR = tuple(map(ip_address, ("192.0.2.2", "2001:db8::2")))
PACE = {"interval_ms": 50, "timeout_ms": 300}
OPEN, CLOSED = 7001, 7002
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nall is well"


def check(name: str, kind: str, **more: Any) -> Check:
    return Check.model_validate({"name": name, "kind": kind, **PACE, **more})


CHECKS = (
    check("ping", "icmp"),
    check("open", "tcp", port=OPEN),
    check("closed", "tcp", port=CLOSED),
    check("page", "http", url=f"http://web.example:{OPEN}/", body="all is well"),
    check("other", "http", url=f"http://web.example:{OPEN}/", body="all is lost"),
    check("none", "http", url=f"http://web.example:{CLOSED}/"),
)
EXPECTED = {
    "ping": (Said.PASS, "echo reply"),
    "open": (Said.PASS, "syn-ack"),
    "closed": (Said.FAIL, "connection refused"),
    "page": (Said.PASS, "status 200, as expected"),
    "other": (Said.FAIL, "status 200, without the text that is expected"),
    "none": (Said.FAIL, "connection refused"),
}


@contextlib.contextmanager
def serving(pair: Pair) -> Iterator[list[socket.socket]]:
    """Listening sockets of both families in the far namespace."""
    made: list[socket.socket] = []

    async def listen() -> None:
        for address in FAR:
            family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
            made.append(socket.create_server((str(address), OPEN), family=family))

    pair.inside(listen, pair.far)
    try:
        yield made
    finally:
        for one in made:
            one.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        if await reader.readline():
            writer.write(ANSWER)
            await writer.drain()
    writer.close()


def seats(exit_: Exit) -> dict[Key, Seat]:
    """Every check at both addresses of far."""
    found = {}
    for address in FAR:
        for one in CHECKS:
            given = one.model_copy(update={"target": address}) if one.url else one
            found[str(address), one.name] = Seat(given, exit_, address)
    return found


def first_results(pair: Pair, exit_: Exit, listening: list[socket.socket]) -> dict[Key, CheckResult]:
    """What each seat says first."""
    heard: dict[Key, CheckResult] = {}

    async def body() -> None:
        done, wanted = asyncio.Event(), seats(exit_)

        def report(key: Key, result: CheckResult) -> None:
            heard.setdefault(key, result)
            if len(heard) == len(wanted):
                done.set()

        servers = [await asyncio.start_server(answer, sock=one.dup()) for one in listening]
        checks = Checks(report, None)
        try:
            checks.set_seats(wanted)
            async with asyncio.timeout(20):
                await done.wait()
        finally:
            await checks.close()
            for server in servers:
                server.close()

    pair.inside(body)
    return heard


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_every_kind_over_a_link(pair: Pair, family: int) -> None:
    with serving(pair) as listening:
        heard = first_results(pair, Exit("near0", 101, NEAR), listening)
    mine = {name: result for (address, name), result in heard.items() if address == str(FAR[family])}
    assert {name: (result.said, result.text) for name, result in mine.items()} == EXPECTED


def test_a_link_without_a_way_says_no_good_of_the_server(pair: Pair) -> None:
    """The server can be reached, but not by the link that the check belongs to."""
    pair.ip("link add other0 type veth peer name other1")
    pair.ip("addr add 198.51.100.1/24 dev other0")
    for link in ("other0", "other1"):
        pair.ip(f"link set {link} up")
    index = int(pair.ip("-o link show other0").split(":")[0])
    with serving(pair) as listening:
        heard = first_results(pair, Exit("other0", index, (ip_address("198.51.100.1"),)), listening)
    assert not {key for key, result in heard.items() if result.said is Said.PASS}

"""Probes between two namespaces, with real sockets: how long, whether at all, by which exit, and nobody else's."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import pytest

from bgpbridge.enrich.facts import FactTable, Way
from bgpbridge.enrich.probe import Prober, note
from bgpbridge.enrich.schedule import Budget
from bgpbridge.enrich.targets import Exit, How, Method, Outcome, Target

from .conftest import Pair

pytestmark = pytest.mark.root
NEAR = tuple(map(ip_address, ("192.0.2.1", "2001:db8::1")))
FAR = tuple(map(ip_address, ("192.0.2.2", "2001:db8::2")))
LATE_S = 0.03
FAST = Budget(rate_pps=200, interval_s=0.02)


def far_mac(pair: Pair) -> bytes:
    text = pair.ip("-o link show far0", pair.far).partition("link/ether ")[2].split()[0]
    return bytes.fromhex(text.replace(":", ""))


async def outcomes(probes: dict[Way, tuple[Exit, Target]], count: int = 5, **more: Any) -> list[Outcome]:
    """The first outcomes of a prober that runs until then."""
    found: asyncio.Queue[Outcome] = asyncio.Queue()
    prober = Prober(found.put_nowait, FAST, **{"timeout_s": 0.3, **more})
    try:
        prober.set_probes(probes)
        return [await found.get() for _ in range(count)]
    finally:
        prober.close()


def one(exit_: Exit, address: Any, method: Method = Method.ICMP, port: int = 0) -> dict[Way, tuple[Exit, Target]]:
    return {Way(exit_.name, "t"): (exit_, Target("t", address, method, port))}


def run(pair: Pair, scenario: Callable[[], Awaitable[Any]]) -> Any:
    kept: list[Any] = []

    async def body() -> None:
        kept.append(await scenario())

    pair.inside(body)
    return kept[0]


def opened_far(pair: Pair, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket in the far namespace."""
    kept: list[socket.socket] = []

    async def body() -> None:
        kept.append(socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))

    pair.inside(body, pair.far)
    return kept[0]


def exits(pair: Pair) -> list[Exit]:
    return [Exit("mac", 101, NEAR, far_mac(pair)), Exit("link", 101, NEAR)]


@pytest.mark.parametrize("which", [0, 1], ids=["by-mac", "by-link"])
@pytest.mark.parametrize("address", FAR, ids=["v4", "v6"])
def test_echo_tcp_and_udp_are_answered_with_the_kernels_times(pair: Pair, which: int, address: Any) -> None:
    exit_ = exits(pair)[which]
    af = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listener = opened_far(pair, af, socket.SOCK_STREAM)
    listener.bind((str(address), 7001))
    listener.listen(1)
    asked = {
        Way("e", "icmp"): (exit_, Target("icmp", address)),
        Way("e", "syn"): (exit_, Target("syn", address, Method.TCP, 7001)),
        Way("e", "closed"): (exit_, Target("closed", address, Method.TCP, 7002)),
        Way("e", "udp"): (exit_, Target("udp", address, Method.UDP, 7003)),
    }
    found = run(pair, lambda: outcomes(asked, 8))[4:]  # the kernel begins to stamp a moment after it was asked to
    words = {outcome.way.target: outcome.words for outcome in found}
    assert words == {"icmp": "echo reply", "syn": "syn-ack", "closed": "rst", "udp": "port unreachable"}
    assert all(outcome.how is How.ANSWERED and outcome.by_kernel and outcome.rtt_s for outcome in found), found
    with pytest.raises(BlockingIOError):
        listener.accept()  # the kernel has taken the SYN back
    listener.close()


def test_an_answer_that_comes_late_is_a_long_round_trip(pair: Pair) -> None:
    server = opened_far(pair, socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("192.0.2.2", 7))

    async def scenario() -> list[Outcome]:
        loop = asyncio.get_running_loop()

        def answer_late() -> None:
            octets, client = server.recvfrom(2048)
            loop.call_later(LATE_S, server.sendto, octets, client)

        loop.add_reader(server, answer_late)
        return await outcomes(one(exits(pair)[0], FAR[0], Method.UDP, 7))

    table = FactTable()
    found = run(pair, scenario)
    for outcome in found:
        note(table, outcome)
    facts = table.get(found[0].way, found[-1].at_s)
    assert facts is not None
    assert (facts.samples, facts.lost) == (5, 0)
    assert facts.least_s is not None
    assert facts.least_s >= LATE_S
    server.close()


def test_nobody_there_is_a_loss(pair: Pair) -> None:
    found = run(pair, lambda: outcomes(one(exits(pair)[0], ip_address("192.0.2.77")), 3, timeout_s=0.05))
    assert {outcome.how for outcome in found} == {How.LOST}
    table = FactTable()
    for outcome in found:
        note(table, outcome)
    facts = table.get(found[0].way, found[-1].at_s)
    assert facts is not None
    assert (facts.loss, facts.samples) == (1.0, 0)


def test_a_router_that_says_unreachable_ends_the_probe_at_once(pair: Pair) -> None:
    _write(pair, "net/ipv4/ip_forward", "1")
    pair.ip("route add unreachable 203.0.113.0/24", pair.far)
    found = run(pair, lambda: outcomes(one(exits(pair)[0], ip_address("203.0.113.9")), 1, timeout_s=20))
    assert (found[0].how, found[0].words) == (How.UNREACHABLE, "192.0.2.2 says: unreachable, code 1")


def _write(pair: Pair, name: str, value: str) -> None:
    async def body() -> None:
        with open(f"/proc/sys/{name}", "w") as file:  # noqa: PTH123, ASYNC230
            file.write(value)

    pair.inside(body, pair.far)


def test_a_next_hop_is_probed_whatever_the_kernels_routes_say(pair: Pair) -> None:
    pair.ip("addr add 203.0.113.1/32 dev lo", pair.far)
    pair.ip("route add blackhole 203.0.113.1/32")
    found = run(pair, lambda: outcomes(one(exits(pair)[0], ip_address("203.0.113.1")), 2))
    assert {outcome.how for outcome in found} == {How.ANSWERED}


def test_an_exit_that_vanishes_is_told_and_is_no_fact(pair: Pair) -> None:
    async def scenario(exit_: Exit) -> list[Outcome]:
        found: asyncio.Queue[Outcome] = asyncio.Queue()
        prober = Prober(found.put_nowait, FAST, timeout_s=0.2)
        try:
            prober.set_probes(one(exit_, FAR[0]))
            seen = [await found.get()]
            pair.ip("link del near0")
            while seen[-1].how is not How.UNSENT:
                seen.append(await found.get())
            return seen
        finally:
            prober.close()

    seen = run(pair, lambda: scenario(exits(pair)[0]))
    assert (seen[0].how, seen[-1].words) == (How.ANSWERED, "exit mac is gone: no interface 101")
    table = FactTable()
    note(table, seen[-1])
    assert table.get(seen[-1].way, seen[-1].at_s) is None


def test_an_exit_without_a_mac_that_vanishes_is_told_as_well(pair: Pair) -> None:
    pair.ip("link set near0 down")
    gone = Exit("gone", 999, NEAR)
    found = run(pair, lambda: outcomes(one(gone, FAR[0]), 2))
    assert {(outcome.how, outcome.words) for outcome in found} == {(How.UNSENT, "exit gone is gone: no interface 999")}
    found = run(pair, lambda: outcomes(one(exits(pair)[1], FAR[0]), 1))
    assert found[0].how is How.UNSENT
    assert found[0].words.startswith("exit link: ")


def test_a_family_without_an_address_of_ours_is_told(pair: Pair) -> None:
    found = run(pair, lambda: outcomes(one(Exit("four", 101, NEAR[:1], far_mac(pair)), FAR[1]), 1))
    assert (found[0].how, found[0].words) == (How.UNSENT, "exit four has no IPv6 address to probe from")


def test_what_strangers_send_is_no_answer(pair: Pair) -> None:
    """The far end hears the probes and answers each with everything but its token: another token, another number."""
    _write(pair, "net/ipv4/icmp_echo_ignore_all", "1")
    forger = opened_far(pair, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    async def scenario() -> tuple[list[Outcome], Any]:
        def forge() -> None:
            packet, client = forger.recvfrom(2048)
            if packet[20] != 8:
                return
            reply = b"\0\0\0\0" + packet[24:28] + b"x" * (len(packet) - 28)
            total = sum(struct.unpack(f"!{len(reply) // 2}H", reply))
            total = (total & 0xFFFF) + (total >> 16)
            forger.sendto(
                reply[:2] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + reply[4:], client
            )
            quoted = packet[:4] + b"\0\0" + packet[6:28]  # unreachable, about another identification
            forger.sendto(b"\3\1\0\0\0\0\0\0" + quoted, client)

        asyncio.get_running_loop().add_reader(forger, forge)
        found: asyncio.Queue[Outcome] = asyncio.Queue()
        prober = Prober(found.put_nowait, FAST, timeout_s=0.2)
        try:
            prober.set_probes(one(exits(pair)[0], FAR[0]))
            return [await found.get() for _ in range(3)], prober.strangers
        finally:
            prober.close()

    found, strangers = run(pair, scenario)
    assert {outcome.how for outcome in found} == {How.LOST}
    assert strangers["echo reply"]
    assert strangers["icmp error"]
    forger.close()


def test_an_answer_that_lies_unread_at_the_timeout_is_one(pair: Pair) -> None:
    """A loop that is held up past the timeout: the answer came in time, and the kernel knows when."""

    async def scenario() -> Outcome:
        found: asyncio.Queue[Outcome] = asyncio.Queue()
        prober = Prober(found.put_nowait, Budget(rate_pps=50, interval_s=0.02), timeout_s=0.01)
        try:
            prober.set_probes(one(exits(pair)[0], FAR[0]))
            prober._turn()
            assert prober.sent == 1
            held = socket.socketpair()
            held[0].settimeout(0.05)
            with pytest.raises(TimeoutError):
                held[0].recv(1)  # the whole thread waits
            for end in held:
                end.close()
            return await found.get()
        finally:
            prober.close()

    assert run(pair, scenario).how is How.ANSWERED


def test_one_who_closes_the_prober_on_its_first_word_hears_no_second(pair: Pair) -> None:
    async def scenario() -> int:
        heard: list[Outcome] = []
        done = asyncio.Event()

        def first(outcome: Outcome) -> None:
            heard.append(outcome)
            prober.close()
            done.set()

        prober = Prober(first, FAST, timeout_s=0.05)
        prober.set_probes(one(exits(pair)[0], FAR[0]))
        await done.wait()
        await asyncio.sleep(0.1)  # long enough for five more probes and a timeout, if there were any
        return len(heard)

    assert run(pair, scenario) == 1

"""The kernel's state read early: quick to load, whole, and where it is not, somebody else asks."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from bgpbridge.fib import dump_requests, early_dump, rtnetlink
from bgpbridge.fib.dump import take_snapshot
from bgpbridge.fib.dump_requests import ALL, LINK_GROUPS, LINKS, ROUTE_GROUPS, ROUTES
from bgpbridge.fib.early_dump import EarlyDump
from bgpbridge.fib.kernel_state import Snapshot
from bgpbridge.fib.netlink import SOL_NETLINK
from bgpbridge.fib.pyroute import rtnl

OWN = 203
QUICK = """
import sys
from bgpbridge.fib.early_dump import EarlyDump
heavy = {"numpy", "asyncio", "pyroute2", "dataclasses"} & set(sys.modules)
assert not heavy, heavy
"""


def snapshot(early: EarlyDump | None) -> Snapshot:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(SOL_NETLINK, early_dump.NETLINK_GET_STRICT_CHK, 1)
        return take_snapshot(sock, OWN, None, early)


def steady(found: Snapshot) -> tuple[object, ...]:
    """What does not change by itself."""
    return [link.ifindex for link in found.links], set(found.addresses), found.rules, found.routes


@pytest.fixture
def early():
    made = EarlyDump()
    yield made
    for sock in made.events:
        sock.close()


def test_it_imports_next_to_nothing() -> None:
    subprocess.run([sys.executable, "-c", QUICK], check=True, timeout=60)


def test_numbers_are_the_kernel_s() -> None:
    assert [getattr(rtnl, f"RTM_NEW{name}") for name in ("LINK", "ADDR", "ROUTE", "NEIGH", "RULE")] == [
        dump_requests.RTM_NEWLINK,
        dump_requests.RTM_NEWADDR,
        dump_requests.RTM_NEWROUTE,
        dump_requests.RTM_NEWNEIGH,
        dump_requests.RTM_NEWRULE,
    ]
    assert dump_requests.RTM_NEWNEXTHOP == rtnetlink.RTM_NEWNEXTHOP
    assert (rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR, rtnl.RTNLGRP_NEIGH) == LINK_GROUPS
    assert ROUTE_GROUPS[:2] == (rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE)
    assert ROUTE_GROUPS[3] == rtnl.RTNLGRP_IPV4_RULE
    sizes = [rtnetlink.IFINFO, rtnetlink.IFADDR, rtnetlink.NDMSG, rtnetlink.NHMSG, rtnetlink.RTMSG]
    assert [len(ask.payload) for ask in ALL[:5]] == [form.size for form in sizes]


def test_what_was_read_early_is_what_a_dump_finds(early: EarlyDump) -> None:
    assert len(early.events) == 2
    assert steady(snapshot(early)) == steady(snapshot(None))


def test_each_answer_is_given_once(early: EarlyDump) -> None:
    assert list(early.answer(LINKS))
    assert not list(early.answer(LINKS))


def test_where_no_socket_can_be_had_nothing_is_there_and_the_taker_asks(monkeypatch) -> None:
    def refused(_: object) -> socket.socket:
        raise PermissionError(1, "no")

    monkeypatch.setattr(early_dump, "event_socket", refused)
    nothing = EarlyDump()
    assert not nothing.events
    assert not [data for ask in ALL for data in nothing.answer(ask)]
    assert snapshot(nothing).links


def test_what_ends_in_its_midst_is_asked_again(monkeypatch) -> None:
    received = early_dump._receive
    batches = []

    def third_fails(fd: int) -> list[memoryview]:
        batches.append(fd)
        if len(batches) == 3:
            raise OSError(105, "overrun")
        return received(fd)

    monkeypatch.setattr(early_dump, "_receive", third_fails)
    half = EarlyDump()
    assert steady(snapshot(half)) == steady(snapshot(None))
    for sock in half.events:
        sock.close()


def test_many_datagrams_come_by_one_call_and_one_that_is_cut_off_counts_as_none() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, kernel:
        sent = [bytes([number]) * (1000 + number) for number in range(5)]
        for datagram in sent:
            kernel.send(datagram)
        assert [bytes(data) for data in early_dump._receive(ours.fileno())] == sent
        kernel.send(bytes(early_dump.ROOM + 1))
        with pytest.raises(OSError, match="longer"):
            early_dump._receive(ours.fileno())


def test_a_dump_of_routes_ends_with_its_last_datagram(early: EarlyDump) -> None:
    for ask in ROUTES:
        *before, last = early.answer(ask)
        assert early_dump._ends(last)
        assert not any(map(early_dump._ends, before))

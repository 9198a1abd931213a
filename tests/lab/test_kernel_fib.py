"""The kernel plane in a namespace of its own: real netlink, real nexthop objects, real links that go down.

uplink up0: 192.0.2.1/24, 2001:db8:0::1/64; gateways .2 and ::2
uplink up1: 198.51.100.1/24, 2001:db8:1::1/64; gateways .2 and ::2
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.fib.audit import audit
from bgpbridge.fib.dump import take_snapshot
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.kernel_table import OURS_UNKNOWN
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
NUMBERS = itertools.count()
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
COMPAT = Path("/proc/sys/net/ipv4/nexthop_compat_mode")
COUNT = 20_000
V4, V6 = Family.IPV4, Family.IPV6


def ip(command: str, *, check: bool = True) -> str:
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, timeout=30, check=False)
    assert not check or done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def move_to(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    assert LIBC.setns(descriptor, CLONE_NEWNET) == 0
    os.close(descriptor)


@pytest.fixture
def router() -> Iterator[tuple[int, int]]:
    """Run the test inside a new namespace with two uplinks; gives their ifindexes."""
    name = f"bb{os.getpid()}k{next(NUMBERS)}"
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    ip(f"netns add {name}")
    try:
        move_to(f"/run/netns/{name}")
        ip("link set lo up")
        for number, net in enumerate(("192.0.2", "198.51.100")):
            ip(f"link add up{number} type veth peer name far{number}")
            for link in (f"up{number}", f"far{number}"):
                ip(f"link set {link} up")
            ip(f"addr add {net}.1/24 dev up{number}")
            ip(f"addr add 2001:db8:{number}::1/64 dev up{number} nodad")
        yield socket.if_nametoindex("up0"), socket.if_nametoindex("up1")
    finally:
        move_to(f"/proc/self/fd/{home}")
        os.close(home)
        ip(f"netns del {name}", check=False)


@pytest.fixture
def fib(router: tuple[int, int]) -> Iterator[KernelFib]:
    """A running kernel plane with groups 16 (up0), 17 (up1), 18 (both), 26, 27, 28 the same for IPv6."""
    made = started(router)
    yield made
    made.stop()


def started(router: tuple[int, int]) -> KernelFib:
    made = KernelFib()
    made.start()
    made.set_groups(groups(router))
    return made


def groups(router: tuple[int, int]) -> dict[int, list[Hop]]:
    first, second = hops(router, V4)
    one, two = hops(router, V6)
    return {16: [first], 17: [second], 18: [first, second], 26: [one], 27: [two], 28: [one, two]}


def hops(router: tuple[int, int], family: Family) -> tuple[Hop, Hop]:
    gateways = ("192.0.2.2", "198.51.100.2") if family is V4 else ("2001:db8:0::2", "2001:db8:1::2")
    first, second = (Hop(ipaddress.ip_address(g), i) for g, i in zip(gateways, router, strict=True))
    return first, second


def many(family: Family, group: int, count: int = COUNT, first: int = 0) -> Changes:
    number = np.arange(first, first + count, dtype=np.uint64)
    zeros = np.zeros(count, np.uint64)
    hi, lo, length = zeros, (number << np.uint64(8)) + np.uint64(20 << 24), 24
    if family is V6:
        hi, lo, length = (number << np.uint64(16)) + np.uint64(0x2A00 << 48), zeros, 48
    new = np.full(count, group, np.uint32)
    lengths = np.full(count, length, np.uint8)
    return Changes(family, (number + np.uint64(1)).astype(np.int64), hi, lo, lengths, np.zeros_like(new), new)


def route(text: str, group: int, row: int = 90_000) -> Changes:
    keys = Keys.of(Prefix.parse(text).family, [Prefix.parse(text)])
    new = np.array([group], np.uint32)
    return Changes(keys.family, np.array([row]), keys.hi, keys.lo, keys.length, np.zeros_like(new), new)


def move(fib: KernelFib, text: str, group: int, row: int = 90_000) -> None:
    """By a single UPDATE."""
    prefix = Prefix.parse(text)
    moved = (row, prefix.value >> 64, prefix.value & (1 << 64) - 1, prefix.length, 0, group)
    fib.apply_few(FewChanges(prefix.family, [moved]))


def settle(fib: KernelFib) -> None:
    fib.settled().result(60)


def in_kernel(fib: KernelFib, family: Family) -> dict[int, int]:
    """Our routes counted by group, as the kernel has them."""
    values, counts = np.unique(fib.table(family)[1], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


# -- routes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "here", "there"), [(V4, 16, 17), (V6, 26, 27)])
def test_twenty_thousand_routes_come_move_and_go(fib: KernelFib, family: Family, here: int, there: int) -> None:
    for group in (here, there, 0):
        fib.apply(many(family, group))
        assert fib.behind <= COUNT
        settle(fib)
        assert in_kernel(fib, family) == ({group: COUNT} if group else {})
        assert fib.status().installed[family] == (COUNT if group else 0)
    assert not fib.refused()


def test_a_prefix_that_flaps_while_it_waits_is_written_as_it_is_last(fib: KernelFib) -> None:
    fib.apply(many(V4, 16))
    for group in (17, 0, 18):
        fib.apply(many(V4, group))
    settle(fib)
    assert in_kernel(fib, V4) == {18: COUNT}
    assert fib.status().sent < 4 * COUNT


@pytest.mark.parametrize(("text", "here", "there"), [("203.0.113.0/24", 16, 17), ("2001:db8:ff::/48", 26, 27)])
def test_single_routes_come_move_and_go(fib: KernelFib, text: str, here: int, there: int) -> None:
    family = Prefix.parse(text).family
    for group in (here, there, here, 0, 0, there):
        move(fib, text, group)
        settle(fib)
        assert in_kernel(fib, family) == ({group: 1} if group else {})
        assert fib.status().installed[family] == (group > 0)
    assert not fib.refused()


def test_routes_go_where_their_group_says(fib: KernelFib, router: tuple[int, int]) -> None:
    fib.apply(route("203.0.113.0/24", 16))
    fib.apply(route("2001:db8:ff::/48", 27))
    settle(fib)
    assert "via 192.0.2.2 dev up0" in ip("route get 203.0.113.9")
    assert "via 2001:db8:1::2 dev up1" in ip("-6 route get 2001:db8:ff::9")
    fib.set_group(16, [hops(router, V4)[1]])
    settle(fib)
    assert "via 198.51.100.2 dev up1" in ip("route get 203.0.113.9")


def test_default_routes_and_host_routes_are_routes_like_any(fib: KernelFib) -> None:
    for row, text in enumerate(("0.0.0.0/0", "203.0.113.1/32", "::/0", "2001:db8:ff::1/128"), start=1):
        fib.apply(route(text, 16 if "." in text else 26, row))
    settle(fib)
    assert in_kernel(fib, V4) == {16: 2}
    assert in_kernel(fib, V6) == {26: 2}
    assert "default" in ip("route show proto 203")


def test_ipv4_routes_over_an_ipv6_next_hop(fib: KernelFib) -> None:
    fib.apply(route("203.0.113.0/24", 26))
    settle(fib)
    assert "via inet6 2001:db8::2 dev up0" in ip("route get 203.0.113.9")


def test_ipv6_routes_cannot_use_an_ipv4_next_hop_and_say_so(fib: KernelFib) -> None:
    fib.apply(route("2001:db8:ff::/48", 16))
    settle(fib)
    (state,) = fib.refused()
    assert (state.plane, state.errno) == ("kernel", errno.EINVAL)
    assert "IPv4 nexthop" in state.said
    assert fib.status().sent == 1, "and wait for the next try"


def test_a_blackhole_group_drops_in_both_families(fib: KernelFib) -> None:
    fib.apply(route("203.0.113.0/24", 2))
    fib.apply(route("2001:db8:ff::/48", 2))
    fib.set_blackhole(30)
    fib.apply(route("203.0.114.0/24", 30, row=7))
    settle(fib)
    assert not fib.refused()
    for family, address in (("-4", "203.0.113.9"), ("-6", "2001:db8:ff::9"), ("-4", "203.0.114.9")):
        done = subprocess.run(["ip", family, "route", "get", address], capture_output=True, text=True, check=False)
        assert "blackhole" in done.stdout or done.returncode != 0


# -- groups -----------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_group_replace_moves_all_its_routes_and_writes_none(fib: KernelFib, router: tuple[int, int]) -> None:
    fib.apply(many(V4, 18))
    settle(fib)
    sent = fib.status().sent
    began = time.perf_counter()
    fib.set_group(18, [hops(router, V4)[1]])
    settle(fib)
    assert time.perf_counter() - began < 1.0
    assert fib.status().sent == sent
    assert "dev up1" in ip("route get 20.0.1.9")
    assert in_kernel(fib, V4) == {18: COUNT}


def test_where_all_users_of_a_hop_move_its_object_is_replaced(fib: KernelFib, router: tuple[int, int]) -> None:
    settle(fib)
    one, two = hops(router, V6)
    objects = fib._worker.objects
    replaced = objects.group_replaces
    other = Hop(ipaddress.ip_address("2001:db8:0::3"), router[0])
    fib.set_groups({26: [other], 28: [other, two]})
    settle(fib)
    assert (objects.member_replaces, objects.group_replaces) == (1, replaced)
    assert "2001:db8::3" in ip("nexthop show")
    assert "2001:db8::2" not in ip("nexthop show").replace("2001:db8::2 dev up1", "")
    fib.set_groups({26: [one]})
    settle(fib)
    assert objects.member_replaces == 1, "28 still uses it"


def test_weights_reach_the_kernel(fib: KernelFib, router: tuple[int, int]) -> None:
    first, second = hops(router, V4)
    fib.set_group(18, [Hop(first.gateway, first.ifindex, 300), Hop(second.gateway, second.ifindex, 100)])
    settle(fib)
    (line,) = [line for line in ip("nexthop show").splitlines() if f"id {fib.options.group_base + 18} " in line]
    assert ",3/" in line


def test_a_freed_group_goes_when_its_last_route_has_gone(fib: KernelFib) -> None:
    fib.apply(many(V4, 16))
    settle(fib)
    fib.free_group(16)
    settle(fib)
    assert fib.holds([16, 17]).tolist() == [True, False]
    assert in_kernel(fib, V4) == {16: COUNT}
    fib.apply(many(V4, 17))
    settle(fib)
    assert fib.holds([16, 17]).tolist() == [False, True]
    assert f"id {fib.options.group_base + 16} " not in ip("nexthop show")


def test_a_group_that_is_given_out_again_is_not_freed(fib: KernelFib, router: tuple[int, int]) -> None:
    fib.apply(many(V4, 16))
    settle(fib)
    fib.free_group(16)
    settle(fib)
    fib.set_group(16, [hops(router, V4)[1]])
    fib.apply(many(V4, 17))
    settle(fib)
    fib.free_group(18)
    settle(fib)
    shown = ip("nexthop show")
    assert f"id {fib.options.group_base + 16} " in shown
    assert f"id {fib.options.group_base + 18} " not in shown


def test_compat_mode_is_left_and_comes_back_with_clear(fib: KernelFib) -> None:
    assert COMPAT.read_text().strip() == "0"
    fib.apply(many(V4, 16))
    fib.apply(many(V6, 26))
    settle(fib)
    assert fib.clear().result(60) == 2 * COUNT
    assert ip("route show proto 203") == ip("-6 route show proto 203") == ip("nexthop show") == ""
    assert COMPAT.read_text().strip() == "1"


# -- foreign hands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "group", "via"), [("203.0.113.0/24", 16, "198.51.100.9"), ("2001:db8:ff::/48", 26, "2001:db8:1::9")]
)
def test_a_foreign_route_is_never_touched(fib: KernelFib, text: str, group: int, via: str) -> None:
    wide = "-6" if ":" in text else "-4"
    metric = fib.options.owner(Prefix.parse(text).family).metric
    ip(f"route add {text} via {via} dev up1 metric {metric} proto static")
    fib.apply(route(text, group))
    settle(fib)
    (state,) = fib.refused()
    assert (str(state.prefix), state.errno) == (text, errno.EEXIST)
    assert state.said == "a foreign route holds this prefix and metric"
    assert fib.status().foreign_held == 1
    fib.apply(route(text, 0))
    settle(fib)
    assert not fib.refused()
    assert via in ip(f"{wide} route show {text} proto static")
    fib.apply(route(text, group))
    settle(fib)
    ip(f"route del {text} metric {metric} proto static")
    fib.retry([Prefix.parse(text)])
    settle(fib)
    assert not fib.refused()
    assert f"nhid {fib.options.group_base + group}" in ip(f"{wide} route show {text} proto 203")


def test_a_foreign_route_that_took_nobodys_place_stays(fib: KernelFib) -> None:
    """Word of it comes late: the prefix has become one of ours meanwhile, and the kernel has refused it."""
    prefix = Prefix.parse("203.0.113.0/24")
    ip("route add 203.0.113.0/24 via 198.51.100.9 metric 200 proto static")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    assert not fib.repair(prefix, overwritten=True)
    settle(fib)
    assert fib.status().repaired == 0
    assert "198.51.100.9" in ip("route show 203.0.113.0/24 proto static")
    assert fib.repair(prefix, overwritten=True, foreign=False), "what has our protocol is ours to replace"


def test_a_single_route_that_is_refused_has_its_reason_and_what_was_ours_is_put_right(fib: KernelFib) -> None:
    text = "203.0.113.0/24"
    for group in (16, 0):
        move(fib, text, group)
        settle(fib)
    ip(f"route add {text} via 198.51.100.9 dev up1 metric 200 proto static")
    move(fib, text, 16)
    settle(fib)
    (state,) = fib.refused()
    assert (str(state.prefix), state.errno) == (text, errno.EEXIST)
    move(fib, text, 0)
    settle(fib)
    assert not fib.refused()
    ip(f"route replace {text} via 198.51.100.9 dev up1 metric 200 proto 203")  # left from a lost answer
    move(fib, text, 16)
    settle(fib)
    assert in_kernel(fib, V4) == {16: 1}


def test_a_refused_route_is_tried_again_by_itself(fib: KernelFib) -> None:
    ip("route add 203.0.113.0/24 via 198.51.100.9 metric 200 proto static")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    ip("route del 203.0.113.0/24 metric 200 proto static")
    until(lambda: not fib.refused())
    assert in_kernel(fib, V4) == {16: 1}


def test_a_foreign_route_of_another_metric_stands_beside_ours(fib: KernelFib) -> None:
    ip("route add 203.0.113.0/24 via 198.51.100.9 metric 50 proto static")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    assert not fib.refused()
    assert len(ip("route show 203.0.113.0/24").splitlines()) == 2


def test_a_foreign_overwrite_is_repaired_and_counted(fib: KernelFib) -> None:
    prefix = Prefix.parse("203.0.113.0/24")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    ip("route replace 203.0.113.0/24 via 198.51.100.9 metric 200 proto static")
    assert in_kernel(fib, V4) == {}
    assert fib.repair(prefix, overwritten=True)
    settle(fib)
    ip("route del 203.0.113.0/24 metric 200")
    assert fib.repair(prefix, overwritten=False)
    settle(fib)
    assert in_kernel(fib, V4) == {16: 1}
    assert fib.status().repaired == 2
    assert not fib.repair(Prefix.parse("192.0.2.128/25")), "not ours"


def test_one_who_keeps_overwriting_is_answered_with_pauses(fib: KernelFib) -> None:
    prefix = Prefix.parse("203.0.113.0/24")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    for _ in range(6):
        ip("route replace 203.0.113.0/24 via 198.51.100.9 metric 200 proto static")
        fib.repair(prefix)
        settle(fib)
    (state,) = fib.refused()
    assert state.errno == errno.EBUSY
    until(lambda: not fib.refused())
    assert in_kernel(fib, V4) == {16: 1}


# -- the kernel forgets -----------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "one", "both"), [(V4, 16, 18), (V6, 26, 28)])
def test_what_a_lost_link_took_away_comes_back_with_it(
    fib: KernelFib, router: tuple[int, int], family: Family, one: int, both: int
) -> None:
    fib.apply(many(family, one))
    fib.apply(many(family, both, first=COUNT, count=1000))
    settle(fib)
    ip("link set up0 down")
    assert in_kernel(fib, family) == {both: 1000}, "the kernel has dropped the other group with its routes"
    fib.rebuild(router[0])
    settle(fib)
    assert fib.status().refused[family] == COUNT
    assert set(fib.status().reasons) == {"its group has no usable nexthop in the kernel"}
    assert fib.status().missing_nexthops
    ip("link set up0 up")
    fib.rebuild(router[0])
    settle(fib)
    until(lambda: in_kernel(fib, family) == {one: COUNT, both: 1000})
    settle(fib)
    assert not fib.refused()


def test_a_group_moved_to_its_backup_after_the_link_went_has_all_routes_again(
    fib: KernelFib, router: tuple[int, int]
) -> None:
    fib.apply(many(V4, 16))
    settle(fib)
    ip("link set up0 down")
    fib.set_groups({16: [hops(router, V4)[1]]})
    settle(fib)
    assert in_kernel(fib, V4) == {16: COUNT}
    assert fib.status().lost_routes == COUNT
    assert "dev up1" in ip("route get 20.0.1.9")


def test_routes_and_objects_that_somebody_deleted_are_mended(fib: KernelFib) -> None:
    fib.apply(many(V4, 16))
    fib.apply(many(V6, 26))
    settle(fib)
    ip("route flush proto 203 root 20.0.0.0/18")
    ip(f"nexthop del id {fib.options.group_base + 26}")
    ip(f"route add 203.0.113.0/24 nhid {fib.options.group_base + 17} proto 203 metric 200")
    fib.audit_soon()
    settle(fib)
    assert in_kernel(fib, V4) == {16: COUNT}, "and what is not in the Loc-RIB is gone"
    assert in_kernel(fib, V6) == {26: COUNT}


# -- restart ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [False, True], ids=["asked for", "read already"])
def test_after_a_crash_nothing_is_rewritten_and_only_the_unconfirmed_goes(router: tuple[int, int], read: bool) -> None:
    old = started(router)
    old.apply(many(V4, 16))
    old.apply(many(V6, 28))
    settle(old)
    objects = ip("nexthop show")
    old.stop()  # routes stay, as they do when the process is killed

    new = KernelFib()
    new.start()
    try:
        assert new.groups_there().result(30) == set(groups(router))
        ours = OwnDump(254)
        if read:
            with RouteSocket() as sock:
                take_snapshot(sock.socket, 203, ours)
        assert new.adopt(ours).result(30) == {16, 28}
        new.set_groups(groups(router))
        new.apply(many(V4, 16))
        new.apply(many(V6, 28, count=15_000))
        settle(new)
        assert new.status().sent == 0
        assert ip("nexthop show") == objects
        assert in_kernel(new, V6) == {28: COUNT}, "nothing is swept before it is told"
        assert new.sweep().result(30) == 5_000
        settle(new)
        assert new.status().sent == 5_000
        assert in_kernel(new, V4) == {16: COUNT}
        assert in_kernel(new, V6) == {28: 15_000}
    finally:
        new.stop()


def test_adopted_routes_whose_group_changed_are_moved_and_old_groups_removed(router: tuple[int, int]) -> None:
    old = started(router)
    old.apply(many(V4, 16))
    settle(old)
    old.stop()
    new = KernelFib()
    new.start()
    try:
        new.adopt().result(30)
        new.set_groups({20: [hops(router, V4)[0]]})
        new.apply(many(V4, 20))
        settle(new)
        assert in_kernel(new, V4) == {20: COUNT}
        new.sweep().result(30)
        settle(new)
        shown = ip("nexthop show")
        assert [line for line in shown.splitlines() if "group" in line] == [
            f"id {new.options.group_base + 20} group {new.options.nexthop_id_base} proto 203 "
        ]
    finally:
        new.stop()


@pytest.mark.parametrize("told", [True, False])
def test_a_foreign_hand_between_the_look_and_the_adoption_is_made_good(router: tuple[int, int], told: bool) -> None:
    """Told of it at once, or knowing only that something was missed."""
    old = started(router)
    old.apply(many(V4, 16, count=5000))
    settle(old)
    old.stop()
    new = KernelFib()
    new.start()
    try:
        ours = OwnDump(254)
        with RouteSocket() as sock:
            take_snapshot(sock.socket, 203, ours)
        routes = many(V4, 16, count=5000)
        gone, over = (Prefix(V4, int(routes.lo[index]), int(routes.length[index])) for index in (7, 4000))
        ip(f"route del {gone} proto 203 metric {new.options.metric}")
        ip(f"route replace {over} dev up0 proto static metric {new.options.metric}")
        new.adopt(ours).result(30)
        for prefix, overwritten in ((gone, False), (over, True)) if told else ():
            assert not new.repair(prefix, overwritten=overwritten), "nobody has asked for it yet"
        if not told:
            new.audit_soon()
        settle(new)
        new.set_groups(groups(router))
        new.apply(routes)
        settle(new)
        assert new.sweep().result(30) == 0
        settle(new)
        assert in_kernel(new, V4) == {16: 5000 if told else 4999}
        assert [state.prefix for state in new.refused()] == ([] if told else [over]), "a foreign route that stands"
        assert new.status().sent < 10, "the others are as they were"
    finally:
        new.stop()


def test_leftovers_that_nobody_adopted_are_no_obstacle(router: tuple[int, int]) -> None:
    old = started(router)
    old.apply(many(V4, 16, count=1000))
    settle(old)
    old.stop()
    new = started(router)
    try:
        new.apply(many(V4, 17, count=1000))
        settle(new)
        assert not new.refused()
        assert in_kernel(new, V4) == {17: 1000}
    finally:
        new.stop()


# -- audit ------------------------------------------------------------------------------------------


def desired_of(*applied: Changes) -> dict[Family, list[tuple[Keys, U32]]]:
    return {c.family: [(Keys(c.family, c.hi, c.lo, c.length), c.new)] for c in applied}


def test_the_audit_finds_what_is_wrong_in_the_kernel_and_nothing_otherwise(fib: KernelFib) -> None:
    both = [many(V4, 16), many(V6, 26)]
    for change in both:
        fib.apply(change)
    settle(fib)
    desired = desired_of(*both)
    report = asyncio.run(audit(desired.__getitem__, None, fib))
    assert report.clean, report.examples
    assert report.checked == {("kernel", "ipv4"): COUNT, ("kernel", "ipv6"): COUNT}

    base = fib.options.group_base
    ip(f"route replace 20.0.1.0/24 nhid {base + 17} proto 203 metric 200")
    ip(f"route add 203.0.113.0/24 nhid {base + 17} proto 203 metric 200")
    ip("route add 203.0.113.7/32 dev lo proto 203 metric 200")  # of another scope
    ip("route add blackhole 203.0.113.8/32 proto 203 metric 200")
    ip("route add blackhole 2001:db8:ffff::/48 proto 203 metric 2000")
    ip("route del 2a00:0:5::/48 proto 203")
    ip(f"nexthop replace id {base + 16} group {fib.options.nexthop_id_base + 1} proto 203")
    report = asyncio.run(audit(desired.__getitem__, None, fib))
    assert report.divergent == {
        ("kernel", "other group"): 1,
        ("kernel", "extra"): 4,
        ("kernel", "missing"): 1,
        ("kernel", "group"): 1,
    }
    found = {(str(e.prefix), e.have, e.want) for e in report.examples if e.kind != "group"}
    assert found == {
        ("20.0.1.0/24", 17, 16),
        ("203.0.113.0/24", 17, 0),
        ("203.0.113.7/32", OURS_UNKNOWN, 0),
        ("203.0.113.8/32", OURS_UNKNOWN, 0),
        ("2001:db8:ffff::/48", OURS_UNKNOWN, 0),
        ("2a00:0:5::/48", 0, 26),
    }
    fib.audit_soon()
    settle(fib)
    assert asyncio.run(audit(desired.__getitem__, None, fib)).clean


def test_what_waits_while_the_audit_looks_is_pending_and_what_is_refused_has_its_name(fib: KernelFib) -> None:
    ip("route add 203.0.113.0/24 via 198.51.100.9 metric 200 proto static")
    fib.apply(route("203.0.113.0/24", 16))
    settle(fib)
    bulk = many(V4, 16)
    fib.apply(bulk)
    refused = Keys.of(V4, [Prefix.parse("203.0.113.0/24")])
    keys = Keys.joined(V4, [Keys(V4, bulk.hi, bulk.lo, bulk.length), refused])
    desired: dict[Family, list[tuple[Keys, U32]]] = {V4: [(keys, np.append(bulk.new, np.uint32(16)))], V6: []}
    report = asyncio.run(audit(desired.__getitem__, None, fib))
    assert report.clean
    assert report.refused == 1


# -- the socket -------------------------------------------------------------------------------------


def test_lost_answers_are_found_out_and_mended(fib: KernelFib, monkeypatch: pytest.MonkeyPatch) -> None:
    fib.apply(many(V4, 16))
    settle(fib)
    real = RouteSocket.send
    broken = iter([True])

    def lossy(self: RouteSocket, packed: np.ndarray) -> object:
        if next(broken, False):
            packed["nh"] = 1  # the kernel refuses them all, and nobody hears of it
            small = socket.socket.setsockopt
            small(self.socket, socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            outcome = real(self, packed)
            small(self.socket, socket.SOL_SOCKET, 33, 1 << 20)
            return outcome
        return real(self, packed)

    monkeypatch.setattr(RouteSocket, "send", lossy)
    fib.apply(many(V4, 17))
    settle(fib)
    assert fib._worker.counts.comparisons >= 1
    until(lambda: in_kernel(fib, V4) == {17: COUNT})

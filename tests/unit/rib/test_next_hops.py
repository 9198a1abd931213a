from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import numpy as np

from bgpbridge.rib.next_hops import Hop, NextHop, NextHopTable, Resolution

ONE, TWO = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
GLOBAL, LOCAL = IPv6Address("2001:db8::1"), IPv6Address("fe80::1")


def test_a_next_hop_has_one_id_and_is_resolved_when_it_comes() -> None:
    asked: list[NextHop] = []

    def resolve(hop: NextHop) -> Resolution:
        asked.append(hop)
        return Resolution(True, 20, (Hop(None, 3),))

    table = NextHopTable(resolve)
    number = table.intern(ONE)
    assert table.intern(ONE) == number
    assert asked == [NextHop(ONE)]
    assert (bool(table.reachable[number]), int(table.metric[number])) == (True, 20)
    assert table.resolution(number).hops == (Hop(None, 3),)
    assert table.take_fresh() == [number]
    assert table.take_fresh() == []


def test_without_a_resolver_a_new_one_is_unreachable_and_says_why() -> None:
    table = NextHopTable()
    number = table.intern(ONE)
    assert not table.reachable[number]
    assert table.resolution(number).reason == "not resolved yet"


def test_set_tells_whether_the_decision_must_run() -> None:
    table = NextHopTable()
    number = table.intern(ONE)
    assert table.set(number, Resolution(True, 10, (Hop(None, 1),)))
    assert not table.set(number, Resolution(True, 10, (Hop(None, 2),)))
    assert table.set(number, Resolution(True, 11))
    assert table.set(number, Resolution(False, reason="link down"))


def test_words_of_the_wire_give_the_same_ids_as_addresses() -> None:
    table = NextHopTable()
    families = np.array([1, 2, 0, 1, 2, 1], np.uint8)
    wide = int(GLOBAL)
    hi = np.array([0, wide >> 64, 0, 0, wide >> 64, 0], np.uint64)
    lo = np.array([int(ONE), wide & 0xFFFFFFFFFFFFFFFF, 0, int(TWO), wide & 0xFFFFFFFFFFFFFFFF, int(ONE)], np.uint64)
    want = [table.intern(ONE), table.intern(GLOBAL), 0, table.intern(TWO), table.intern(GLOBAL), table.intern(ONE)]
    assert table.intern_words(families, hi, lo).tolist() == want
    assert table.intern_words(families[3:4], hi[3:4], lo[3:4]).tolist() == [table.intern(TWO)]


def test_an_ipv4_address_and_an_ipv6_one_with_equal_words_differ() -> None:
    table = NextHopTable()
    lo = np.array([int(ONE), int(ONE)], np.uint64)
    ids = table.intern_words(np.array([1, 2], np.uint8), np.zeros(2, np.uint64), lo)
    assert [str(table[number].address) for number in ids.tolist()] == ["192.0.2.1", "::c000:201"]


def test_a_link_local_next_hop_is_another_one_for_each_peer() -> None:
    table = NextHopTable(lambda hop: Resolution(hop.peer == 1))
    template = table.intern(GLOBAL, LOCAL)
    assert table.ids() == []
    first, second = table.scoped_one(template, 1), table.scoped_one(template, 2)
    assert table.scoped(np.array([template, template]), 1).tolist() == [first, first]
    assert table[first] == NextHop(GLOBAL, LOCAL, 1)
    assert [bool(table.reachable[n]) for n in (template, first, second)] == [False, True, False]
    assert table.ids() == sorted([first, second])


def test_a_full_table_gives_an_unreachable_id_and_counts() -> None:
    table = NextHopTable(lambda _: Resolution(True), limit=1)
    assert table.intern(ONE) == 1
    assert table.intern(TWO) == 0
    assert (table.refused, bool(table.reachable[0]), table.room()) == (1, False, 0)


def test_unused_ids_are_given_out_again() -> None:
    table = NextHopTable(lambda _: Resolution(True))
    one, two, template = table.intern(ONE), table.intern(TWO), table.intern(GLOBAL, LOCAL)
    scoped = table.scoped_one(template, 4)
    used = np.zeros(table.limit + 1, np.bool_)
    used[[two, scoped]] = True
    assert table.release(used) == [one]
    assert table.scoped_one(template, 4) == scoped
    assert table.intern(IPv4Address("192.0.2.9")) == one
    used[one] = True
    used[[template, scoped]] = True, False
    assert table.release(used) == []  # peers may use the template's own ones at any moment
    used[[template, one]] = False
    assert sorted(table.release(used)) == sorted([one, template, scoped])
    assert len(table) == 1

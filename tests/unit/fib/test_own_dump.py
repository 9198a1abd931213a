"""Our own routes gathered from a dump of all, however they come in."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.fib import own_dump
from bgpbridge.fib.kernel_wire import INSERT, Owner, pack_routes
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.types import Family, Prefix

OWNER = Owner(254, 203, 200)
COUNT = 1000


def octets(family: Family, first: int, count: int) -> tuple[bytes, int]:
    """Messages as the kernel dumps them, and the length of each; the group of route n is n."""
    number = np.arange(first, first + count, dtype=np.uint64)
    nothing = np.zeros(count, np.uint64)
    hi, lo = (number << np.uint64(16), nothing) if family is Family.IPV6 else (nothing, number << np.uint64(8))
    keys = Keys(family, hi, lo, np.full(count, 48 if family is Family.IPV6 else 24, np.uint8))
    packed = pack_routes(keys, number.astype(np.uint32), np.full(count, INSERT, np.uint8), OWNER)
    return packed.tobytes(), packed.itemsize


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("at_once", "gathered"), [(1, 1 << 20), (7, 500), (300, 4096), (1000, 1 << 20)])
def test_all_routes_come_out_once_in_their_order(family: Family, at_once: int, gathered: int, monkeypatch) -> None:
    monkeypatch.setattr(own_dump, "GATHERED", gathered)
    read = OwnDump(254)
    read.begin(family)
    for first in range(0, COUNT, at_once):
        read.add(*octets(family, first, min(at_once, COUNT - first)))
    read.end()
    found = read.take(family)
    assert found is not None
    assert found.nexthop.tolist() == list(range(COUNT))
    assert found.metric.tolist() == [200] * COUNT
    assert [found.keys.prefix(n) for n in (0, 999)] == [prefix(family, n) for n in (0, 999)]
    assert read.take(family) is None, "given out once"


def prefix(family: Family, number: int) -> Prefix:
    return Prefix(family, number << 80, 48) if family is Family.IPV6 else Prefix(family, number << 8, 24)


def test_a_dump_that_begins_again_counts_alone_and_families_are_apart() -> None:
    read = OwnDump(254)
    for first in (0, 500):
        read.begin(Family.IPV4)
        read.add(*octets(Family.IPV4, first, 10))
    read.end()
    read.begin(Family.IPV6)
    read.add(*octets(Family.IPV6, 3, 1))
    read.end()
    four, six = read.take(Family.IPV4), read.take(Family.IPV6)
    assert four is not None
    assert six is not None
    assert four.nexthop.tolist() == list(range(500, 510))
    assert six.nexthop.tolist() == [3]


def test_without_a_dump_there_is_nothing_to_adopt_by() -> None:
    assert OwnDump(254).take(Family.IPV4) is None

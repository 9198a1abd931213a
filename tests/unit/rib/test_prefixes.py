from __future__ import annotations

import random
from ipaddress import ip_address

import numpy as np
import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.rib.prefixes import prefix_table
from bgpbridge.types import Family, Prefix

MASK64 = (1 << 64) - 1


def columns(prefixes: list[Prefix]):
    return (
        np.array([p.value >> 64 for p in prefixes], np.uint64),
        np.array([p.value & MASK64 for p in prefixes], np.uint64),
        np.array([p.length for p in prefixes], np.uint8),
    )


def some(family: Family, count: int, seed: int = 1) -> list[Prefix]:
    source = random.Random(seed)
    base = 10 << 24 if family is Family.IPV4 else 0x20010DB8 << 96
    found = []
    for _ in range(count):
        length = source.choice([0, 1, 8, 16, 20, 23, 24, 25, 30, 32] + ([48, 64, 65, 127, 128] if family == 2 else []))
        found.append(Prefix.make(family, base | source.getrandbits(family.bits - 24), length))
    return found


@pytest.mark.parametrize("family", Family)
def test_each_prefix_has_one_row_in_bulk_and_alone(family: Family) -> None:
    table = prefix_table(family, 10_000)
    prefixes = some(family, 3000)
    rows = table.intern(*columns(prefixes))
    assert len(set(rows.tolist())) == len(set(prefixes)) == table.count
    assert [table.prefix(row) for row in rows.tolist()] == prefixes
    assert (table.find(*columns(prefixes)) == rows).all()
    assert [table.row(prefix) for prefix in prefixes] == rows.tolist()
    assert [table.intern_one(p.value >> 64, p.value & MASK64, p.length) for p in prefixes] == rows.tolist()
    others = sorted(set(some(family, 3000, seed=2)) - set(prefixes))
    assert not table.find(*columns(others)).any()
    assert {table.row(prefix) for prefix in others} == {0}


@pytest.mark.parametrize("family", Family)
def test_containment_both_ways(family: Family) -> None:
    table = prefix_table(family, 10_000)
    prefixes = sorted(set(some(family, 800)))
    rows = dict(zip(prefixes, table.intern(*columns(prefixes)).tolist(), strict=True))
    for inner in random.Random(3).sample(prefixes, 60):
        covering = sorted((p for p in prefixes if p.covers(inner) and p != inner), key=lambda p: -p.length)
        assert table.covering(rows[inner]) == [rows[p] for p in covering]
        assert table.longest(inner.address) == [
            rows[p] for p in sorted((p for p in prefixes if p.covers(inner.address)), key=lambda p: -p.length)
        ]
        assert table.covered(inner).tolist() == sorted(rows[p] for p in prefixes if inner.covers(p))


def test_nothing_covers_an_unknown_address() -> None:
    table = prefix_table(Family.IPV6, 10)
    assert table.longest(ip_address("2001:db8::1")) == []


@pytest.mark.parametrize("family", Family)
def test_a_full_table_refuses_before_it_changes(family: Family) -> None:
    table = prefix_table(family, 20)
    prefixes = sorted(set(some(family, 200)))
    known, more = prefixes[:15], prefixes[15:25]
    rows = table.intern(*columns(known))
    with pytest.raises(CapacityError, match=f"15 {family.label} prefixes are known"):
        table.intern(*columns(more))
    assert table.count == 15
    assert (table.intern(*columns(known * 3)) == np.tile(rows, 3)).all()
    for prefix in more[:5]:
        table.intern_one(prefix.value >> 64, prefix.value & MASK64, prefix.length)
    with pytest.raises(CapacityError):
        table.intern_one(0, more[9].value & MASK64, more[9].length)

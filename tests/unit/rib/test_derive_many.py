"""Attributes derived in bulk are those that are derived one by one."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from bgpbridge.rib.attributes import COLUMNS, AttributeTable
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.types import AttributeChanges, CommunityChanges
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.verdicts import SessionKind

KIND = SessionKind(asn4=True, ebgp=False, local_as=64500)
CHANGES = [
    AttributeChanges(local_pref=200),
    AttributeChanges(med=7),
    AttributeChanges(weight=70000),
    AttributeChanges(local_pref=1, med=0, weight=3),
    AttributeChanges(local_pref=5, communities=CommunityChanges(add=(65000,))),
    AttributeChanges(communities=CommunityChanges(remove=(65000,)), med=3),
    AttributeChanges(large=CommunityChanges(replace=((1, 2, 3),)), extended=CommunityChanges(add=(b"12345678",))),
    AttributeChanges(prepend=(64501, 2)),
    AttributeChanges(next_hop=ip_address("192.0.2.77"), local_pref=9),
    AttributeChanges(next_hop=ip_address("2001:db8::7"), prepend=(64502, 16), weight=2),
]

ODD_PATHS = ("", "0102 00000007 00000008", "0301 00000009", "0201 00000005 0101 00000006")
BOTH = (ip_address("2001:db8::1"), ip_address("fe80::1"))  # a next hop and its link-local address


def table_of_all() -> tuple[AttributeTable, list[int]]:
    """Beside three plain blocks: no path, a set, a confederation, a set behind; a link-local next hop."""
    table, blocks = table_of_three()
    origin, hop = encode_attribute(Code.ORIGIN, b"\0"), encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, 9]))
    for path in ODD_PATHS:
        blocks.append(table.intern(origin + encode_attribute(Code.AS_PATH, bytes.fromhex(path)) + hop, False, KIND))
    reach = b"\x90\x0e\0\x24" + b"\0\2\1\x20" + b"".join(address.packed for address in BOTH)
    blocks.append(table.intern(origin + encode_attribute(Code.AS_PATH, b"") + reach, True, KIND))
    return table, blocks


def table_of_three() -> tuple[AttributeTable, list[int]]:
    table = AttributeTable(NextHopTable(None), capacity=64)
    blocks = []
    for number in range(3):
        path = bytes([2, number + 1]) + b"".join((64600 + i).to_bytes(4, "big") for i in range(number + 1))
        parts = [
            encode_attribute(Code.ORIGIN, bytes([number])),
            encode_attribute(Code.AS_PATH, path),
            encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, number + 1])),
            encode_attribute(Code.MED, number.to_bytes(4, "big")) if number else b"",
            encode_attribute(Code.LOCAL_PREF, (100 + number).to_bytes(4, "big")),
        ]
        blocks.append(table.intern(b"".join(parts), False, KIND))
    return table, blocks


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_columns_are_those_of_derive(changes: AttributeChanges) -> None:
    table, ids = table_of_all()
    other, same = table_of_all()
    many = table.derive_many(np.array(ids), changes)
    one_by_one = [other.derive(number, changes) for number in same]
    for name in COLUMNS:
        ours, theirs = getattr(table, name).take(many), getattr(other, name).take(one_by_one)
        assert ours.tolist() == theirs.tolist(), name
    assert [table.get(number) for number in many.tolist()] == [other.get(number) for number in one_by_one]
    assert [table.derive(number, changes) for number in ids] == many.tolist(), "interned"
    assert table.derive_many(np.array(ids), changes).tolist() == many.tolist()


def test_derived_from_a_derived_keeps_its_weight() -> None:
    table, ids = table_of_three()
    heavy = table.derive(ids[0], AttributeChanges(weight=9))
    preferred = table.derive_many(np.array([heavy]), AttributeChanges(local_pref=300))
    assert table.weight[preferred[0]] == 9
    assert table.rank[preferred[0]] == table.rank[table.derive(heavy, AttributeChanges(local_pref=300))]


def test_released_ids_are_forgotten() -> None:
    table, ids = table_of_three()
    change = AttributeChanges(local_pref=200)
    many = table.derive_many(np.array(ids), change)
    table.release(many)
    again = table.derive_many(np.array(ids), change)
    assert table.local_pref.take(again).tolist() == [200, 200, 200]

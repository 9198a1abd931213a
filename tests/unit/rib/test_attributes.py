from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.rib.attributes import NO_RANK, WEIGHT_SET, AttributeTable, rank_of
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.types import AttributeChanges, CommunityChanges, Verdict
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.segments import as_path_text
from bgpbridge.wire.verdicts import SessionKind

EXTERNAL = SessionKind(asn4=True, ebgp=True, local_as=64512)
INTERNAL = SessionKind(asn4=True, ebgp=False, local_as=64512)


HOP6 = bytes.fromhex("20010db8000000000000000000000001")


def block(path=(65001,), origin=0, hop="192.0.2.1", **more: int) -> bytes:
    octets = encode_attribute(1, bytes([origin]))
    octets += encode_attribute(2, bytes([2, len(path)]) + b"".join(n.to_bytes(4, "big") for n in path))
    octets += encode_attribute(3, IPv4Address(hop).packed)
    for name, code in (("med", 4), ("local_pref", 5), ("originator", 9), ("cluster", 10), ("community", 8)):
        if name in more:
            octets += encode_attribute(code, more[name].to_bytes(4, "big"))
    return octets


def batch(octets: list[bytes]) -> Blocks:
    data = b"".join(octets)
    data += bytes(32 + -len(data) % 8)
    length = np.array([len(one) for one in octets], np.int64)
    return Blocks(np.frombuffer(data, np.uint8), np.cumsum(length) - length, length, np.zeros(len(octets), np.bool_))


def table(**more) -> AttributeTable:
    return AttributeTable(NextHopTable(limit=100), capacity=1000, **more)


SAMPLES = [
    block(),
    block(path=(65001, 2, 3), med=7),
    block(local_pref=300, origin=2),
    block(origin=9),
    block(path=(64512,)),
    block(hop="0.0.0.0"),
    block(originator=9, cluster=1),
    encode_attribute(1, b"\0"),
    block(hop="192.0.2.9", community=77),
]


@pytest.mark.parametrize("kind", [EXTERNAL, INTERNAL], ids=["ebgp", "ibgp"])
def test_bulk_and_single_interning_fill_the_same_columns(kind: SessionKind) -> None:
    one, many = table(), table()
    ids = many.intern_batch(batch(SAMPLES), kind)
    ones = [one.intern(octets, False, kind) for octets in SAMPLES]
    for name in ("rank", "verdict", "flags", "origin", "path_length", "neighbor_as", "origin_as", "local_pref", "med"):
        assert getattr(many, name).take(ids).tolist() == getattr(one, name).take(ones).tolist(), name
    for name in ("originator", "cluster_length", "weight", "base", "found"):
        assert getattr(many, name).take(ids).tolist() == getattr(one, name).take(ones).tolist(), name
    hops = [
        [None if not n else t.next_hops[n] for n in t.next_hop.take(i).tolist()] for t, i in ((many, ids), (one, ones))
    ]
    assert hops[0] == hops[1]
    assert [many.get(n) for n in ids.tolist()] == [one.get(n) for n in ones]


def test_the_same_octets_of_another_session_kind_mean_something_else() -> None:
    attributes = table()
    octets = block(local_pref=300)
    external, internal = attributes.intern(octets, False, EXTERNAL), attributes.intern(octets, False, INTERNAL)
    assert external != internal
    assert [int(attributes.local_pref[n]) for n in (external, internal)] == [100, 300]
    assert attributes.kind(internal) == INTERNAL
    assert attributes.block(internal) == octets


def test_a_block_to_be_withdrawn_has_no_rank_and_keeps_its_findings() -> None:
    attributes = table()
    number = attributes.intern(block(origin=9), False, EXTERNAL)
    assert attributes.verdict[number] == Verdict.TREAT_AS_WITHDRAW
    assert attributes.rank[number] == NO_RANK
    assert [finding.code for finding in attributes.findings(number)] == [1]


def test_a_route_of_our_own_that_a_reflector_sends_back_is_ignored() -> None:
    """RFC 4456 s8."""
    attributes = table(router_id=9)
    octets = block(originator=9)
    number = attributes.intern(octets, False, INTERNAL)
    assert attributes.verdict[number] == Verdict.TREAT_AS_WITHDRAW
    assert "our own router id" in attributes.findings(number)[-1].reason
    other = table(router_id=9)
    ids = other.intern_batch(batch([octets, octets, block()]), INTERNAL)
    assert other.verdict[ids].tolist() == [Verdict.TREAT_AS_WITHDRAW] * 2 + [Verdict.ACCEPT]
    assert list(other.findings_by_key(ids[:2])) == [(attributes.findings(number), 2)]


def test_findings_of_many_are_those_of_each() -> None:
    attributes = table()
    octets = [block(local_pref=n) for n in range(5)] + [block(origin=9), b"\x40\x01\x01\x00" * 12]
    ids = attributes.intern_batch(batch(octets), EXTERNAL)
    found = dict(attributes.findings_by_key(ids))
    assert found == Counter(map(attributes.findings, ids.tolist()))
    assert sorted(found.values()) == [1, 1, 5]


def test_next_hops_with_link_local_addresses_in_bulk_and_alone() -> None:
    """RFC 2545 s3: both addresses, `::` and one, one alone; and without any."""
    link, other, both = (b"\xfe\x80" + bytes(13) + bytes([n]) for n in (1, 2, 3))
    hops = [HOP6 + link, HOP6 + other, bytes(16) + link, link, HOP6, link + both, HOP6 + link]
    head = block()[:-7]  # without NEXT_HOP
    octets = [encode_attribute(14, b"\0\2\1" + bytes([len(hop)]) + hop, 0x90) + head for hop in hops]
    many, one = table(), table()
    blocks = batch(octets)
    blocks.mp[:] = True
    ids = many.intern_batch(blocks, EXTERNAL)
    assert ids[0] == ids[-1]
    for number, alone in zip(ids.tolist(), [one.intern(each, True, EXTERNAL) for each in octets], strict=True):
        assert many.next_hops[many.next_hop[number]] == one.next_hops[one.next_hop[alone]]
    assert len(many.next_hops) == len(one.next_hops)


def test_derived_attributes_are_interned_and_show_what_changed() -> None:
    attributes = table()
    number = attributes.intern(block(path=(65001, 2), community=5), False, EXTERNAL)
    changes = AttributeChanges(
        local_pref=200,
        med=3,
        weight=9,
        next_hop=IPv6Address("2001:db8::9"),
        prepend=(65009, 2),
        communities=CommunityChanges(remove=(5,), add=(6, 7)),
        large=CommunityChanges(replace=((1, 2, 3),)),
        extended=CommunityChanges(add=(bytes(8),)),
    )
    derived = attributes.derive(number, changes)
    assert attributes.derive(number, changes) == derived != number
    got = attributes.get(derived).attributes
    assert got is not None
    assert (got.local_pref, got.med, got.communities, got.large, got.extended) == (
        200,
        3,
        (6, 7),
        ((1, 2, 3),),
        (bytes(8),),
    )
    assert as_path_text(got.as_path) == "65009 65009 65001 2"
    assert attributes.next_hops[int(attributes.next_hop[derived])].address == IPv6Address("2001:db8::9")
    assert (int(attributes.path_length[derived]), int(attributes.neighbor_as[derived])) == (4, 65009)
    assert int(attributes.rank[derived]) == rank_of(9, 200, 4, 0)
    assert int(attributes.flags[derived]) & WEIGHT_SET
    assert attributes.changes(derived) == changes
    assert attributes.received(derived) == number
    assert attributes.block(derived) == attributes.block(number)
    again = attributes.derive(derived, AttributeChanges(med=4))
    assert attributes.get(again).attributes.communities == (6, 7)
    assert int(attributes.weight[again]) == 9
    assert attributes.derive(number, AttributeChanges()) == number


def test_community_changes_replace_then_remove_then_add() -> None:
    changes = CommunityChanges(replace=(1, 2, 3), remove=(2,), add=(3, 4))
    assert changes.apply((9,)) == (1, 3, 4)


def test_released_ids_are_forgotten_everywhere_and_told() -> None:
    attributes = table()
    told: list[int] = []
    attributes.on_release(lambda ids: told.extend(ids.tolist()))
    number = attributes.intern(block(), False, EXTERNAL)
    derived = attributes.derive(number, AttributeChanges(med=1))
    attributes.release(np.array([derived]))
    attributes.release(np.array([number]))
    assert told == [derived, number]
    assert len(attributes) == 0
    fresh = attributes.intern(block(path=(65001, 7)), False, EXTERNAL)
    assert fresh in {number, derived}
    assert attributes.get(attributes.derive(fresh, AttributeChanges(med=1))).attributes.path_length == 2


def test_a_full_table_says_so() -> None:
    attributes = AttributeTable(NextHopTable(limit=10), capacity=2)
    number = attributes.intern(block(), False, EXTERNAL)
    attributes.intern(block(med=1), False, EXTERNAL)
    with pytest.raises(CapacityError):
        attributes.intern(block(med=2), False, EXTERNAL)
    with pytest.raises(CapacityError, match="attribute ids are in use"):
        attributes.derive(number, AttributeChanges(med=5))


def test_equal_as_paths_have_equal_numbers() -> None:
    attributes = table()
    a, b, c = (attributes.intern(octets, False, EXTERNAL) for octets in (block(), block(med=1), block(path=(65001, 2))))
    assert attributes.as_path(a) == attributes.as_path(b) != attributes.as_path(c)

"""The reader of trace's rings, on rings written as the program does; and filters as the program reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath.abi import TRACE_RECORDS, TRACE_RING, Reason
from bgpbridge.datapath.trace import TraceFilter, TraceRings
from bgpbridge.types import Family, Prefix


class Cpu:
    """The program's end of one ring."""

    def __init__(self, ring: np.void) -> None:
        self.ring = ring

    def sees(self, number: int, reason: Reason = Reason.FORWARDED, group: int = 16) -> None:
        self.ring["packets"] += 1
        self.ring["octets"] += 100
        head = int(self.ring["head"])
        if head < int(self.ring["limit"]):
            record = self.ring["records"][head % TRACE_RECORDS]
            record["at_ns"], record["octets"], record["reason"] = number * 10**9, 100, reason
            record["group"], record["slot"], record["adjacency"] = group, 5, 3
            record["captured"], record["head"][:4] = 4, np.frombuffer(b"abcd", np.uint8)
            self.ring["head"] = head + 1


@pytest.fixture
def cpus() -> tuple[TraceRings, list[Cpu]]:
    rings = np.zeros(2, TRACE_RING)
    reader = TraceRings(rings)
    reader.begin()
    return reader, [Cpu(rings[0]), Cpu(rings[1])]


def test_each_cpu_tells_what_it_saw(cpus: tuple[TraceRings, list[Cpu]]) -> None:
    reader, (first, second) = cpus
    assert reader.take() == []
    first.sees(1)
    second.sees(2, Reason.PASS_MTU)
    (one, other) = reader.take()
    assert (one.packets, one.octets, len(one.noted)) == (1, 100, 1)
    noted = other.noted[0]
    assert (noted.at_s, noted.reason, noted.group, noted.slot, noted.adjacency) == (2.0, Reason.PASS_MTU, 16, 5, 3)
    assert noted.head == b"abcd"
    assert reader.take() == []


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 150)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_record_is_told_twice_or_torn_and_none_is_counted_away(turns: list[tuple[int, int]]) -> None:
    rings = np.zeros(2, TRACE_RING)
    reader, told, sent, counted = TraceRings(rings), [], 0, 0
    reader.begin()
    for cpu, count in turns:
        for _ in range(count):
            sent += 1
            Cpu(rings[cpu]).sees(sent)
        batches = reader.take()
        counted += sum(batch.packets for batch in batches)
        fresh = [round(noted.at_s) for batch in batches for noted in batch.noted]
        assert len(fresh) == min(count, TRACE_RECORDS), "as many as there is room for, the first ones"
        told += fresh
    assert counted == sent
    assert told == sorted(set(told))


def test_a_reader_that_is_gone_costs_one_ring(cpus: tuple[TraceRings, list[Cpu]]) -> None:
    reader, (first, _) = cpus
    for number in range(1000):
        first.sees(number)
    assert int(first.ring["head"]) == TRACE_RECORDS
    reader.begin()  # who comes next begins anew
    assert reader.take() == []


def test_a_slot_means_something_where_a_group_has_slots(cpus: tuple[TraceRings, list[Cpu]]) -> None:
    reader, (first, _) = cpus
    for reason, group in ((Reason.PASS_NO_ROUTE, 0), (Reason.PASS_PUNT, 1), (Reason.PASS_GROUP_INVALID, 21)):
        first.sees(1, reason, group)
    (batch,) = reader.take()
    assert [noted.slot for noted in batch.noted] == [None, None, None]


def octets(row: np.ndarray, name: str) -> bytes:
    return row[name][0].tobytes()


def test_a_filter_holds_addresses_as_packets_do() -> None:
    row = TraceFilter(Prefix.parse("198.51.100.0/22"), None, 7, 8).row
    assert octets(row, "to")[:4] == bytes([198, 51, 100, 0])
    assert octets(row, "to_mask") == b"\xff\xff\xfc\x00" + bytes(12)
    assert octets(row, "from_mask") == bytes(16)
    assert (row["version"][0], row["ifindex"][0], row["sample_mask"][0]) == (4, 7, 7)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "2001:db8::/33", "2001:db8::1/128", "192.0.2.1/32"])
def test_a_mask_is_as_long_as_its_prefix(text: str) -> None:
    prefix = Prefix.parse(text)
    row = TraceFilter(None, prefix).row
    assert int.from_bytes(octets(row, "from_mask"), "big").bit_count() == prefix.length
    assert row["version"][0] == (4 if prefix.family is Family.IPV4 else 6)
    assert octets(row, "from")[: prefix.family.octets] == prefix.octets

"""The Python half of the ABI: words and keys as octets in memory. tests/bpf/test_abi.py holds it to abi.h."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Reason, XdpVerdict

MAC = st.binary(min_size=6, max_size=6)


def test_an_adjacency_lies_in_memory_as_abi_h_says() -> None:
    adjacency = Adjacency(b"\x02\x03\x04\x05\x06\x07", b"\x12\x13\x14\x15\x16\x17", 1500, AdjacencyState.UP, 7)
    row = np.zeros(1, abi.ADJACENCY)
    row["word0"], row["word1"], row["ifindex"] = adjacency.word0, adjacency.word1, 7
    assert row.tobytes().hex() == "020304050607dc0512131415161701000700000000000000" + "00" * 8


@given(MAC, MAC, st.integers(0, 65535), st.sampled_from(AdjacencyState), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_an_adjacency_comes_back_as_it_went(dmac, smac, mtu, state, ifindex) -> None:
    adjacency = Adjacency(dmac, smac, mtu, state, ifindex)
    row = np.zeros(1, abi.ADJACENCY)
    row["word0"], row["word1"], row["ifindex"] = adjacency.word0, adjacency.word1, ifindex
    assert Adjacency.of(row[0]) == adjacency


def test_a_jumbo_mtu_that_u16_cannot_hold_is_the_largest() -> None:
    assert Adjacency(bytes(6), bytes(6), 65536, AdjacencyState.UP, 1).word0 >> 48 == 65535


def test_a_state_that_nobody_wrote_reads_as_down() -> None:
    row = np.zeros(1, abi.ADJACENCY)
    row["word1"] = 7 << 48
    assert Adjacency.of(row[0]).state is AdjacencyState.DOWN


def test_an_interface_is_its_mac_then_its_flags() -> None:
    assert abi.interface_word(b"\x01\x02\x03\x04\x05\x06", 9).to_bytes(8, "little").hex() == "0102030405060900"


def test_trie_keys_hold_the_address_in_network_order() -> None:
    keys = abi.lpm4_keys(np.array([0xC6336400], np.uint64), np.array([24], np.uint8))
    assert keys.tobytes().hex() == "18000000c6336400"
    keys = abi.lpm6_keys(np.array([0x20010DB8 << 32], np.uint64), np.array([1], np.uint64), np.array([128]))
    assert keys.tobytes().hex() == "8000000020010db8000000000000000000000001"


@pytest.mark.parametrize("reason", Reason)
def test_the_name_of_a_reason_tells_its_verdict(reason: Reason) -> None:
    word = reason.label.split("_")[0]
    expected = {"forwarded": XdpVerdict.REDIRECT, "pass": XdpVerdict.PASS, "drop": XdpVerdict.DROP}
    assert reason.verdict is expected[word]


def test_array_values_fill_their_elements() -> None:
    # a BPF ARRAY rounds values up to 8 octets: a numpy view of any other size would read the wrong ones
    for dtype in (abi.GROUP, abi.ADJACENCY, abi.CONTROL, abi.TRACE_FILTER, abi.TRACE_RING):
        assert dtype.itemsize % 8 == 0

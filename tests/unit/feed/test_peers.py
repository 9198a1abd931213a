"""Peer numbers stay as long as the name does."""

from __future__ import annotations

import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.feed.peers import PeerIndex, lanes_for


def test_numbers_begin_at_one_and_stay() -> None:
    index = PeerIndex(8)
    assert index.update(["a", "b"]) == {"a": 1, "b": 2}
    assert index.update(["c", "b", "a"]) == {"a": 1, "b": 2, "c": 3}
    assert index["b"] == 2
    assert index.name(3) == "c"
    assert index.name(7) == "peer 7"


def test_a_freed_number_is_used_last_and_the_longest_unused_first() -> None:
    index = PeerIndex(5)
    index.update(["a", "b", "c"])
    index.update(["c"])  # frees two; which of them first is of no interest
    assert index.update(["c", "d"])["d"] == 4
    assert {index.update(["c", "d", "e", "f"])[name] for name in "ef"} == {1, 2}


def test_too_many_peers_change_nothing() -> None:
    index = PeerIndex(3)
    index.update(["a"])
    with pytest.raises(CapacityError, match="lanes for 2 only"):
        index.update(["a", "b", "c"])
    assert index.update(["a", "b"]) == {"a": 1, "b": 2}


def test_a_table_is_restored_as_it_was() -> None:
    index = PeerIndex.restore(6, {"b": 4, "lost": 99})
    assert index.update(["b", "n"]) == {"b": 4, "n": 5}
    assert index.update(["b", "n", "o"])["o"] in (1, 2, 3)


def test_the_layout_has_room_for_more_peers() -> None:
    assert lanes_for(0) == 17
    assert lanes_for(3) == 20
    assert lanes_for(100) == 201

"""Counter values and what reading them may assume."""

from __future__ import annotations

from bgpbridge.datapath.counters import Count


def test_a_difference_of_counts_is_by_field() -> None:
    assert Count(10, 1000) - Count(4, 300) == Count(6, 700)
    assert Count(1, 60) + Count(2, 120) == Count(3, 180)

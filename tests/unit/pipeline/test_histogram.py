"""Seconds, counted by upper bound."""

from __future__ import annotations

from bgpbridge.pipeline.histogram import Histogram


def test_each_value_is_in_every_bucket_that_is_not_below_it():
    found = Histogram((0.001, 0.01, 0.1))
    for seconds in (0.0, 0.001, 0.02, 99.0):
        found.add(seconds)
    assert found.buckets() == [("0.001", 2), ("0.01", 2), ("0.1", 3), ("+Inf", 4)]
    assert found.sum_s == 99.021


def test_many_that_are_alike_are_counted_at_once():
    found = Histogram((1.0,))
    found.add(0.5, 20)
    found.add(0.5, 0)
    assert (found.buckets(), found.sum_s) == ([("1.0", 20), ("+Inf", 20)], 10.0)

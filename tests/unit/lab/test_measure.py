"""What became of numbered packets: known losses give the known figures."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.lab.expect import MeasureStep
from bgpbridge.lab.measure import ARRIVAL, Report, measure
from bgpbridge.lab.steps import judge

MS = 1_000_000


def stream(lost: set[int], *, count: int = 1000, way: int = 2, later_way: int = 2) -> Report:
    """One packet a millisecond; the second half arrives by `later_way`."""
    sent = (np.arange(count, dtype=np.uint64) + 1) * MS
    rows = [(n, sent[n], sent[n] + 50_000, way if n < count // 2 else later_way) for n in range(count) if n not in lost]
    return measure(sent, np.array(rows, ARRIVAL), {2: "eth1", 3: "eth2"})


def test_nothing_lost() -> None:
    report = stream(set())
    assert (report.sent, report.received, report.lost, report.outages) == (1000, 1000, 0, ())
    assert report.delay_us_p50 == pytest.approx(50)
    assert report.ways == {"eth1": 1000}


def test_an_outage_lasts_from_its_first_lost_packet_to_its_last() -> None:
    report = stream(set(range(500, 510)), later_way=3)
    (outage,) = report.outages
    assert (outage.packets, outage.lasted_ms, outage.began_ns) == (10, pytest.approx(10), 501 * MS)
    assert report.longest_gap_ms == pytest.approx(11)
    assert report.last_way == "eth2"
    assert report.lost_within(500 * MS, 600 * MS) == (10, pytest.approx(10))
    assert report.lost_within(600 * MS, 700 * MS) == (0, 0)


def test_losses_far_apart_are_two_outages() -> None:
    report = stream({100, 101, 400})
    assert [outage.packets for outage in report.outages] == [2, 1]


def test_losses_of_one_flow_among_others_are_one_outage() -> None:
    report = stream(set(range(200, 300, 4)))
    (outage,) = report.outages
    assert (outage.packets, outage.lasted_ms) == (25, pytest.approx(97))


def test_unsent_packets_are_not_lost() -> None:
    sent = np.array([1, 0, 2], np.uint64) * MS
    report = measure(sent, np.array([(0, MS, MS, 2), (2, 2 * MS, 2 * MS, 2)], ARRIVAL), {})
    assert (report.sent, report.lost) == (2, 0)


def test_duplicates_and_nothing_at_all() -> None:
    sent = np.array([1], np.uint64) * MS
    assert measure(sent, np.array([(0, MS, MS, 2)] * 3, ARRIVAL), {}).duplicated == 2
    nothing = measure(sent, np.array([], ARRIVAL), {})
    assert (nothing.received, nothing.lost, nothing.last_way) == (0, 1, "")


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"lost_at_most": 10, "outage_ms_at_most": 10, "last_way": "eth2", "ways": {"eth1": "> 400"}}, ""),
        ({"lost_at_most": 9}, "10 of 1000 packets lost"),
        ({"outage_ms_at_most": 5}, "lost for 10.0 ms"),
        ({"last_way": "eth1"}, "came by eth2"),
        ({"received_at_least": 1000}, "990 packets arrived"),
        ({"ways": {"eth2": "> 600"}}, "ways.eth2 is 490"),
    ],
)
def test_bounds_of_an_expect_file(bounds: dict[str, object], said: str) -> None:
    report = stream(set(range(500, 510)), later_way=3)
    assert said in judge(report, MeasureStep.model_validate({"traffic": "x", **bounds}))
    assert bool(judge(report, MeasureStep.model_validate({"traffic": "x", **bounds}))) == bool(said)

"""When a new program is sent back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.counters import Count
from bgpbridge.pipeline.upgrade_watch import Moved, Seen, received, wrong


def moved(received_packets: int = 0, **packets: int) -> Moved:
    counts = dict.fromkeys(Reason, 0) | {Reason[name.upper()]: count for name, count in packets.items()}
    return Moved(counts, received_packets)


GOOD = moved(10_000, forwarded=9000, pass_no_route=1000)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (moved(8000, forwarded=7000, pass_no_route=1000), ""),
        (moved(5, pass_no_route=5), ""),
        (moved(0), ""),
        (moved(10_000, forwarded=8100, pass_no_route=1900), ""),
        (moved(10_000, forwarded=7000, pass_no_route=3000), "pass_no_route went from 10.0% to 30.0%"),
        (
            moved(10_000, forwarded=8800, pass_no_route=1000, drop_blackhole=200),
            "drop_blackhole went from 0.0% to 2.0%",
        ),
        (moved(10_000, pass_no_route=10_000), "nothing is forwarded any more, 90% of the packets were"),
        (moved(10_000), "10,000 packets came in and none was counted"),
        (moved(900), ""),
    ],
)
def test_shares_are_held_against_those_before(now: Moved, said: str) -> None:
    assert wrong(GOOD, now).startswith(said)
    assert bool(wrong(GOOD, now)) == bool(said)


def test_a_network_that_was_quiet_is_not_judged_by_shares() -> None:
    assert wrong(moved(3, pass_not_ip=3), moved(5000, pass_no_route=5000)) == ""


def test_what_came_between_two_looks() -> None:
    def seen(packets: int, came: int) -> Seen:
        return Seen({reason: Count(packets, 0) for reason in Reason}, came)

    found = seen(7, 100).since(seen(3, 60))
    assert (found.packets[Reason.FORWARDED], found.received, found.counted) == (4, 40, 4 * len(Reason))


def test_interfaces_tell_what_they_received(tmp_path: Path) -> None:
    table = tmp_path / "dev"
    table.write_text(
        "Inter-|   Receive  |\n face |bytes    packets errs\n  eth0: 640 10 0 0\n eth1:128 2 0 0\n  lo: 1 99 0 0\n"
    )
    assert received(frozenset({"eth0", "eth1"}), table) == 12

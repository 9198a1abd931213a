"""The table of the self-test: it asks both families the same, and misses no reason that a frame alone can have."""

from __future__ import annotations

from bgpbridge.datapath.abi import Reason
from bgpbridge.fib.selftest_rows import cases

BY_SETTINGS = {
    Reason.PASS_DISABLED,
    Reason.PASS_INTERFACE,
    Reason.PASS_HEADROOM,
    Reason.PASS_SOURCE,
    Reason.DROP_REVERSE_PATH,
    Reason.DROP_PUNT_RATE,
}


def test_each_reason_that_a_frame_can_have_is_asked_for_and_each_row_has_a_name() -> None:
    table = list(cases())
    assert {case.reason for case in table} | BY_SETTINGS == set(Reason)
    assert len({case.name for case in table}) == len(table)
    assert all(bool(case.out) == (case.reason is Reason.FORWARDED) for case in table)


def test_what_both_families_can_is_asked_of_both() -> None:
    names = {case.name for case in cases()}
    four, six = ({name[5:] for name in names if name.startswith(family)} for family in ("IPv4 ", "IPv6 "))
    for what in (
        "UDP",
        "last hop",
        "too large",
        "first fragment",
        "VLAN 100 to VLAN 10",
        "VLAN 30 in VLAN 20 to untagged",
    ):
        assert what in four & six

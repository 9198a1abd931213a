"""What an audit found, in words and figures: what was there, what should be, for how long at most."""

from __future__ import annotations

import time

import pytest

from bgpbridge.fib.audit_tally import ADJACENCY, CONTROL, GROUP, INDEX, Divergence, Tally
from bgpbridge.fib.ranges import DEFER, HIDDEN
from bgpbridge.metrics import BridgeCollector
from bgpbridge.pipeline.self_audit import Swept
from bgpbridge.types import Prefix

PREFIX = Prefix.parse("198.51.100.0/24")


@pytest.fixture
def audit(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601])
    return rig.bridge.self_audit


def test_each_kind_is_told_by_what_is_there_and_what_should_be(rig, audit):
    (number,) = rig.bridge.rib.groups.ids()
    group = f"group {number} (203.0.113.2 of isp-a)"
    told = {
        Divergence("xdp", "missing", PREFIX, 0, number): f"xdp 198.51.100.0/24: nothing there, should be {group}",
        Divergence("xdp", INDEX, PREFIX, 2, number): f"xdp index at 198.51.100.0/24: blackhole, should be {group}",
        Divergence("xdp", INDEX, PREFIX, 0, number, "198.51.102.255"): (
            f"xdp index at 198.51.100.0/24 and on to 198.51.102.255: nothing, should be {group}"
        ),
        Divergence("xdp", INDEX, PREFIX, int(DEFER) | number, number): (
            f"xdp index at 198.51.100.0/24: the trie is asked ({group} under that), should be {group}"
        ),
        Divergence("xdp", INDEX, PREFIX, int(HIDDEN), number): (
            "xdp index at 198.51.100.0/24: not laid out as the routes have it"
        ),
        Divergence("xdp", GROUP, None, number, number, "flags 0x0 there, should be 0x1"): (
            f"xdp {group}: flags 0x0 there, should be 0x1"
        ),
        Divergence("kernel", GROUP, PREFIX, number, number): (
            f"kernel {group} does not stand as it should (198.51.100.0/24 is behind it)"
        ),
        Divergence("xdp", ADJACENCY, None, 3, 3, "interface 0x1 there, should be 0x2"): (
            "xdp adjacency 3: interface 0x1 there, should be 0x2"
        ),
        Divergence("xdp", CONTROL, None, 0, 1, "enabled is 0x0, should be 0x1"): (
            "xdp control: enabled is 0x0, should be 0x1"
        ),
    }
    for found, words in told.items():
        assert audit.tell(found) == words


def test_an_event_says_for_how_long_at_most_and_how_many_addresses(rig, audit):
    tally = Tally()
    with tally.part("xdp", "ipv4"):
        tally.add_all([Divergence("xdp", "missing", PREFIX, 0, 16)])
    tally.addresses["xdp", "ipv4"] = 256
    audit._told(tally)
    assert rig.bridge.events.tail(1)[0].text.endswith("; never clean yet; 256 addresses went another way")
    audit.swept["xdp", "ipv4"] = Swept(clean_s=time.monotonic() - 62.2)
    audit._told(tally)
    event = rig.bridge.events.tail(1)[0]
    assert (event.kind, event.subject) == ("audit-repaired", "xdp")
    assert event.text.startswith("1 missing, changed by somebody else and put back, such as xdp 198.51.100.0/24: noth")
    assert event.text.endswith("; so for 62 s at most; 256 addresses went another way")
    assert audit.repaired["xdp", "missing"] == 2


def test_a_sweep_is_clean_as_of_its_begin_and_one_that_found_something_is_not(rig, audit):
    tally, began = Tally(), time.monotonic() - 5
    tally.addresses["xdp", "ipv4"] = 0
    audit._note(tally, [("xdp", "ipv4")], began)
    assert audit.swept["xdp", "ipv4"].clean_s == began
    with tally.part("xdp", "ipv4"):
        tally.add_all([Divergence("xdp", "missing", PREFIX, 0, 16)])
    tally.addresses["xdp", "ipv4"] = 1 << 20
    audit._note(tally, [("xdp", "ipv4")], time.monotonic())
    swept = audit.swept["xdp", "ipv4"]
    assert (swept.addresses, swept.clean_s) == (1 << 20, began)
    families = {family.name: family.samples for family in BridgeCollector(rig.bridge).collect()}
    (sample,) = families["bgpbridge_audit_addresses_divergent"]
    assert (sample.labels, sample.value) == ({"plane": "xdp", "family": "ipv4"}, 1 << 20)
    (sample,) = families["bgpbridge_audit_clean_age_seconds"]
    assert sample.labels == {"plane": "xdp", "part": "ipv4"}
    assert 5 <= sample.value < 60

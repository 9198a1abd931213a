"""Listings in words: what is asked for, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest

from bgpbridge.errors import UsageError
from bgpbridge.types import Family, Prefix
from bgpbridge.view.routes import Filter, route, routes


def listed(rig, **wanted):
    return [(view.prefix, view.peer, view.status) for part in routes(rig.bridge, Filter(**wanted)) for view in part]


@pytest.fixture
def filled(rig):
    rig.session("isp-a")
    rig.session("isp-b")
    rig.announce("isp-a", ["198.51.100.0/24", "10.1.0.0/16"], [64601])
    rig.announce("isp-b", ["198.51.100.0/24", "192.0.2.0/25"], [64602, 64500])
    return rig


BEST_A = ("198.51.100.0/24", "isp-a", "best")
BACKUP_B = ("198.51.100.0/24", "isp-b", "backup")
REFUSED = ("10.1.0.0/16", "isp-a", "rejected")
BEST_B = ("192.0.2.0/25", "isp-b", "best")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, {BEST_A, BACKUP_B, REFUSED, BEST_B}),
        ({"best": True}, {BEST_A, BEST_B}),
        ({"best": True, "peer": "isp-b"}, {BEST_B}),
        ({"rejected": True}, {REFUSED}),
        ({"rejected": True, "peer": "isp-b"}, set()),
        ({"peer": "isp-b"}, {BACKUP_B, BEST_B}),
        ({"prefix": Prefix.parse("198.51.0.0/16")}, {BEST_A, BACKUP_B}),
        ({"prefix": Prefix.parse("198.51.0.0/16"), "best": True}, {BEST_A}),
        ({"prefix": Prefix.parse("0.0.0.0/0"), "rejected": True}, {REFUSED}),
        ({"family": Family.IPV6}, set()),
    ],
)
def test_filters(filled, wanted, found):
    assert set(listed(filled, **wanted)) == found


def test_the_limit_is_one_of_paths(filled):
    assert len(listed(filled, limit=3)) == 3
    assert len(listed(filled, limit=0)) == 4


def test_a_peer_that_is_not_there_is_told_before_anything_is_listed(filled):
    with pytest.raises(UsageError, match="there is no peer isp-c") as told:
        routes(filled.bridge, Filter(peer="isp-c"))
    assert "isp-a, isp-b" in told.value.mend


def test_the_limit_holds_across_slices_and_ends_the_listing(rig):
    rig.session("isp-a")
    rig.announce("isp-a", [f"100.64.{n}.0/24" for n in range(120)], [64601])
    assert [len(part) for part in routes(rig.bridge, Filter(limit=70))] == [25, 25, 20]
    assert len(listed(rig, limit=50)) == 50


def test_route_shows_the_paths_of_the_longest_match_best_first(filled):
    found = route(filled.bridge, ipaddress.ip_address("198.51.100.7"))
    assert [(view.prefix, view.peer, view.status) for view in found] == [BEST_A, BACKUP_B]
    assert route(filled.bridge, ipaddress.ip_address("10.1.2.3")) == ()

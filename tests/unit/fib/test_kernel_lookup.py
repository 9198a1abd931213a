"""What the kernel says about an address: asked from the loopback of whatever machine this is."""

from __future__ import annotations

import errno

import pytest

from bgpbridge.fib import kernel_lookup as module
from bgpbridge.fib.kernel_lookup import RTM_F_FIB_MATCH, kernel_lookup, nexthops_of, request
from bgpbridge.fib.observed import RouteType
from bgpbridge.fib.rtnetlink import HEADER, RTMSG, messages
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import parse_address


def test_the_loopback_s_own_address_is_local():
    answer = kernel_lookup(parse_address("127.0.0.1"))
    assert answer is not None
    assert answer.entry.type is RouteType.LOCAL
    assert answer.entry.prefix.covers(parse_address("127.0.0.1"))
    assert answer.hop == Hop(None, 1, 1)


def test_what_no_route_matches_is_none(monkeypatch):
    monkeypatch.setattr(module, "_ask", lambda asker, address, flags: errno.ENETUNREACH)
    assert kernel_lookup(parse_address("127.0.0.1")) is None


@pytest.mark.parametrize(("error", "drops"), [(errno.EINVAL, "blackhole"), (errno.EACCES, "prohibit")])
def test_what_is_dropped_is_told_by_the_kernel_s_error(monkeypatch, error, drops):
    monkeypatch.setattr(module, "_ask", lambda asker, address, flags: error)
    answer = kernel_lookup(parse_address("127.0.0.1"))
    assert (answer.entry, answer.hop, answer.drops) == (None, None, drops)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_request_carries_the_address_at_full_length(address):
    octets = request(parse_address(address), RTM_F_FIB_MATCH)
    (message,) = messages(octets)
    family, length, *_, flags = RTMSG.unpack_from(octets, message.start)
    assert (length, flags) == (32 if family == 2 else 128, RTM_F_FIB_MATCH)
    assert octets.endswith(parse_address(address).packed)
    assert HEADER.unpack_from(octets)[0] == len(octets)


def test_a_protocol_that_nobody_has_owns_no_nexthops():
    assert nexthops_of(251) == 0

"""The codec against pyroute2's, which is another hand's; truncated messages; the filter, run by a tiny interpreter."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from bgpbridge.datapath.abi import TagFlag
from bgpbridge.fib import rtnetlink
from bgpbridge.fib.observed import Address, ForeignRoute, Link, Neighbour, NeighbourState, Nexthop, RouteType, Rule
from bgpbridge.fib.own_filter import own_filter
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Prefix

INET, INET6 = socket.AF_INET, socket.AF_INET6


def octets(cls, kind, attrs, **fields):
    message = cls()
    message["header"]["type"] = kind
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attrs
    message.encode()
    return bytes(message.data)


def only(data):
    (message,) = rtnetlink.messages(data)
    return message


LINK = octets(
    ifinfmsg,
    16,
    [
        ("IFLA_IFNAME", "eth0"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_MTU", 9000),
        ("IFLA_LINK", 7),
        ("IFLA_MASTER", 8),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vlan")]}),
    ],
    index=5,
    flags=0x11043,
)
ROUTE = octets(
    rtmsg,
    24,
    [
        ("RTA_DST", "198.51.100.0"),
        ("RTA_TABLE", 1000),
        ("RTA_PRIORITY", 20),
        (
            "RTA_MULTIPATH",
            [
                {"hops": 2, "oif": 3, "attrs": [("RTA_GATEWAY", "192.0.2.2")]},
                {"hops": 0, "oif": 2, "attrs": [("RTA_VIA", {"family": INET6, "addr": "2001:db8::2"})]},
            ],
        ),
    ],
    family=INET,
    dst_len=24,
    table=252,
    proto=188,
    scope=0,
    type=1,
    tos=8,
)
NEIGHBOUR = octets(
    ndmsg,
    28,
    [("NDA_DST", "2001:db8::2"), ("NDA_LLADDR", "02:00:00:00:00:02")],
    family=INET6,
    ifindex=5,
    state=4,
    flags=0x80,
)
ADDRESS = octets(
    ifaddrmsg, 20, [("IFA_ADDRESS", "192.0.2.9"), ("IFA_LOCAL", "192.0.2.1")], family=INET, prefixlen=32, index=5
)


def test_a_link():
    link = rtnetlink.decode_link(only(LINK))
    assert link == Link(5, "eth0", bytes.fromhex("020000000001"), 9000, True, "vlan", master=8, peer=7)


def vlan_link(*more, **data):
    attrs = [("IFLA_IFNAME", "eth0.5"), ("IFLA_MTU", 1500), ("IFLA_LINK", 7), *more]
    info = {"attrs": [(f"IFLA_VLAN_{name}", value) for name, value in data.items()]}
    kind = {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", info)]}
    return rtnetlink.decode_link(only(octets(ifinfmsg, 16, [*attrs, ("IFLA_LINKINFO", kind)], index=5)))


def test_a_vlan_link_has_its_tag():
    assert vlan_link(ID=5, PROTOCOL=0x8100).vlan == TagFlag.PRESENT | 5
    assert vlan_link(ID=4094, PROTOCOL=0x88A8).vlan == TagFlag.PRESENT | TagFlag.SERVICE | 4094
    assert vlan_link(ID=5).vlan == TagFlag.PRESENT | 5


def test_a_vlan_link_that_xdp_cannot_stand_in_for_has_none():
    mapped = {"attrs": [("IFLA_VLAN_QOS_MAPPING", {"from": 0, "to": 5})]}
    assert vlan_link(ID=5, PROTOCOL=0x8100, EGRESS_QOS=mapped).vlan == 0
    assert vlan_link(("IFLA_LINK_NETNSID", 1), ID=5, PROTOCOL=0x8100).vlan == 0


@pytest.mark.parametrize("missing", [0x1, 0x40, 0x10000], ids=["admin down", "not running", "no carrier"])
def test_a_link_is_up_only_with_all_three_flags(missing):
    data = octets(ifinfmsg, 16, [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1500)], index=5, flags=0x11043 & ~missing)
    assert not rtnetlink.decode_link(only(data)).up


def test_bridge_ports_and_wireless_events_are_no_links():
    named = [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1500)]
    assert rtnetlink.decode_link(only(octets(ifinfmsg, 17, named, index=5, family=7))) is None
    assert rtnetlink.decode_link(only(octets(ifinfmsg, 16, named[:1], index=5))) is None


def test_a_multipath_route_in_a_high_table_with_a_gateway_of_the_other_family():
    assert rtnetlink.decode_route(only(ROUTE)) == ForeignRoute(
        Prefix.parse("198.51.100.0/24"),
        1000,
        188,
        20,
        RouteType.UNICAST,
        (Hop(ip_address("2001:db8::2"), 2, 1), Hop(ip_address("192.0.2.2"), 3, 3)),
        tos=8,
    )


def test_a_default_route_by_nexthop_object():
    body = struct.pack("=BBBBBBBBI", INET6, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHI", 8, 30, 77)
    data = struct.pack("=IHHII", 16 + len(body), 24, 0, 0, 0) + body
    route = rtnetlink.decode_route(only(data))
    assert (route.prefix, route.table, route.nexthop_id, route.hops) == (Prefix.parse("::/0"), 254, 77, ())


def test_cached_and_multicast_forwarding_routes_are_none():
    assert rtnetlink.decode_route(only(octets(rtmsg, 24, [], family=INET, type=1, flags=0x200))) is None
    assert rtnetlink.decode_route(only(octets(rtmsg, 24, [], family=128, type=5))) is None


def test_a_neighbour():
    found = rtnetlink.decode_neighbour(only(NEIGHBOUR))
    mac = bytes.fromhex("020000000002")
    assert found == Neighbour(5, ip_address("2001:db8::2"), mac, NeighbourState.STALE, router=True)


@pytest.mark.parametrize(
    ("family", "flags", "address"), [(7, 0, "192.0.2.2"), (INET, 8, "192.0.2.2"), (INET6, 0, "ff02::1")]
)
def test_forwarding_entries_proxies_and_multicast_are_no_neighbours(family, flags, address):
    data = octets(ndmsg, 28, [("NDA_DST", address)], family=family, ifindex=5, flags=flags)
    assert rtnetlink.decode_neighbour(only(data)) is None


def test_an_address_with_its_peer():
    assert rtnetlink.decode_address(only(ADDRESS)) == Address(5, ip_address("192.0.2.1"), 32, ip_address("192.0.2.9"))
    plain = octets(ifaddrmsg, 20, [("IFA_ADDRESS", "2001:db8::1")], family=INET6, prefixlen=64, index=5)
    assert rtnetlink.decode_address(only(plain)) == Address(5, ip_address("2001:db8::1"), 64)


def test_nexthop_objects():
    def nexthop(family, *attributes):
        body = struct.pack("=BBBBI", family, 0, 203, 0, 0)
        for kind, value in attributes:
            body += struct.pack("=HH", 4 + len(value), kind) + value.ljust((len(value) + 3) & ~3, b"\0")
        return rtnetlink.decode_nexthop(only(struct.pack("=IHHII", 16 + len(body), 104, 0, 0, 0) + body))

    number = (1, struct.pack("=I", 9))
    single = nexthop(INET, number, (5, struct.pack("=I", 3)), (6, socket.inet_aton("192.0.2.2")))
    assert single == Nexthop(9, 203, Hop(ip_address("192.0.2.2"), 3))
    group = nexthop(0, number, (2, struct.pack("=IBBHIBBH", 1, 2, 0, 0, 2, 0, 1, 0)))
    assert group == Nexthop(9, 203, None, ((1, 3), (2, 257)))
    assert nexthop(INET, number, (4, b"")) == Nexthop(9, 203, blackhole=True)
    assert nexthop(INET) is None


def test_a_rule():
    data = octets(fibmsg, 32, [("FRA_PRIORITY", 100), ("FRA_TABLE", 1000)], family=INET, table=252, action=1)
    assert rtnetlink.decode_rule(only(data)) == Rule(INET, 100, 1000, 1)


@pytest.mark.parametrize("probe", [True, False])
def test_a_neighbour_request_reads_back(probe):
    data = rtnetlink.neighbour_request(ip_address("2001:db8::2"), 5, probe=probe, sequence=3)
    message = ndmsg(data)
    message.decode()
    assert message["header"]["length"] == len(data)
    assert (message["family"], message["ifindex"]) == (INET6, 5)
    assert (message["state"], message["flags"]) == ((0x10, 0) if probe else (0, 1))
    assert message.get_attr("NDA_DST") == "2001:db8::2"


DECODERS = [
    (LINK, rtnetlink.decode_link),
    (ROUTE, rtnetlink.decode_route),
    (NEIGHBOUR, rtnetlink.decode_neighbour),
    (ADDRESS, rtnetlink.decode_address),
    (NEIGHBOUR, rtnetlink.decode_nexthop),
    (ROUTE, rtnetlink.decode_rule),
]


@pytest.mark.parametrize(("data", "decode"), DECODERS, ids=[d.__name__ for _, d in DECODERS])
def test_a_message_cut_short_anywhere_is_no_error(data, decode):
    for size in range(len(data)):
        assert not list(rtnetlink.messages(data[:size])), "its own length says more"
        for message in rtnetlink.messages(struct.pack("=I", max(size, 16)) + data[4 : max(size, 16)]):
            decode(message)


def test_several_messages_in_one_datagram():
    found = list(rtnetlink.messages(LINK + NEIGHBOUR + ROUTE[:-4]))
    assert [m.type for m in found] == [16, 28]


def run(program, data):
    """Classic BPF, as much of it as the filter uses."""
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        if code == 0x06:
            return bool(k)
        if code == 0x15:
            at += jump_true if accumulator == k else jump_false
        else:
            size = {0x20: 4, 0x28: 2, 0x30: 1}[code]
            accumulator = int.from_bytes(data[k : k + size], "big")


def event(kind, port, protocol):
    return struct.pack("=IHHII", 28, kind, 0, 0, port) + struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, protocol, 0, 1, 0)


@pytest.mark.parametrize("ports", [{4711}, {1, 4711, 0xFFFFF000}, set(range(4700, 4720))])
def test_the_filter_drops_what_comes_from_our_ports(ports):
    program = own_filter(ports, 203)
    assert all(not run(program, event(24, port, protocol)) for port in ports for protocol in (3, 203))
    assert all(run(program, event(kind, port, 203)) for kind in (24, 25, 104) for port in (0, 4720, 77))


def test_the_filter_without_ports_drops_new_routes_of_our_protocol():
    program = own_filter((), 203)
    assert not run(program, event(24, 77, 203))
    assert run(program, event(25, 77, 203)), "a deletion may be a foreign hand"
    assert run(program, event(24, 77, 186))
    assert run(program, event(104, 77, 203)[:24] + b"\0" * 8)

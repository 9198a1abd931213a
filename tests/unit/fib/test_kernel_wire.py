"""Our packed netlink, read back by pyroute2's own parser; the kernel's answers, made by pyroute2's own encoder."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import numpy as np
import pytest
from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_NEWROUTE
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from bgpbridge.fib import kernel_wire as wire
from bgpbridge.fib.kernel_objects import as_members
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.rtnetlink import Message, decode_nexthop
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix

OWNER = wire.Owner(table=254, protocol=203, metric=200)
V4 = ["198.51.100.0/24", "0.0.0.0/0", "203.0.113.7/32"]
V6 = ["2001:db8::/32", "::/0", "2001:db8::7/128"]


def keys(texts: list[str]) -> Keys:
    prefixes = [Prefix.parse(text) for text in texts]
    return Keys.of(prefixes[0].family, prefixes)


class route(rtmsg):  # noqa: N801  (pyroute2's parsers are named like this)
    """pyroute2's parser of routes; 0.9 does not know RTA_NH_ID, linux/rtnetlink.h: 30."""

    nla_map = (*rtmsg.nla_map, *((f"RTA_{n}", "hex") for n in range(len(rtmsg.nla_map), 30)), ("RTA_NH_ID", "uint32"))
    _nlmsg_base__compiled_nla = False  # the parent's compiled map is inherited once somebody has used it


def read(data: bytes) -> rtmsg:
    message = route(data)
    message.decode()
    return message


def attribute(message: rtmsg, name: str) -> Any:
    return message.get_attr(name)


def pack(texts: list[str], what: int, owner: wire.Owner = OWNER) -> list[bytes]:
    count = len(texts)
    packed = wire.pack_routes(
        keys(texts), np.arange(9000, 9000 + count, dtype=np.uint32), np.full(count, what, np.uint8), owner, 77
    )
    return [row.tobytes() for row in packed]


@pytest.mark.parametrize("texts", [V4, V6], ids=["ipv4", "ipv6"])
def test_pyroute2_reads_what_we_insert(texts: list[str]) -> None:
    for number, (text, data) in enumerate(zip(texts, pack(texts, wire.INSERT), strict=True)):
        message, prefix = read(data), Prefix.parse(text)
        assert message["header"]["type"] == RTM_NEWROUTE
        assert message["header"]["flags"] == NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
        assert message["header"]["sequence_number"] == 77 + number
        assert message["header"]["length"] == len(data)
        assert (message["family"], message["dst_len"]) == (prefix.family.af, prefix.length)
        assert (message["proto"], message["table"], message["type"]) == (203, 254, 1)
        assert ipaddress.ip_address(attribute(message, "RTA_DST")) == prefix.address
        assert attribute(message, "RTA_PRIORITY") == 200
        assert attribute(message, "RTA_TABLE") == 254
        assert attribute(message, "RTA_NH_ID") == 9000 + number


def test_replace_differs_by_its_flags_only() -> None:
    inserted, replaced = read(pack(V4, wire.INSERT)[0]), read(pack(V4, wire.REPLACE)[0])
    assert replaced["header"]["flags"] == NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
    assert [tuple(a) for a in replaced["attrs"]] == [tuple(a) for a in inserted["attrs"]]


@pytest.mark.parametrize("texts", [V4, V6], ids=["ipv4", "ipv6"])
def test_a_deletion_names_prefix_metric_and_protocol_but_no_nexthop(texts: list[str]) -> None:
    message = read(pack(texts, wire.DELETE)[0])
    assert message["header"]["type"] == RTM_DELROUTE
    assert message["proto"] == 203
    assert attribute(message, "RTA_PRIORITY") == 200
    assert attribute(message, "RTA_NH_ID") is None


def test_a_table_above_255_stands_in_its_attribute() -> None:
    message = read(pack(V4, wire.INSERT, wire.Owner(100_000, 203, 200))[0])
    assert message["table"] == 0
    assert attribute(message, "RTA_TABLE") == 100_000


def answer(sequence: int, code: int, said: bytes = b"", flags: int = 0) -> bytes:
    body = struct.pack("=i", -code) + bytes(16)
    if said:
        value = said + b"\0"
        body += struct.pack("=HH", 4 + len(value), 1) + value + b"\0" * (-len(value) % 4)
        flags |= 0x200
    return struct.pack("=IHHII", 16 + len(body), 2, flags, sequence, 0) + body


def test_replies_carry_errno_and_the_kernels_words() -> None:
    data = answer(5, 17) + answer(6, 22, b"Nexthop id does not exist") + answer(7, 0)
    assert list(wire.parse_replies(data)) == [
        wire.Reply(5, 17),
        wire.Reply(6, 22, "Nexthop id does not exist"),
        wire.Reply(7, 0),
    ]


def dumped(prefix: str, metric: int, nexthop: int, extra: list[tuple[str, Any]] | None = None) -> bytes:
    """A route as a dump tells it, encoded by pyroute2."""
    value = Prefix.parse(prefix)
    message = route()
    message["header"]["type"] = RTM_NEWROUTE
    message["family"], message["dst_len"], message["table"], message["proto"] = value.family.af, value.length, 254, 203
    attributes: list[tuple[str, Any]] = [("RTA_TABLE", 254)]
    if value.length:
        attributes.append(("RTA_DST", str(value.address)))
    attributes += [("RTA_PRIORITY", metric), *(extra or [])]
    message["attrs"] = [*attributes, ("RTA_NH_ID", nexthop)]
    message.encode()
    return bytes(message.data)


def rows(dump: wire.RouteDump) -> set[tuple[str, int, int]]:
    return {(str(dump.keys.prefix(i)), int(dump.metric[i]), int(dump.nexthop[i])) for i in range(len(dump))}


@pytest.mark.parametrize("family", list(Family))
def test_a_dump_of_one_form_is_read_as_columns(family: Family) -> None:
    texts = [*V4[:1], "10.0.0.0/8"] if family is Family.IPV4 else [*V6[:1], "2001:db8:1::/48"]
    datagram = b"".join(dumped(text, 200, 50 + n) for n, text in enumerate(texts))
    assert wire.uniform(datagram)
    found = wire.parse_routes(family, [datagram, datagram])
    assert rows(found) == {(text, 200, 50 + n) for n, text in enumerate(texts)}
    assert len(found) == 4


def test_odd_messages_in_a_dump_are_read_one_by_one() -> None:
    default = dumped("0.0.0.0/0", 200, 7)
    plain = dumped("10.0.0.0/8", 200, 8)
    oif = dumped("11.0.0.0/8", 200, 9, [("RTA_OIF", 3)])
    found = wire.parse_routes(Family.IPV4, [plain + default, oif + plain])
    assert rows(found) == {("0.0.0.0/0", 200, 7), ("10.0.0.0/8", 200, 8), ("11.0.0.0/8", 200, 9)}


def test_messages_of_one_length_but_another_form_are_told_apart() -> None:
    no_dst = dumped("0.0.0.0/0", 200, 7, [("RTA_OIF", 3)])
    plain = dumped("10.0.0.0/8", 200, 8)
    assert len(no_dst) == len(plain)
    found = wire.parse_routes(Family.IPV4, [plain + no_dst])
    assert rows(found) == {("0.0.0.0/0", 200, 7), ("10.0.0.0/8", 200, 8)}


def test_an_empty_dump_is_an_empty_table() -> None:
    assert len(wire.parse_routes(Family.IPV6, [])) == 0


def nexthop(body: bytes) -> Any:
    return decode_nexthop(Message(104, 0, 0, 0, body, 0, len(body)))


@pytest.mark.parametrize("gateway", ["192.0.2.1", "2001:db8::1", None])
def test_a_nexthop_object_says_gateway_and_interface(gateway: str | None) -> None:
    address = ipaddress.ip_address(gateway) if gateway else None
    body = wire.nexthop_body(5, address, 3, 203)
    found = nexthop(body)
    assert (found.id, found.protocol, found.hop) == (5, 203, Hop(address, 3))
    assert body[0] == (2 if gateway == "192.0.2.1" else 10)


def test_a_group_lists_members_with_weights_up_to_256() -> None:
    assert nexthop(wire.group_body(9, [(5, 1), (6, 256)], 203)).group == ((5, 1), (6, 256))


def test_a_blackhole_is_one() -> None:
    assert nexthop(wire.blackhole_body(9, 203)).blackhole


def test_hops_become_members_once_each() -> None:
    here, there = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")
    members = as_members([Hop(here, 3, 2), Hop(there, 3, 2), Hop(here, 3, 2), Hop(there, 4, 0)])
    assert members == (((here, 3), 2), ((there, 3), 1))

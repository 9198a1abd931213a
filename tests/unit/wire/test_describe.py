from __future__ import annotations

import ipaddress
import json

from bgpbridge.wire.describe import describe
from bgpbridge.wire.path_attributes import Aggregator, PathAttributes, RawAttribute
from bgpbridge.wire.segments import Segment, SegmentKind


def test_absent_attributes_are_left_out() -> None:
    assert describe(PathAttributes()) == {"origin": "IGP", "as_path": ""}


def test_every_attribute_has_its_standard_spelling() -> None:
    attributes = PathAttributes(
        origin=2,
        as_path=(Segment(SegmentKind.AS_SEQUENCE, (65001, 65002)), Segment(SegmentKind.AS_SET, (2, 1))),
        next_hop=ipaddress.IPv6Address("2001:db8::1"),
        link_local=ipaddress.IPv6Address("fe80::1"),
        med=0,
        local_pref=200,
        atomic_aggregate=True,
        aggregator=Aggregator(65001, ipaddress.IPv4Address("192.0.2.1")),
        communities=(0xFDE90064, 0xFFFFFF01),
        extended=(bytes.fromhex("0002fde900000001"), bytes.fromhex("4004fde94b989680")),
        large=((1, 2, 3),),
        originator_id=ipaddress.IPv4Address("192.0.2.9"),
        cluster_list=(ipaddress.IPv4Address("10.0.0.1"),),
        aigp=5,
        otc=65001,
        unknown=(RawAttribute(0xE0, 255, b"\1\2"),),
    )
    said = describe(attributes)
    assert said == {
        "origin": "Incomplete",
        "as_path": "65001 65002 {1,2}",
        "next_hop": "2001:db8::1",
        "link_local": "fe80::1",
        "originator_id": "192.0.2.9",
        "med": 0,
        "local_pref": 200,
        "aigp": 5,
        "otc": 65001,
        "link_bandwidth": 20000000.0,
        "atomic_aggregate": True,
        "aggregator": "65001 192.0.2.1",
        "communities": ["65001:100", "no-export"],
        "extended_communities": ["rt:65001:1", "bandwidth:65001:0x4b989680"],
        "large_communities": ["1:2:3"],
        "cluster_list": ["10.0.0.1"],
        "unknown": [{"type": 255, "flags": "0xe0", "value": "0102"}],
    }
    assert json.loads(json.dumps(said)) == said

"""One policy in two languages, ours and BIRD's filter language, on a real whole table: the same routes are refused, and
what is set on the others is the same, prefix by prefix. BIRD's verdicts are read from the MRT dump of its table.

Of the recorded session every second UPDATE is announced, for time's sake;
every tenth is given a large community, and some a MED: in 2015 nobody sent any.
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bgpbridge.bench.bird_alone import bird_alone
from bgpbridge.bench.feeds import replayed
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext
from bgpbridge.policy.parse import loads_policies
from bgpbridge.rib.attributes import AttributeTable
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.types import Family, Session
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import build_update
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.verdicts import SessionKind

pytestmark = pytest.mark.root

ASN = 3856  # of both ends of the recorded session
LOOKED_AT = 8  # attributes are compared for one in so many distinct sets of them
LARGE = 64500
Key = tuple[int, int]

OURS = """
sets:
  prefixes:
    bogons: [0.0.0.0/8 or-longer, 10.0.0.0/8 or-longer, 100.64.0.0/10 or-longer, 127.0.0.0/8 or-longer,
             169.254.0.0/16 or-longer, 172.16.0.0/12 or-longer, 192.0.2.0/24 or-longer, 192.88.99.0/24,
             192.168.0.0/16 or-longer, 198.18.0.0/15 or-longer, 198.51.100.0/24 or-longer, 203.0.113.0/24 or-longer,
             224.0.0.0/3 or-longer, 0.0.0.0/0]
    unwanted: [64.0.0.0/6 ge 20 le 21, 193.0.0.0/8 ge 23, 5.0.0.0/8 le 14, 91.192.0.0/10 ge 24 le 24]
  asns:
    bogons: [0, 23456, 64496-131071, 4200000000-4294967295]
policies:
  p:
    terms:
      - { term: bogons, match: { prefix: [bogons, unwanted] }, then: reject }
      - { term: long, match: { prefix_length: { ge: 25 } }, then: reject }
      - { term: bogon-asns, match: { path_contains: bogons }, then: reject }
      - { term: far, match: { path_length: { ge: 9 } }, unless: { origin: igp }, then: reject }
      - { term: through, match: { as_path: ["* 174 * 3356 *", "? 1299 ? * 4837 *", "6939+ 4826 ?"] }, then: reject }
      - { term: both, match: { every_community: ["3356:*", "*:100-199"] }, unless: { prefix_length: 24 }, then: reject }
      - { term: large, match: { community: "64500:1:*" }, then: reject }
      - { term: tagged, match: { community: ["64500:2:7", "64500:2:17"] }, set: { local_pref: 50 }, then: next }
      - term: neighbours
        match: { neighbor_as: [174, 2914, 3200-3400] }
        set: { local_pref: 200, communities: { remove: ["3356:*"], add: ["64500:9", "64500:9:9"] } }
        then: next
      - { term: med, match: { med: { ge: 100, le: 100000 } }, set: { local_pref: 80, med: 5 }, then: accept }
      - term: exchange
        match: { next_hop: [80.249.208.0/21 or-longer, 195.66.224.0/22 or-longer], path_length: { le: 3 } }
        set: { med: 70, next_hop: 198.51.100.7 }
        then: accept
      - term: incomplete
        match: { origin: incomplete, local_pref: { ge: 100 } }
        set: { local_pref: 90 }
        then: accept
      - term: origins
        match: { origin_as: [1-2000, 15169] }
        set: { local_pref: 300, prepend: { asn: 64500, times: 2 } }
        then: accept
      - { term: sets, match: { origin_as: 0 }, set: { med: 9 }, then: accept }
      - { term: rest, match: { path_length: { le: 30 } }, then: accept }
"""
BIRDS = """
filter p
int path_length; int origin_as; int received;
{
  if net ~ [ 0.0.0.0/8+, 10.0.0.0/8+, 100.64.0.0/10+, 127.0.0.0/8+, 169.254.0.0/16+, 172.16.0.0/12+, 192.0.2.0/24+,
             192.88.99.0/24, 192.168.0.0/16+, 198.18.0.0/15+, 198.51.100.0/24+, 203.0.113.0/24+, 224.0.0.0/3+,
             0.0.0.0/0, 64.0.0.0/6{20,21}, 193.0.0.0/8{23,32}, 5.0.0.0/8{8,14}, 91.192.0.0/10{24,24} ] then reject;
  if net.len > 24 then reject;
  if bgp_path ~ [ 0, 23456, 64496..131071, 4200000000..4294967295 ] then reject;
  if bgp_path.len >= 9 && bgp_origin != ORIGIN_IGP then reject;
  if bgp_path ~ [= * 174 * 3356 * =] || bgp_path ~ [= ? 1299 ? * 4837 * =] || bgp_path ~ [= 6939+ 4826 ? =] then reject;
  if bgp_community ~ [ (3356,*) ] && bgp_community ~ [ (*,100..199) ] && net.len != 24 then reject;
  if bgp_large_community ~ [ (64500,1,*) ] then reject;
  path_length = bgp_path.len; origin_as = bgp_path.last; received = bgp_local_pref;
  if bgp_large_community ~ [ (64500,2,7), (64500,2,17) ] then bgp_local_pref = 50;
  if bgp_path.first ~ [ 174, 2914, 3200..3400 ] then {
    bgp_local_pref = 200;
    bgp_community.delete([ (3356,*) ]); bgp_community.add((64500,9)); bgp_large_community.add((64500,9,9));
  }
  if defined(bgp_med) then if bgp_med >= 100 && bgp_med <= 100000 then { bgp_local_pref = 80; bgp_med = 5; accept; }
  if (bgp_next_hop ~ 80.249.208.0/21 || bgp_next_hop ~ 195.66.224.0/22) && path_length <= 3 then {
    bgp_med = 70; bgp_next_hop = 198.51.100.7; accept;
  }
  if bgp_origin = ORIGIN_INCOMPLETE && received >= 100 then { bgp_local_pref = 90; accept; }
  if origin_as ~ [ 1..2000, 15169 ] then {
    bgp_local_pref = 300; bgp_path.prepend(64500); bgp_path.prepend(64500); accept;
  }
  if origin_as = 0 then { bgp_med = 9; accept; }
  if path_length <= 30 then accept;
  reject;
}
"""


def tagged(messages: Iterator[bytes]) -> Iterator[bytes]:
    """Every second UPDATE, some with a large community (RFC 8092) and another MED."""
    for number, message in enumerate(itertools.islice(messages, 0, None, 2)):
        withdrawn = 21 + int.from_bytes(message[19:21], "big")
        end = withdrawn + 2 + int.from_bytes(message[withdrawn : withdrawn + 2], "big")
        if number % 5 or end == withdrawn + 2 or len(message) > 4000:
            yield message
            continue
        value = struct.pack("!III", LARGE, 1 + number % 4, number % 20)
        med = b"\0\0\0\x96" if number % 3 == 0 else bytes(4)
        attributes = (
            message[withdrawn + 2 : end].replace(b"\x80\4\4" + bytes(4), b"\x80\4\4" + med) + b"\xc0\x20\x0c" + value
        )
        yield build_update(attributes, message[end:], message[21:withdrawn])


# -- what we make of it ------------------------------------------------------------------------------------------------


def our_table(octets: bytes) -> tuple[AttributeTable, dict[Key, int]]:
    """The attributes, and by prefix the id of what policy made of those that came in last, 0 for a refused route."""
    peer = ip_address("127.0.0.2")
    session = Session(0, ASN, ASN, peer, peer, peer, asn4=True)
    attributes = AttributeTable(NextHopTable(None), capacity=400_000)
    batch = decode_run(octets, session)
    columns = batch.columns[Family.IPV4]
    ids = np.append(attributes.intern_batch(batch.blocks, SessionKind.of(session)), 0)
    announced = dict(
        zip(zip(columns.lo.tolist(), columns.length.tolist(), strict=True), ids[columns.block].tolist(), strict=True)
    )
    received = {prefix: number for prefix, number in announced.items() if number}
    judge = PolicyJudge(loads_policies([(OURS, "p.yml")]))
    judge.attach(attributes)
    judge.set_peer(0, PeerContext("collector", False, "p"))
    lo, length = (np.array(column) for column in zip(*received, strict=True))
    numbers = np.array(list(received.values()), np.int64)
    verdicts = judge.judge(
        0, Family.IPV4, numbers, np.zeros(len(lo), np.uint64), lo.astype(np.uint64), length.astype(np.uint8)
    )
    return attributes, dict(zip(received, verdicts.tolist(), strict=True))


def ours(attributes: PathAttributes) -> dict[str, Any]:
    return {
        "path": [(int(segment.kind), list(segment.asns)) for segment in attributes.as_path],
        "next hop": str(attributes.next_hop),
        "med": attributes.med,
        "local_pref": attributes.local_pref,
        "communities": sorted(attributes.communities),
        "large": sorted(attributes.large),
    }


# -- what BIRD makes of it ---------------------------------------------------------------------------------------------


def dumped(path: Path) -> dict[Key, bytes]:
    """Attributes by prefix, of one peer's TABLE_DUMP_V2 (RFC 6396 s4.3.2)."""
    data, at, found = path.read_bytes(), 0, {}
    while at < len(data):
        kind, subtype, size = struct.unpack_from("!HHI", data, at + 4)
        at += 12
        if (kind, subtype) == (13, 2):
            length = data[at + 4]
            prefix = at + 5 + (length + 7 >> 3)
            value = int.from_bytes(data[at + 5 : prefix], "big") << 32 - 8 * (length + 7 >> 3)
            entries, _, _, octets = struct.unpack_from("!HHIH", data, prefix)
            assert entries == 1
            assert prefix + 10 + octets == at + size
            found[value, length] = data[prefix + 10 : at + size]
        at += size
    return found


def theirs(octets: bytes) -> dict[str, Any]:
    values, at = {}, 0
    while at < len(octets):
        wide = 4 if octets[at] & 0x10 else 3
        size = int.from_bytes(octets[at + 2 : at + wide], "big")
        values[octets[at + 1]] = octets[at + wide : at + wide + size]
        at += wide + size
    large = list(struct.iter_unpack("!III", values.get(32, b"")))
    return {
        "path": list(segments(values.get(2, b""))),
        "next hop": str(ipaddress.IPv4Address(values[3])),
        "med": int.from_bytes(values[4], "big") if 4 in values else None,
        "local_pref": int.from_bytes(values[5], "big"),
        "communities": sorted(number for (number,) in struct.iter_unpack("!I", values.get(8, b""))),
        "large": sorted(large),
    }


def segments(octets: bytes) -> Iterator[tuple[int, list[int]]]:
    at = 0
    while at < len(octets):
        count = octets[at + 1]
        yield octets[at], list(struct.unpack_from(f"!{count}I", octets, at + 2))
        at += 2 + 4 * count


def announced(table: bytes) -> int:
    """How many prefixes are announced, each time counted."""
    peer = ip_address("127.0.0.2")
    columns = decode_run(table, Session(0, ASN, ASN, peer, peer, peer, asn4=True)).columns[Family.IPV4]
    return int((columns.block >= 0).sum())


@pytest.fixture(scope="module")
def table(shared_data: Path) -> bytes:
    return b"".join(tagged(replayed(shared_data / "mrt" / "full-table-2015.mrt.gz")))


@pytest.fixture(scope="module")
def birds(table: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[Key, bytes]:
    path = tmp_path_factory.mktemp("bird") / "table.mrt"
    wanted = announced(table)
    with bird_alone(ASN, BIRDS, "import keep filtered on; import filter p") as bird, bird.feed(table) as feeder:
        feeder.until_up(60)
        bird.until(lambda: bird.updates() >= wanted, 60, "not the whole table")
        bird.ask(f'mrt dump table "master4" to "{path}"')
    return dumped(path)


def test_bird_comes_to_the_same_verdicts_and_sets_the_same(table: bytes, birds: dict[Key, bytes]) -> None:
    attributes, verdicts = our_table(table)
    accepted = {prefix: number for prefix, number in verdicts.items() if number}
    assert not accepted.keys() ^ birds.keys()
    assert len(verdicts) * 0.8 < len(accepted) < len(verdicts)
    pairs = {(number, birds[prefix]): prefix for prefix, number in accepted.items()}
    seen = set()
    for number, octets in list(pairs)[::LOOKED_AT]:
        found = attributes.get(number).attributes
        assert found is not None
        assert ours(found) == theirs(octets), pairs[number, octets]
        seen.add((found.local_pref, found.med))
    assert seen >= {(80, 5), (100, 70), (90, 0), (300, 0), (200, 0), (100, 0)}

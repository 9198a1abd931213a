"""A real whole table over a real session: every answer of the running program and of the kernel is the right one.

The table is what a RIPE RIS collector received on one iBGP session in 2015; the 20,000 longest matches were computed
by another program. Next hops are spread over both uplinks by their last bit, so that each answer says something.
"""

from __future__ import annotations

import gzip
import ipaddress
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bgpbridge.bench.feeds import replayed
from bgpbridge.bench.rig import bridge_config, rig
from bgpbridge.datapath import frames
from bgpbridge.datapath.abi import GROUP_PUNT, Adjacency, XdpVerdict, lpm4_keys
from bgpbridge.datapath.attach import attached
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import program_by_id
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.lab import namespaces

pytestmark = [pytest.mark.root, pytest.mark.alone]

ASN = 3856  # of both ends of the recorded session
PREFIXES = 577_703
REFUSED = "AS 0 in the path"  # RFC 7607 s2: such a route is not to be used
ROUTES = {"ipv4": PREFIXES - 4, "ipv6": 0}
SAMPLE = 2000


@dataclass
class Table:
    """The edge with the table in it, and what is right: next hop by prefix, longest match by address. `own` are
    addresses that are this machine's whatever BGP says."""

    edge: Any
    next_hops: dict[str, str]
    matches: dict[str, str]
    own: list[str]

    @property
    def pin_path(self) -> Path:
        return Path(self.edge.folder) / "bpf" / "bgpbridge"

    def uplink(self, address: str) -> str:
        """The uplink's gateway that an address must leave by."""
        return gateway(self.next_hops[self.matches[address]])


def gateway(next_hop: str) -> str:
    return f"10.0.{1 + (int(next_hop.rpartition('.')[2]) & 1)}.2"


def read_table(messages: list[bytes]) -> dict[str, str]:
    """Prefix to next hop, by a reader of UPDATEs that knows no more than RFC 4271 s4.3."""
    found: dict[str, str] = {}
    for message in messages:
        withdrawn = 21 + int.from_bytes(message[19:21], "big")
        attributes = withdrawn + 2 + int.from_bytes(message[withdrawn : withdrawn + 2], "big")
        for prefix in prefixes(message[21:withdrawn]):
            found.pop(prefix, None)
        values = dict(attributes_in(message[withdrawn + 2 : attributes]))
        next_hop = ".".join(map(str, values.get(3, b"")))
        refused = has_as_0(values.get(2, b""))
        for prefix in prefixes(message[attributes:]):
            found[prefix] = REFUSED if refused else next_hop
    return found


def prefixes(nlri: bytes) -> Iterator[str]:
    at = 0
    while at < len(nlri):
        octets = nlri[at + 1 : at + 1 + (nlri[at] + 7 >> 3)]
        yield ".".join(map(str, octets + bytes(4 - len(octets)))) + f"/{nlri[at]}"
        at += 1 + len(octets)


def attributes_in(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(octets):
        wide = 4 if octets[at] & 0x10 else 3
        size = int.from_bytes(octets[at + 2 : at + wide], "big")
        yield octets[at + 1], octets[at + wide : at + wide + size]
        at += wide + size


def has_as_0(path: bytes) -> bool:
    at = 0
    while at < len(path):
        size = 4 * path[at + 1]
        if any(path[i : i + 4] == bytes(4) for i in range(at + 2, at + 2 + size, 4)):
            return True
        at += 2 + size
    return False


@pytest.fixture(scope="module")
def table(shared_data: Path, edge_on: Any) -> Iterator[Table]:
    messages = list(replayed(shared_data / "mrt" / "full-table-2015.mrt.gz"))
    lines = gzip.decompress((shared_data / "lpm" / "lpm4-20000-expected.txt.gz").read_bytes()).decode().splitlines()
    next_hops = read_table(messages)
    assert len(next_hops) == PREFIXES
    refused = [prefix for prefix, next_hop in next_hops.items() if next_hop == REFUSED]
    assert len(refused) == PREFIXES - ROUTES["ipv4"]
    for prefix in refused:
        del next_hops[prefix]
    matches = dict(map(str.split, lines))
    assert not set(matches.values()) & set(refused)
    with rig() as place:
        edge = edge_on(place)
        hops = set(next_hops.values())
        batch = "\n".join(f"route add {hop}/32 via {gateway(hop)}" for hop in sorted(hops))
        subprocess.run(["ip", "-n", edge.namespace, "-batch", "-"], input=batch, text=True, check=True)
        peer = {"name": "rrc", "address": "10.0.1.2", "asn": ASN}
        edge.start(bridge_config([peer], router={"asn": ASN, "router_id": "10.0.0.1", "name": "edge"}))
        edge.tester("a", asn=ASN, table=b"".join(messages)).until_up()
        edge.settled(ROUTES, wait_s=120)
        # What is the kernel's own is left to it: addresses of next hops (those routes are static), loopback.
        asked = {address: match for address, match in matches.items() if address not in hops}
        own = [address for address in asked if address.startswith("127.")]
        yield Table(edge, next_hops, {a: match for a, match in asked.items() if a not in own}, own)
        for tester in edge.testers:
            tester.stop()
        edge.assert_no_traceback()


def test_the_whole_table_stands_in_both_planes(table: Table) -> None:
    report = table.edge.client.post("/v1/audit")
    assert report["clean"], report
    assert (report["pending"], report["refused"], report["divergent"]) == (0, 0, {})
    assert report["checked"]["xdp ipv4"] == report["checked"]["kernel ipv4"] == ROUTES["ipv4"]
    assert table.edge.status()["next_hops"] == len(set(table.next_hops.values()))


def test_the_tries_of_the_running_program_give_the_longest_matches(table: Table) -> None:
    groups = {group["id"]: group["members"][0]["next_hop"] for group in table.edge.get("/v1/groups")}
    maps = Maps.adopt(table.pin_path, Sizes(1_200_000, 400_000))
    lpm4 = maps.by_name["lpm4"]
    numbers = np.array([int(ipaddress.IPv4Address(address)) for address in table.matches], np.uint64)
    keys = lpm4_keys(numbers, np.full(len(numbers), 32, np.uint8))
    wrong = []
    for (address, match), key in zip(table.matches.items(), keys, strict=True):
        found = lpm4.lookup(key)
        expected = table.next_hops.get(match)
        if (groups.get(int(found)) if found is not None else None) != expected:
            wrong.append((address, match, expected, found))
    assert len(table.matches) + len(table.own) > 19_990
    assert wrong == []


def test_what_is_the_kernels_own_is_left_to_it(table: Table) -> None:
    """The table has a default route, and so an answer for 127.0.0.0/8 too."""
    numbers = np.array([int(ipaddress.IPv4Address(address)) for address in table.own], np.uint64)
    lpm4 = Maps.adopt(table.pin_path, Sizes(1_200_000, 400_000)).by_name["lpm4"]
    assert {int(lpm4.lookup(key)) for key in lpm4_keys(numbers, np.full(len(numbers), 32, np.uint8))} == {GROUP_PUNT}


def test_the_running_program_sends_packets_the_right_way(table: Table) -> None:
    maps = Maps.adopt(table.pin_path, Sizes(1_200_000, 400_000))
    rows = {f"10.0.{number}.2": mac_of(maps, number) for number in (1, 2)}
    addresses = [address for address, match in table.matches.items() if match != "-"][:SAMPLE]

    def run() -> list[tuple[str, XdpVerdict, bytes]]:
        seat = next(seat for seat in attached(table.pin_path) if seat.name == "eth3")
        program = program_by_id(seat.program_id)
        ours = frames.mac("02:bb:00:02:00:03")  # of the edge's eth3 (lab/topology.py: node 2, interface 3)
        try:
            return [(address, *outcome(program, address, ours, seat.ifindex)) for address in addresses]
        finally:
            os.close(program)

    wrong = [
        (address, verdict, frame[:6].hex(":"), table.uplink(address))
        for address, verdict, frame in namespaces.inside(table.edge.namespace, run)
        if verdict is not XdpVerdict.REDIRECT or frame[:6] != rows[table.uplink(address)]
    ]
    assert wrong == []


def outcome(program: int, address: str, ours: bytes, ifindex: int) -> tuple[XdpVerdict, bytes]:
    frame = frames.ethernet(frames.ipv4(frames.udp(), dst=address), dst=ours)
    ran = run_raw(program, frame, ifindex=ifindex)
    return ran.verdict, ran.frame


def mac_of(maps: Maps, number: int) -> bytes:
    """The MAC of the far end of an uplink (lab/topology.py: node 3, interface number)."""
    macs = {Adjacency.of(row).dmac for row in maps.adjacencies if row["ifindex"]}
    expected = frames.mac(f"02:bb:00:03:00:{number:02x}")
    assert expected in macs
    return expected


def test_ip_route_get_gives_the_longest_matches(table: Table) -> None:
    matched = route_get(table, "fibmatch ")
    wrong = []
    for (address, match), line in zip(table.matches.items(), matched, strict=True):
        prefix = line.split()[0].replace("default", "0.0.0.0/0")
        prefix = prefix if "/" in prefix else f"{prefix}/32"
        if prefix != match or " proto 203 " not in line:
            wrong.append((address, match, line))
    assert wrong == []


def test_ip_route_get_gives_the_right_uplinks(table: Table) -> None:
    taken = [re.search(r" via (\S+)", line) for line in route_get(table, "")]
    ways = [way.group(1) if way else "" for way in taken]
    wrong = [(address, way) for address, way in zip(table.matches, ways, strict=True) if way != table.uplink(address)]
    assert wrong == []


def route_get(table: Table, how: str) -> list[str]:
    """What `ip route get` says of each address, a line each."""
    batch = "\n".join(f"route get {how}{address}" for address in table.matches)
    command = ["ip", "-o", "-n", table.edge.namespace, "-batch", "-"]
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


def test_a_killed_bridge_adopts_the_whole_table_and_rewrites_only_what_flips(table: Table) -> None:
    edge = table.edge
    before = edge.status()["process"]
    os.kill(before, signal.SIGKILL)
    edge.until(lambda: edge.status()["process"] != before, "a new bridge")
    after = edge.settled(ROUTES, wait_s=120)
    edge.assert_clean()
    # 34 prefixes are announced twice in the recording, some of them with another next hop the second time.
    assert after["kernel"]["sent"] <= 2 * 34
    assert edge.testers[0].sessions == 1

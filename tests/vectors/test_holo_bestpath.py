"""Four routers of holo's conformance suite: what they received, and what a conformant router installed.

Each `rtN/events.jsonl` holds the UPDATEs and next-hop resolutions in order, `output/ibus.jsonl` the routes
that the router then gave to its kernel side. We feed the same into a Rib and compare what it would install,
prefix by prefix and in order.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import AcceptAll, PeerInfo
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import build_update

ORIGINS = {"Igp": 0, "Egp": 1, "Incomplete": 2}
SEGMENTS = {"Set": 1, "Sequence": 2}
ROUTERS = ["rt1", "rt2", "rt3", "rt4"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def own_as(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text())
    protocols = config["ietf-routing:routing"]["control-plane-protocols"]["control-plane-protocol"]
    return next(p["ietf-bgp:bgp"]["global"]["as"] for p in protocols if "ietf-bgp:bgp" in p)


def update_of(update: dict[str, Any]) -> bytes:
    base = update["attrs"]["base"]
    path = b""
    for segment in base["as_path"]["segments"]:
        asns = segment["members"]
        path += bytes([SEGMENTS[segment["seg_type"]], len(asns)]) + b"".join(n.to_bytes(4, "big") for n in asns)
    attributes = encode_attribute(1, bytes([ORIGINS[base["origin"]]])) + encode_attribute(2, path)
    attributes += encode_attribute(3, ip_address(update["reach"]["nexthop"]).packed)
    for name, code in (("med", 4), ("local_pref", 5)):
        if base.get(name) is not None:
            attributes += encode_attribute(code, base[name].to_bytes(4, "big"))
    prefixes = [Prefix.parse(text) for text in update["reach"]["prefixes"]]
    nlri = b"".join(bytes([p.length]) + p.octets[: (p.length + 7) // 8] for p in prefixes)
    return build_update(attributes, nlri)


class Router:
    """A Rib driven by one router's events; `installed` lists (prefix, next hop or None) as they come."""

    def __init__(self, asn: int, *, bulk: bool) -> None:
        self.asn, self.bulk = asn, bulk
        self.metrics: dict[str, int | None] = {}
        resolve = lambda hop: self.resolution(str(hop.address))  # noqa: E731
        self.rib = Rib(DecisionOptions(backups=0), AcceptAll(), resolve=resolve)  # a backup is no route of theirs
        self.peers: dict[str, Session] = {}
        self.installed: list[tuple[str, str | None]] = []

    def resolution(self, address: str) -> Resolution:
        metric = self.metrics.get(address)
        return Resolution(metric is not None, metric or 0)

    def take(self, changes) -> None:
        for prefix, _, new in changes:
            hop = None
            if new:
                hop = str(self.rib.next_hops[self.rib.groups[new].active[0].next_hop].address)
            self.installed.append((str(prefix), hop))

    def event(self, event: dict[str, Any]) -> None:
        match event:
            case {"Protocol": {"NbrRx": {"nbr_addr": peer, "msg": {"Ok": {"Open": opened}}}}}:
                self.open(peer, opened)
            case {"Protocol": {"NbrRx": {"nbr_addr": peer, "msg": {"Ok": {"Update": update}}}}}:
                self.update(self.peers[peer], update_of(update))
            case {"Ibus": {"NexthopUpd": {"addr": address, "metric": metric}}}:
                self.metrics[address] = metric
                hops = self.rib.next_hops
                changed = [n for n in hops.ids() if hops.set(n, self.resolution(str(hops[n].address)))]
                for changes in self.rib.next_hops_changed(changed):
                    self.take(changes)

    def open(self, peer: str, opened: dict[str, Any]) -> None:
        index, asn = len(self.peers), opened["my_as"]
        address = ip_address(peer)
        router_id = IPv4Address(opened["identifier"])
        session = Session(index, self.asn, asn, IPv4Address(0), address, router_id)
        self.rib.add_peer(PeerInfo(index, peer, address, asn, asn != self.asn))
        self.rib.session_up(session)
        self.peers[peer] = session

    def update(self, session: Session, message: bytes) -> None:
        if self.bulk:
            for changes in self.rib.apply(session.peer, decode_run(message, session)):
                self.take(changes)
            return
        for changes in self.rib.apply_one(session.peer, message).changes:
            self.take(changes)


@pytest.mark.parametrize("bulk", [False, True], ids=["scalar", "bulk"])
@pytest.mark.parametrize("name", ROUTERS)
def test_the_routes_that_a_conformant_router_installs(shared_data: Path, name: str, *, bulk: bool) -> None:
    folder = shared_data / "bestpath" / "holo-topo1" / name
    router = Router(own_as(folder), bulk=bulk)
    for event in lines(folder / "events.jsonl"):
        router.event(event)
    want = [
        (route["prefix"], route["nexthops"][0]["Recursive"]["addr"])
        for line in lines(folder / "output" / "ibus.jsonl")
        if (route := line.get("RouteIpAdd")) and route["protocol"] == "bgp"
    ]
    assert want
    for prefix in {prefix for prefix, _ in want}:
        ours = [hop for known, hop in router.installed if known == prefix]
        assert ours == [hop for known, hop in want if known == prefix], prefix
    assert {prefix for prefix, _ in router.installed} == {prefix for prefix, _ in want}


def test_every_loser_is_told_its_step(shared_data: Path) -> None:
    folder = shared_data / "bestpath" / "holo-topo1" / "rt1"
    router = Router(own_as(folder), bulk=False)
    for event in lines(folder / "events.jsonl"):
        router.event(event)
    tables = router.rib.families[Family.IPV4]
    decision = tables.decide(tables.prefixes.row(Prefix.parse("4.4.4.4/32")), router.rib.options)
    assert [(e.step.text, e.winner == decision.best) for e in decision.eliminated] == [("shorter AS path", True)]

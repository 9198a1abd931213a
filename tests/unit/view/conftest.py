"""A real bridge between no speaker and no planes: sessions and UPDATEs go in, everything that is shown comes out."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpbridge.config import loads_config
from bgpbridge.feed.frames import Record, SessionUp, Updates
from bgpbridge.fib.observed import TABLE_MAIN, Address, ForeignRoute, Link, Neighbour, NeighbourState, RouteType
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.files import Files
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.message import build_update

CONFIG = """\
router: {asn: 64700, router_id: 203.0.113.1, name: edge}
peers:
  - {name: isp-a, address: 203.0.113.2, asn: 64601, import: from-provider}
  - {name: isp-b, address: 203.0.113.6, asn: 64602, import: from-provider, description: the second uplink}
  - {name: closed, address: 203.0.113.10, asn: 64603}
policies: [policy.yaml]
kernel: {enabled: false}
http: null
"""
POLICY = """\
policies:
  from-provider:
    terms:
      - term: no-private
        match: {prefix: 10.0.0.0/8 or-longer}
        then: reject
        reason: private address space
      - term: rest
        then: accept
"""
UPLINKS = (("eth1", 11, "203.0.113.1", 30, "203.0.113.2"), ("eth2", 12, "203.0.113.5", 30, "203.0.113.6"))
NOW = 1_700_000_000.0


class Rig:
    """The bridge, and hands that do what speaker and kernel would do."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        (folder / "policy.yaml").write_text(POLICY)
        config = loads_config(CONFIG, folder / "bgpbridge.yaml")
        self.bridge = Bridge(config, None, Files(folder / "groups.json", folder / "exabgp.conf"))  # type: ignore[arg-type]
        self.bridge.orders.send = self.commands = [].append  # type: ignore[assignment,method-assign]
        self.bridge.peers.clock = self.bridge.log.clock = self.bridge.events.clock = lambda: NOW

    async def build(self) -> None:
        bridge = self.bridge
        bridge.make()
        for number, peer in enumerate(bridge.config.peers, 1):
            bridge.roster.add(bridge.config, peer, number)
        state = bridge.watcher.state
        for name, ifindex, ours, length, theirs in UPLINKS:
            state.link(Link(ifindex, name, bytes([2, 0, 0, 0, 0, ifindex]), 1500, up=True))
            state.address(Address(ifindex, ipaddress.ip_address(ours), length))
            subnet = Prefix.make(Family.IPV4, int(ipaddress.ip_address(ours)), length)
            state.route(ForeignRoute(subnet, TABLE_MAIN, 2, 0, RouteType.UNICAST, (Hop(None, ifindex),)), present=True)
            mac = bytes([2, 0, 0, 0, 1, ifindex])
            state.neighbour(Neighbour(ifindex, ipaddress.ip_address(theirs), mac, NeighbourState.REACHABLE))

    def session(self, name: str) -> None:
        """The peer comes up."""
        peer = self.bridge.peers_by_name(name)
        session = Session(
            peer=peer.index,
            local_as=peer.local_asn,
            peer_as=peer.config.asn,
            local_address=ipaddress.ip_address("203.0.113.1"),
            peer_address=peer.config.address,
            router_id=ipaddress.IPv4Address(str(peer.config.address)),
            hold_time_s=90,
        )
        self.hear(name, SessionUp(session))

    def announce(self, name: str, prefixes: list[str], path: list[int], next_hop: str = "") -> None:
        """The peer sends an UPDATE; the next hop is its own address unless given."""
        peer = self.bridge.peers_by_name(name)
        hop = ipaddress.ip_address(next_hop or str(peer.config.address)).packed
        segment = bytes([2, len(path)]) + b"".join(asn.to_bytes(4, "big") for asn in path)
        attributes = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(segment)]) + segment + b"\x40\x03\x04" + hop
        self.send(name, build_update(attributes, nlri=b"".join(map(_nlri, prefixes))))

    def withdraw(self, name: str, prefixes: list[str]) -> None:
        """The peer takes prefixes back."""
        self.send(name, build_update(withdrawn=b"".join(map(_nlri, prefixes))))

    def send(self, name: str, message: bytes) -> None:
        """Octets of the peer."""
        self.hear(name, Updates(message))

    def hear(self, name: str, record: Record) -> None:
        """A record from the lane of the peer, in the bridge's loop."""

        async def hear() -> None:
            self.bridge.ingest.one(self.bridge.peers_by_name(name).index, record)

        self.loop.run_until_complete(hear())


def _nlri(text: str) -> bytes:
    prefix = Prefix.parse(text)
    return bytes([prefix.length]) + prefix.octets[: (prefix.length + 7) // 8]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A bridge with two uplinks; the kernel of the machine that runs the test is not asked."""
    monkeypatch.setattr("bgpbridge.view.fib.kernel_lookup", lambda address: None)
    loop = asyncio.new_event_loop()
    try:
        rig = Rig(tmp_path, loop)
        loop.run_until_complete(rig.build())
        yield rig
        rig.bridge.prober.close()
    finally:
        loop.close()

"""The peers of a replay: what each sent, and what of it is not applied yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bgpbridge.types import Family, IPAddress, Prefix, Session
from bgpbridge.wire.mrt import RibEntry
from bgpbridge.wire.verdicts import Finding

__all__ = ["ReplayPeer", "ReplayPeers"]


@dataclass(slots=True)
class ReplayPeer:
    """A peer of the file. `waiting` are UPDATEs of the same session that are not applied yet, `octets` what they
    weigh, `entries` routes of a dump; `lost` counts sessions that ended."""

    index: int
    name: str
    address: IPAddress
    asn: int
    session: Session
    up: bool = False
    updates: int = 0
    lost: int = 0
    findings: Counter[Finding] = field(default_factory=Counter)
    waiting: list[bytes] = field(default_factory=list)
    octets: int = 0
    entries: dict[Family, list[tuple[Prefix, RibEntry]]] = field(default_factory=dict)


class ReplayPeers:
    """All peers of the file, by index as they were met."""

    def __init__(self) -> None:
        self._met: list[ReplayPeer] = []
        self._by_address: dict[tuple[IPAddress, int], ReplayPeer] = {}

    def __iter__(self) -> Iterator[ReplayPeer]:
        return iter(self._met)

    def __len__(self) -> int:
        return len(self._met)

    def add(self, peer: ReplayPeer) -> None:
        """One more."""
        self._met.append(peer)
        self._by_address[peer.address, peer.asn] = peer

    def find(self, address: IPAddress, asn: int) -> ReplayPeer | None:
        """The peer with that address and AS number, None when it was not met yet."""
        return self._by_address.get((address, asn))

    def at(self, index: int) -> ReplayPeer:
        """The peer of an index."""
        return self._met[index]

    def name(self, index: int) -> str:
        """What it is called in views."""
        return self._met[index].name

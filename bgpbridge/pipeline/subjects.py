"""What checks are applied to, and the configuration without the announcements that are withdrawn."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bgpbridge.config import Config
from bgpbridge.types import IPAddress

__all__ = ["Subject", "SubjectKind", "announcing", "subjects_of"]


class SubjectKind(enum.StrEnum):
    """What it is."""

    PEER = "peer"
    NEXT_HOP = "next-hop"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Subject:
    """`name`: the peer's, the next hop's address, the service's prefix. `address` is what is asked where a check names
    no target; None for a service that is more than one address."""

    kind: SubjectKind
    name: str
    address: IPAddress | None
    checks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def subjects_of(config: Config) -> Iterator[Subject]:
    """All of them, in the order of the configuration."""
    for peer in config.peers:
        if peer.health:
            yield Subject(SubjectKind.PEER, peer.name, peer.address, tuple(peer.health))
    for hop in config.health.next_hops:
        yield Subject(SubjectKind.NEXT_HOP, str(hop.address), hop.address, tuple(hop.checks))
    for service in config.health.services:
        prefix = service.prefix
        address = prefix.address if prefix.length == prefix.family.bits else None
        yield Subject(SubjectKind.SERVICE, str(prefix), address, tuple(service.checks))


def announcing(config: Config, withdrawn: Collection[str]) -> Config:
    """The same without these prefixes under `announce`: what the speaker is to be told. Only services can be withdrawn,
    so one that the configuration no longer has is announced again."""
    services = {str(service.prefix) for service in config.health.services}
    out = services.intersection(withdrawn)
    if not out:
        return config
    peers = tuple(
        peer.model_copy(update={"announce": tuple(one for one in peer.announce if str(one.prefix) not in out)})
        for peer in config.peers
    )
    return config.model_copy(update={"peers": peers})

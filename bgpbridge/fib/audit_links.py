"""Where packets come in and go out, held against what we stored: `interfaces`, `tx_ports`, and the links of each group
that the strict reverse-path check asks for.

We alone write these maps, in the event loop, but for one thing: an interface that goes takes its port out of the
devmap before we hear of it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np

from bgpbridge.datapath.abi import Place, TagFlag
from bgpbridge.datapath.ingress import Ingress
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.audit_tally import Divergence

__all__ = ["LINKS", "crooked_links"]

PLANE = "xdp"
INTERFACE, PORT, SOURCES = LINKS = "interface", "port", "sources"
"""Kinds of difference."""
NOTHING = (0, 0)
VLAN_ID = 0x0FFF


def crooked_links(maps: Maps, *, mend: bool) -> Iterator[Divergence]:
    """What differs; with `mend` it is put back: a port before an interface, which packets may come in by."""
    taken, ports = maps.ingress.standing()
    yield from _ports(maps.ingress, ports, mend=mend)
    yield from _interfaces(maps.ingress, taken, mend=mend)
    for group in np.flatnonzero(maps.group_sources != maps.kept_sources).tolist():
        have, want = int(maps.group_sources[group]), int(maps.kept_sources[group])
        text = f"links {have:#x} known behind group {group}, should be {want:#x}"
        yield Divergence(PLANE, SOURCES, None, have, want, text)
    if mend:
        maps.store_sources(maps.kept_sources)


def _ports(ingress: Ingress, there: dict[int, int], *, mend: bool) -> Iterator[Divergence]:
    for port in sorted(there.keys() | ingress.ports):
        have, want = there.get(port, 0), port if port in ingress.ports else 0
        if have == want or (want and not _exists(port)):
            continue
        if mend:
            ingress.let_out(port, on=bool(want))
        text = f"what leaves by interface {port} " + (f"goes out by {have}" if have else "is kept back")
        yield Divergence(PLANE, PORT, None, have, want, f"{text}, should {'go out' if want else 'be kept back'} there")


def _interfaces(ingress: Ingress, there: dict[int, tuple[int, int]], *, mend: bool) -> Iterator[Divergence]:
    for place in sorted(there.keys() | ingress.taken.keys()):
        have, want = there.get(place, NOTHING), ingress.taken.get(place, NOTHING)
        if have == want:
            continue
        if mend:
            ingress.store(place)
        text = f"{_told(place)}: {_value(have)} there, should be {_value(want)}"
        yield Divergence(PLANE, INTERFACE, None, have[1], want[1], text)


def _exists(ifindex: int) -> bool:
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True


def _told(word: int) -> str:
    place = Place.of(word)
    tags = [f"{'802.1ad' if tag & TagFlag.SERVICE else 'VLAN'} {tag & VLAN_ID}" for tag in (place.outer, place.inner)]
    return " ".join([f"interface {place.ifindex}", *tags[: place.tags]])


def _value(value: tuple[int, int]) -> str:
    if value == NOTHING:
        return "nothing"
    word, ifindex = value
    return f"MAC {(word & (1 << 48) - 1).to_bytes(6, 'little').hex(':')}, number {word >> 48}, of {ifindex}"

"""How a check gets to what it asks: out of which link, to which MAC, from which address of ours."""

from __future__ import annotations

from collections.abc import Iterator

from bgpbridge.enrich.targets import Exit
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.observed import Address
from bgpbridge.fib.resolve import Resolver
from bgpbridge.types import IPAddress

__all__ = ["source_towards", "way_to"]


def way_to(state: KernelState, resolver: Resolver, through: IPAddress, target: IPAddress | None = None) -> Exit | str:
    """The exit that leads to `target` through a next hop (or just to the next hop), or why there is none. Where the
    kernel has several links to it, the first."""
    target = through if target is None else target
    if through == target and any(own.address == through for own in state.addresses):
        loopback = next((link.ifindex for link in state.links.values() if link.loopback), 1)
        return Exit("local", loopback, (through,))
    resolution = resolver.resolve(through)
    if not resolution.reachable:
        return f"no way to {through}: {resolution.reason}"
    hop = resolution.hops[0]
    gateway, link = hop.gateway or through, state.links.get(hop.ifindex)
    name = link.name if link is not None else f"interface {hop.ifindex}"
    sources = tuple(_sources(state, hop.ifindex, gateway))
    if target == gateway:
        return Exit(name, hop.ifindex, sources)
    neighbour = state.neighbours.get((hop.ifindex, gateway))
    if neighbour is None or not neighbour.state.usable:
        return f"{gateway} on {name} is not resolved"
    return Exit(name, hop.ifindex, sources, neighbour.mac if len(neighbour.mac) == 6 else None)


def source_towards(state: KernelState, ifindex: int, gateway: IPAddress) -> IPAddress | None:
    """Our address on a link that a neighbour there knows: one of its own subnet where there is one."""
    found = [own for own in _best_first(state, ifindex, gateway) if own.version == gateway.version]
    return found[0] if found else None


def _sources(state: KernelState, ifindex: int, gateway: IPAddress) -> Iterator[IPAddress]:
    """One address of each family, the best; a family that the link has none of takes one of another link."""
    for version in (4, 6):
        mine = [own for own in _best_first(state, ifindex, gateway) if own.version == version]
        others = [own for own in _best_first(state, 0, gateway) if own.version == version and not own.is_link_local]
        if mine or others:
            yield (mine or others)[0]


def _best_first(state: KernelState, ifindex: int, gateway: IPAddress) -> list[IPAddress]:
    def rank(own: Address) -> tuple[bool, bool, bool, int]:
        address = own.address
        return (
            not _near(own, gateway),
            address.is_link_local != gateway.is_link_local,
            address.is_loopback,
            int(address),
        )

    here = [own for own in state.addresses if not ifindex or own.ifindex == ifindex]
    return [own.address for own in sorted(here, key=rank)]


def _near(own: Address, gateway: IPAddress) -> bool:
    """True when the neighbour is in the address's subnet, or at the other end of it."""
    if own.address.version != gateway.version:
        return False
    shift = own.address.max_prefixlen - own.length
    return own.peer == gateway or int(own.address) >> shift == int(gateway) >> shift

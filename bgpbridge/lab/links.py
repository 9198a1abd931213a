"""The cables of a topology: both ways of writing them, MAC addresses that never change, and what can be wrong.

Only veth pairs can be made in namespaces; containerlab has more kinds, and a file that uses one is told so.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bgpbridge.documents import Problem, did_you_mean
from bgpbridge.lab import clab

__all__ = ["End", "Link", "ends_of", "link_of", "link_problems"]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link."""

    node: str
    interface: str
    mac: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair. `mtu` in octets."""

    a: End
    b: End
    mtu: int = 1500


def ends_of(link: clab.Link) -> tuple[tuple[str, str], ...]:
    """Both ends as (node, interface)."""
    return tuple(
        (end.node, end.interface)
        if isinstance(end, clab.Endpoint)
        else (end.rpartition(":")[0], end.rpartition(":")[2])
        for end in link.endpoints
    )


def link_of(link: clab.Link, numbers: Mapping[str, int]) -> Link:
    """A link that `link_problems` found nothing wrong with; `numbers` are those of the nodes."""
    a, b = (_end(link, side, numbers) for side in (0, 1))
    return Link(a, b, link.mtu)


def _end(link: clab.Link, side: int, numbers: Mapping[str, int]) -> End:
    node, interface = ends_of(link)[side]
    raw = link.endpoints[side]
    mac = raw.mac if isinstance(raw, clab.Endpoint) and raw.mac else _mac(numbers[node], interface)
    own = (raw.ipv4, raw.ipv6) if isinstance(raw, clab.Endpoint) else ()
    brief = [family[side] for family in (link.ipv4, link.ipv6) if side < len(family)]
    return End(node, interface, mac, tuple(address for address in (*own, *brief) if address))


def _mac(node: int, interface: str) -> str:
    """The same in every run: locally administered, then the node's and the interface's numbers."""
    digits = "".join(filter(str.isdigit, interface))
    port = int(digits) if digits else sum(interface.encode())
    return f"02:bb:{node >> 8 & 255:02x}:{node & 255:02x}:{port >> 8 & 255:02x}:{port & 255:02x}"


def link_problems(topology: clab.TopologyKeys) -> list[Problem]:
    """Everything about the links that cannot be meant here."""
    found = []
    uses = Counter(end for link in topology.links for end in ends_of(link))
    for index, link in enumerate(topology.links):
        path = ("topology", "links", index)
        ends = ends_of(link)
        if link.type != "veth" or len(ends) != 2:
            mend = "in namespaces only veth links (two endpoints) can be made; run containerlab for the others"
            found.append(Problem(path, f"link {index + 1} is of type `{link.type}`", "two endpoints", mend))
            continue
        for node, interface in ends:
            found += [Problem((*path, "endpoints"), *said) for said in _end_complaints(node, interface, topology, uses)]
        found += [Problem(path, f"`{text}` is no address with its length") for text in _bad_addresses(link)]
    return found


def _end_complaints(
    node: str, interface: str, topology: clab.TopologyKeys, uses: Counter[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    if node not in topology.nodes:
        meant = did_you_mean(node, topology.nodes)
        mend = f"did you mean `{meant}`?" if meant else "add it below topology.nodes"
        return [(f"there is no node `{node}`", "node:interface, such as edge:eth1", mend)]
    if not 0 < len(interface) < 16 or "/" in interface or interface == "lo":
        return [(f"`{interface}` is no name for an interface", "1 to 15 characters, such as eth1", "")]
    if uses[node, interface] > 1:
        return [(f"{node}:{interface} is the end of two links", "each interface once", "take the next free one")]
    return []


def _bad_addresses(link: clab.Link) -> list[str]:
    ends = [end for end in link.endpoints if isinstance(end, clab.Endpoint)]
    texts = [*link.ipv4, *link.ipv6, *(text for end in ends for text in (end.ipv4, end.ipv6) if text)]
    return [text for text in texts if text and not _is_interface(text)]


def _is_interface(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True

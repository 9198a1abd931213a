"""What only the whole configuration can tell: names that must exist, values that must fit one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bgpbridge.config.health_checks import health_problems
from bgpbridge.config.model import Config
from bgpbridge.config.peer import ACCEPT, Announcement, Peer
from bgpbridge.documents import Document, Problem, did_you_mean
from bgpbridge.policy.model import PolicySet
from bgpbridge.types import Family

__all__ = ["cross_check", "import_names"]


def cross_check(config: Config, document: Document) -> list[Problem]:
    """Everything that is wrong though each value alone is right."""
    problems = list(_datapath(config))
    problems += _repeated(config, document, "name", {}, "a name of its own for each peer")
    problems += _repeated(config, document, "address", {}, "one peer per address")
    problems += health_problems(config)
    for index, peer in enumerate(config.peers):
        path = ("peers", index)
        problems += [*_addresses(peer, path), *_families(peer, path), *_source(peer, path)]
        problems += _role(config, peer, path)
        for at, announcement in enumerate(peer.announce):
            problems += _announcement(peer, announcement, (*path, "announce", at))
    return problems


def import_names(config: Config, policies: PolicySet) -> Iterator[Problem]:
    """`import` must name a policy that some file defines."""
    for index, peer in enumerate(config.peers):
        name = peer.import_policy
        if name is None or name == ACCEPT or name in policies.policies:
            continue
        meant = did_you_mean(name, [*policies.policies, ACCEPT])
        mend = f"did you mean `{meant}`?" if meant else "define it in a file that `policies` names"
        if not config.policies:
            mend = "name the file that defines it under `policies`"
        yield Problem(("peers", index, "import"), f"peer {peer.name}: there is no policy `{name}`", mend=mend)


def _repeated(config: Config, document: Document, key: str, seen: dict[Any, int], expected: str) -> Iterator[Problem]:
    for index, peer in enumerate(config.peers):
        value = getattr(peer, key)
        first = seen.setdefault(value, index)
        if first != index:
            line = document.place(("peers", first, key)).line
            problem = f"a second peer has the {key} `{value}` (the first is in line {line})"
            yield Problem(("peers", index, key), problem, expected, "change or remove one of the two")


def _addresses(peer: Peer, path: tuple[str | int, ...]) -> Iterator[Problem]:
    address, ours = peer.address, peer.local_address
    if address.version == 6 and address.is_link_local:
        mend = "use the neighbour's global or unique local address"
        yield Problem((*path, "address"), f"peer {peer.name}: {address} means nothing without its link", mend=mend)
    if ours is None:
        return
    if ours.version != address.version:
        problem = f"peer {peer.name}: local_address {ours} and address {address} are of different families"
        yield Problem((*path, "local_address"), problem, f"an IPv{address.version} address of this router")
    elif ours == address:
        yield Problem((*path, "local_address"), f"peer {peer.name}: local_address is the peer's own address")


def _source(peer: Peer, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if peer.source != "session" and peer.announce:
        problem = f"peer {peer.name}: nothing can be announced where the routes come by {peer.source}"
        yield Problem((*path, "announce"), problem, mend="announce it from the ExaBGP that has the session")


def _families(peer: Peer, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if not peer.families:
        yield Problem((*path, "families"), f"peer {peer.name} has no address family", "[ipv4], [ipv6] or both")
    for family in peer.add_path:
        if family not in peer.families:
            problem = f"peer {peer.name}: add_path names {family.label}, which `families` does not"
            yield Problem((*path, "add_path"), problem, mend=f"add {family.label} to `families`")
    if peer.extended_next_hop and Family.IPV4 not in peer.families:
        problem = f"peer {peer.name}: extended_next_hop is about IPv4 routes, which `families` does not name"
        yield Problem((*path, "extended_next_hop"), problem, mend="add ipv4 to `families`")


def _role(config: Config, peer: Peer, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """RFC 9234 s4.1: roles are for external sessions."""
    if peer.role is not None and not config.is_ebgp(peer):
        problem = f"peer {peer.name} is internal: roles are between ASes (RFC 9234 s4.1)"
        yield Problem((*path, "role"), problem, mend="remove `role`")
    if peer.role_strict and peer.source != "session":
        problem = f"peer {peer.name}: role_strict is about OPEN, which is not ours where routes come by {peer.source}"
        yield Problem((*path, "role_strict"), problem, mend="remove it; `role` refuses leaks there as well")
    if peer.role_strict and peer.role is None:
        problem = f"peer {peer.name}: role_strict without a role of ours"
        mend = "set `role`: what we are to this peer"
        yield Problem((*path, "role_strict"), problem, "provider, customer, peer, rs-server or rs-client", mend)


def _announcement(peer: Peer, announcement: Announcement, path: tuple[str | int, ...]) -> Iterator[Problem]:
    prefix, next_hop = announcement.prefix, announcement.next_hop
    if prefix.family not in peer.families:
        mend = f"add {prefix.family.label} to `families`"
        yield Problem((*path, "prefix"), f"peer {peer.name} does not exchange {prefix.family.label}", mend=mend)
    session = peer.address.version
    wanted = 4 if prefix.family is Family.IPV4 else 6
    allowed = {wanted, 6} if peer.extended_next_hop else {wanted}
    if next_hop is not None and next_hop.version not in allowed:
        problem = f"{prefix} cannot have the next hop {next_hop}"
        yield Problem((*path, "next_hop"), problem, f"an IPv{wanted} address")
    if next_hop is None and session != wanted:  # for IPv4 over IPv6 ExaBGP would take our router id
        problem = f"{prefix} over an IPv{session} session needs a `next_hop`"
        expected = f"an IPv{' or an IPv'.join(map(str, sorted(allowed)))} address of this router"
        yield Problem(path, problem, expected, f"add `next_hop:` to {prefix}")
    elif next_hop is None and peer.local_address is None:
        problem = f"peer {peer.name}: the next hop of {prefix} would be our address, which the kernel chooses later"
        mend = f"set `local_address` of {peer.name}, or `next_hop` of {prefix}"
        yield Problem(path, problem, "an address of this router", mend)
    twice = [other.prefix for other in peer.announce].index(prefix)
    if twice != path[-1]:
        yield Problem((*path, "prefix"), f"peer {peer.name}: {prefix} is announced twice", mend="remove one")


def _datapath(config: Config) -> Iterator[Problem]:
    if not config.datapath.pin_path.is_absolute():
        yield Problem(("datapath", "pin_path"), "datapath.pin_path is not absolute", "a folder below /sys/fs/bpf")

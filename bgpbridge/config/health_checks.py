"""What must hold among the keys of `health`, `peers[].health` and `peers[].bfd`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bgpbridge.config.health import Check, CheckKind
from bgpbridge.config.model import Config
from bgpbridge.documents import Problem, did_you_mean

__all__ = ["health_problems"]

Path = tuple[str | int, ...]


def health_problems(config: Config) -> Iterator[Problem]:
    """Names that must exist and be unique, targets that must be there, services that must be announced."""
    health = config.health
    yield from _twice([check.name for check in health.checks], ("health", "checks"), "name")
    yield from _twice([str(one.address) for one in health.next_hops], ("health", "next_hops"), "address")
    yield from _twice([str(one.prefix) for one in health.services], ("health", "services"), "prefix")
    for index, peer in enumerate(config.peers):
        yield from _names(config, peer.health, ("peers", index, "health"))
        if peer.bfd is not None and peer.multihop is not None:
            text = f"peer {peer.name}: BFD here is single hop (RFC 5881), and `multihop` says that the peer is not"
            yield Problem(("peers", index, "bfd"), text, mend="remove one of the two")
    for index, hop in enumerate(health.next_hops):
        yield from _names(config, hop.checks, ("health", "next_hops", index, "checks"))
    announced = {one.prefix for peer in config.peers for one in peer.announce}
    for index, service in enumerate(health.services):
        path: Path = ("health", "services", index)
        yield from _names(config, service.checks, (*path, "checks"))
        if service.prefix not in announced:
            text = f"no peer is announced {service.prefix}"
            yield Problem((*path, "prefix"), text, "a prefix under `announce` of some peer")
        if service.prefix.length < service.prefix.family.bits:
            yield from _targets(config, service.checks, (*path, "checks"), str(service.prefix))


def _names(config: Config, names: Sequence[str], path: Path) -> Iterator[Problem]:
    there = [check.name for check in config.health.checks]
    for at, name in enumerate(names):
        if name not in there:
            meant = did_you_mean(name, there)
            mend = f"did you mean `{meant}`?" if meant else "define it under `health.checks`"
            yield Problem((*path, at), f"there is no check `{name}`", mend=mend)
        elif name in names[:at]:
            yield Problem((*path, at), f"check `{name}` is named twice", mend="remove one")


def _targets(config: Config, names: Sequence[str], path: Path, prefix: str) -> Iterator[Problem]:
    for at, name in enumerate(names):
        check = config.health.check(name)
        if check is not None and _needs_target(check):
            text = f"check `{name}` has no `target`, and {prefix} is not one address that could be asked"
            yield Problem((*path, at), text, "a check with a `target`")


def _needs_target(check: Check) -> bool:
    return check.target is None and check.kind in {CheckKind.ICMP, CheckKind.TCP}


def _twice(values: Sequence[str], path: Path, key: str) -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    for index, value in enumerate(values):
        seen[value] += 1
        if seen[value] == 2:
            yield Problem((*path, index, key), f"{key} `{value}` is there twice", mend="change or remove one")

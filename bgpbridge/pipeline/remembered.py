"""What a restarted bridge reads of its former self: which group was which.

Prefixes in the pinned tries and in the kernel point at group ids. A bridge that gives the same groups the same ids
again finds nearly every entry right as it stands and rewrites nothing. The file is a hint, never trusted: a group
that is not in it, or whose peer is gone, gets a fresh id, and its prefixes are moved one by one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from bgpbridge.rib.groups import WIDTH, Group, GroupTable, Member
from bgpbridge.rib.next_hops import EVERY_PEER, NextHop, NextHopTable
from bgpbridge.types import parse_address

__all__ = ["read_groups", "write_groups"]

VERSION = 1


def write_groups(path: Path, groups: GroupTable, next_hops: NextHopTable, name: Callable[[int], str]) -> None:
    """Replace the file in one step. `name` gives a peer's name by index."""
    table = {str(number): _to_json(groups[number], next_hops, name) for number in groups.ids()}
    text = json.dumps({"version": VERSION, "groups": table})
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)  # noqa: PTH105 - rename over, atomically


def read_groups(
    path: Path, wanted: Iterable[int], index: Callable[[str], int | None], next_hops: NextHopTable
) -> dict[int, Group]:
    """The groups of the file whose ids are in `wanted` and whose peers are still configured. Anything odd in
    the file is passed over: then prefixes are moved, not lost."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        table = data["groups"] if data["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found: dict[int, Group] = {}
    seen: set[Group] = set()
    for number in wanted:
        try:
            group = _from_json(table[str(number)], index, next_hops)
        except (KeyError, ValueError, TypeError, IndexError):
            continue
        if group is not None and group not in seen:
            found[number] = group
            seen.add(group)
    return found


def _to_json(group: Group, next_hops: NextHopTable, name: Callable[[int], str]) -> list[list[Any]]:
    return [[_member_to_json(member, next_hops, name) for member in side] for side in group]


def _member_to_json(member: Member, next_hops: NextHopTable, name: Callable[[int], str]) -> list[Any]:
    hop: NextHop = next_hops[member.next_hop]
    local = str(hop.link_local) if hop.link_local is not None else None
    return [name(member.peer), str(hop.address), local, hop.peer != EVERY_PEER, member.weight]


def _from_json(sides: Any, index: Callable[[str], int | None], next_hops: NextHopTable) -> Group | None:
    members = [[_member_from_json(item, index, next_hops) for item in side] for side in sides]
    active = [member for member in members[0] if member is not None]
    backup = [member for member in members[1] if member is not None]
    if len(active) != len(sides[0]) or len(backup) != len(sides[1]):
        return None
    if not active or len(active) + len(backup) > WIDTH:
        return None
    return Group(tuple(active), tuple(backup))


def _member_from_json(item: Any, index: Callable[[str], int | None], next_hops: NextHopTable) -> Member | None:
    name, address, local, scoped, weight = item
    peer = index(name)
    if peer is None or not 0 < int(weight) < 1 << 32:
        return None
    link_local = IPv6Address(local) if local is not None else None
    number = next_hops.intern(parse_address(address), link_local, peer if scoped else EVERY_PEER)
    return Member(peer, number, int(weight))

"""Nexthop objects and groups in the kernel: what we want, what is there, and the requests between the two.

One object per way out (gateway and interface), one group per group id of ours; routes name groups only, so a
group of one is a group as well. All ids lie in one range of ours: objects first, then a group at a fixed
place for each group id. Everything runs on the kernel FIB's worker thread.

Two facts shape this (FACTS, Kernel FIB). Replacing a group that v6 routes use costs half a second at 220,000
routes, replacing its member 25 ms: where all users of an object move from one way to another, the object is
replaced and no group. And a link that goes down takes objects, emptied groups and all their routes out of the
kernel without a word: a request that finds its object gone reports the group as lost, and `resync` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bgpbridge.errors import CapacityError
from bgpbridge.fib import kernel_wire as wire
from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.kernel_wire import Reply
from bgpbridge.fib.plan import kernel_weights
from bgpbridge.fib.pyroute import NLM_F_CREATE, NLM_F_REPLACE
from bgpbridge.fib.rtnetlink import NHMSG, RTM_DELNEXTHOP, RTM_GETNEXTHOP, RTM_NEWNEXTHOP, decode_nexthop, messages
from bgpbridge.rib.groups import LIMIT
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import IPAddress

__all__ = ["BLACKHOLE_WAY", "OBJECTS", "Members", "NexthopObjects", "Way", "as_members"]

OBJECTS = 4096
"""Room for nexthop objects; groups stand behind them."""


class Way(NamedTuple):
    """A way out: what one nexthop object says. Interface 0 without a gateway is the blackhole."""

    gateway: IPAddress | None
    ifindex: int


BLACKHOLE_WAY = Way(None, 0)
Members = tuple[tuple[Way, int], ...]


def as_members(hops: Iterable[Hop]) -> Members:
    """Hops as ways with kernel weights (1..256); the same way twice counts once, with both weights."""
    total: dict[Way, int] = {}
    for hop in hops:
        if hop.weight > 0:
            way = Way(hop.gateway, hop.ifindex)
            total[way] = total.get(way, 0) + hop.weight
    return tuple(zip(total, kernel_weights(list(total.values())), strict=True))


class NexthopObjects:
    """Wanted and actual nexthop objects and groups."""

    def __init__(self, sock: RouteSocket, base: int, protocol: int) -> None:
        self._sock = sock
        self._base = base
        self._protocol = protocol
        self.group_base = base + OBJECTS
        self.want: dict[int, Members] = {}
        self.failed: dict[Way, Reply] = {}
        self.present: npt.NDArray[np.bool_] = np.zeros(LIMIT + 1, np.bool_)
        self.member_replaces = 0
        self.group_replaces = 0
        self._have: dict[int, tuple[tuple[int, int], ...]] = {}  # group -> (object id, weight)
        self._ways: dict[int, Way] = {}  # object id -> what it says
        self._ids: dict[Way, int] = {}
        self._next = 0  # where to look for a free object id

    # -- groups -------------------------------------------------------------------------------------

    def set_groups(self, batch: Mapping[int, Members]) -> set[int]:
        """Make groups have these members. Returns the groups that have lost their routes: the kernel had
        dropped them (they stand again if any member does), or no member is usable."""
        self.want.update(batch)
        self._swap_members(batch)
        lost: set[int] = set()
        for group, members in batch.items():
            if self.members(group) != members and not self._set_group(group, members):
                lost |= self.resync()
                self._set_group(group, members)
        return lost | {group for group in batch if not self.present[group]}

    def members(self, group: int) -> Members:
        """What a group has in the kernel, as far as we know."""
        return tuple((self._ways[number], weight) for number, weight in self._have.get(group, ()))

    def _set_group(self, group: int, members: Members) -> bool:
        """False when the kernel does not have what we thought it has: ask it, and try once more."""
        usable = [(number, weight) for way, weight in members if (number := self._object(way))]
        if not usable:
            return self._drop_group(group)
        body = wire.group_body(self.group_base + group, usable, self._protocol)
        flags = NLM_F_REPLACE if group in self._have else NLM_F_REPLACE | NLM_F_CREATE
        self.group_replaces += 1
        reply = self._sock.request(RTM_NEWNEXTHOP, flags, body)
        if reply.errno:
            return False
        self._have[group] = tuple(usable)
        self.present[group] = True
        return True

    def _drop_group(self, group: int) -> bool:
        if self._have.pop(group, None) is not None:
            self._sock.request(RTM_DELNEXTHOP, 0, wire.id_body(self.group_base + group))
        self.present[group] = False
        return True

    def free(self, groups: Iterable[int]) -> None:
        """Groups that no route uses any more go, and objects that no group uses with them."""
        for group in groups:
            self.want.pop(group, None)
            self._drop_group(group)
        self.tidy()

    # -- one object in place of another -------------------------------------------------------------

    def _swap_members(self, batch: Mapping[int, Members]) -> None:
        """Where every group that uses a way moves to one and the same other way, replace the object."""
        swaps: dict[Way, Way] = {}
        for group, members in batch.items():
            if (pair := _one_difference(self.members(group), members)) and swaps.setdefault(*pair) != pair[1]:
                return  # one way is left for two others: that is for groups
        for old, new in swaps.items():
            number = self._ids.get(old)
            users = [group for group, have in self._have.items() if any(member == number for member, _ in have)]
            moved = all(_one_difference(self.members(group), batch.get(group, ())) == (old, new) for group in users)
            if number is not None and moved:
                self._replace_object(number, old, new)

    def _replace_object(self, number: int, old: Way, new: Way) -> None:
        reply = self._sock.request(RTM_NEWNEXTHOP, NLM_F_REPLACE, self._body(number, new))
        if reply.errno:
            return  # its group is set the other way then
        self.member_replaces += 1
        self._ways[number] = new
        del self._ids[old]
        self._ids.setdefault(new, number)

    # -- objects ------------------------------------------------------------------------------------

    def _object(self, way: Way) -> int:
        """The id of the object for a way, made if need be; 0 when the kernel refuses it (see `failed`)."""
        if way in self._ids:
            return self._ids[way]
        if len(self._ways) == OBJECTS:
            raise CapacityError(f"{OBJECTS} nexthop objects are in use", mend="see `bgpbridge adjacencies`")
        while (number := self._base + self._next) in self._ways:
            self._next = (self._next + 1) % OBJECTS
        reply = self._sock.request(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, self._body(number, way))
        if reply.errno:
            self.failed[way] = reply
            return 0
        self.failed.pop(way, None)
        self._ways[number] = way
        self._ids[way] = number
        return number

    def _body(self, number: int, way: Way) -> bytes:
        if way == BLACKHOLE_WAY:
            return wire.blackhole_body(number, self._protocol)
        return wire.nexthop_body(number, way.gateway, way.ifindex, self._protocol)

    def tidy(self) -> None:
        """Remove objects that no group uses."""
        used = {number for members in self._have.values() for number, _ in members}
        for number in [n for n in self._ways if n not in used]:
            self._sock.request(RTM_DELNEXTHOP, 0, wire.id_body(number))
            way = self._ways.pop(number)
            if self._ids.get(way) == number:
                del self._ids[way]

    # -- what the kernel has ------------------------------------------------------------------------

    def resync(self) -> set[int]:
        """Read what is there. Returns the groups that we thought were there and are not."""
        thought = set(self._have)
        self._have, self._ways, self._ids = {}, {}, {}
        found = self._sock.dump(RTM_GETNEXTHOP, NHMSG.pack(0, 0, 0, 0, 0))
        objects = [nexthop for data in found for m in messages(data) if (nexthop := decode_nexthop(m))]
        for nexthop in objects:
            if nexthop.protocol != self._protocol:
                continue
            if self.group_base <= nexthop.id <= self.group_base + LIMIT and nexthop.group:
                self._have[nexthop.id - self.group_base] = nexthop.group
            elif self._base <= nexthop.id < self.group_base:
                hop = nexthop.hop
                way = Way(hop.gateway, hop.ifindex) if hop and not nexthop.blackhole else BLACKHOLE_WAY
                self._ways[nexthop.id] = way
                self._ids.setdefault(way, nexthop.id)
        self.present[:] = False
        self.present[list(self._have)] = True
        return thought - set(self._have)

    def restore(self) -> set[int]:
        """Make everything that is wanted and not there; returns the groups that had been lost."""
        lost = self.resync()
        wrong = {group: members for group, members in self.want.items() if self.members(group) != members}
        return lost | self.set_groups(wrong)

    def unwanted(self) -> list[int]:
        """Groups in the kernel that nobody wants: an earlier run's."""
        return [group for group in self._have if group not in self.want]

    def incomplete(self) -> list[int]:
        """Wanted groups that lack a member, or all of them, in the kernel."""
        return [group for group, members in self.want.items() if self.members(group) != members]


def _one_difference(have: Members, want: Sequence[tuple[Way, int]]) -> tuple[Way, Way] | None:
    """(old, new) when two groups differ in the way of exactly one member, at the same weight."""
    if len(have) != len(want):
        return None
    different = [(a, b) for a, b in zip(have, want, strict=True) if a != b]
    if len(different) != 1 or different[0][0][1] != different[0][1][1]:
        return None
    return different[0][0][0], different[0][1][0]

"""Next hops by id, and what the kernel's own routes say about them.

BGP next hops repeat: a full table of half a million prefixes has a few thousand. Each gets an id that
attributes, groups and the FIB use. The table knows reachability and IGP metric (decision steps 0 and 7);
`bgpbridge.fib.resolve` finds them out and hands them in, at interning by `resolve`, later by `set`.

A link-local next hop means something only on the link of the peer that sent it, while attribute blocks
are shared by all peers: its id is a template that `scoped` turns into one id per peer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from bgpbridge.rib.tables import Ids, Lengths, Words, zeros
from bgpbridge.types import Family, IPAddress

__all__ = ["Hop", "NextHop", "NextHopTable", "Resolution"]

EVERY_PEER = -1


@dataclass(frozen=True, slots=True)
class Hop:
    """One way to a next hop: the gateway to resolve (None = the next hop itself is on the link) and the
    interface, with its share of the traffic."""

    gateway: IPAddress | None
    ifindex: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is known about reaching a next hop. `reason` says why it cannot be reached, or by which route
    it is. `metric` is the IGP metric of that route (RFC 4271 s9.1.2.2 e)."""

    reachable: bool
    metric: int = 0
    hops: tuple[Hop, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NextHop:
    """A next hop as BGP gives it. `peer` is the peer on whose link `link_local` (or a link-local
    `address`) is meant; EVERY_PEER (-1) where that does not matter."""

    address: IPAddress
    link_local: IPv6Address | None = None
    peer: int = EVERY_PEER

    @property
    def needs_scope(self) -> bool:
        """True for a link-local address that no peer's link is known for."""
        local = self.link_local is not None or self.address.is_link_local
        return local and self.peer == EVERY_PEER


UNRESOLVED = Resolution(reachable=False, reason="not resolved yet")


class NextHopTable:
    """Next hops by id (1..limit), 0 = none. Columns `reachable` and `metric` are read by the decision."""

    def __init__(self, resolve: Callable[[NextHop], Resolution] | None = None, *, limit: int = 65_535) -> None:
        self.limit = limit
        self.resolve = resolve
        self.reachable = zeros(limit + 1, np.bool_)
        self.metric = zeros(limit + 1, np.uint32)
        self.template = zeros(limit + 1, np.bool_)
        self.reachable_view, self.metric_view, self.template_view = (
            self.reachable.data,
            self.metric.data,
            self.template.data,
        )
        self.any_template = False
        self.refused = 0
        self._values: list[NextHop | None] = [None]
        self._states: list[Resolution] = [UNRESOLVED]
        self._ids: dict[NextHop, int] = {}
        self._free: list[int] = []
        self._fresh: list[int] = []
        self._scoped: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def intern(self, address: IPAddress, link_local: IPv6Address | None = None, peer: int = EVERY_PEER) -> int:
        """The id of a next hop, a new one if need be. A new one is resolved at once where a resolver was
        given. When all ids are in use it is 0, which is never reachable, and `refused` counts it: a peer
        that sends endless next hops loses routes, nobody else does."""
        key = NextHop(address, link_local, peer)
        found = self._ids.get(key)
        return found if found is not None else self._add(key)

    def _add(self, key: NextHop) -> int:
        if self._free:
            number = self._free.pop()
        elif len(self._values) > self.limit:
            self.refused += 1
            return 0
        else:
            number = len(self._values)
            self._values.append(None)
            self._states.append(UNRESOLVED)
        self._values[number] = key
        self._ids[key] = number
        self._states[number] = UNRESOLVED
        self.reachable[number], self.metric[number] = False, 0
        self.template[number] = key.needs_scope
        self.any_template |= key.needs_scope
        if not key.needs_scope:
            self._fresh.append(number)
            if self.resolve is not None:
                self.set(number, self.resolve(key))
        return number

    def intern_words(self, families: Lengths, hi: Words, lo: Words) -> Ids:
        """Ids of next hops given as the wire's columns do: family 0 is none, IPv4 stands in `lo`."""
        if (lo == lo[0]).all() and (hi == hi[0]).all() and (families == families[0]).all():
            return np.full(len(lo), self._intern_word(int(families[0]), int(hi[0]), int(lo[0])), np.int64)
        keys = hi * np.uint64(0x9E3779B97F4A7C15) ^ lo  # only to bring equal ones together; verified below
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        alike = (hi.take(first).take(which) == hi) & (lo.take(first).take(which) == lo)
        alike &= families.take(first).take(which) == families
        distinct = [self._intern_word(int(families[at]), int(hi[at]), int(lo[at])) for at in first.tolist()]
        ids: Ids = np.array(distinct, np.int64)[which]
        for at in np.flatnonzero(~alike).tolist():
            ids[at] = self._intern_word(int(families[at]), int(hi[at]), int(lo[at]))
        return ids

    def intern_pairs(self, hi: Words, lo: Words, link_hi: Words, link_lo: Words) -> Ids:
        """Ids of IPv6 next hops with their link-local addresses."""
        table = np.stack([hi, lo, link_hi, link_lo], axis=1)
        if (table == table[0]).all():
            table, which = table[:1], np.zeros(len(hi), np.int64)
        else:
            table, which = np.unique(table, axis=0, return_inverse=True)
        ids = [
            self.intern(IPv6Address(high << 64 | low), IPv6Address(link_high << 64 | link_low))
            for high, low, link_high, link_low in table.tolist()
        ]
        return np.array(ids, np.int64).take(which.ravel())

    def _intern_word(self, family: int, hi: int, lo: int) -> int:
        if not family:
            return 0
        if family == Family.IPV4:
            return self.intern(IPv4Address(lo))
        return self.intern(IPv6Address(hi << 64 | lo))

    def room(self) -> int:
        """How many more next hops fit."""
        return self.limit - len(self._ids)

    def __getitem__(self, number: int) -> NextHop:
        value = self._values[number] if 0 < number < len(self._values) else None
        if value is None:
            raise KeyError(number)
        return value

    def address(self, number: int) -> IPAddress | None:
        """The global address of a next hop; None for id 0."""
        value = self._values[number]
        return value.address if value is not None else None

    def resolution(self, number: int) -> Resolution:
        """What is known about it now."""
        return self._states[number]

    def set(self, number: int, resolution: Resolution) -> bool:
        """Store what was found out. True when reachability or metric changed: the decision must then run
        for the prefixes behind it (`Rib.next_hops_changed`). A change of `hops` alone touches groups only."""
        before = self._states[number]
        self._states[number] = resolution
        self.reachable[number] = resolution.reachable
        self.metric[number] = min(resolution.metric, 0xFFFFFFFF)
        return (before.reachable, before.metric) != (resolution.reachable, resolution.metric)

    def ids(self) -> list[int]:
        """All ids that can be resolved, ascending (templates of link-local next hops are not among them)."""
        return sorted(number for key, number in self._ids.items() if not key.needs_scope)

    @property
    def fresh(self) -> bool:
        """True when `take_fresh` has something to give."""
        return bool(self._fresh)

    def take_fresh(self) -> list[int]:
        """Ids interned since the last call: for the resolver to watch."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def scoped_one(self, number: int, peer: int) -> int:
        """The id to use for a route of `peer`: itself, or for a template the one on that peer's link."""
        if not self.template_view[number]:
            return number
        found = self._scoped.get((number, peer))
        if found is None:
            key = self[number]
            found = self._scoped[number, peer] = self.intern(key.address, key.link_local, peer)
        return found

    def scoped(self, numbers: Ids, peer: int) -> Ids:
        """`scoped_one` for a column of ids."""
        if not self.any_template:
            return numbers
        mask = self.template.take(numbers)
        if not mask.any():
            return numbers
        out = numbers.copy()
        for number in np.unique(numbers.compress(mask)).tolist():
            out[numbers == number] = self.scoped_one(number, peer)
        return out

    def release(self, used: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[int]:
        """Forget the ids that are False in `used`; returns them. They are given out again later."""
        kept = {scoped for (base, _), scoped in self._scoped.items() if used[scoped] or used[base]}
        keep_base = {base for (base, _), scoped in self._scoped.items() if used[scoped]}
        gone = [n for n in self._ids.values() if not used[n] and n not in keep_base and n not in kept]
        dead = set(gone)
        self._scoped = {k: v for k, v in self._scoped.items() if k[0] not in dead and v not in dead}
        for number in gone:
            key = self._values[number]
            assert key is not None
            del self._ids[key]
            self._values[number] = None
            self.reachable[number] = self.template[number] = False
        self._free.extend(gone)
        self._fresh = [number for number in self._fresh if number not in dead]
        return gone

"""Prefix overrides as the decision sees them: which intent an operator has for a prefix, and what it makes of paths.

An override acts on prefixes that BGP has a usable path for, and on no other: it puts paths first, changes their weight
or local preference, leaves them out, or drops the traffic. The longest one that holds a prefix decides, and one for
exactly this prefix before one for everything under it. `OverrideTable` finds it, for one prefix and for columns alike;
it is made anew when overrides change and never changed. Names, owners and clocks are the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bgpbridge.rib.decision import Candidate
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.rib.tables import MASK64, Ids, Lengths, Words, secret_words
from bgpbridge.types import Family, IPAddress, OverrideKind, Prefix

__all__ = ["OVERRIDE_PEER", "Entry", "Intent", "OverrideTable", "overridden"]

OVERRIDE_PEER = 0xFFFF
"""Stands for the peer in a path that no peer sent: a next hop that an override names and BGP does not have."""
LAST_ORDER = 0xFFFF
LONGEST_PATH = 0x3FFF
INCOMPLETE = 2


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to become of a prefix. Its target are the paths from `peers` (indices) and those by next hops of
    `addresses`; with `everything` all paths. `own` are the next hops (ids) of a pin, taken where no path has them.
    `value` is the local preference or weight; `share`: all pinned ways carry traffic, not only the best."""

    kind: OverrideKind
    peers: frozenset[int] = frozenset()
    addresses: frozenset[IPAddress] = frozenset()
    own: tuple[int, ...] = ()
    everything: bool = False
    value: int = 0
    share: bool = False

    def means(self, peer: int, address: IPAddress | None) -> bool:
        """True for a path from this peer by this next hop."""
        return self.everything or peer in self.peers or address in self.addresses


class Entry(NamedTuple):
    """One override: a prefix, whether it holds for all inside as well, and what it intends."""

    prefix: Prefix
    or_longer: bool
    intent: Intent


class _Keys:
    """Entries of one scope and length: number by the masked address."""

    def __init__(self, family: Family, length: int, entries: Sequence[tuple[int, Prefix]]) -> None:
        self.length, self.shift = length, family.bits - length
        self.numbers = {prefix.value: number for number, prefix in entries}
        mask = (1 << family.bits) - (1 << self.shift)
        self._hi, self._lo = np.uint64(mask >> 64), np.uint64(mask & MASK64)
        hi = np.array([value >> 64 for value in self.numbers], np.uint64)
        lo = np.array([value & MASK64 for value in self.numbers], np.uint64)
        while True:  # a collision among our own keys is met by other multipliers
            self._first, self._second = (np.uint64(word) for word in secret_words(2))
            hashes = hi * self._first ^ lo * self._second
            if len(np.unique(hashes)) == len(hashes):
                break
        order = hashes.argsort()
        self._hashes, self._keys_hi, self._keys_lo = hashes.take(order), hi.take(order), lo.take(order)
        self._values = np.array(list(self.numbers.values()), np.int64).take(order)

    def find(self, hi: Words, lo: Words) -> Ids:
        """Numbers for addresses, 0 where there is none."""
        hi, lo = hi & self._hi, lo & self._lo
        at = np.minimum(np.searchsorted(self._hashes, hi * self._first ^ lo * self._second), len(self._hashes) - 1)
        same = (self._keys_hi.take(at) == hi) & (self._keys_lo.take(at) == lo)
        found: Ids = np.where(same, self._values.take(at), 0)
        return found


class OverrideTable:
    """The overrides of one family by number, from 1 in the order given; 0 is none. No scope may stand twice."""

    def __init__(self, family: Family, entries: Iterable[Entry]) -> None:
        self.family = family
        self.entries = tuple(entry for entry in entries if entry.prefix.family is family)
        self.intents: list[Intent | None] = [None]
        kinds: dict[Intent, int] = {}
        by_scope: dict[tuple[bool, int], list[tuple[int, Prefix]]] = {}
        of_entry = [0]
        for number, (prefix, or_longer, intent) in enumerate(self.entries, 1):
            by_scope.setdefault((or_longer, prefix.length), []).append((number, prefix))
            if intent not in kinds:
                kinds[intent] = len(self.intents)
                self.intents.append(intent)
            of_entry.append(kinds[intent])
        self._intent_of = np.array(of_entry, np.int64)
        scopes = {scope: _Keys(family, scope[1], found) for scope, found in by_scope.items()}
        self._exact = {length: keys for (longer, length), keys in scopes.items() if not longer}
        self._longer = [scopes[scope] for scope in sorted(scopes) if scope[0]]  # the shortest first

    def __len__(self) -> int:
        return len(self.entries)

    def number_one(self, value: int, length: int) -> int:
        """The override that decides on a prefix."""
        exact = self._exact.get(length)
        found = exact.numbers.get(value, 0) if exact is not None else 0
        if found:
            return found
        for keys in reversed(self._longer):
            if keys.length <= length and (found := keys.numbers.get(value >> keys.shift << keys.shift, 0)):
                return found
        return 0

    def numbers(self, hi: Words, lo: Words, length: Lengths) -> Ids:
        """The same for columns."""
        out = np.zeros(len(lo), np.int64)
        for keys in self._longer:
            found = keys.find(hi, lo)
            np.copyto(out, found, where=(found != 0) & (length >= keys.length))
        for keys in self._exact.values():
            at = np.flatnonzero(length == keys.length)
            if len(at):
                found = keys.find(hi.take(at), lo.take(at))
                out[at.compress(found != 0)] = found.compress(found != 0)
        return out

    def intent_one(self, value: int, length: int) -> Intent | None:
        """What is intended for a prefix."""
        number = self.number_one(value, length)
        return self.entries[number - 1].intent if number else None

    def intent_ids(self, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Places in `intents`: overrides that intend the same share one."""
        return self._intent_of.take(self.numbers(hi, lo, length))

    def own(self) -> frozenset[int]:
        """Next hops (ids) that pins may use though no path has them."""
        return frozenset(number for intent in self.intents if intent is not None for number in intent.own)


def overridden(candidates: list[Candidate], intent: Intent, hops: NextHopTable) -> list[Candidate]:
    """What an intent makes of the paths of a prefix: `standing` set, values changed, a pin's own next hop added."""
    changed = [_changed(c, intent) if intent.means(c.peer, hops.address(c.next_hop)) else c for c in candidates]
    if not any(candidate.reachable for candidate in candidates):
        return changed
    have = {hops.address(c.next_hop) for c in candidates if c.reachable}
    return changed + [_own(number, hops) for number in intent.own if hops.address(number) not in have]


def _changed(candidate: Candidate, intent: Intent) -> Candidate:
    if intent.kind is OverrideKind.PIN:
        return candidate._replace(standing=1)
    if intent.kind is OverrideKind.REJECT:
        return candidate._replace(standing=-1)
    if intent.kind is OverrideKind.WEIGHT:
        return candidate._replace(weight=intent.value)
    return candidate._replace(local_pref=intent.value) if intent.kind is OverrideKind.PREFER else candidate


def _own(number: int, hops: NextHopTable) -> Candidate:
    """A path that no peer sent: behind every pinned path that one did."""
    return Candidate(
        peer=OVERRIDE_PEER,
        path_id=0,
        next_hop=number,
        reachable=bool(hops.reachable_view[number]),
        local_pref=0,
        path_length=LONGEST_PATH,
        origin=INCOMPLETE,
        ebgp=False,
        metric=hops.metric_view[number],
        router_id=0xFFFFFFFF,
        peer_order=LAST_ORDER,
        standing=1,
    )

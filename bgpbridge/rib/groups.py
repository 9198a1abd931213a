"""Next-hop groups: what a prefix points at, so that the loss of a path changes groups, not prefixes.

A group is the ordered list of members that the decision leaves: the active ones (best and equal-cost
paths), then backups in order. A member names the peer, the next hop and a weight; whether it can carry
traffic now is asked at the moment of a loss (`without`), without a new decision (PIC edge).

Ids 1 and 2 are the datapath's own (local, blackhole), the first one given out is 16, 32,767 the last.
References are counted by rows. A group that no row uses keeps its id until `free`: the planes below may
still hold it. When the table is nearly full, backups are left out of new groups (`thinned` counts how
often, since `Rib.redecide` last brought them back): fewer combinations, the same best paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.group_ids import FIRST_FREE, LIMIT, GroupIds
from bgpbridge.rib.tables import MASK64, HashIndex, Ids, Words, secret_words, zeros

__all__ = [
    "BLACKHOLE",
    "FIRST_FREE",
    "LIMIT",
    "LOCAL",
    "PINNED",
    "WIDTH",
    "Group",
    "GroupTable",
    "IdleGroups",
    "Member",
    "member_word",
]

LOCAL = 1
BLACKHOLE = 2
PINNED = 8
"""An override's pin stands in a group as active members whose weights are shifted left by so many bits: no other weight
is above 255. Without them, when none can carry traffic, the group is as BGP would have it."""
WIDTH = 32  # most members of a group, backups included


class Member(NamedTuple):
    """One path of a group: learned from peer index `peer`, by next-hop id `next_hop`."""

    peer: int
    next_hop: int
    weight: int = 1


class Group(NamedTuple):
    """Members in the order of the decision. `active` share the traffic by weight."""

    active: tuple[Member, ...]
    backup: tuple[Member, ...] = ()

    @property
    def pinned(self) -> bool:
        """True when an override put the active members first."""
        return bool(self.active) and self.active[0].weight >> PINNED > 0

    def without(self, peers: AbstractSet[int], next_hops: AbstractSet[int]) -> Group:
        """The group without members of these peers and next hops; where no active member is left, the first
        backup is active."""

        def stays(member: Member) -> bool:
            return member.peer not in peers and member.next_hop not in next_hops

        active, backup = tuple(filter(stays, self.active)), tuple(filter(stays, self.backup))
        return Group(active, backup) if active else Group(backup[:1], backup[1:])


class IdleGroups(NamedTuple):
    """Groups without rows, as of one moment: to be given to `free` once no plane below uses them."""

    ids: Ids
    epochs: Ids


def member_word(peer: int, next_hop: int, weight: int = 1) -> int:
    """A member as one integer, never 0: how columns carry it."""
    return weight << 32 | peer << 16 | next_hop


def _member(word: int) -> Member:
    return Member(word >> 16 & 0xFFFF, word & 0xFFFF, word >> 32)


class GroupTable:
    """Groups by id, interned by their members."""

    def __init__(self, *, limit: int = LIMIT, first: int = FIRST_FREE, width: int = WIDTH) -> None:
        self.limit, self.width = limit, width
        self.refs = zeros(limit + 1, np.int64)
        self.epoch = zeros(limit + 1, np.int64)
        self._refs_view, self._epoch_view = self.refs.data, self.epoch.data
        self.thinned = 0
        self._words = [zeros(limit + 1, np.uint64) for _ in range(width)]
        self._active = zeros(limit + 1, np.uint8)
        self._size = zeros(limit + 1, np.uint8)
        self._hash = zeros(limit + 1, np.uint64)
        self._groups: dict[int, Group] = {}
        self._ids: dict[tuple[int, ...], int] = {}
        self._by_peer: dict[int, set[int]] = {}
        self._by_next_hop: dict[int, set[int]] = {}
        self._free = GroupIds(first, limit)
        self._keys = secret_words(width + 2)
        self._index = HashIndex(self._live, lambda: limit, bits=10)

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> Group:
        """The group with that id. KeyError for 0, reserved and free ids."""
        return self._groups[number]

    def __contains__(self, number: int) -> bool:
        return number in self._groups

    def ids(self) -> list[int]:
        """Ids of all groups that are known, ascending."""
        return sorted(self._groups)

    def room(self) -> int:
        """How many more groups fit."""
        return self._free.count()

    # -- who uses what ------------------------------------------------------------------------------

    def using_peer(self, peer: int) -> frozenset[int]:
        """Groups with a member learned from that peer, active or backup."""
        return frozenset(self._by_peer.get(peer, ()))

    def using_next_hop(self, next_hop: int) -> frozenset[int]:
        """Groups with a member by that next-hop id, active or backup."""
        return frozenset(self._by_next_hop.get(next_hop, ()))

    def next_hops(self) -> list[int]:
        """Next-hop ids that some group uses."""
        return [next_hop for next_hop, groups in self._by_next_hop.items() if groups]

    def members(self, ids: Ids) -> tuple[Any, Ids]:
        """(member words, a line of `width` for each id; how many of them are active). Id 0 has none."""
        words = np.stack([column.take(ids) for column in self._words], axis=1)
        return words, self._active.take(ids).astype(np.int64)

    def distinct(self, words: Any, active: Ids) -> tuple[Ids, Ids]:
        """(positions of the first of each, how many there are of each) of groups given as lines of member words."""
        hashes = self._hash_rows(list(words.T), active)
        _, first, count = np.unique(hashes, return_index=True, return_counts=True)
        return first, count

    def known(self, words: tuple[int, ...], active: int) -> int:
        """The id of a group that is there, 0 when there is none like it."""
        return self._ids.get((active, *words), 0)

    # -- interning ----------------------------------------------------------------------------------

    def intern_one(self, words: tuple[int, ...], active: int) -> int:
        """The id of a group given as member words (`member_word`), the first `active` of them active."""
        if not words:
            return 0
        found = self._ids.get((active, *words))
        if found is not None:
            return found
        if not self._free.count() and active < len(words):
            self.thinned += 1
            return self.intern_one(words[:active], active)
        return self._add(self._free.take(), words, active)

    def intern(self, group: Group) -> int:
        """The id of a group."""
        return self.intern_one(tuple(member_word(*m) for m in (*group.active, *group.backup)), len(group.active))

    def intern_rows(self, words: list[Words], active: Ids) -> Ids:
        """Ids for rows of member words: `words[j][i]` is member j of row i (0 = no more), `active[i]`
        how many of row i are active. Raises CapacityError before anything is changed."""
        hashes = self._hash_rows(words, active)
        if self._free.count() < len(active):
            words, hashes = self._fit(words, active, hashes)
        present = words[0] != 0

        def same(ids: Ids, at: Ids) -> Any:
            equal = self._active.take(ids) == active.take(at)
            for own, column in zip(self._words, words, strict=False):
                equal &= own.take(ids) == column.take(at)
            return equal & (self._size.take(ids) <= len(words))

        def create(at: Ids) -> Ids:
            return self._create(words, active, hashes, at)

        if present.all():
            return self._index.intern(hashes, same, create)
        rows = np.flatnonzero(present)
        ids = np.zeros(len(active), np.int64)
        words, active, hashes = [column.take(rows) for column in words], active.take(rows), hashes.take(rows)
        ids[rows] = self._index.intern(hashes, same, create)
        return ids

    def intern_hops(self, hops: Ids, peer: int) -> Ids:
        """Ids for rows of one member each: this peer's route by these next hops, 0 where there is none."""
        seen = np.zeros(int(hops.max(initial=0)) + 1, np.bool_)
        seen[hops] = True
        seen[0] = False
        distinct = np.flatnonzero(seen)
        ids = np.zeros(len(seen), np.int64)
        words = (distinct | member_word(peer, 0)).view(np.uint64)
        ids[distinct] = self.intern_rows([words], np.ones(len(distinct), np.int64))
        return ids.take(hops)

    def _create(self, words: list[Words], active: Ids, hashes: Words, at: Ids) -> Ids:
        columns = [column.take(at).tolist() for column in words]
        ids = []
        for count, key_hash, *row in zip(active.take(at).tolist(), hashes.take(at).tolist(), *columns, strict=True):
            number = self._free.take()
            self._store(number, tuple(word for word in row if word), count, key_hash)
            ids.append(number)
        return np.array(ids, np.int64)

    def _fit(self, words: list[Words], active: Ids, hashes: Words) -> tuple[list[Words], Words]:
        """Few ids are left: leave backups out of groups that are not there yet, if all would not fit."""
        new = self._unknown(words, active, hashes)
        if len(np.unique(hashes.take(new))) <= self._free.count():
            return words, hashes
        thin = [column.copy() for column in words]
        for place, column in enumerate(thin):
            column[new.compress(active.take(new) <= place)] = 0
        hashes = self._hash_rows(thin, active)
        missing = len(np.unique(hashes.take(self._unknown(thin, active, hashes))))
        if missing > self._free.count():
            raise CapacityError(
                f"{missing} more next-hop groups are needed, {self._free.count()} of {self.limit} are free",
                mend="fewer distinct next hops per peer, or less multipath",
            )
        self.thinned += len(new)
        return thin, hashes

    def _unknown(self, words: list[Words], active: Ids, hashes: Words) -> Ids:
        del active  # part of the hash; 64 bits of a keyed hash suffice to count what is not there
        known = self._index.find(hashes, lambda ids, at: self._hash.take(ids) == hashes.take(at))
        return np.flatnonzero((known == 0) & (words[0] != 0))

    def _hash_rows(self, words: list[Words], active: Ids) -> Words:
        keys = self._keys
        total = active.astype(np.uint64) * np.uint64(keys[self.width])
        for key, column in zip(keys, words, strict=False):
            total = total + column * np.uint64(key)
        total ^= total >> np.uint64(32)
        total *= np.uint64(keys[self.width + 1])
        mixed: Words = total ^ (total >> np.uint64(29))
        return mixed

    def _hash_one(self, words: tuple[int, ...], active: int) -> int:
        total = active * self._keys[self.width] + sum(map(mul, words, self._keys)) & MASK64
        total = (total ^ total >> 32) * self._keys[self.width + 1] & MASK64
        return int(total ^ total >> 29)

    def _store(self, number: int, words: tuple[int, ...], active: int, key_hash: int) -> None:
        """Everything about a new group but its entry in the hash index."""
        if len(words) > self.width:
            raise CapacityError(f"a group of {len(words)} members, {self.width} is the most")
        for place in range(max(len(words), int(self._size[number]))):
            self._words[place][number] = words[place] if place < len(words) else 0
        self._active[number], self._size[number], self._hash[number] = active, len(words), key_hash
        members = tuple(_member(word) for word in words)
        self._groups[number] = Group(members[:active], members[active:])
        self._ids[active, *words] = number
        for member in members:
            self._by_peer.setdefault(member.peer, set()).add(number)
            self._by_next_hop.setdefault(member.next_hop, set()).add(number)

    def _add(self, number: int, words: tuple[int, ...], active: int) -> int:
        self._index.reserve(1)
        key_hash = self._hash_one(words, active)
        self._store(number, words, active, key_hash)
        self._index.add_one(key_hash, number)
        return number

    def _live(self, first: int, last: int) -> tuple[Words, Ids]:
        ids = np.array(sorted(number for number in self._groups if first <= number < last), np.int64)
        return self._hash.take(ids), ids

    # -- references and release ---------------------------------------------------------------------

    def moved(self, old: Ids, new: Ids) -> None:
        """Rows went from groups `old` to groups `new`."""
        gained, lost = np.bincount(new), np.bincount(old)
        self.epoch[: len(gained)] += (self.refs[: len(gained)] == 0) & (gained > 0)
        self.refs[: len(gained)] += gained
        self.refs[: len(lost)] -= lost

    def moved_one(self, old: int, new: int) -> None:
        """One row went from group `old` to group `new`."""
        refs = self._refs_view
        if not refs[new]:
            self._epoch_view[new] += 1
        refs[new] += 1
        refs[old] -= 1

    def idle(self) -> IdleGroups:
        """Groups that no row points at."""
        ids = np.array([number for number in sorted(self._groups) if not self.refs[number]], np.int64)
        return IdleGroups(ids, self.epoch.take(ids))

    def free(self, idle: IdleGroups) -> list[int]:
        """Give ids back that have been idle ever since `idle()` said so; returns them. Call it when no
        plane below (XDP, kernel) holds them any more."""
        gone = [
            number
            for number, epoch in zip(idle.ids.tolist(), idle.epochs.tolist(), strict=True)
            if number in self._groups and not self.refs[number] and self.epoch[number] == epoch
        ]
        for number in gone:
            self._forget(number)
            self._free.give(number)
        return gone

    def _forget(self, number: int) -> None:
        group = self._groups.pop(number)
        members = (*group.active, *group.backup)
        del self._ids[len(group.active), *(member_word(*member) for member in members)]
        for member in members:
            self._by_peer[member.peer].discard(number)
            self._by_next_hop[member.next_hop].discard(number)
        self._index.remove(self._hash[number : number + 1], np.array([number], np.int64))

    # -- adoption after a restart -------------------------------------------------------------------

    def reserve(self, ids: Iterable[int]) -> None:
        """Keep ids from being given out: a datapath that outlived us still uses them."""
        self._free.reserve(number for number in ids if number not in self._groups)

    def unreserve(self, ids: Iterable[int]) -> None:
        """Reserved ids can be given out again."""
        self._free.unreserve(ids)

    def seed(self, number: int, group: Group) -> None:
        """Let a group have this id when it comes up: what it was called before a restart. Raises
        ValueError when the id or the group is taken."""
        words = tuple(member_word(*member) for member in (*group.active, *group.backup))
        if number in self._groups or (len(group.active), *words) in self._ids or not words:
            raise ValueError(f"group {number} cannot be seeded: the id or the group is taken")
        self._free.claim(number)
        self._add(number, words, len(group.active))

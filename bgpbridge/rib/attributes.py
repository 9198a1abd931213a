"""Path attributes by id: blocks interned once, what the decision needs of them in columns.

A full table of half a million prefixes has less than a hundred thousand distinct blocks; each is read once,
in bulk, when it first comes. `get` decodes it whole, when somebody looks. A policy that changes attributes
makes derived ids (`derive`), interned by (id, changes), which live in the same columns.

Id 0 is "no attributes". Ids are given out again after `collection` has found them unused; whoever keeps
anything by attribute id subscribes with `on_release`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.alter import alter
from bgpbridge.rib.blocks import BlockStore
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.rib.tables import IdPool, Ids, zeros
from bgpbridge.types import AttributeChanges, Verdict
from bgpbridge.wire.attributes import decode_attributes
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.bulk_fields import FieldFlag, Fields, Row, decode_fields, fields_of
from bgpbridge.wire.bulk_frame import Octets
from bgpbridge.wire.bulk_lists import AttributeLists, decode_lists
from bgpbridge.wire.found import OTHER, OWN_ROUTER_ID, findings_of, key_of
from bgpbridge.wire.path_attributes import Decoded
from bgpbridge.wire.verdicts import Finding, SessionKind

__all__ = ["NO_RANK", "WEIGHT_SET", "AttributeTable"]

NO_RANK = (1 << 64) - 1
WEIGHT_SET = 0x8000  # a bit of `flags` beside the wire's FieldFlag: policy has set the weight
MED_SET = int(FieldFlag.MED)
MOST_WEIGHT = 0xFFFF
MOST_KINDS = 0x7FFF
LONGEST_PATH = 0x3FFF  # AS numbers of four octets that fit an extended message
WORDS_PER_BLOCK = 12
DECODED_KEPT = 8_192
NO_VALUES = np.zeros(1, np.uint16)
RECENT_KEPT = 4_096

COLUMNS: dict[str, Any] = {
    "rank": np.uint64,  # steps 1 to 4 as one integer, the lowest wins; NO_RANK = cannot be used
    "verdict": np.uint8,
    "flags": np.uint16,
    "origin": np.uint8,
    "path_length": np.uint16,
    "neighbor_as": np.uint32,
    "origin_as": np.uint32,
    "local_pref": np.uint32,
    "med": np.uint32,
    "weight": np.uint16,
    "next_hop": np.uint16,
    "originator": np.uint32,
    "cluster_length": np.uint16,
    "base": np.uint32,  # the id that a derived one was made from
    "found": np.uint64,  # what was wrong with the block, see wire.found
}


def rank_of(weight: int, local_pref: int, path_length: int, origin: int) -> int:
    """Steps 1 to 4 of the decision as one integer, the lowest wins."""
    upper = (MOST_WEIGHT - weight) << 48 | (0xFFFFFFFF - local_pref) << 16
    return upper | min(path_length, LONGEST_PATH) << 2 | origin


def _store_rare(column: Any, ids: Ids, values: Any) -> None:
    """Into a column that is zero nearly everywhere: where it is, its pages stay untouched."""
    if values.any() or column.take(ids).any():
        column[ids] = values


def _row(blocks: Blocks, at: int, kind: SessionKind) -> Row:
    """The fields of a block that is not plain."""
    return fields_of(decode_attributes(blocks.block(at), kind, mp=bool(blocks.mp[at])))


class AttributeTable:
    """Columns by attribute id; see COLUMNS. `router_id` is our own: routes that we originated come back
    from a reflector with it and are ignored (RFC 4456 s8)."""

    rank: Any
    verdict: Any
    flags: Any
    origin: Any
    path_length: Any
    neighbor_as: Any
    origin_as: Any
    local_pref: Any
    med: Any
    weight: Any
    next_hop: Any
    originator: Any
    cluster_length: Any
    base: Any
    found: Any

    def __init__(self, next_hops: NextHopTable, *, capacity: int = 2_000_000, router_id: int = 0) -> None:
        self.next_hops = next_hops
        self.router_id = router_id
        self.pool = IdPool(capacity)
        for name, kind in COLUMNS.items():
            setattr(self, name, zeros(capacity + 1, kind))
        self.cell = SimpleNamespace(**{name: getattr(self, name).data for name in COLUMNS})  # one value, quickly
        self.rank[0] = NO_RANK
        self.blocks = BlockStore(self.pool, words=capacity * WORDS_PER_BLOCK)
        self.marks: Any = None  # set while a collection runs: whatever is handed out is in use
        self._recent: dict[tuple[SessionKind, bool], dict[bytes, int]] = {}  # blocks of single UPDATEs: routes that
        # come and go do so with the same few attributes
        self._kinds: list[SessionKind] = []
        self._kind_numbers: dict[SessionKind, int] = {}
        self._derived: dict[AttributeChanges, dict[int, int]] = {}
        self._changes: dict[int, AttributeChanges] = {}
        self._decoded: OrderedDict[int, Decoded] = OrderedDict()
        self._as_paths: dict[Any, int] = {}
        self._as_path_of: dict[int, int] = {}
        self._released: list[Callable[[Ids], None]] = []

    def __len__(self) -> int:
        return self.pool.used()

    # -- interning ----------------------------------------------------------------------------------

    def _kind(self, kind: SessionKind) -> int:
        number = self._kind_numbers.get(kind)
        if number is None:
            if len(self._kinds) > MOST_KINDS:
                raise CapacityError(f"{MOST_KINDS} kinds of session are known", mend="restart the bridge")
            number = self._kind_numbers[kind] = len(self._kinds)
            self._kinds.append(kind)
        return number

    def intern_batch(self, blocks: Blocks, kind: SessionKind) -> Ids:
        """Ids of all blocks of a run, fields of the new ones filled in. Raises CapacityError before
        anything is changed. Never pause between the two halves of this."""
        if not len(blocks.start):
            return np.empty(0, np.int64)
        tags = self._kind(kind) << 1 | blocks.mp.astype(np.int64)
        ids, new = self.blocks.intern(blocks, tags)
        if len(new):
            fields = decode_fields(blocks, new, kind)
            odd = np.flatnonzero(fields.odd)
            if len(odd):
                fields.put(odd, [_row(blocks, at, kind) for at in new.take(odd).tolist()])
            self._fill(ids.take(new), fields)
        if self.marks is not None:
            self.keep(ids)
        return ids

    def _fill(self, ids: Ids, fields: Fields) -> None:
        for name in ("path_length", "neighbor_as", "origin_as", "local_pref"):
            getattr(self, name)[ids] = getattr(fields, name)
        verdict: Any = fields.verdict
        if self.router_id:
            self._refuse_ours(fields)
        self.flags[ids] = fields.flags
        for name in ("origin", "med", "originator", "cluster_length", "verdict", "found"):
            _store_rare(getattr(self, name), ids, getattr(fields, name))
        for column in (self.weight, self.base):
            _store_rare(column, ids, NO_VALUES)
        self.next_hop[ids] = self._next_hops(fields)
        rank: Any = np.uint64(MOST_WEIGHT << 48) | (np.uint64(0xFFFFFFFF) - fields.local_pref) << np.uint64(16)
        length = np.minimum(fields.path_length, LONGEST_PATH).astype(np.uint64) << np.uint64(2)
        rank = rank | length | fields.origin.astype(np.uint64)
        self.rank[ids] = np.where(verdict >= Verdict.TREAT_AS_WITHDRAW, np.uint64(NO_RANK), rank)

    def _refuse_ours(self, fields: Fields) -> None:
        """Routes that we originated are treated as withdrawn."""
        ours = np.flatnonzero(fields.originator == self.router_id)
        if len(ours):
            fields.verdict[ours] = np.maximum(fields.verdict.take(ours), Verdict.TREAT_AS_WITHDRAW)
            keys, which = np.unique(fields.found.take(ours), return_inverse=True)
            longer = [OTHER if key == OTHER else key_of((*findings_of(key), OWN_ROUTER_ID)) for key in keys.tolist()]
            fields.found[ours] = np.array(longer, np.uint64).take(which)

    def _next_hops(self, fields: Fields) -> Ids:
        """Ids of next hops, those with a link-local address by both addresses."""
        linked = (fields.link_hi != 0) & (fields.next_hop_family != 0)
        family, hi, lo = fields.next_hop_family, fields.next_hop_hi, fields.next_hop_lo
        if not linked.any():
            return self.next_hops.intern_words(family, hi, lo)
        ids = np.empty(len(linked), np.int64)
        plain, both = np.flatnonzero(~linked), np.flatnonzero(linked)
        if len(plain):
            ids[plain] = self.next_hops.intern_words(family.take(plain), hi.take(plain), lo.take(plain))
        link = fields.link_hi.take(both), fields.link_lo.take(both)
        ids[both] = self.next_hops.intern_pairs(hi.take(both), lo.take(both), *link)
        return ids

    def intern(self, block: bytes, mp: bool, kind: SessionKind) -> int:
        """The id of one block."""
        seen = self._recent.setdefault((kind, mp), {})
        number = seen.get(block, 0)
        if not number:
            number, new = self.blocks.intern_one(block, self._kind(kind) << 1 | mp)
            if new:
                decoded = decode_attributes(block, kind, mp=mp)
                self._fill_one(number, decoded, fields_of(decoded))
            if len(seen) >= RECENT_KEPT:
                seen.clear()
            seen[block] = number
        if self.marks is not None:
            self.marks[number] = True
        return number

    def _fill_one(self, number: int, decoded: Decoded, row: Row) -> None:
        self._remember(number, decoded)
        ours = bool(self.router_id) and row.originator == self.router_id
        verdict = Verdict.TREAT_AS_WITHDRAW if ours else row.verdict
        a = decoded.attributes
        next_hop = 0 if a is None or a.next_hop is None else self.next_hops.intern(a.next_hop, a.link_local)
        rank = rank_of(0, row.local_pref, row.path_length, row.origin)
        cell = self.cell
        cell.verdict[number], cell.flags[number] = verdict, row.flags
        cell.origin[number], cell.path_length[number] = row.origin, row.path_length
        cell.neighbor_as[number], cell.origin_as[number] = row.neighbor_as, row.origin_as
        cell.local_pref[number], cell.med[number] = row.local_pref, row.med
        cell.originator[number], cell.cluster_length[number] = row.originator, row.cluster_length
        cell.weight[number] = cell.base[number] = 0
        cell.next_hop[number] = next_hop
        cell.found[number] = key_of((*decoded.findings, OWN_ROUTER_ID)) if ours else row.found
        cell.rank[number] = NO_RANK if verdict >= Verdict.TREAT_AS_WITHDRAW else rank

    def derive(self, number: int, changes: AttributeChanges) -> int:
        """The id of attributes `number` after `changes` of a policy: itself when nothing is changed."""
        if changes.empty or not number:
            return number
        found = self._derived.get(changes, {}).get(number)
        if found is None:
            found = self._add_derived(number, changes)
        if self.marks is not None:
            self.marks[found] = self.marks[number] = True
        return found

    def derive_many(self, ids: Ids, changes: AttributeChanges) -> Ids:
        """The same for many distinct ids, not 0: columns are copied and nothing is decoded."""
        if changes.empty:
            return ids
        known = self._derived.get(changes, {})
        found = np.fromiter(map(known.get, ids.tolist(), repeat(0)), np.int64, len(ids))
        new = np.flatnonzero(found == 0)
        found[new] = self._copy_derived(ids.take(new), changes)
        if self.marks is not None:
            self.marks[found] = self.marks[ids] = True
        return found

    def _copy_derived(self, ids: Ids, changes: AttributeChanges) -> Ids:
        """Derived ids by columns. The flags for communities stay as they were, or are set: they say that there may be
        some."""
        if self.pool.room() < len(ids):
            raise CapacityError(f"{self.pool.used()} attribute ids are in use", mend="collect unused ones")
        new = self.pool.take(len(ids))
        for name in COLUMNS:
            getattr(self, name)[new] = getattr(self, name).take(ids)
        self.base[new] = ids
        settings = (
            ("local_pref", changes.local_pref, int(FieldFlag.LOCAL_PREF)),
            ("med", changes.med, MED_SET),
            ("weight", None if changes.weight is None else min(max(changes.weight, 0), MOST_WEIGHT), WEIGHT_SET),
        )
        for name, value, flag in settings:
            if value is not None:
                getattr(self, name)[new] = value
                self.flags[new] |= np.uint16(flag)
        for lists, bit in (
            (changes.communities, FieldFlag.COMMUNITIES),
            (changes.extended, FieldFlag.EXTENDED),
            (changes.large, FieldFlag.LARGE),
        ):
            if lists.add or lists.replace:
                self.flags[new] |= np.uint16(bit)
        if changes.prepend is not None:
            self._prepend(new, *changes.prepend)
        if changes.next_hop is not None and len(new):
            self.next_hop[new] = self.next_hops.intern(changes.next_hop)
            self.flags[new] &= np.uint16(0xFFFF ^ FieldFlag.LINK_LOCAL)
        weight = np.where(self.flags.take(new) & WEIGHT_SET, self.weight.take(new), 0).astype(np.uint64)
        rank = (np.uint64(MOST_WEIGHT) - weight) << np.uint64(48)
        rank |= (np.uint64(0xFFFFFFFF) - self.local_pref.take(new)) << np.uint64(16)
        rank |= np.minimum(self.path_length.take(new), LONGEST_PATH).astype(np.uint64) << np.uint64(2)
        rank |= self.origin.take(new).astype(np.uint64)
        self.rank[new] = np.where(self.rank.take(ids) == NO_RANK, np.uint64(NO_RANK), rank)
        self._derived.setdefault(changes, {}).update(zip(ids.tolist(), new.tolist(), strict=True))
        self._changes.update(dict.fromkeys(new.tolist(), changes))
        return new

    def _prepend(self, ids: Ids, asn: int, times: int) -> None:
        """What `wire.segments.prepend` comes to in columns: where no AS outside our confederation stood in the path,
        and only there, its length was 0."""
        if times:
            self.neighbor_as[ids] = asn
            self.origin_as[ids.compress(self.path_length.take(ids) == 0)] = asn
            self.path_length[ids] += np.uint16(times)

    def _add_derived(self, number: int, changes: AttributeChanges) -> int:
        before = self.get(number)
        if before.attributes is None:
            raise ValueError(f"attributes {number} could not be read: there is nothing to change")
        if not self.pool.room():
            raise CapacityError(f"{self.pool.used()} attribute ids are in use", mend="collect unused ones")
        new = self.pool.take_one()
        decoded = Decoded(alter(before.attributes, changes), before.verdict, before.findings)
        self._fill_one(new, decoded, fields_of(decoded))
        weighted = int(self.flags[number]) & WEIGHT_SET
        weight = int(self.weight[number]) if weighted else 0
        if changes.weight is not None:
            weight, weighted = min(max(changes.weight, 0), MOST_WEIGHT), WEIGHT_SET
        self.flags[new] = int(self.flags[new]) | weighted
        self.weight[new], self.base[new] = weight, number
        self.rank[new] = int(self.rank[new]) - (weight << 48) if self.rank[new] != NO_RANK else NO_RANK
        self._derived.setdefault(changes, {})[number] = new
        self._changes[new] = changes
        return new

    # -- reading ------------------------------------------------------------------------------------

    def block(self, number: int) -> bytes:
        """The canonical octets, of a derived id those that came in."""
        return self.blocks.octets(self.received(number))

    def received(self, number: int) -> int:
        """The id of the block as it came in, before any policy."""
        while self.base[number]:
            number = int(self.base[number])
        return number

    def kind(self, number: int) -> SessionKind:
        """The kind of session that the block came in on."""
        return self._kinds[int(self.blocks.tag[self.received(number)]) >> 1]

    def get(self, number: int) -> Decoded:
        """All attributes, after policy for a derived id."""
        decoded = self._decoded.get(number)
        if decoded is not None:
            self._decoded.move_to_end(number)
            return decoded
        base = int(self.base[number])
        if base:
            before = self.get(base)
            assert before.attributes is not None
            decoded = Decoded(alter(before.attributes, self._changes[number]), before.verdict, before.findings)
        else:
            tag = int(self.blocks.tag[number])
            decoded = decode_attributes(self.blocks.octets(number), self._kinds[tag >> 1], mp=bool(tag & 1))
        self._remember(number, decoded)
        return decoded

    def lists(self, ids: Ids) -> AttributeLists:
        """Paths and communities of many ids, for policy; what has to be read one by one is marked odd."""
        words, start, end = self.blocks.gather(ids)
        octets = Octets(words.astype(">u8").view(np.uint8), len(words) * 8 - 32)
        asn4 = np.array([kind.asn4 for kind in self._kinds] or [True])
        found = decode_lists(octets, start, end, asn4.take(self.blocks.tag.take(ids) >> 1))
        found.odd |= (self.verdict.take(ids) > Verdict.ATTRIBUTE_DISCARD) | ~self.blocks.present.take(ids)
        return found

    def _remember(self, number: int, decoded: Decoded) -> None:
        self._decoded[number] = decoded
        if len(self._decoded) > DECODED_KEPT:
            self._decoded.popitem(last=False)

    def changes(self, number: int) -> AttributeChanges | None:
        """What a policy has changed to make this id, None for attributes as received."""
        return self._changes.get(number)

    def findings_by_key(self, ids: Ids) -> Iterator[tuple[tuple[Finding, ...], int]]:
        """Findings of many ids, and how often they come: mostly without a look at any block."""
        keys, times = np.unique(self.found.take(ids), return_counts=True)
        for key, count in zip(keys.tolist(), times.tolist(), strict=True):
            if key != OTHER:
                yield findings_of(key), count
                continue
            numbers, counts = np.unique(ids.compress(self.found.take(ids) == np.uint64(OTHER)), return_counts=True)
            yield from zip(map(self.findings, numbers.tolist()), counts.tolist(), strict=True)

    def findings(self, number: int) -> tuple[Finding, ...]:
        """What was wrong with the block."""
        key = int(self.found[number])
        if key != OTHER:
            return findings_of(key)
        findings = self.get(number).findings
        if self.router_id and self.originator[number] == self.router_id:
            return (*findings, OWN_ROUTER_ID)
        return findings

    def as_path(self, number: int) -> int:
        """A number that is equal for equal AS paths: for multipath."""
        found = self._as_path_of.get(number)
        if found is None:
            attributes = self.get(number).attributes
            path = () if attributes is None else attributes.as_path
            found = self._as_path_of[number] = self._as_paths.setdefault(path, len(self._as_paths))
        return found

    def bandwidth(self, number: int) -> float:
        """Link bandwidth in octets per second, 0 where none is given."""
        attributes = self.get(number).attributes
        return (attributes.link_bandwidth if attributes else None) or 0.0

    # -- release ------------------------------------------------------------------------------------

    def on_release(self, forget: Callable[[Ids], None]) -> None:
        """Call `forget(ids)` whenever ids are about to be given out again."""
        self._released.append(forget)

    def keep(self, ids: Ids) -> None:
        """These are in use: a running collection must not take them."""
        if self.marks is not None:
            self.marks[ids] = True
            self.marks[self.base.take(ids)] = True

    def keep_one(self, number: int) -> None:
        """`keep` for one id."""
        if self.marks is not None:
            self.marks[number] = self.marks[self.base[number]] = True

    def release(self, ids: Ids) -> None:
        """Forget ids that nothing uses."""
        self._recent.clear()
        stored = self.blocks.present.take(ids)
        self.blocks.forget(ids.compress(stored))
        for number in ids.compress(~stored).tolist():
            changes = self._changes.pop(number)
            alike = self._derived[changes]
            del alike[int(self.base[number])]
            if not alike:
                del self._derived[changes]
        for number in ids.tolist():
            self._decoded.pop(number, None)
            self._as_path_of.pop(number, None)
        self.rank[ids], self.base[ids], self.next_hop[ids] = NO_RANK, 0, 0
        if not self._as_path_of:
            self._as_paths.clear()
        for forget in self._released:
            forget(ids)
        self.pool.give(ids)

"""Routes of others: where the kernel, not a BGP route, decides about a packet.

XDP must never take a packet that the kernel would have sent elsewhere: to this machine, over a connected
subnet, along a static or an IGP route. So every foreign prefix stands in the XDP tries as PUNT, and beside a
BGP route for the same prefix the kernel's lower metric wins, here as there. Two things of the kernel's lookup
go beyond longest match over one table:

- table `local` is asked first (ip rule 0), so a local prefix of any length hides everything inside it;
- a route for one TOS or one source prefix wins for some packets only: punt, the kernel can tell.

Pure: `kernel_state` feeds it, `resolve` and the XDP writer read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.lpm import PrefixMap
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN, ForeignRoute, PuntChange, Rule
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["NEVER_FORWARDED", "ForeignTable", "rules_elsewhere"]

U64 = npt.NDArray[np.uint64]
ALWAYS = -1  # lower than any metric
DEFAULT_RULES = frozenset({(0, 255), (32766, 254), (32767, 253)})
FR_ACT_TO_TBL = 1

NEVER_FORWARDED = frozenset(
    Prefix.parse(text)
    for text in (
        "0.0.0.0/8",  # RFC 1122 s3.2.1.3: this host
        "127.0.0.0/8",  # the same: loopback
        "224.0.0.0/4",  # RFC 5771: multicast
        "255.255.255.255/32",  # RFC 919: limited broadcast
        "::/128",  # RFC 4291 s2.5.2: unspecified
        "::1/128",  # RFC 4291 s2.5.3: loopback
        "fe80::/10",  # RFC 4291 s2.5.6: link-local
        "ff00::/8",  # RFC 4291 s2.7: multicast
    )
)


def rules_elsewhere(rules: Iterable[Rule]) -> list[Rule]:
    """The ip rules that lead packets past tables main and local: XDP cannot follow them."""
    return [r for r in rules if r.action != FR_ACT_TO_TBL or (r.priority, r.table) not in DEFAULT_RULES]


class ForeignTable:
    """The foreign routes of tables main and local by prefix, each prefix's in the kernel's own order."""

    def __init__(self) -> None:
        self.main: PrefixMap[tuple[ForeignRoute, ...]] = PrefixMap()
        self.local: PrefixMap[tuple[ForeignRoute, ...]] = PrefixMap()
        self._near: dict[Family, npt.NDArray[np.bool_] | None] = dict.fromkeys(Family)
        self._hiding: dict[Family, list[Prefix]] = {f: [] for f in Family}
        self._hiding_numbers: dict[Family, list[tuple[int, int, int]]] = {f: [] for f in Family}
        for prefix in NEVER_FORWARDED:
            self._hide(prefix)
        self._keys: dict[Family, U64 | None] = dict.fromkeys(Family)

    def __len__(self) -> int:
        return len(self.main) + len(self.local)

    def at(self, prefix: Prefix, table: int) -> tuple[ForeignRoute, ...]:
        """The routes of exactly this prefix in one table, the one that the kernel uses first."""
        return self._of(table).get(prefix) or ()

    def put(self, prefix: Prefix, table: int, routes: tuple[ForeignRoute, ...]) -> PuntChange | None:
        """Set all routes of a prefix in one table. What the XDP overlay has to do, if anything."""
        before = self._rank(prefix)
        if routes:
            self._of(table).set(prefix, tuple(sorted(routes, key=lambda route: route.metric)))
        else:
            self._of(table).remove(prefix)
        after = self._rank(prefix)
        if before == after:
            return None
        if (before is None) != (after is None):
            self._keys[prefix.family] = self._near[prefix.family] = None
        return PuntChange(prefix, after, self._follow_hiding(prefix))

    def punts(self, prefix: Prefix, our_metric: int) -> bool:
        """True when packets to `prefix`, for which we have a route of `our_metric`, are the kernel's: an equal
        or lower foreign metric, or a local prefix around it."""
        rank = self._rank(prefix)
        return (rank is not None and rank <= our_metric) or self.hides(prefix.family, prefix.value, prefix.length)

    def hides(self, family: Family, value: int, length: int) -> bool:
        """True when a local prefix around this one makes its packets the kernel's."""
        for shortest, shift, network in self._hiding_numbers[family]:
            if value >> shift == network and length >= shortest:
                return True
        return False

    def mask(
        self, family: Family, hi: U64, lo: U64, length: npt.NDArray[np.uint8], our_metric: int
    ) -> npt.NDArray[np.bool_]:
        """`punts` for columns of prefixes."""
        out = np.zeros(len(lo), np.bool_)
        word, cut = (lo, 16) if family is Family.IPV4 else (hi, 48)
        near = np.flatnonzero(self._blocks(family).take((word >> np.uint64(cut)).view(np.int64)))
        if len(near):
            out[near] = self._mask(family, hi[near], lo[near], length[near], our_metric)
        return out

    def _mask(
        self, family: Family, hi: U64, lo: U64, length: npt.NDArray[np.uint8], our_metric: int
    ) -> npt.NDArray[np.bool_]:
        out = np.zeros(len(lo), np.bool_)
        keys = self._sorted_keys(family)
        if len(keys):
            asked = _keys(hi, lo, length)
            found = keys.take(np.searchsorted(keys, asked), mode="clip") == asked
            for row in np.flatnonzero(found).tolist():  # few; the key is a hash, so each is looked at
                prefix = Prefix(family, int(hi[row]) << 64 | int(lo[row]), int(length[row]))
                rank = self._rank(prefix)
                out[row] = rank is not None and rank <= our_metric
        for hiding in self._hiding[family]:
            out |= _inside(hiding, hi, lo, length)
        return out

    def prefixes(self) -> Iterator[Prefix]:
        """All prefixes of the overlay: to be in the XDP tries as PUNT where no BGP route wins."""
        yield from NEVER_FORWARDED
        for prefix, _ in self.local:
            if prefix not in NEVER_FORWARDED:
                yield prefix
        for prefix, _ in self.main:
            if prefix not in NEVER_FORWARDED and self.local.get(prefix) is None:
                yield prefix

    def routes(self) -> Iterator[ForeignRoute]:
        """All routes of both tables."""
        for table in (self.local, self.main):
            for _, routes in table:
                yield from routes

    def local_match(self, address: IPAddress) -> ForeignRoute | None:
        """What table local says about an address: own, broadcast, multicast, or nothing."""
        for _, routes in self.local.covering(_host(address)):
            return routes[0]
        return None

    def main_matches(self, address: IPAddress) -> Iterator[tuple[Prefix, tuple[ForeignRoute, ...]]]:
        """The routes of table main that match an address, longest prefix first."""
        return self.main.covering(_host(address))

    def _of(self, table: int) -> PrefixMap[tuple[ForeignRoute, ...]]:
        if table == TABLE_LOCAL:
            return self.local
        assert table == TABLE_MAIN, table
        return self.main

    def _rank(self, prefix: Prefix) -> int | None:
        """The metric that a route of ours has to beat here; None where there is no foreign route."""
        if prefix in NEVER_FORWARDED or self.local.get(prefix) is not None:
            return ALWAYS
        routes = self.main.get(prefix)
        if routes is None:
            return None
        return ALWAYS if any(r.tos or r.source_length for r in routes) else routes[0].metric

    def _follow_hiding(self, prefix: Prefix) -> bool:
        hiding = self._hiding[prefix.family]
        if prefix in NEVER_FORWARDED or prefix.length == prefix.family.bits:
            return False
        wanted = self.local.get(prefix) is not None
        if wanted == (prefix in hiding):
            return False
        if wanted:
            self._hide(prefix)
        else:
            hiding.remove(prefix)
            self._near[prefix.family] = None
            self._hiding_numbers[prefix.family].remove(_numbers(prefix))
        return True

    def _hide(self, prefix: Prefix) -> None:
        self._near[prefix.family] = None
        self._hiding[prefix.family].append(prefix)
        self._hiding_numbers[prefix.family].append(_numbers(prefix))

    def _blocks(self, family: Family) -> npt.NDArray[np.bool_]:
        """By the first 16 bits of an address whether `mask` has to look at prefixes there at all."""
        near = self._near[family]
        if near is None:
            near = self._near[family] = np.zeros(1 << 16, np.bool_)
            shift = family.bits - 16
            for _, values in (*self.main.values(family), *self.local.values(family)):
                near[[value >> shift for value in values]] = True
            for prefix in self._hiding[family]:
                first = prefix.value >> shift
                near[first : first + max(1, 1 << 16 >> prefix.length)] = True
        return near

    def _sorted_keys(self, family: Family) -> U64:
        keys = self._keys[family]
        if keys is None:
            parts = [np.zeros(0, np.uint64)]
            for length, values in (*self.main.values(family), *self.local.values(family)):
                hi = np.array([value >> 64 for value in values], np.uint64)
                lo = np.array([value & 0xFFFFFFFFFFFFFFFF for value in values], np.uint64)
                parts.append(_keys(hi, lo, np.full(len(values), length, np.uint8)))
            keys = self._keys[family] = np.unique(np.concatenate(parts))
        return keys


def _numbers(prefix: Prefix) -> tuple[int, int, int]:
    """(length, how far to shift an address, what it must be then)."""
    shift = prefix.family.bits - prefix.length
    return prefix.length, shift, prefix.value >> shift


def _host(address: IPAddress) -> Prefix:
    family = Family.of(address)
    return Prefix(family, int(address), family.bits)


def _keys(hi: U64, lo: U64, length: npt.NDArray[np.uint8]) -> U64:
    """One u64 per prefix. Two prefixes may share one, so a hit is only a reason to look."""
    mixed: U64 = (hi * np.uint64(0x9E3779B97F4A7C15)) ^ (lo * np.uint64(0xC2B2AE3D27D4EB4F))
    return mixed + length.astype(np.uint64)


def _inside(outer: Prefix, hi: U64, lo: U64, length: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = length >= outer.length
    if outer.family is Family.IPV4:
        cut = 32 - outer.length
        inside &= lo >> np.uint64(cut) == np.uint64(outer.value >> cut)
        return inside
    high, low = outer.value >> 64, outer.value & 0xFFFFFFFFFFFFFFFF
    if outer.length:
        cut = max(64 - outer.length, 0)
        inside &= hi >> np.uint64(cut) == np.uint64(high >> cut)
    if outer.length > 64:
        cut = 128 - outer.length
        inside &= lo >> np.uint64(cut) == np.uint64(low >> cut)
    return inside

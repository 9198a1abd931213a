"""What one RTR cache has told us: kept over connections, dropped when it is too old (RFC 8210 s6).

Payloads are kept as the octets of their PDUs, 11 or 23 each: half a million take some 50 MB, and become columns by
one copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.rpki.vrps import VrpColumns
from bgpbridge.types import Family

__all__ = ["NO_VERSION", "RtrData", "Timers", "columns_of"]

NO_VERSION = -1
_LENGTHS = [("length", "u1"), ("max_length", "u1"), ("zero", "u1")]
_ROW = {
    Family.IPV4: np.dtype([*_LENGTHS, ("lo", ">u4"), ("asn", ">u4")]),
    Family.IPV6: np.dtype([*_LENGTHS, ("hi", ">u8"), ("lo", ">u8"), ("asn", ">u4")]),
}


@dataclass(frozen=True, slots=True)
class Timers:
    """Intervals in seconds; the defaults are RFC 8210 s6's, and good for version 0, which has none of its own."""

    refresh_s: int = 3600
    retry_s: int = 600
    expire_s: int = 7200

    @classmethod
    def bounded(cls, refresh_s: int, retry_s: int, expire_s: int) -> Timers:
        """As the cache wants them, within the bounds of s6, and the last one longer than the others."""
        expire = min(max(expire_s, 600), 172_800)
        refresh = min(max(refresh_s, 1), 86_400, expire - 1)
        return cls(refresh, min(max(retry_s, 1), 7200, expire - 1), expire)


@dataclass(slots=True)
class RtrData:
    """The payloads of one cache. `key` is (version, session id, serial) of what is held, None for nothing; `changes`
    counts how often the payloads became others; `fresh_at` is the (monotonic) time of the last End of Data."""

    rows: dict[Family, set[bytes]] = field(default_factory=lambda: {family: set() for family in Family})
    key: tuple[int, int, int] | None = None
    timers: Timers = Timers()
    fresh_at: float = -math.inf
    changes: int = 0
    wanted: tuple[int | None, int | None, int | None] = (None, None, None)
    """Refresh, retry and expire in seconds that an operator sets, whatever the cache says."""

    def heed(self, given: tuple[int, int, int] | None) -> None:
        """The intervals that a cache gives with its End of Data; None: it gives none."""
        default = Timers()
        given = given or (default.refresh_s, default.retry_s, default.expire_s)
        self.timers = Timers.bounded(*(g if w is None else w for w, g in zip(self.wanted, given, strict=True)))

    def octets(self) -> dict[Family, bytes]:
        """The payloads of now, for `columns_of` in a thread."""
        return {family: b"".join(rows) for family, rows in self.rows.items()}

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def columns(self, family: Family) -> VrpColumns:
        """One family's payloads for a table."""
        return columns_of(family, b"".join(self.rows[family]))

    @property
    def expires_at(self) -> float:
        """When what is held must go; infinity when nothing is held."""
        return math.inf if self.key is None else self.fresh_at + self.timers.expire_s

    def replace(self, rows: dict[Family, set[bytes]]) -> None:
        """All payloads, after a reset."""
        if rows != self.rows:
            self.rows = rows
            self.changes += 1

    def change(self, changes: Iterable[tuple[Family, bytes, bool]]) -> None:
        """Single payloads that come (True) or go."""
        for family, row, announced in changes:
            (self.rows[family].add if announced else self.rows[family].discard)(row)
            self.changes += 1

    def doubt(self) -> None:
        """What is held stays, and is no base for a Serial Query any more: the next query asks for everything."""
        if self.key is not None:
            self.key = (NO_VERSION, 0, 0)

    def flush(self) -> None:
        """Nothing is held any more: the next query asks for everything."""
        self.key = None
        self.replace({family: set() for family in Family})


def columns_of(family: Family, octets: bytes) -> VrpColumns:
    """Payloads as `RtrData.octets` gives them, for a table."""
    rows = np.frombuffer(octets, _ROW[family])
    hi = rows["hi"] if family is Family.IPV6 else np.zeros(len(rows), np.uint64)
    return VrpColumns.make(
        family,
        hi.astype(np.uint64),
        rows["lo"].astype(np.uint64),
        rows["length"],
        rows["max_length"],
        rows["asn"].astype(np.uint32),
    )

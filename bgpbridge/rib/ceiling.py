"""What of a piece still fits under a peer's ceiling (max-prefix), before any of it is taken in.

Asked only when a piece might go beyond (`AdjRibIn.near`), so that a table far from its limit pays one comparison
for each piece. A path that is known and fresh always fits: it may change. Stale ones (RFC 4724) count as new when
they are announced again: what a peer has not sent in this session is not held against it, and what does not fit
stays stale until it is swept.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bgpbridge.rib.adj_rib_in import AdjRibIn
from bgpbridge.rib.prefixes import PrefixTable
from bgpbridge.rib.tables import Ids, Lengths, Words

__all__ = ["fitting", "last_by_first", "last_words"]


class Piece(Protocol):
    """The columns of `intake.Paths`."""

    hi: Words
    lo: Words
    length: Lengths
    path_id: Ids
    attributes: Ids


def fitting(adj: AdjRibIn, prefixes: PrefixTable, piece: Piece, counts: Ids) -> Ids:
    """Positions of a piece, none of a path twice, that may be taken in, in their order. `counts` is not 0 for those
    that count: announced ones, or accepted ones. What does not fit is added to `adj.blocked`."""
    rows = prefixes.find(piece.hi, piece.lo, piece.length)
    fresh = adj.counted_now(rows, piece.path_id if adj.add_path else np.zeros(len(rows), np.int64))
    comes = counts != 0
    room = adj.ceiling - adj.fresh_count(prefixes.count) + int(np.count_nonzero(fresh & ~comes))
    new = np.flatnonzero(comes & ~fresh)
    beyond = new[max(room, 0) :]
    adj.blocked += len(beyond)
    keep = np.ones(len(rows), np.bool_)
    keep[beyond] = False
    return np.flatnonzero(keep)


def last_words(piece: Piece) -> Ids:
    """Positions of the last mention of each path, in order of their first ones: who came first fits first, however a
    stream is cut. By what prefixes say, as unknown ones have no row yet and must get none."""
    columns = (piece.path_id, piece.length, piece.lo, piece.hi)
    order = np.lexsort(columns)
    other = np.zeros(len(order) + 1, np.bool_)  # than the one before
    other[:1] = other[-1:] = True
    for column in columns:
        ordered = column.take(order)
        other[1:-1] |= ordered[1:] != ordered[:-1]
    return last_by_first(order, other)


def last_by_first(order: Ids, other: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ids:
    """Of positions sorted by key, and by mention within one, the last of each key in order of the first ones. `other`
    tells where another key begins, the end included."""
    first, last = order.compress(other[:-1]), order.compress(other[1:])
    return last.take(first.argsort())

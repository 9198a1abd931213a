"""For streams that are told in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpbridge.feed import reader
from bgpbridge.rib import collection, intake, loc_rib


@pytest.fixture(scope="module")
def small_pieces() -> Iterator[None]:
    """Pieces of two rows and a few columns, so that every run has many points and all ways meet."""
    patch = pytest.MonkeyPatch()
    for room, name, value in (
        (loc_rib, "SLICE", 2),
        (loc_rib, "SCAN", 3),
        (loc_rib, "REDECIDED", 2),
        (loc_rib, "MANY_BLOCKS", 1),
        (loc_rib, "ROWS", (1, 2, 3)),
        (loc_rib, "BLOCKS", (1, 2, 3)),
        (intake, "MANY", 4),
        (collection, "SLICE", 2),
        (reader, "BULK_OCTETS", 400),
        (reader, "SHARED_OCTETS", 200),
    ):
        patch.setattr(room, name, value)
    yield
    patch.undo()

"""Sets of AS numbers over columns, by comparisons or by search, say what they say of one number."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.policy.as_paths import AsnSet
from bgpbridge.policy.lists import FEW, contains

TOP = 0xFFFFFFFF
EDGES = [(0, 0), (2, 5), (9, 9), (100, 65535), (TOP - 3, TOP)]


@pytest.mark.parametrize("more", [0, FEW])
def test_contains_at_every_edge(more: int) -> None:
    asns = AsnSet.of([*EDGES, *((200_000 + 10 * n, 200_003 + 10 * n) for n in range(more))])
    near = [edge + by for bounds in asns.ranges for edge in bounds for by in (-1, 0, 1) if 0 <= edge + by <= TOP]
    assert contains(asns, np.array(near, np.uint32)).tolist() == [value in asns for value in near]


def test_contains_of_nothing() -> None:
    assert not contains(AsnSet.of([]), np.arange(3, dtype=np.uint32)).any()
    assert not len(contains(AsnSet.of([(1, 2)]), np.empty(0, np.uint32)))

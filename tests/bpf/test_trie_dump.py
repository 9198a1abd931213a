"""The tries of an earlier run, read before the rest of a bridge is there: the very map or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, pins
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib.trie_dump import TrieDump
from bgpbridge.types import Prefix

pytestmark = pytest.mark.root

SIZES = Sizes(64, 64)


def test_what_is_pinned_is_read_once_and_only_for_this_map(pin_path: Path) -> None:
    maps, _ = Maps.open(pin_path / "bb", SIZES)
    maps.lpm4.update(abi.lpm4_keys(np.array([0x0A000000]), np.array([8])), 16)
    read = TrieDump(pins.layout_folder(pin_path / "bb"))
    other = Maps.create(SIZES)
    assert read.take(other.lpm4) is None
    found = read.take(maps.lpm4)
    assert found is not None
    keys, groups = found
    assert (keys.prefix(0), groups.tolist()) == (Prefix.parse("10.0.0.0/8"), [16])
    assert read.take(maps.lpm4) is None
    empty = read.take(maps.lpm6)
    assert empty is not None
    assert len(empty[0]) == 0
    for one in (maps, other):
        one.close()


def test_where_nothing_is_pinned_nothing_is_read(pin_path: Path) -> None:
    maps = Maps.create(SIZES)
    assert TrieDump(pins.layout_folder(pin_path / "bb")).take(maps.lpm4) is None
    maps.close()

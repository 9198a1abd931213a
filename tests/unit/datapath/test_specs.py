"""Map layouts, the memory they take, and what adoption says about a map that is not ours."""

from __future__ import annotations

import pytest

from bgpbridge.datapath import specs
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import MapInfo
from bgpbridge.errors import CapacityError

LPM4 = next(spec for spec in specs.specs(Sizes(1000, 500)) if spec.name == "lpm4")


def test_a_map_that_is_as_specified_has_no_differences() -> None:
    assert LPM4.differences(MapInfo(11, 1, 8, 4, 1000, 1, "lpm4")) == []


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (MapInfo(1, 1, 8, 4, 1000, 1, "x"), "type 1, expected 11"),
        (MapInfo(11, 1, 20, 4, 1000, 1, "x"), "key size 20, expected 8"),
        (MapInfo(11, 1, 8, 8, 1000, 1, "x"), "value size 8, expected 4"),
        (MapInfo(11, 1, 8, 4, 999, 1, "x"), "entries 999, expected 1000"),
        (MapInfo(11, 1, 8, 4, 1000, 0, "x"), "flags 0, expected 1"),
    ],
)
def test_each_difference_is_told_with_both_values(info: MapInfo, said: str) -> None:
    assert LPM4.differences(info) == [said]


def test_the_flag_that_the_kernel_adds_to_a_devmap_is_no_difference() -> None:
    spec = next(spec for spec in specs.specs(Sizes()) if spec.name == "tx_ports")
    assert spec.differences(MapInfo(25, 1, 4, 4, 256, 1 << 7, "tx_ports")) == []


def test_a_million_routes_are_estimated_at_what_was_measured() -> None:
    tries = Sizes(1_000_000, 220_000, indexed=False)
    mebibytes = specs.memory_estimate(tries) >> 20
    assert 120 < mebibytes < 160


def test_tables_larger_than_memory_are_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "memory_available", lambda: 64 << 20)
    with pytest.raises(CapacityError, match=r"1200000 IPv4 and 400000 IPv6 .* 64 MiB are available") as caught:
        specs.check_memory(Sizes())
    assert "datapath.max_ipv4" in caught.value.mend


def test_pin_names_have_no_dot_and_fit_the_kernel() -> None:
    for spec in specs.specs(Sizes()):
        assert "." not in spec.name
        assert len(spec.name) <= 18

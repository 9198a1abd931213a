"""Where pins may go. Mounting itself is tried in tests/bpf."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.datapath import bpffs, pins
from bgpbridge.datapath.abi import LAYOUT
from bgpbridge.errors import DatapathError


def test_an_ordinary_folder_is_no_bpffs(tmp_path: Path) -> None:
    assert not bpffs.is_bpffs(tmp_path)
    assert not bpffs.is_bpffs(tmp_path / "absent")


def test_nothing_is_mounted_over_files(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(DatapathError, match="is not empty") as caught:
        bpffs.ensure_bpffs(tmp_path)
    assert "mount -t bpf" in caught.value.mend


def test_the_layout_is_part_of_the_path_of_maps_and_not_of_links(tmp_path: Path) -> None:
    assert pins.layout_folder(tmp_path).name == f"v{LAYOUT}"
    assert pins.link_pin(tmp_path, 7) == tmp_path / "links" / "7"


def test_pins_of_other_layouts_are_seen(tmp_path: Path) -> None:
    for name in ("v0", f"v{LAYOUT}", "v12", "links", f"new{LAYOUT}"):
        (tmp_path / name).mkdir()
    assert [path.name for path in pins.other_layouts(tmp_path)] == ["v0", "v12"]
    assert pins.other_layouts(tmp_path / "absent") == []


def test_a_failed_set_of_pins_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="half way"), pins.new_layout_folder(tmp_path):
        raise OSError("half way")
    assert list(tmp_path.iterdir()) == []


def test_a_set_of_pins_gives_way_to_a_new_one(tmp_path: Path) -> None:
    mine = pins.layout_folder(tmp_path)
    with pins.new_layout_folder(tmp_path) as folder:
        (folder / "map").write_text("first")
    with pins.new_layout_folder(tmp_path, replacing=True) as folder:
        (folder / "map").write_text("second")
        assert (mine / "map").read_text() == "first"
    assert (mine / "map").read_text() == "second"
    assert list(tmp_path.iterdir()) == [mine]


def test_the_set_that_a_killed_run_had_put_aside_is_found_again(tmp_path: Path) -> None:
    mine = pins.layout_folder(tmp_path)
    mine.mkdir()
    mine.rename(tmp_path / f"old{LAYOUT}")
    pins.recover(tmp_path)
    assert mine.is_dir()
    pins.recover(tmp_path)  # and nothing happens where there is nothing to do
    assert list(tmp_path.iterdir()) == [mine]

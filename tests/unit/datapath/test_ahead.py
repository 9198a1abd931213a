"""Objects made ahead of time: which one is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgpbridge.datapath import ahead
from bgpbridge.datapath.sources import Sources, bpf_folder
from bgpbridge.errors import DatapathError


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    folder = tmp_path / "bpf"
    folder.mkdir()
    (folder / "bgpbridge.c").write_text("int x;\n")
    return Sources(folder)


@pytest.fixture
def clang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clang that writes its last argument and counts its calls."""
    calls = tmp_path / "calls"
    tool = tmp_path / "bin" / "clang"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho call >> {calls}\nfor last; do :; done\necho object > "$last"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return calls


def test_an_object_is_made_once(sources: Sources, clang: Path, tmp_path: Path) -> None:
    first = ahead.object_file(sources, tmp_path / "cache")
    assert first == ahead.object_file(sources, tmp_path / "cache")
    assert first.name == f"bgpbridge-{sources.source_hash}.o"
    assert clang.read_text() == "call\n"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_other_sources_make_another_object(sources: Sources, clang: Path, tmp_path: Path) -> None:
    first = ahead.object_file(sources, tmp_path / "cache")
    sources.main.write_text("int y;\n")
    assert ahead.object_file(Sources(sources.folder), tmp_path / "cache") != first


def test_an_object_that_others_may_write_is_made_anew(sources: Sources, clang: Path, tmp_path: Path) -> None:
    made = ahead.object_file(sources, tmp_path / "cache")
    made.chmod(0o666)
    ahead.object_file(sources, tmp_path / "cache")
    assert clang.read_text().count("call") == 2
    assert made.stat().st_mode & 0o777 == 0o644


def test_a_shipped_object_needs_no_compiler(sources: Sources, clang: Path, tmp_path: Path) -> None:
    shipped = sources.folder / f"bgpbridge-{sources.source_hash}.o"
    shipped.write_bytes(b"object")
    assert ahead.object_file(sources, tmp_path / "cache") == shipped
    assert not clang.exists()


def test_no_clang_says_what_to_install(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatapathError, match="no clang") as caught:
        ahead.object_file(sources, tmp_path / "cache")
    assert "loader: bcc" in caught.value.mend


def test_a_source_that_does_not_compile_shows_the_first_error(sources: Sources, tmp_path: Path) -> None:
    sources.main.write_text("int main(void) { return no_such_thing; }\n")
    if not Path("/usr/bin/clang").exists():
        pytest.skip("no clang on this machine")
    with pytest.raises(DatapathError, match="no_such_thing"):
        ahead.object_file(sources, tmp_path / "cache")


def test_our_own_sources_are_found() -> None:
    assert (bpf_folder() / "abi.h").is_file()
    assert Sources.ours().main.is_file()

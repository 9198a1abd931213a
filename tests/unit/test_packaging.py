"""An installed bgpbridge needs no checkout: its wheel carries the modules, `bpf/`, the templates, the examples."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CARRIED = {"bpf": "_bpf", "exabgp": "_exabgp", "configs": "_configs"}


def files_below(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".o" and path.name[0] != "."
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is; no network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.o")
    for name in ("bgpbridge", *CARRIED):
        shutil.copytree(ROOT / name, source / name, ignore=ignore, symlinks=True)
    for path in ROOT.glob("[A-Z]*"):
        shutil.copy(path, source)
    shutil.copy(ROOT / "pyproject.toml", source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True, timeout=120)
    return next(folder.glob("bgpbridge-*.whl"))


@pytest.mark.parametrize("folder", CARRIED)
def test_the_wheel_carries_what_is_not_python(wheel: Path, folder: str) -> None:
    inside = f"bgpbridge/{CARRIED[folder]}/"
    carried = {name.removeprefix(inside) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(inside)}
    assert carried == files_below(ROOT / folder)
    assert carried, f"{folder}/ is empty"


def test_the_wheel_carries_the_page(wheel: Path) -> None:
    inside = "bgpbridge/page/"
    carried = {name.removeprefix(inside) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(inside)}
    assert carried == files_below(ROOT / inside)
    assert "index.html" in carried


def test_the_wheel_carries_every_module(wheel: Path) -> None:
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert carried == {f"bgpbridge/{name}" for name in files_below(ROOT / "bgpbridge") if name.endswith(".py")}


def test_an_unpacked_wheel_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    calls = "bpf_sources(), speaker_templates(), example_configs()"
    script = f"from bgpbridge.resources import *; print({calls})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == [str(tmp_path / "bgpbridge" / name) for name in CARRIED.values()]


def test_no_folder_of_the_top_level_shadows_exabgp() -> None:
    assert not (ROOT / "exabgp" / "__init__.py").exists()

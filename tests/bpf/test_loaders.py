"""Both ways into the kernel, and what is said when one of them is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgpbridge.datapath import loader, loader_bcc
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.specs import Sizes
from bgpbridge.errors import DatapathError, VerifierError

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def maps():
    made = Maps.create(Sizes(100, 100))
    yield made
    made.close()


@pytest.fixture
def broken(tmp_path: Path):
    """A copy of the sources with one edit."""

    def edit(file: str, old: str, new: str) -> Sources:
        ours = Sources.ours().folder
        subprocess.run(["cp", "-r", str(ours), str(tmp_path / "bpf")], check=True)
        path = tmp_path / "bpf" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return Sources(tmp_path / "bpf")

    return edit


@pytest.mark.parametrize("choice", [Loader.BCC, Loader.LIBBPF])
def test_a_program_is_loaded_under_its_name(maps: Maps, choice: Loader, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    program = load(maps.fds, choice)
    try:
        assert (program.loader, program.info.name, program.note) == (choice, "bgpbridge", "")
        assert program.info.jited_octets > 0
        assert program.info.verified < 250_000, "of the million that a verifier takes; older ones go through more"
        assert not os.get_inheritable(program.fd)
    finally:
        program.close()


def test_bcc_leaves_nothing_in_this_process(maps: Maps) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    load(maps.fds, Loader.BCC).close()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
    assert not any("LLVM" in line or "libbcc" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert "bcc" not in sys.modules


def test_auto_falls_back_to_libbpf_and_says_why(maps: Maps, tmp_path, monkeypatch) -> None:
    # PYTHONPATH cannot hide bcc from an isolated child, so the child is one that has none
    child = tmp_path / "child.py"
    child.write_text(f"import sys\nprint('No module named bcc', file=sys.stderr)\nsys.exit({loader_bcc.NO_BCC})\n")
    monkeypatch.setattr(loader_bcc, "CHILD", child)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    program = load(maps.fds, Loader.AUTO)
    program.close()
    assert program.loader is Loader.LIBBPF
    assert program.note == "libbpf, because BCC is not installed: No module named bcc"
    with pytest.raises(DatapathError, match="BCC is not installed") as caught:
        load(maps.fds, Loader.BCC)
    assert "python3-bpfcc" in caught.value.mend


def test_a_python_without_bcc_leaves_it_to_the_systems(maps: Maps, tmp_path, monkeypatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {loader_bcc.NO_BCC}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    program = load(maps.fds, Loader.BCC)
    program.close()
    assert program.info.name == "bgpbridge"


def test_neither_loader_tells_about_both(maps: Maps, tmp_path, monkeypatch) -> None:
    child = tmp_path / "child.py"
    child.write_text(f"import sys\nsys.exit({loader_bcc.NO_BCC})\n")
    monkeypatch.setattr(loader_bcc, "CHILD", child)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatapathError, match=r"(?s)bcc: BCC is not installed.*libbpf: no clang"):
        load(maps.fds, Loader.AUTO)


@pytest.mark.parametrize("choice", [Loader.BCC, Loader.LIBBPF])
def test_a_source_that_does_not_compile_is_told_in_the_compilers_words(
    maps, broken, choice, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    sources = broken("bgpbridge.c", "u32 only = 0;", "u32 only = no_such_thing;")
    with pytest.raises(DatapathError, match="could not compile"):
        load(maps.fds, choice, sources)


@pytest.mark.parametrize("choice", [Loader.BCC, Loader.LIBBPF])
def test_the_verifiers_refusal_has_a_short_and_a_long_form(maps, broken, choice, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    sources = broken("parse.h", "if ((void *)(eth + 1) > cursor->end)", "if (0)")
    with pytest.raises(VerifierError) as caught:
        load(maps.fds, choice, sources)
    assert "invalid access to packet" in caught.value.log
    assert len(str(caught.value)) < 1000 < len(caught.value.log)


def test_a_file_that_is_no_object_is_told(maps, tmp_path) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(b"not an ELF file")
    with pytest.raises(DatapathError, match="is not a BPF object"):
        loader.loader_libbpf.load(path, maps.fds)


def test_missing_capabilities_are_named() -> None:
    script = (
        "from bgpbridge.datapath.maps import Maps\nfrom bgpbridge.datapath.specs import Sizes\n"
        "from bgpbridge.datapath.loader import load\nfrom bgpbridge.errors import DatapathError\n"
        "for act in (lambda: Maps.create(Sizes(10, 10)), lambda: load({})):\n"
        "    try:\n        act()\n    except DatapathError as error:\n        print(error)\n"
    )
    drop = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = subprocess.run([*drop, sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "bpf(MAP_CREATE): Operation not permitted: this process lacks CAP_BPF" in done.stdout
    assert "loading BPF needs CAP_BPF and CAP_NET_ADMIN and CAP_PERFMON" in done.stdout


@pytest.mark.parametrize("choice", ["bcc", "libbpf"])
def test_three_capabilities_are_enough(choice: str, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom bgpbridge.datapath.maps import Maps\nfrom bgpbridge.datapath.specs import Sizes\n"
        "from bgpbridge.datapath.loader import Loader, load\n"
        "maps = Maps.create(Sizes(10, 10))\nprint(load(maps.fds, Loader(sys.argv[1])).info.name)\n"
    )
    wanted = "+bpf,+net_admin,+perfmon"
    drop = ["setpriv", "--reuid=65534", "--clear-groups", f"--inh-caps=-all,{wanted}", f"--ambient-caps=-all,{wanted}"]
    tmp_path.chmod(0o777)
    environment = {**os.environ, "XDG_CACHE_HOME": "/tmp/bb-cache-nobody", "HOME": "/nonexistent"}
    done = subprocess.run(
        [*drop, sys.executable, "-c", script, choice], check=False, capture_output=True, text=True, env=environment
    )
    subprocess.run(["rm", "-rf", "/tmp/bb-cache-nobody"], check=True)
    assert (done.stdout, done.stderr) == ("bgpbridge\n", "")

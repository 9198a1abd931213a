"""`bgpbridge lab` as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def topology(tmp_path: Path, lab_name: str) -> Path:
    """Two hosts and a cable: nothing to wait for."""
    path = tmp_path / "two.clab.yml"
    path.write_text(
        f"name: {lab_name}\ntopology:\n  defaults: {{kind: linux}}\n  nodes:\n"
        "    a: {exec: [ip address add 10.0.0.1/24 dev eth1]}\n    b: {exec: [ip address add 10.0.0.2/24 dev eth1]}\n"
        '  links:\n    - endpoints: ["a:eth1", "b:eth1"]\n'
    )
    return path


@pytest.fixture
def lab() -> Run:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "bgpbridge", "lab", *map(str, words)]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_up_list_exec_down(lab: Run, topology: Path, lab_name: str) -> None:
    up = lab("up", topology)
    assert up.returncode == 0, up.stderr
    assert f"lab {lab_name} is up: a, b" in up.stdout
    listed = {item["name"]: item for item in json.loads(lab("list", "--json").stdout)}
    assert listed[lab_name]["up"]
    assert set(listed[lab_name]["nodes"]) == {"a", "b"}
    ping = lab("exec", lab_name, "a", "--", "ping", "-c", "1", "-W", "2", "10.0.0.2")
    assert " 0% packet loss" in ping.stdout
    assert lab("exec", lab_name, "a", "sh", "-c", "exit 7").returncode == 7
    assert lab("down", topology).returncode == 0
    assert lab_name not in lab("list").stdout


def test_refusals_are_sentences_with_exit_codes(lab: Run, topology: Path, lab_name: str) -> None:
    absent = lab("up", topology.parent / "absent.clab.yml")
    assert (absent.returncode, "there is no such file" in absent.stderr) == (2, True)
    nothing = lab("down", lab_name)
    assert (nothing.returncode, f"there is no lab {lab_name}" in nothing.stderr) == (1, True)
    assert lab("exec", lab_name, "a", "ls").returncode == 1
    for said in (absent, nothing):
        assert "Traceback" not in said.stderr
        assert "mend:" in said.stderr


def test_a_lab_is_held_against_its_expect_file(lab: Run, topology: Path) -> None:
    expect = topology.with_name("two.expect.yml")
    expect.write_text("steps:\n  - {say: b answers, node: a, run: ping -c 1 -W 2 10.0.0.2}\n")
    fine = lab("test", topology)
    assert (fine.returncode, "b answers" in fine.stdout) == (0, True)
    expect.write_text("steps:\n  - {say: nobody answers, node: a, run: ping -c 1 -W 1 10.0.0.3}\n")
    wrong = lab("test", topology)
    assert (wrong.returncode, "FAIL nobody answers" in wrong.stdout) == (1, True)
    told = json.loads(lab("test", "--json", topology).stdout)
    assert told["wrong"].startswith("exit code 1, expected 0")

"""docs/operations.md tells the truth: its examples are run, its tables are complete.

BGPBRIDGE_GOLDEN=write puts what is said now into the examples: look at the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bgpbridge.api.routes import ROUTES
from bgpbridge.cli.main import cli
from bgpbridge.cli.text.counters import MEANINGS

ROOT = Path(__file__).parents[3]
MANUAL = ROOT / "docs" / "operations.md"
BLOCK = re.compile(r"(?:<!-- scene: (?P<scene>\w+) -->\n)?```console\n(?P<text>.*?)```\n", re.DOTALL)
BLOCKS = list(BLOCK.finditer(MANUAL.read_text()))


def said_now(bgpbridge, scene, text):
    """The block with the output of its commands as it is now."""
    lines = []
    for command in re.findall(r"^\$ bgpbridge (.*)$", text, re.MULTILINE):
        ran = bgpbridge(*command.split(), scene=scene or "fine")
        lines.append(f"$ bgpbridge {command}\n{ran.out}{ran.err}")
    return "".join(lines)


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda n: BLOCKS[n]["text"].splitlines()[0][2:])
def test_examples(bgpbridge, monkeypatch, number):
    monkeypatch.chdir(ROOT)
    scene, text = BLOCKS[number]["scene"], BLOCKS[number]["text"]
    said = said_now(bgpbridge, scene, text)
    if os.environ.get("BGPBRIDGE_GOLDEN") == "write":
        old = BLOCKS[number][0]
        MANUAL.write_text(MANUAL.read_text().replace(f"\n{old}", f"\n{old.replace(text, said)}", 1))
        return
    assert text == said


def test_every_command_is_in_the_manual():
    text = MANUAL.read_text()
    missing = [name for name in cli.list_commands(None) if not re.search(rf"`?\b(bgpbridge )?{name}\b", text)]
    assert not missing


def test_every_reason_is_in_the_manual_with_its_meaning():
    text = MANUAL.read_text()
    for reason, meaning in MEANINGS.items():
        assert f"| `{reason}` | {meaning} |" in text


def test_every_path_of_the_api_is_in_the_manual():
    text = MANUAL.read_text()
    for route in ROUTES:
        assert f"/{route.path.split('/')[1]}" in text, route.path


def test_the_unit_starts_what_the_manual_says():
    unit = (ROOT / "configs" / "bgpbridge.service").read_text()
    assert "ExecStart=/usr/local/bin/bgpbridge run -c /etc/bgpbridge/bgpbridge.yaml\n" in unit
    assert "Type=notify\n" in unit
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in unit

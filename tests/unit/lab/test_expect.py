"""Expect files: read, refused with the place of a mistake, and one beside every lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.documents import loads
from bgpbridge.errors import DocumentError
from bgpbridge.lab.expect import Expect, expect_file


def test_a_step_does_one_thing_and_says_what() -> None:
    text = """
steps:
  - {say: all is well, node: edge, run: bgpbridge status, within_s: 5, json: {state: up}}
  - cable: {node: edge, interface: eth1, up: false}
  - kill: {node: edge, program: bgpbridge}
  - pause_s: 1
  - {node: a, run: vtysh -c "show version"}
"""
    steps = loads(text, "x.expect.yml", Expect).steps
    assert [step.title for step in steps] == [
        "all is well",
        "cable edge:eth1 out",
        "KILL to bgpbridge on edge",
        "wait 1.0 s",
        'a: vtysh -c "show version"',
    ]
    assert steps[0].json_ == {"state": "up"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{say: nothing}", "this one does nothing"),
        ("{pause_s: 1, kill: {node: a, program: b}}", "kill and pause_s"),
        ("{run: ls}", "`run` and `node` go together"),
        ("{node: a, run: 'ls \"x'}", "no command"),
        ("{node: a, run: ls, says: ['(']}", "no regular expression"),
        ("{kill: {node: a, program: b, signal: FOO}}", "no signal"),
        ("{node: a, run: ls, withn_s: 4}", "did you mean `within_s`"),
    ],
)
def test_a_mistake_is_told_with_its_place(step: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loads(f"steps:\n  - {step}\n", "x.expect.yml", Expect)
    assert "x.expect.yml:2" in str(caught.value)
    assert said in str(caught.value)


def test_the_expect_file_stands_beside_its_topology() -> None:
    assert expect_file(Path("lab/x.clab.yml")) == Path("lab/x.expect.yml")

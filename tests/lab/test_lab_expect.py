"""Every lab shows what its expect file says: real FRR, BIRD and GoBGP, real packets, our daemon between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgpbridge.lab import steps
from bgpbridge.lab.expect import expect_file
from bgpbridge.lab.steps import Outcome

pytestmark = pytest.mark.root

LABS = sorted((Path(__file__).parents[2] / "lab").glob("*.clab.yml"))


def case(topology: Path) -> Any:
    """A lab; one that holds an outage against milliseconds has no company."""
    judges_time = "outage_ms_at_most" in expect_file(topology).read_text()
    marks = [pytest.mark.alone] if judges_time else []
    return pytest.param(topology, id=topology.name.partition(".")[0], marks=marks)


@pytest.mark.parametrize("topology", [case(path) for path in LABS])
def test_the_lab_shows_what_it_must(topology: Path, lab_name: str) -> None:
    heard: list[Outcome] = []
    steps.check(topology, None, lab_name, say=lambda text: None, heard=heard.append)
    story = "\n".join(f"{outcome.step.title}: {outcome.wrong or 'ok'} {outcome.report or ''}" for outcome in heard)
    assert heard, "no step was taken"
    assert not heard[-1].wrong, story

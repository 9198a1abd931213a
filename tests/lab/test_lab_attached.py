"""bgpbridge attached to a topology that somebody else wrote, and that stays as it is."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from bgpbridge.errors import LabError
from bgpbridge.lab import runner, steps
from bgpbridge.lab.state import Lab
from bgpbridge.lab.steps import Outcome

pytestmark = pytest.mark.root

ATTACHED = Path(__file__).parents[2] / "lab/attached/frr01.clab.yml"
HASTE = ("ip ospf network point-to-point", "ip ospf hello-interval 1", "ip ospf dead-interval 4")


def hasten(lab: Lab) -> None:
    """By its files OSPF waits 40 s for other routers before it begins: told at run time not to."""
    for router in ("router1", "router2", "router3"):
        words = [word for link in ("eth1", "eth2") for word in (f"interface {link}", *HASTE)]
        told = runner.exec_in(lab, router, ["vtysh", *(part for word in ("conf t", *words) for part in ("-c", word))])
        assert told.returncode == 0, told.stderr


def routes_of_ours(namespace: str) -> str:
    words = shlex.split(f"ip -n {namespace} route show proto 203")
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_a_public_topology_with_bgpbridge_in_its_routers(shared_data: Path, lab_name: str) -> None:
    heard: list[Outcome] = []
    with runner.running(shared_data / "topologies/clab-frr01/frr01.clab.yml") as public:
        hasten(public)
        steps.check(ATTACHED, None, lab_name, say=lambda text: None, heard=heard.append)
        story = "\n".join(f"{outcome.step.title}: {outcome.wrong or 'ok'}" for outcome in heard)
        assert heard, "no step was taken"
        assert not heard[-1].wrong, story
        assert routes_of_ours(public.namespace("router3")) == "", "who leaves takes its routes along"
        assert runner.exec_in(public, "router3", ["vtysh", "-c", "show version"]).returncode == 0, "its hosts stay"


def test_without_the_lab_to_attach_to_it_is_said_which_is_missing(lab_name: str) -> None:
    with pytest.raises(LabError, match=r"no lab that is up has a container clab-frr01-PC1") as caught:
        runner.up(ATTACHED, lab_name)
    assert "bring that lab up first" in str(caught.value)

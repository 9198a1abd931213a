"""Labs of FRR, BIRD and GoBGP come up, and whatever happens nothing of them stays behind."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces, processes, runner, state

pytestmark = pytest.mark.root

TOPOLOGY = """
name: {name}
topology:
  defaults:
    kind: linux
    sysctls: {{net.ipv4.ip_forward: 1, net.ipv6.conf.default.accept_dad: 0}}
  nodes:
    f: {{env: {{BGPBRIDGE_NODE: frr}}, binds: ["frr.conf:/etc/frr/frr.conf"]}}
    b:
      env: {{BGPBRIDGE_NODE: bird}}
      binds: ["bird.conf:/etc/bird/bird.conf"]
      exec: [ip address add 10.0.0.2/24 dev eth1, ip address add 10.0.1.1/24 dev eth2]
    g:
      env: {{BGPBRIDGE_NODE: gobgp}}
      binds: ["gobgpd.yaml:/etc/gobgp/gobgpd.yaml"]
      exec: [ip address add 10.0.1.2/24 dev eth1]
  links:
    - endpoints: ["f:eth1", "b:eth1"]
    - endpoints: ["b:eth2", "g:eth1"]
"""
FRR = """
hostname f
interface eth1
 ip address 10.0.0.1/24
router bgp 65001
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.0.0.2 remote-as 65002
 neighbor 10.0.0.2 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.0/24
"""
BIRD = """
log stderr all;
router id 10.0.0.2;
protocol device {}
template bgp neighbour { connect delay time 1; ipv4 { import all; export all; }; }
protocol bgp f from neighbour { local 10.0.0.2 as 65002; neighbor 10.0.0.1 as 65001; }
protocol bgp g from neighbour { local 10.0.1.1 as 65002; neighbor 10.0.1.2 as 65003; }
"""
GOBGP = """
global: {config: {as: 65003, router-id: 10.0.1.2}}
neighbors:
  - config: {neighbor-address: 10.0.1.1, peer-as: 65002}
    timers: {config: {connect-retry: 1}}
"""
RUN = """
import sys
from pathlib import Path
from bgpbridge.lab import runner
from bgpbridge.lab.interrupts import interruptible
with interruptible(), runner.running(Path(sys.argv[1]), say=lambda text: print(text, flush=True)):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def topology(tmp_path: Path, lab_name: str) -> Path:
    """A small lab with a name of its own."""
    path = tmp_path / f"{lab_name}.clab.yml"
    path.write_text(TOPOLOGY.format(name=lab_name))
    for file, text in (("frr.conf", FRR), ("bird.conf", BIRD), ("gobgpd.yaml", GOBGP)):
        (tmp_path / file).write_text(text)
    return path


def traces(topology: Path) -> list[str]:
    """Everything on this machine that bears the lab's name: namespaces, mounts, folders, processes."""
    name = topology.name.removesuffix(".clab.yml")
    found = [path.name for path in Path("/run/netns").glob(f"*{name}*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    found += [str(path) for path in state.RUN.glob(f"*{name}*")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if f"{state.RUN}/{name}" in words and processes.started_at(int(entry.name)):
                found.append(words)
    return found


def until(looks_good: object, seconds: float = 20.0) -> bool:
    """Look again until it is so."""
    deadline = time.monotonic() + seconds
    assert callable(looks_good)
    while not (good := looks_good()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(good)


def says(lab: state.Lab, node: str, command: str) -> str:
    return runner.exec_in(lab, node, shlex.split(command)).stdout


def test_a_route_of_frr_goes_through_bird_to_gobgp_and_nothing_stays_behind(topology: Path) -> None:
    with runner.running(topology) as lab:
        assert until(lambda: "198.51.100.0/24" in says(lab, "g", "gobgp global rib"))
        assert "Established" in says(lab, "f", "vtysh -c 'show bgp neighbors 10.0.0.2'")
        assert [item.name for item in runner.labs() if item.alive and item.name == lab.name]
        assert traces(topology)
    assert traces(topology) == []


def test_veth_ends_are_as_xdp_needs_them(topology: Path) -> None:
    with runner.running(topology) as lab:
        features = says(lab, "b", "ethtool -k eth1")
        assert "tx-checksumming: off" in features
        assert "generic-receive-offload: on" in features
        assert "02:bb:00:02:00:01" in says(lab, "b", "ip link show eth1")


def test_a_cable_that_is_pulled_is_down_on_both_ends(topology: Path) -> None:
    with runner.running(topology) as lab:
        f, b = lab.namespace("f"), lab.namespace("b")
        namespaces.set_link(f, "eth1", up=False)
        assert namespaces.link_state(f, "eth1") == "down"
        assert until(lambda: namespaces.link_state(b, "eth1") in ("down", "lowerlayerdown"))
        namespaces.set_link(f, "eth1", up=True)
        assert until(lambda: namespaces.link_state(b, "eth1") == "up")


def test_a_killed_program_is_started_again(topology: Path) -> None:
    with runner.running(topology) as lab:
        runner.kill(lab, "b", "bird")
        assert until(lambda: not [p for p in lab.processes if p.name == "bird" and p.alive])
        with pytest.raises(LabError, match="does not run on node b"):
            runner.kill(lab, "b", "bird")
        runner.restart(lab, "b", "bird")
        assert until(lambda: "Established" in says(lab, "b", "birdc show protocols f"))
    assert traces(topology) == []


def test_a_second_run_of_a_lab_that_is_up_is_refused_and_harms_nothing(topology: Path) -> None:
    with runner.running(topology) as lab:
        with pytest.raises(LabError, match="is up already"):
            runner.up(topology)
        assert all(process.alive for process in lab.processes)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("bird.conf", "protocol bgp {\n", "syntax error"),
        ("frr.conf", "router bgp 65001\n no such thing\n", "Unknown command"),
        ("gobgpd.yaml", "global: {config: {as: many}}\n", "node g"),
    ],
)
def test_a_wrong_router_configuration_is_told_and_nothing_stays_behind(
    topology: Path, file: str, text: str, said: str
) -> None:
    (topology.parent / file).write_text(text)
    with pytest.raises(LabError, match=said):
        runner.up(topology)
    assert traces(topology) == []


def test_a_command_of_the_topology_that_fails_is_told(topology: Path) -> None:
    topology.write_text(topology.read_text().replace("10.0.1.2/24", "10.0.1.2/99"))
    with pytest.raises(LabError, match=r"10\.0\.1\.2/99"):
        runner.up(topology)
    assert traces(topology) == []


@pytest.fixture
def started(start: Callable[..., subprocess.Popen[str]]) -> Callable[[Path], subprocess.Popen[str]]:
    """A runner of its own for a lab."""
    environment = {**os.environ, "PYTHONPATH": str(Path(runner.__file__).parents[2])}
    return lambda topology: start([sys.executable, "-c", RUN, str(topology)], env=environment)


def wait_for(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdout is not None
    assert any(line.startswith(word) for line in child.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("word", ["3 namespaces", "daemons", "up"])
def test_a_runner_that_is_interrupted_takes_its_lab_down(
    topology: Path, started, word: str, number: signal.Signals
) -> None:
    child = started(topology)
    wait_for(child, word)
    child.send_signal(number)
    child.communicate(timeout=30)
    assert traces(topology) == []


@pytest.mark.parametrize("numbers", list(itertools.product([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], repeat=2)))
def test_a_second_signal_does_not_stop_the_clearing(
    topology: Path, started, numbers: tuple[signal.Signals, signal.Signals]
) -> None:
    child = started(topology)
    wait_for(child, "daemons")
    for number in numbers:
        child.send_signal(number)
        time.sleep(0.02)  # two that come at the same moment may be heard as one
    child.communicate(timeout=30)
    assert traces(topology) == []


def test_a_command_that_hangs_does_not_keep_a_runner_from_ending(topology: Path, started) -> None:
    topology.write_text(topology.read_text().replace("exec: [ip address", "exec: [sleep 1000, ip address"))
    child = started(topology)
    wait_for(child, "3 namespaces")
    name = topology.name.removesuffix(".clab.yml")
    assert until(lambda: any("sleep" in processes.words(pid) for pid in processes.in_namespace(f"bb-{name}-b")))
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert traces(topology) == []


def test_what_was_killed_before_its_state_was_written_is_cleared_by_down(topology: Path, lab_name: str) -> None:
    (state.folder(lab_name) / "f").mkdir(parents=True)
    assert [lab.alive for lab in runner.labs() if lab.name == lab_name] == [False]
    runner.down(lab_name)
    assert traces(topology) == []


@pytest.mark.parametrize("word", ["3 namespaces", "daemons", "up"])
def test_what_a_killed_runner_left_is_cleared_by_the_next_run(topology: Path, started, word: str) -> None:
    child = started(topology)
    wait_for(child, word)
    child.kill()
    child.communicate(timeout=30)
    assert traces(topology), "a runner that is killed can't clean up"
    with runner.running(topology) as lab:
        assert until(lambda: "198.51.100.0/24" in says(lab, "g", "gobgp global rib"))
    assert traces(topology) == []


def test_what_a_killed_runner_left_is_listed_and_cleared_by_down(topology: Path, started) -> None:
    child = started(topology)
    wait_for(child, "up")
    child.kill()
    child.communicate(timeout=30)
    name = topology.name.removesuffix(".clab.yml")
    assert [lab.alive for lab in runner.labs() if lab.name == name] == [False]
    runner.down(name)
    assert traces(topology) == []
    with pytest.raises(LabError, match="there is no lab"):
        runner.down(name)

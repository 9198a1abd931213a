"""Plans of daemons: explicit paths for everything, the right daemons, the bridge's own paths."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bgpbridge.errors import LabError
from bgpbridge.lab import daemons
from bgpbridge.lab.daemons import frr_daemons, localised, plan
from bgpbridge.lab.topology import Bind, Daemon, Node

FOLDER = Path("/run/bgpbridge-lab/x/n")


def node(daemon: Daemon, source: Path, target: str) -> Node:
    return Node("n", 1, daemon, binds=(Bind(source, target),))


def test_frr_daemons_follow_the_daemons_file() -> None:
    chosen = "bgpd=yes\nospfd=no\nldpd=yes\nvtysh_enable=yes\n#ripd=yes\n"
    assert frr_daemons("", chosen)[0] == "zebra"
    assert set(frr_daemons("", chosen)) >= {"zebra", "staticd"}
    assert "ospfd" not in frr_daemons("router ospf", chosen)
    assert "ripd" not in frr_daemons("", chosen)


def test_without_a_daemons_file_the_configuration_tells() -> None:
    assert frr_daemons("router bgp 65000\n", None) == ("zebra", "bgpd")
    assert frr_daemons("bfd\n profile fast\nrouter bgp 65000\n", None) == ("zebra", "bfdd", "bgpd")
    assert frr_daemons("router ospf\n", None) == ("zebra", "ospfd")
    assert frr_daemons("router ospf6\n", None) == ("zebra", "ospf6d")
    assert frr_daemons("ip route 0.0.0.0/0 10.0.0.1\n", None) == ("zebra", "staticd")


@pytest.mark.parametrize(
    ("daemon", "target"),
    [
        (Daemon.FRR, "/etc/frr/frr.conf"),
        (Daemon.BIRD, "/etc/bird/bird.conf"),
        (Daemon.GOBGP, "/etc/gobgp/gobgpd.yaml"),
        (Daemon.EXABGP, "/etc/exabgp/exabgp.conf"),
    ],
)
def test_programs_get_their_files_by_explicit_path(tmp_path: Path, daemon: Daemon, target: str) -> None:
    source = tmp_path / Path(target).name
    source.write_text("router bgp 65000\n")
    planned = plan(node(daemon, source, target), FOLDER)
    said = " ".join(word for program in planned.programs for word in program.argv) + str(planned.settle)
    assert str(source) in said
    assert all(program.ready is None or program.ready.parent == FOLDER for program in planned.programs)


@pytest.mark.parametrize(("version", "program"), [("4.2", "/usr/sbin/exabgp"), ("5.0", "server"), ("", "server")])
def test_an_exabgp_of_either_version_feeds_the_bridge_beside_it(tmp_path: Path, version: str, program: str) -> None:
    binds = (Bind(tmp_path / "exabgp.conf", "/etc/exabgp/exabgp.conf"),)
    beside = Node("n", 1, Daemon.EXABGP, binds=binds, env={"BGPBRIDGE_EXABGP": version}, host="edge")
    (started,) = plan(beside, FOLDER).programs
    assert program in started.argv
    assert started.env["BGPBRIDGE_FEED"] == str(FOLDER.parent / "edge" / "feed.sock")


def test_debians_exabgp_does_not_find_the_one_that_we_are_installed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image: PyPI's 5.0 and bgpbridge stand in one site-packages."""
    binds = (Bind(tmp_path / "exabgp.conf", "/etc/exabgp/exabgp.conf"),)
    old = Node("n", 1, Daemon.EXABGP, binds=binds, env={"BGPBRIDGE_EXABGP": "4.2"})
    assert "PYTHONPATH" in plan(old, FOLDER).programs[0].env
    monkeypatch.setitem(daemons.OURS, "PYTHONPATH", "/opt/bgpbridge/lib/python3.11/site-packages")
    assert "PYTHONPATH" not in plan(old, FOLDER).programs[0].env


def test_a_host_runs_nothing() -> None:
    assert plan(Node("n", 1, Daemon.HOST), FOLDER).programs == ()


def test_a_daemon_without_configuration_is_told() -> None:
    with pytest.raises(LabError, match=r"bind a file to /etc/bird/bird\.conf"):
        plan(Node("n", 1, Daemon.BIRD), FOLDER)


def test_the_bridge_gets_its_own_paths_and_keeps_the_rest(tmp_path: Path) -> None:
    source = tmp_path / "bgpbridge.yaml"
    source.write_text(
        "router: {asn: 65000, router_id: 192.0.2.1}\npolicies: [policy.yaml, /etc/else.yaml]\n"
        "datapath: {interfaces: [eth1]}\npeers:\n  - {name: a, password: {file: secret}, med: '65000:10'}\n"
        "rpki: {files: [{name: v, path: vrps.json}]}\n"
    )
    copy = yaml.safe_load(localised(source, FOLDER, FOLDER / "bpf"))
    assert copy["runtime"] == {"directory": str(FOLDER)}
    assert copy["datapath"] == {"interfaces": ["eth1"], "pin_path": str(FOLDER / "bpf/bgpbridge")}
    assert copy["policies"] == [str(tmp_path / "policy.yaml"), "/etc/else.yaml"]
    assert copy["rpki"] == {"files": [{"name": "v", "path": str(tmp_path / "vrps.json")}]}
    assert copy["peers"] == [{"name": "a", "password": {"file": str(tmp_path / "secret")}, "med": "65000:10"}]


def test_the_bridge_s_tool_talks_to_its_own_socket(tmp_path: Path) -> None:
    source = tmp_path / "bgpbridge.yaml"
    source.write_text("router: {asn: 65000, router_id: 192.0.2.1}\n")
    planned = plan(node(Daemon.BGPBRIDGE, source, "/etc/bgpbridge/bgpbridge.yaml"), FOLDER)
    assert planned.tools["bgpbridge"][-2:] == ("-s", str(FOLDER / "control.sock"))
    assert planned.bpffs == FOLDER / "bpf"

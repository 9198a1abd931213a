"""A silent blackhole behind a live link: found by BFD with FRR's bfdd, and by an ICMP check; traffic on the wire moves,
and comes back when recovery has waited. A service that is not well is withdrawn."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.rig import Rig, bridge_config, uplink

pytestmark = [pytest.mark.root, pytest.mark.alone]

SERVICE = "192.0.2.80/32"
HOLE = """
table inet hole {
  chain in { type filter hook prerouting priority -300; iifname "eth1" drop; }
  chain out { type filter hook output priority -300; oifname "eth1" drop; }
}
"""
BFDD = """
bfd
  peer 10.0.1.1 local-address 10.0.1.2 interface eth1
    receive-interval 50
    transmit-interval 50
    detect-multiplier 3
"""


def inside(edge: Any, node: str, *words: str, said: str = "") -> str:
    command = ["nsenter", f"--net=/run/netns/{edge.rig.inside(node)}", "--", *words]
    return subprocess.run(command, input=said, capture_output=True, text=True, check=True, timeout=20).stdout


def hole(edge: Any, *, on: bool) -> None:
    """IP packets by uplink a are lost both ways; ARP and carrier tell nothing of it."""
    inside(edge, "far", "nft", "-f", "-", said=HOLE if on else "delete table inet hole")


@pytest.fixture
def bfdd(checked: Any, tmp_path: Path) -> Iterator[None]:
    """A real bfdd behind uplink a."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)
    conf, zserv = tmp_path / "frr.conf", str(tmp_path / "zserv.api")
    conf.write_text(BFDD)
    for name, more in (("zebra", []), ("bfdd", ["--bfdctl", str(tmp_path / "bfdd.sock")])):
        words = ["-d", "-f", str(conf) if more else os.devnull, "-P", "0", "-z", zserv, *more]
        words += ["-i", str(tmp_path / f"{name}.pid"), "--vty_socket", str(tmp_path)]
        inside(checked, "far", f"/usr/lib/frr/{name}", *words)
    yield
    for name in ("bfdd", "zebra"):
        os.kill(int((tmp_path / f"{name}.pid").read_text()), signal.SIGTERM)


def configuration(folder: Path, **first: Any) -> str:
    """Both uplinks, all checks; `first` are keys of the first peer."""
    ping = {"name": "ping", "kind": "icmp", "interval_ms": 100, "timeout_ms": 100, "hold_down_s": 1}
    alive = {"name": "alive", "kind": "command", "command": ["/usr/bin/test", "-e", str(folder / "well")]}
    alive |= {"interval_ms": 100, "rise": 1, "fall": 1, "hold_down_s": 0}
    hangs = {"name": "hangs", "kind": "command", "command": ["/bin/sleep", "1234"], "timeout_ms": 100}
    whole = yaml.safe_load(bridge_config())
    announce = {"announce": [{"prefix": SERVICE, "next_hop": "10.0.1.1"}]}
    whole["peers"][0] |= announce | first
    services = [{"prefix": SERVICE, "checks": ["alive", "hangs"]}]
    return yaml.safe_dump(whole | {"health": {"checks": [ping, alive, hangs], "services": services}})


@pytest.fixture
def checked(place: Rig, edge_on: Callable[[Rig], Any], feeds: dict[str, Feed]) -> Iterator[Any]:
    """A bridge with BFD on uplink a, and both providers up with their tables; the way by `a` is the better one."""
    edge = edge_on(place)
    edge.folder.mkdir(exist_ok=True)
    edge.folder.chmod(0o755)
    (edge.folder / "well").touch()
    bfd = {"interval_ms": 50, "multiplier": 3, "hold_down_s": 1}
    tables = {letter: feed.octets for letter, feed in feeds.items()}
    with edge.fed(configuration(edge.folder, bfd=bfd), tables, 3000):
        yield edge


def carries(edge: Any) -> set[str]:
    return {
        m["peer"] for group in edge.get("/v1/groups") if group["prefixes"] for m in group["members"] if m["carries"]
    }


def state(edge: Any, check: str) -> str:
    return next((one["state"] for one in edge.get("/v1/health")["checks"] if one["check"] == check), "")


def into_the_hole(edge: Any, feeds: dict[str, Feed]) -> Any:
    """Traffic while the hole opens, and for a little longer than it takes to be found."""
    stream = edge.stream(feeds["a"].alone(20))
    hole(edge, on=True)
    edge.until(lambda: carries(edge) == {"up-b"}, "traffic by b")
    time.sleep(0.2)
    report = stream.stop()
    print(f"\n{report.lost} packets lost, longest gap {report.longest_gap_ms:.0f} ms")
    assert report.last_way == uplink("b").interface
    return report


def test_a_silent_blackhole_is_left_and_come_back_to(checked: Any, feeds: dict[str, Feed], bfdd: None) -> None:
    edge = checked

    def bfd() -> Any:
        return edge.get("/v1/health")["bfd"][0]

    # BFD, with a real bfdd
    edge.until(lambda: bfd()["state"] == "up", "BFD is up")
    assert bfd()["detect_ms"] == 150
    into_the_hole(edge, feeds)
    assert bfd()["verdict"] == "unhealthy"
    edge.until(lambda: edge.events("session-reset"), "the session is ended as well")
    assert "detection time expired" in edge.events("bfd-down")[0]["text"]
    hole(edge, on=False)
    edge.until(lambda: bfd()["verdict"] == "recovering", "BFD is up again, and recovery waits")
    edge.until(lambda: bfd()["verdict"] == "healthy", "hold-down is over")
    edge.until(lambda: carries(edge) == {"up-a"}, "traffic by a again")
    assert "150ms" in edge.cli("health").stdout

    # An ICMP check in its place, by reload
    assert edge.peer("up-a")["established"] == 2
    (edge.folder / "bgpbridge.yaml").write_text(configuration(edge.folder, health=["ping"]))
    edge.client.post("/v1/reload")
    edge.until(lambda: state(edge, "ping") == "healthy", "it answers")
    assert edge.get("/v1/health")["bfd"] == []
    into_the_hole(edge, feeds)
    assert "peer up-a: ping is unhealthy" in edge.status()["unhealthy"]
    assert edge.peer("up-a")["unhealthy"] == "ping of peer up-a is unhealthy"
    hole(edge, on=False)
    edge.until(lambda: state(edge, "ping") == "recovering", "it answers again")
    assert carries(edge) == {"up-b"}
    edge.until(lambda: carries(edge) == {"up-a"}, "traffic by a again")
    assert edge.peer("up-a")["established"] == 2, "the reload and the check touched no session"

    # A service that is not well
    assert "192.0.2.80" in announced(edge)
    (edge.folder / "well").unlink()
    edge.until(lambda: edge.get("/v1/health")["withdrawn"] == [SERVICE], "the service is withdrawn")
    assert "192.0.2.80" not in announced(edge)
    (edge.folder / "well").touch()
    edge.until(lambda: edge.get("/v1/health")["withdrawn"] == [], "and announced again")
    assert "192.0.2.80" in announced(edge)
    assert state(edge, "hangs") == "unknown"
    assert any("killed after 100 ms" in event["text"] for event in edge.events("check-unknown"))
    edge.assert_clean()


def test_the_first_command_check_begins_by_a_reload(place: Rig, edge_on: Callable[[Rig], Any]) -> None:
    edge = edge_on(place)
    edge.start()
    try:
        edge.folder.chmod(0o755)
        (edge.folder / "well").touch()
        before = edge.status()["process"]
        file = edge.folder / "bgpbridge.yaml"
        more = yaml.safe_load(configuration(edge.folder))
        more = yaml.safe_load(file.read_text()) | {key: more[key] for key in ("peers", "health")}
        file.write_text(yaml.safe_dump(more))
        assert edge.client.post("/v1/reload")["restart"] == []
        edge.until(lambda: state(edge, "alive") == "healthy", "the check runs")
        runs = edge.child("bgpbridge.health.command_child")  # beside the bridge
        assert (edge.status()["process"], edge.events("restart-needed")) == (before, [])
        assert not edge.events("check-unknown") or "killed" in edge.events("check-unknown")[0]["text"]
    finally:
        edge.stop()
        edge.assert_no_traceback()
    assert not Path(f"/proc/{runs}").exists()


def announced(edge: Any) -> str:
    return (edge.folder / "speaker" / "exabgp.conf").read_text()

"""A real Prometheus scrapes a bridge with BIRD behind both uplinks; then every query of the dashboards and alerts is
asked through Prometheus's own API: none is wrong, and what such a lab has must be there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from bgpbridge.bench.rig import Rig, bridge_config, uplink
from bgpbridge.lab import namespaces
from tests.unit.view.queries import CONFIGS, DASHBOARDS, expressions, filled, rules

pytestmark = pytest.mark.root

PORT, METRICS = 9090, 9479
ROUTES = 40
PREFIXES = [f"100.64.{number}.0/24" for number in range(ROUTES)]
BIRD = """
router id 10.0.9.9;
protocol device {{ }}
protocol bfd {{ interface "eth1" {{ min rx interval 100 ms; min tx interval 100 ms; }}; }}
protocol static {{ ipv4; {routes} }}
"""
SPEAKS = """
protocol bgp {name} {{
  local {theirs} as {asn}; neighbor {ours} as 64700; {bfd} connect delay time 1; connect retry time 1;
  ipv4 {{ import none; export all; next hop self; }};
}}
"""
POLICY = """
policies:
  validated: {terms: [{term: wrong, match: {rpki: invalid}, then: reject}, {term: rest, then: accept}]}
overrides:
  - {prefix: 100.64.1.0/24, pin: {peer: up-b}, owner: noc, reason: tried}
"""
EMPTY = {
    "overview: annotation Sessions": "nothing comes or goes",
    "peers: annotation Sessions": "as above",
    "datapath: annotation Sessions": "as above",
    "enrichment: annotation Sessions": "as above",
    "control: annotation Sessions": "as above",
    "overview: annotation Starts": "the bridge is not started again",
    "peers: annotation Starts": "as above",
    "datapath: annotation Starts": "as above",
    "enrichment: annotation Starts": "as above",
    "control: annotation Starts": "as above",
    "enrichment: annotation Latency moves": "both ways out are alike",
    "peers: Who sends malformed attributes? A": "BIRD sends none",
    "datapath: What was found changed and put back? A": "nobody touches the planes",
    "datapath: What was found changed and put back? E": "as above",
    "control: What is missing A": "nothing is missing once all is up",
    "control: How often are the planes compared? A": "the first comparison comes after 15 s",
}
"""What has no data in this lab, and why. Alerts have none either: all is well."""


def inside(edge: Any, node: str, *words: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{edge.rig.inside(node)}", "--", *words]


def configuration(folder: Path) -> str:
    (folder / "policy.yml").write_text(POLICY)
    roas = [{"asn": asn, "prefix": "100.64.0.0/16", "maxLength": 24, "ta": "lab"} for asn in (64601, 64602)]
    vrps = {"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": roas}
    (folder / "vrps.json").write_text(json.dumps(vrps))
    whole = yaml.safe_load(bridge_config(policies=[str(folder / "policy.yml")]))
    for peer in whole["peers"]:
        peer |= {"import": "validated", "max_prefix": {"ipv4": {"limit": 1000}}, "health": ["ping"]}
    whole["peers"][0]["bfd"] = {"interval_ms": 100, "multiplier": 3}
    whole["health"] = {"checks": [{"name": "ping", "kind": "icmp", "interval_ms": 200, "timeout_ms": 200}]}
    whole["rpki"] = {"files": [{"name": "validator", "path": str(folder / "vrps.json"), "interval_s": 1}]}
    target = {"address": "100.64.0.1", "name": "web"}
    whole["latency"] = {
        "targets": [target],
        "interval_s": 0.1,
        "timeout_s": 0.1,
        "budget_pps": 100,
        "least_samples": 10,
    }
    whole["http"] = {"port": METRICS}
    return yaml.safe_dump(whole)


@pytest.fixture
def watched(place: Rig, edge_on: Callable[[Rig], Any], tmp_path: Path) -> Iterator[Any]:
    """A bridge with everything on, BIRD behind both uplinks, Prometheus beside it."""
    edge = edge_on(place)
    edge.folder.mkdir(exist_ok=True)
    edge.start(configuration(edge.folder))
    started: list[subprocess.Popen[bytes]] = []

    def run(node: str, name: str, *words: str) -> None:
        with (tmp_path / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(inside(edge, node, *words), stdout=log, stderr=log))

    try:
        (tmp_path / "bird.conf").write_text(bird_configuration())
        control = str(tmp_path / "bird.ctl")
        run("far", "bird", "bird", "-f", "-c", str(tmp_path / "bird.conf"), "-s", control, "-P", str(tmp_path / "pid"))
        edge.settled({"ipv4": ROUTES, "ipv6": 0})
        data, web = f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{PORT}"
        run("edge", "prometheus", "prometheus", f"--config.file={prometheus_file(tmp_path)}", data, web)
        yield edge
    finally:
        for process in reversed(started):
            os.kill(process.pid, signal.SIGTERM)
            process.wait(20)
        edge.stop()
        edge.assert_no_traceback()


def bird_configuration() -> str:
    routes = " ".join(f"route {prefix} blackhole;" for prefix in PREFIXES)
    text = BIRD.format(routes=routes)
    for letter, bfd in (("a", "bfd on;"), ("b", "")):
        up = uplink(letter)
        text += SPEAKS.format(name=f"up_{letter}", theirs=up.theirs, ours=up.ours, asn=up.asn, bfd=bfd)
    return text


def prometheus_file(folder: Path) -> Path:
    """Our own example, in a hurry."""
    whole = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yml").read_text())
    whole["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    whole["rule_files"] = [str(CONFIGS / "prometheus" / "alerts.yml")]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(whole))
    return path


def asked(edge: Any, path: str, **parameters: str) -> Any:
    """What Prometheus answers, or None while nobody listens."""
    url = f"http://127.0.0.1:{PORT}/api/v1/{path}?{urlencode(parameters)}"

    def ask() -> Any:
        try:
            with urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            return json.load(error) if error.code != HTTPStatus.SERVICE_UNAVAILABLE else None  # it is starting
        except URLError:
            return None

    return namespaces.inside(edge.namespace, ask)


def answered(edge: Any, expression: str) -> list[Any]:
    answer = asked(edge, "query", query=filled(expression))
    assert answer["status"] == "success", (expression, answer)
    return [row for row in answer["data"]["result"] if row["value"][1] != "NaN"]


def test_every_query_is_answered_by_a_real_prometheus(watched: Any) -> None:
    edge = watched
    edge.until(lambda: asked(edge, "query", query="up"), "Prometheus listens")
    edge.until(lambda: answered(edge, "bgpbridge_bfd_up == 1"), "BFD is up, and scraped")
    edge.until(lambda: answered(edge, "bgpbridge_exit_rtt_quantile_seconds"), "the exits are measured, and scraped")
    edge.until(lambda: answered(edge, "count(bgpbridge_check_healthy == 1) == 2"), "all checks are well")

    def missing() -> list[str]:
        queries = [one for path in DASHBOARDS for one in expressions(path)]
        return [where for where, expression in queries if not answered(edge, expression) and where not in EMPTY]

    edge.until(lambda: not missing(), "every panel has data", wait_s=15)
    assert not missing()
    for rule in rules():
        assert answered(edge, rule["expr"]) == [], rule["alert"]
    loaded = asked(edge, "rules")["data"]["groups"]
    found = [rule for group in loaded for rule in group["rules"]]
    assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
    assert all(not rule.get("lastError") and rule["health"] in ("ok", "unknown") for rule in found)

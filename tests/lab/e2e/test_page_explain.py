"""What `explain` says of RPKI, latency, health, overrides and policy, on the page in a real Chromium beside a real
bridge: the words of the command line, on a desk and on a phone. Pictures are in build/page."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page

from bgpbridge.bench.feeds import update
from bgpbridge.bench.rig import Rig, bridge_config, rig, uplink
from bgpbridge.types import Family
from tests.lab.e2e.browser import DESK, PHONE, PICTURES, show

pytestmark = pytest.mark.root

SICK_HOP = "10.0.1.9"
SICK = "198.51.101.0/24"
# What is to be seen: the prefix, and words that the command line has for it
CASES = {
    "moved": ("198.51.100.0/24", "forwarded to 10.0.2.2 (from up-b, backup); as latency chose"),
    "valid": ("198.51.100.0/24", "valid: AS 64500 by up-a, covered by 198.51.100.0/22 max 24 AS64500"),
    "invalid": (
        "203.0.112.0/24",
        "invalid: AS 64500 by up-a, covered by 203.0.112.0/24 max 24 AS64498;",
    ),
    "not-found": ("192.88.99.0/24", "not-found: AS 64500 by up-a, no VRP covers it"),
    "sick": (SICK, "dead: unhealthy: alive of next-hop 10.0.1.9 is unhealthy"),
    "pinned": ("203.0.113.0/24", "by alice: up-a loses packets to them, ticket 4711, ends in #h"),
    "fallen": ("203.0.114.0/24", "the override put next hop 10.0.1.77 first"),
    "dropped": ("203.0.115.0/24", "blackhole: dropped"),
    "rejected": ("198.18.0.0/24", "rejected: RPKI invalid ("),
}
REASONS = ("rejected: ", "lost ", "left out", "the override")
POLICY = """
policies:
  from-provider:
    terms:
      - {term: known, match: {prefix: [203.0.112.0/24]}, then: accept}
      - {term: rpki-invalid, match: {rpki: invalid}, then: reject, reason: RPKI invalid}
      - {term: rest, then: accept}
overrides:
  - prefix: 203.0.113.0/24
    pin: {peer: up-b}
    owner: alice
    reason: up-a loses packets to them, ticket 4711
    expires: %s
  - {prefix: 203.0.114.0/24, pin: {next_hop: 10.0.1.77}, owner: noc, reason: by the scrubber}
  - {prefix: 203.0.115.0/24, blackhole: true, owner: bob, reason: attack on a server}
"""
ROAS = (("198.51.100.0/22", 64500), ("203.0.112.0/24", 64499), ("203.0.112.0/24", 64498), ("198.18.0.0/15", 0))


def configuration(folder: Path) -> str:
    """All that explain tells of: policy and overrides, VRPs, latency that acts, a check of one next hop."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=5)
    (folder / "policy.yaml").write_text(POLICY % ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    listed = [{"asn": asn, "prefix": prefix, "maxLength": 24, "ta": "lab"} for prefix, asn in ROAS]
    (folder / "vrps.json").write_text(json.dumps({"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": listed}))
    alive = {"name": "alive", "kind": "command", "command": ["/bin/false"], "interval_ms": 200, "fall": 1}
    latency = {"mode": "act", "interval_s": 0.1, "timeout_s": 0.5, "budget_pps": 100, "hold_s": 1}
    whole = yaml.safe_load(bridge_config())
    whole["peer_defaults"]["import"] = "from-provider"
    return yaml.safe_dump(
        whole
        | {
            "policies": [str(folder / "policy.yaml")],
            "rpki": {"files": [{"name": "validator", "path": str(folder / "vrps.json")}]},
            "health": {"checks": [alive], "next_hops": [{"address": SICK_HOP, "checks": ["alive"]}]},
            "latency": latency | {"targets": [{"address": "192.0.2.53"}]},
            "http": {},
        }
    )


def announced(letter: str, prefix: str, next_hop: str = "") -> bytes:
    """An UPDATE of one prefix; the way by `b` is one AS longer."""
    network = ipaddress.ip_network(prefix)
    origin = uplink(letter).origin("ab".index(letter))
    if next_hop:
        origin = type(origin)(origin.asn, ipaddress.ip_address(next_hop), origin.longer)
    nlri = bytes([network.prefixlen]) + network.network_address.packed[: network.prefixlen + 7 >> 3]
    return update(Family.IPV4, nlri, origin, (64500,))


@pytest.fixture(scope="module")
def place() -> Iterator[Rig]:
    """With a wire in the cable of uplink a."""
    with rig(wired=True) as made_rig:
        yield made_rig


@pytest.fixture(scope="module")
def edge(place: Rig, edge_on: Callable[[Rig], Any], tmp_path_factory: Any) -> Iterator[Any]:
    """Uplink a has become slow, and one of its next hops sick."""
    folder = tmp_path_factory.mktemp("explain")
    far = ["nsenter", f"--net=/run/netns/{place.inside('far')}", "--", "ip", "address", "add", f"{SICK_HOP}/24"]
    subprocess.run([*far, "dev", "eth1"], check=True)
    prefixes = {prefix for prefix, _ in CASES.values()} - {SICK}
    tables = {letter: b"".join(announced(letter, prefix) for prefix in prefixes) for letter in "ab"}
    tables["a"] += announced("a", SICK, SICK_HOP)
    tables["b"] += announced("b", SICK)
    made = edge_on(place)
    with made.fed(configuration(folder), tables, 7):
        place.shape(delay_ms=60)
        made.until(lambda: "unhealthy" in said(made, SICK), "the next hop is held down")
        made.until(lambda: "latency" in said(made, "192.88.99.0/24"), "traffic has moved")
        yield made


def said(edge: Any, target: str) -> str:
    return str(edge.cli("explain", target).stdout)


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_what_the_command_line_says(page: Page, edge: Any, name: str) -> None:
    target, words = CASES[name]
    told = said(edge, target)
    assert words in still(told)
    show(page, f"explain/{target}")
    seen = squeezed(page.locator("main").inner_text())
    for line in reasons(told):
        assert squeezed(line) in seen, line
    PICTURES.mkdir(parents=True, exist_ok=True)
    for size_name, size in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than {size_name}"
        page.emulate_media(color_scheme="light" if size is DESK else "dark")
        page.screenshot(path=PICTURES / f"explain-{name}-{size_name}.png", full_page=True, animations="disabled")


def reasons(told: str) -> Iterator[str]:
    """The lines of `explain` that give reasons; of a member what it does, whose peer and next hop are cells."""
    lines = [line for line in told.splitlines() if line]
    yield lines[0].partition(": ")[2]
    label = ""
    for line in lines[1:]:
        label, text = line[:12].split(" ")[0] or label, line[13:].strip()
        if label in {"override", "policy", "RPKI"} or text.startswith(REASONS):
            yield text
        elif label == "group" and " by " in text:
            yield text.removeprefix("latency: ").rpartition(", weight 1: ")[2]


def still(text: str) -> str:
    """Without the figures that another moment changes."""
    return re.sub(r"\d+(\.\d+)?(?= ms| answers| s old|%,)|(?<=ends in )\d+(?=h)|(?<=h)\d+m", "#", text)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", still(text))

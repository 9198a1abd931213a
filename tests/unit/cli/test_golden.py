"""What each command prints, compared whole with tests/golden/cli."""

from __future__ import annotations

import json

import pytest

FINE = [
    "status",
    "peers",
    "peers isp-a",
    "routes --limit 6",
    "route 100.74.16.7",
    "explain 100.74.16.7",
    "explain 192.0.2.1",
    "packet --in eth1 --to 100.74.16.7",
    "counters --prefixes",
    "fib 2001:db8:1000::1",
    "groups",
    "adjacencies",
    "rpki",
    "rpki 192.0.2.0/24 65001",
    "health",
    "paths",
    "paths --would",
    "counters",
    "counters --all",
    "events --limit 12",
    "audit",
    "reload",
    "plan",
    "off",
    "on",
    "datapath upgrade",
]
TROUBLE = [
    "status",
    "peers",
    "peers isp-a",
    "peers isp-b",
    "routes --rejected",
    "explain 100.64.0.1",
    "explain 10.1.2.3",
    "packet --in eth2 --to 10.1.2.3",
    "fib 100.64.0.1",
    "groups",
    "adjacencies",
    "rpki",
    "health",
    "counters",
    "events",
    "audit",
    "reload",
    "plan",
    "datapath upgrade",
]
CODES = {("trouble", "audit"): 1, ("trouble", "plan"): 4, ("trouble", "datapath upgrade"): 1}


@pytest.mark.parametrize(
    ("scene", "line"), [*(("fine", line) for line in FINE), *(("trouble", line) for line in TROUBLE)]
)
def test_text(bgpbridge, golden, scene, line):
    ran = bgpbridge(*line.split(), scene=scene)
    assert ran.code == CODES.get((scene, line), 0), ran.err
    name = line.replace(" ", "_").replace("--", "").replace(":", "-").replace("/", "-")
    golden(f"{scene}-{name}", f"$ bgpbridge {line}\n{ran.out}{ran.err}")


@pytest.mark.parametrize("line", [line for line in FINE if "--all" not in line])
def test_json_is_the_answer_of_the_api(bgpbridge, server, line):
    ran = bgpbridge(*line.split(), "--json")
    name = server.asked[-1].split()[1].split("?")[0].removeprefix("/v1/").replace("/", "_").replace(":", "-")
    assert json.loads(ran.out) == json.loads((_api() / f"{name}.json").read_text())


def _api():
    from pathlib import Path

    return Path(__file__).parents[2] / "golden" / "api" / "fine"


def test_json_may_stand_in_front(bgpbridge):
    assert bgpbridge("--json", "status").out == bgpbridge("status", "--json").out


def test_help_lists_all_commands_without_importing_the_heavy_ones(bgpbridge, golden):
    golden("help", bgpbridge("--help").out)


@pytest.mark.parametrize(
    "command",
    [
        "routes",
        "replay",
        "record",
        "pipe",
        "clear",
        "check",
        "run",
        "doctor",
        "completion",
        "schema",
        "events",
        "plan",
        "top",
        "override",
        "override add",
        "override list",
        "override remove",
        "datapath",
        "datapath upgrade",
        "paths",
        "health",
        "rpki",
        "packet",
        "trace",
        "counters",
    ],
)
def test_help_of_a_command(bgpbridge, golden, command):
    golden(f"help-{command.replace(' ', '-')}", bgpbridge(*command.split(), "--help").out)


def test_every_command_stands_in_one_section_of_the_help():
    import click

    from bgpbridge.cli.main import SECTIONS, cli

    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(cli.list_commands(click.Context(cli)))

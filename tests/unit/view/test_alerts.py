"""Alerts by Prometheus's own tool: well formed, and each fires when it should and not before."""

from __future__ import annotations

import re
import subprocess

import click
import pytest
import yaml

from bgpbridge.cli.main import cli
from tests.unit.view.queries import ALERTS, rules

FOLDER = ALERTS.parent


@pytest.mark.parametrize(
    "words",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_agrees(words):
    done = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried():
    tried = {test["name"] for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]}
    assert {f"Bgpbridge{name}" for name in tried} == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_type(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert "$labels.instance" in notes["summary"]
    typed = re.findall(r"`(?:bgpbridge ([a-z]+)|systemctl|journalctl|curl)[^`]*`", notes["description"])
    assert typed, "no command"
    assert set(filter(None, typed)) <= set(cli.list_commands(click.Context(cli)))

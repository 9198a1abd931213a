"""What the dashboards and alerts ask Prometheus, read from their files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parents[3] / "configs"
OPERATIONS = CONFIGS.parent / "docs" / "operations.md"
DASHBOARDS = sorted((CONFIGS / "grafana").glob("*.json"))
ALERTS = CONFIGS / "prometheus" / "alerts.yml"
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$peer": ".*"}
"""What Grafana puts in for its variables."""


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def expressions(path: Path) -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every target and annotation of a dashboard, variables as they stand."""
    dashboard = json.loads(path.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"{path.stem}: {panel['title']} {target['refId']}", target["expr"]
    for note in dashboard["annotations"]["list"]:
        yield f"{path.stem}: annotation {note['name']}", note["expr"]


def rules() -> list[dict[str, Any]]:
    """All alerting rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def filled(expression: str) -> str:
    """PromQL as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def manual() -> dict[str, set[str]]:
    """Metrics of the manual's table and their labels."""
    rows = re.findall(r"^\| `(bgpbridge_\w+)` \|([^|]*)\|", OPERATIONS.read_text(), re.MULTILINE)
    return {name: {label.strip() for label in labels.split(",") if label.strip()} for name, labels in rows}

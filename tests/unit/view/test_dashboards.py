"""The dashboards can be imported, and ask for nothing that the bridge does not tell."""

from __future__ import annotations

import json
import re

import pytest

from bgpbridge.metrics import BridgeCollector
from tests.unit.view.queries import DASHBOARDS, expressions, manual, panels, rules

OF_PROMETHEUS = {"instance", "job"}
SELECTOR = re.compile(r"(bgpbridge_\w+)\s*(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
ALL = [asked for path in DASHBOARDS for asked in expressions(path)] + [(r["alert"], r["expr"]) for r in rules()]


def base(name: str) -> tuple[str, set[str]]:
    """A histogram's series have names of their own."""
    return (name.removesuffix("_bucket"), {"le"}) if name.endswith("_bucket") else (name, set())


@pytest.mark.parametrize(("where", "expression"), ALL, ids=[where for where, _ in ALL])
def test_what_is_asked_exists(where, expression):
    known = manual()
    everything: set[str] = set(OF_PROMETHEUS)
    for name, selected in SELECTOR.findall(expression):
        metric, more = base(name)
        assert metric in known, f"there is no metric {metric}"
        labels = known[metric] | more | OF_PROMETHEUS
        everything |= labels
        assert set(MATCHER.findall(selected)) <= labels, f"{metric} has only {sorted(labels)}"
    for group in GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= everything


def test_the_manual_has_the_labels_of_the_exporter(rig):
    rig.session("isp-a")
    known = manual()
    for family in BridgeCollector(rig.bridge).collect():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels <= known[name], name
        assert not family.samples or labels == known[name], name


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_can_import_it(path):
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == f"bgpbridge-{path.stem}"
    assert dashboard["schemaVersion"] >= 38  # Grafana 10.0
    assert {"datasource", "instance"} <= {variable["name"] for variable in dashboard["templating"]["list"]}
    ids = [panel["id"] for panel in panels(path)]
    assert len(set(ids)) == len(ids)
    for panel in panels(path):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["expr"]
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            assert '=~"$instance"' in target["expr"]
            named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            told = [labels for name, labels in manual().items() if name in target["expr"]]
            assert named <= OF_PROMETHEUS.union(*told), panel["title"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_panel_covers_another(path):
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells

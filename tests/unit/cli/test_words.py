"""Figures and columns, and that the recorded answers are still what the daemon would say."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path

import click
import pytest

from bgpbridge.cli.text.counters import MEANINGS, rates_text
from bgpbridge.cli.text.words import columns, counted, duration, octets
from bgpbridge.datapath.abi import Reason
from bgpbridge.events import Event
from bgpbridge.pipeline.plan_report import Plan
from bgpbridge.pipeline.reload import ReloadReport
from bgpbridge.pipeline.upgrade import UpgradeReport
from bgpbridge.view.audit import AuditView
from bgpbridge.view.counters import CounterView
from bgpbridge.view.explain import ExplainView
from bgpbridge.view.fib import FibView
from bgpbridge.view.groups import AdjacencyView, GroupView
from bgpbridge.view.health import HealthView
from bgpbridge.view.packet import PacketView
from bgpbridge.view.paths import PathsView, WouldView
from bgpbridge.view.peers import PeerView
from bgpbridge.view.routes import RouteView
from bgpbridge.view.rpki import RpkiView, ValidityView
from bgpbridge.view.status import StatusView
from bgpbridge.view.trace import TalkersView, TracedView, TraceEndView

API = Path(__file__).parents[2] / "golden" / "api"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.0314, "31ms"),
        (4.24, "4.2s"),
        (59.9, "59s"),
        (192, "3m12s"),
        (14_820, "4h07m"),
        (273_600, "3d04h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (174_355_264, "166.3 MiB")]
)
def test_octets(count, text):
    assert octets(count) == text


def test_columns_leave_empty_ones_out_and_no_blanks_behind():
    assert columns(("a", "b", "n"), [("x", "", "1"), ("yyy", "", "22")], right=("n",))[1:] == ["x     1", "yyy  22"]
    assert counted(1, "adjacency", "adjacencies") == "1 adjacency"


def test_rates_are_per_second():
    counter = {"reason": "forwarded", "verdict": "redirect", "packets": 1000, "octets": 500_000}
    later = {**counter, "packets": 3000, "octets": 1_500_000}
    line = click.unstyle(rates_text([counter], [later], 2.0)[1])
    assert line.split()[:4] == ["forwarded", "redirect", "1,000.0", "4.000"]
    assert rates_text([counter], [counter], 2.0) == ["no packet"]


def test_every_reason_has_a_meaning():
    assert set(MEANINGS) == {reason.label for reason in Reason}


VIEWS = {
    "status": StatusView,
    "peers": list[PeerView],
    "peers_isp-a": PeerView,
    "peers_isp-b": PeerView,
    "routes": list[RouteView],
    "groups": list[GroupView],
    "adjacencies": list[AdjacencyView],
    "health": HealthView,
    "counters": list[CounterView],
    "paths": PathsView,
    "paths_would": list[WouldView],
    "events": list[Event],
    "audit": AuditView,
    "reload": ReloadReport,
    "plan": Plan,
    "datapath_upgrade": UpgradeReport,
    "rpki": RpkiView,
    "packet": PacketView,
    "packet_frames": list[PacketView],
    "counters_prefixes": TalkersView,
}
BY_START = {"rpki_": ValidityView, "route_": list[RouteView], "explain_": ExplainView, "fib_": FibView}


@pytest.mark.parametrize("file", sorted(API.rglob("*.json")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_recorded_answers_have_the_fields_of_the_views(file):
    if file.stem == "trace":
        *told, end = json.loads(file.read_text())
        fits(told, list[TracedView], "trace")
        fits(end, TraceEndView, "trace's end")
        return
    kind = VIEWS.get(file.stem) or next((k for start, k in BY_START.items() if file.stem.startswith(start)), None)
    if kind is None:
        assert file.stem in ("on", "off")
        return
    fits(json.loads(file.read_text()), kind, file.stem)


def fits(value, kind, where):
    """The JSON value has exactly the fields of the type, down to the leaves."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            fits(value, next(one for one in inner if one is not type(None)), where)
    elif origin in (list, tuple):
        for item in value:
            fits(item, inner[0], f"{where}[]")
    elif origin is not None and len(inner) == 2:
        for item in value.values():
            fits(item, inner[1], f"{where}{{}}")
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        assert set(value) == set(hints), where
        for name, hint in hints.items():
            fits(value[name], hint, f"{where}.{name}")
    elif hasattr(kind, "_fields"):
        assert set(value) == set(kind._fields), where

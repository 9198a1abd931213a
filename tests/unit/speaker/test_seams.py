"""The seams in ExaBGP: this test fails, and says which, when an ExaBGP comes that the tap doesn't fit."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from bgpbridge.speaker import seams

EXPLAIN = """
The installed ExaBGP differs from the 5.0.x that bgpbridge's tap is sewn into (bgpbridge/speaker/seams.py):

  {}

Read the new source at these places, adapt the classes of bgpbridge/speaker that override them, and then the
table SEAMS. Until then pin the old version: pip install 'exabgp==5.0.*'.
"""


def test_exabgp_has_the_seams_that_we_use() -> None:
    found = seams.changes()
    assert not found, EXPLAIN.format("\n  ".join(found))


def test_a_seam_that_moved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from exabgp.reactor.loop import Reactor

    monkeypatch.delattr(Reactor, "_wait_for_io")
    monkeypatch.setattr(Reactor, "reload", lambda self, path: None)
    found = seams.changes()
    assert "exabgp.reactor.loop.Reactor._wait_for_io is gone" in found
    assert any("Reactor.reload takes ('self', 'path')" in line for line in found)


def test_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exabgp.version.version", "6.0.1")
    assert seams.changes()[0] == "ExaBGP is 6.0.1, the tap knows 5.0.x"


@pytest.mark.parametrize(
    ("module", "ours", "base", "overridden"),
    [
        ("peer", "TapPeer", "Peer", {"_main", "_close", "socket", "remove", "shutdown", "reestablish"}),
        ("protocol", "TapProtocol", "Protocol", {"connect", "read_message", "validate_open"}),
        ("roles", "TapCapabilities", "Capabilities", {"new"}),
        ("processes", "TapProcesses", "Processes", {"start", "terminate", "received"}),
        ("reactor", "TapReactor", "Reactor", {"run", "reload", "_wait_for_io", "_listen_for_neighbors"}),
        ("listener", "TapListener", "Listener", {"incoming", "stop"}),
        ("connection", "TapOutgoing", "Outgoing", {"establish"}),
        ("configuration", "TapConfiguration", "Configuration", {"_reload"}),
    ],
)
def test_every_override_is_in_the_table(module: str, ours: str, base: str, overridden: set[str]) -> None:
    """A method of ours that shadows one of ExaBGP's, by intent or by accident, must be a known seam."""
    cls = getattr(importlib.import_module(f"bgpbridge.speaker.{module}"), ours)
    shadowed = {
        name
        for name in vars(cls)
        if any(name in vars(parent) for parent in cls.__mro__[1:] if parent.__module__.startswith("exabgp"))
    }
    shadowed -= {"__doc__", "__module__", "__init__", "__firstlineno__", "__static_attributes__", "__annotations__"}
    known = {path.rpartition(".")[2] for _, path, _ in seams.SEAMS if path.startswith(f"{base}.")}
    assert overridden <= shadowed
    assert shadowed <= known, f"{ours} shadows {shadowed - known} of ExaBGP"


def test_exabgp_calls_a_keepalive_that_could_not_be_sent_by_that_word() -> None:
    """It has the code of the hold timer; the word is how `TapPeer` tells them apart."""
    from exabgp.bgp.message import Notify
    from exabgp.reactor import keepalive

    raised = re.findall(r"raise Notify\(4, 0, '([^']*)'\)", inspect.getsource(keepalive))
    assert raised
    assert all(b"keepalive" in bytes(Notify(4, 0, text).data) for text in raised)
    assert b"keepalive" not in bytes(Notify(4, 0).data)

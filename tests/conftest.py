"""Shared by all tests: where the real inputs are, and what a test that needs root asks for."""

from __future__ import annotations

import ipaddress
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bgpbridge.types import Family, Session

ROOT = Path(__file__).parent.parent
# No test asserts a time: on a busy machine hypothesis would.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", parent=settings.get_profile("house"), max_examples=5000)  # --hypothesis-profile=deep
settings.load_profile("house")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs beside the checkout (its MANIFEST.md says what is in it)."""
    folder = Path(os.environ.get("BGPBRIDGE_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set BGPBRIDGE_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def make_session() -> Callable[..., Session]:
    """A session of AS 64999 with both families and extended messages (iBGP); any field can be given."""

    def make(**changes: object) -> Session:
        fields: dict[str, object] = {
            "peer": 0,
            "local_as": 64999,
            "peer_as": 64999,
            "local_address": ipaddress.ip_address("192.0.2.1"),
            "peer_address": ipaddress.ip_address("192.0.2.2"),
            "router_id": ipaddress.IPv4Address("192.0.2.2"),
            "families": frozenset(Family),
            "extended_message": True,
        }
        return Session(**(fields | changes))

    return make


def pytest_configure() -> None:
    """Who runs the tests in the background has Ctrl-C and its like ignored for them, and for every process that they
    start. Labs and daemons are interrupted here as a person would do it."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: network namespaces and BPF"))

"""A real Chromium beside a real bridge: what all tests of the page share. The bridge is the `edge` of their module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

PICTURES = Path(__file__).parents[3] / "build" / "page"
URL = "http://127.0.0.1:9479/"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium(edge: Any, tmp_path_factory: Any) -> Iterator[Browser]:
    """Debian's, in the network of the edge."""
    inside = tmp_path_factory.mktemp("chromium") / "chromium"
    inside.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{edge.namespace} -- /usr/bin/chromium "$@"\n')
    inside.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=inside, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab in which nothing may go wrong: no error, no violation of the policy for content."""
    with chromium.new_context(viewport=DESK, color_scheme="light") as context:
        context.set_default_timeout(8000)
        tab, wrong = context.new_page(), []
        tab.on("pageerror", lambda error: wrong.append(f"{error}"))
        tab.on("console", lambda line: wrong.append(line.text) if is_wrong(line) else None)
        yield tab
        assert not wrong


def is_wrong(line: ConsoleMessage) -> bool:
    """Anything but a refusal of the bridge, which the page shows."""
    return line.type in {"error", "warning"} and not line.text.startswith("Failed to load resource")


def show(page: Page, view: str) -> None:
    """A view by its address, with the answer of the bridge in it."""
    page.goto(f"{URL}#/{view}")
    expect(page.locator(".view")).not_to_have_attribute("aria-busy", "true")

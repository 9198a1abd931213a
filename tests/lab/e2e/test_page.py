"""The page in a real Chromium beside a real bridge: what an operator sees, on a desk and on a phone, and that a peer's
words stay words. Pictures of all views are in build/page."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from bgpbridge.bench.feeds import Feed, update
from bgpbridge.bench.rig import Rig, bridge_config, uplink
from bgpbridge.types import Family
from bgpbridge.wire.message import build_notification

pytestmark = pytest.mark.root

PICTURES = Path(__file__).parents[3] / "build" / "page"
URL = "http://127.0.0.1:9479/"
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
REFUSED = "198.18.0.0/24"
POLICY = """
policies:
  from-provider:
    terms:
      - term: benchmarks
        match: {prefix: [198.18.0.0/15 or-longer]}
        then: reject
        reason: benchmarking range
      - term: rest
        then: accept
overrides:
  - {prefix: 203.0.113.0/24, blackhole: true, owner: noc, reason: attack}
"""
VIEWS = ("", "peers", "peers/up-a", "groups", "paths", "health", "rejected", "overrides", "events", "explain/{prefix}")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def configuration(folder: Path) -> str:
    (folder / "policy.yaml").write_text(POLICY)
    whole = yaml.safe_load(bridge_config())
    whole["peer_defaults"]["import"] = "from-provider"
    whole["peers"][0] |= {"description": HOSTILE, "max_prefix": {"ipv4": {"limit": 3200}}}
    ping = {"name": "ping", "kind": "icmp", "interval_ms": 200}
    probed = {"mode": "observe", "interval_s": 0.1, "timeout_s": 0.5, "budget_pps": 50}
    latency = probed | {
        "targets": [{"address": "192.0.2.53", "name": "resolver"}, {"address": "192.0.2.80", "name": "web"}]
    }
    more = {"policies": [str(folder / "policy.yaml")], "health": {"checks": [ping]}, "latency": latency, "http": {}}
    return yaml.safe_dump(whole | more, sort_keys=False)


@pytest.fixture(scope="module")
def edge(place: Rig, edge_on: Callable[[Rig], Any], feeds: dict[str, Feed], tmp_path_factory: Any) -> Iterator[Any]:
    """A bridge with both providers up: a table each, and a route that policy refuses."""
    made = edge_on(place)
    made.start(configuration(tmp_path_factory.mktemp("page")))
    try:
        for letter in "ab":
            nlri = bytes([24]) + ipaddress.ip_network(REFUSED).network_address.packed[:3]
            refused = update(Family.IPV4, nlri, uplink(letter).origin(), (64500,))
            made.tester(letter, table=feeds[letter].octets + refused)
        for tester in made.testers:
            tester.until_up()
        made.settled({"ipv4": 3000, "ipv6": 0})
        yield made
    finally:
        for tester in made.testers:
            tester.stop()
        made.stop()
        made.assert_no_traceback()
        made.wipe()


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


def test_search_shows_the_way_of_a_packet_and_back_goes_back(page: Page, edge: Any) -> None:
    prefix = edge.client.get("/v1/routes", {"best": "1", "limit": "1"})[0]["prefix"]
    show(page, "")
    page.get_by_label("Address, prefix or peer").fill(prefix)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Way to {prefix}")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_text("forwarded to 10.0.1.2 (from up-a)")).to_be_visible()
    xdp = page.get_by_role("group", name="the way through XDP").get_by_role("listitem")
    expect(xdp).to_have_text([re.compile(text) for text in ("packet to", prefix, "group", "10.0.1.2.*eth1")])
    kernel = page.get_by_role("group", name="the way through kernel")
    expect(kernel).to_contain_text("10.0.1.2")
    expect(page.locator("main")).to_contain_text("term rest accepts the path from up-a")
    expect(
        page.get_by_role("cell", name="lost at step 3, shorter AS path (RFC 4271 s9.1.2.2 a), to up-a")
    ).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_what_was_refused_and_what_is_not_there(page: Page, edge: Any) -> None:
    del edge
    show(page, "rejected")
    expect(page.get_by_role("row", name=REFUSED).first).to_contain_text("benchmarking range")
    expect(page.get_by_role("row", name=REFUSED).first).to_contain_text("policy.yaml:5")
    show(page, "groups/999999")
    expect(page.locator("main")).to_contain_text("There is no group 999999 now.")


def test_what_somebody_mistyped_is_answered_with_a_mend(page: Page, edge: Any) -> None:
    del edge
    show(page, "")
    for typed, said, mend in (
        ("198.51.100.300", "198.51.100.300", "mend: "),
        ("100%", "there is no peer 100%", "mend: peers are: up-a, up-b"),
    ):
        page.get_by_label("Address, prefix or peer").fill(typed)
        page.keyboard.press("Enter")
        answer = page.locator("main").get_by_role("alert")
        expect(answer).to_contain_text(said)
        expect(answer).to_contain_text(mend)


def test_a_bridge_that_does_not_answer_is_told_and_its_return_seen(page: Page, edge: Any) -> None:
    del edge
    page.clock.install()
    show(page, "peers")
    banner = page.locator("#trouble")
    page.context.set_offline(True)
    page.clock.fast_forward(5000)
    expect(banner).to_contain_text("The bridge does not answer since")
    expect(page.locator("main")).to_contain_text("up-a")
    expect(page.locator("main")).to_have_css("filter", "grayscale(1)")
    page.context.set_offline(False)
    page.clock.fast_forward(5000)
    expect(banner).to_be_hidden()
    expect(page.locator("main")).to_have_css("filter", "none")


def test_words_of_a_peer_stay_words(page: Page, edge: Any) -> None:
    show(page, "events")
    expect(page.get_by_role("status")).to_have_text("live")
    said = HOSTILE.encode()[:120]
    tester = edge.testers[0]
    tester.again = True
    tester.send(build_notification(6, 2, bytes([len(said)]) + said))
    tester.drop(again=True)
    expect(page.get_by_role("log")).to_contain_text("<img src=x onerror=")
    show(page, "peers/up-a")
    expect(page.locator("main")).to_contain_text(HOSTILE)
    show(page, "peers")
    expect(page.locator("main")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    assert page.title().startswith("Peers - edge")
    tester.until_up()
    edge.settled({"ipv4": 3000, "ipv6": 0})


def test_every_view_fits_a_desk_and_a_phone(page: Page, edge: Any) -> None:
    best = edge.client.get("/v1/routes", {"best": "1", "limit": "1"})[0]["prefix"]
    PICTURES.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        show(page, view.format(prefix=best))
        name = view.partition("/{")[0].replace("/", "-") or "overview"
        for size_name, size in (("desk", DESK), ("phone", PHONE)):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{view} is wider than {size_name}"
            )
            page.emulate_media(color_scheme="light" if size is DESK else "dark")
            page.screenshot(path=PICTURES / f"{name}-{size_name}.png", full_page=size is DESK, animations="disabled")

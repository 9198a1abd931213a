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
from playwright.sync_api import Page, expect

from bgpbridge.bench.feeds import Feed, update
from bgpbridge.bench.rig import Rig, bridge_config, uplink
from bgpbridge.types import Family
from bgpbridge.wire.message import build_notification
from tests.lab.e2e.browser import DESK, PHONE, PICTURES, URL, show

pytestmark = pytest.mark.root

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
SEEN = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
VIEWS = ("", "peers", "peers/up-a", "groups", "paths", "health", "rejected", "overrides", "events", "explain/{prefix}")


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
    refused = bytes([24]) + ipaddress.ip_network(REFUSED).network_address.packed[:3]
    tables = {letter: feed.octets + announced(letter, refused) for letter, feed in feeds.items()}
    made = edge_on(place)
    with made.fed(configuration(tmp_path_factory.mktemp("page")), tables, 3000):
        yield made


def announced(letter: str, nlri: bytes) -> bytes:
    return update(Family.IPV4, nlri, uplink(letter).origin(), (64500,))


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
    expect(page.locator("main")).to_contain_text(
        re.compile(r"term rest, \S+policy.yaml:\S+ accepts the path from up-a")
    )
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


def test_groups_are_asked_in_part_and_a_hidden_page_asks_nothing(page: Page, edge: Any) -> None:
    del edge
    page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    show(page, "groups")
    assert f"{URL}api/v1/groups?limit=100" in asked
    page.get_by_role("heading", level=2).get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Slots")).to_be_visible()
    assert re.search(r"groups/\d+$", "\n".join(asked), re.MULTILINE)
    page.evaluate(SEEN, True)
    asked.clear()
    page.clock.fast_forward(60_000)
    assert not asked
    with page.expect_request("**/api/v1/groups/*"):
        page.evaluate(SEEN, False)


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

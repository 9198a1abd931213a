"""A reload of policy files writes what differs into both planes, and a file with an error changes nothing at all."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import yaml

from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.rig import bridge_config
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.errors import BridgeError
from bgpbridge.fib import xdp_map
from bgpbridge.types import Family

pytestmark = pytest.mark.root

ALL, LISTED, MORE = 3000, 40, 25  # prefixes; those that the first term refuses, and how many more the changed one does


class Written:
    """A bridge whose import policy is in a file, with a set of prefixes in another one."""

    def __init__(self, edge: Any, feed: Feed) -> None:
        self.edge = edge
        self.feed = feed
        self.policy = edge.folder / "p.yml"
        self.listed = edge.folder / "listed.txt"

    def write(self, prefixes: int, local_pref: int = 100) -> None:
        self.listed.write_text("".join(f"{self.feed.prefix(row)}\n" for row in range(prefixes)))
        terms = [
            {"term": "listed", "match": {"prefix": "listed"}, "then": "reject"},
            {"term": "rest", "set": {"local_pref": local_pref}, "then": "accept"},
        ]
        sets = {"prefixes": {"listed": [{"file": self.listed.name}]}}
        self.policy.write_text(yaml.safe_dump({"sets": sets, "policies": {"p": {"terms": terms}}}, sort_keys=False))

    def settled(self, refused: int) -> None:
        self.edge.settled({"ipv4": ALL - refused, "ipv6": 0})

    def entries(self) -> dict[tuple[int, int], int]:
        """The IPv4 trie as it stands in the kernel, once it has followed the index: an audit waits for that."""
        self.edge.assert_clean()
        maps, adopted = Maps.open(
            self.edge.folder / "bpf" / "bgpbridge", Sizes(*self.edge.status()["xdp"]["capacity"].values())
        )
        assert adopted
        keys, values = xdp_map.dump(maps.lpm4, Family.IPV4)
        maps.close()
        return dict(zip(zip(keys.lo.tolist(), keys.length.tolist(), strict=True), values.tolist(), strict=True))

    def state(self) -> Any:
        """What must not change: routes and what is known of two of them, both planes, what the kernel was sent."""
        status = self.edge.status()
        explained = [self.edge.get(f"/v1/explain/{self.feed.prefix(row)}") for row in (0, LISTED + MORE, ALL - 1)]
        known = [(one["verdict"], one["policy"], one["fib"], len(one["history"])) for one in explained]
        return status["routes"], counts(self), known, self.entries()

    def refused(self) -> str:
        """What a reload is refused with."""
        with pytest.raises(BridgeError) as caught:
            self.edge.client.post("/v1/reload")
        return str(caught.value)

    def refused_by_signal(self) -> str:
        """The same, as a signal has it."""
        before = len(self.edge.events("reload-refused"))
        os.kill(self.edge.child("bgpbridge.daemon.bridge"), signal.SIGHUP)
        events = self.edge.until(lambda: self.edge.events("reload-refused")[before:], "the refusal is told")
        assert events[0]["severity"] == "error"
        return str(events[0]["text"])


@pytest.fixture
def written(edge: Any, feeds: dict[str, Feed]) -> Written:
    found = Written(edge, feeds["a"])
    found.write(LISTED)
    named = {"policies": [str(found.policy)], "peer_defaults": {"import": "p", "passive": True}}
    (edge.folder / "bgpbridge.yaml").write_text(bridge_config(**named))
    edge.client.post("/v1/reload")
    edge.tester("a", table=feeds["a"].octets).until_up()
    found.settled(LISTED)
    return found


def test_a_reload_writes_what_differs_and_a_file_with_an_error_nothing(written: Written) -> None:
    a_changed_term_writes_what_differs_and_nothing_else(written)
    a_file_with_an_error_changes_nothing(written)  # with the same bridge: to start one takes longer than all this


def a_changed_term_writes_what_differs_and_nothing_else(written: Written) -> None:
    (sent, commits), entries = counts(written), written.entries()
    written.write(LISTED, local_pref=200)  # no other path is better or worse for it
    assert "routes of up-a, up-b judged again" in written.edge.client.post("/v1/reload")["done"]
    written.settled(LISTED)
    assert counts(written) == (sent, commits)
    assert written.entries() == entries

    written.write(LISTED + MORE, local_pref=200)
    written.edge.client.post("/v1/reload")
    written.settled(LISTED + MORE)
    assert counts(written) == (sent + MORE, commits + 1)
    gone = {(int(written.feed.value[row]), int(written.feed.length[row])) for row in range(LISTED, LISTED + MORE)}
    assert written.entries() == {key: group for key, group in entries.items() if key not in gone}
    assert len(entries) - len(written.entries()) == MORE
    written.edge.assert_clean()


def a_file_with_an_error_changes_nothing(written: Written) -> None:
    before = written.state()
    good = written.policy.read_text()
    whole = written.listed.read_text()
    listed = len(whole.splitlines())
    written.policy.write_text(good.replace("then: accept", "then: acept"))
    line = good[: good.index("then: accept")].count("\n") + 1
    written.listed.write_text(whole + f"{written.feed.prefix(listed)}\n")
    for said in (written.refused(), written.refused_by_signal()):
        assert f"{written.policy}:{line}" in said
    written.policy.write_text(good)
    written.listed.write_text(whole[: len(whole) // 2].rstrip())
    last = written.listed.read_text().count("\n") + 1
    for said in (written.refused(), written.refused_by_signal()):
        assert f"{written.listed}:{last}" in said
    assert written.state() == before
    assert written.edge.testers[0].sessions == 1
    written.listed.write_text(whole)
    written.edge.client.post("/v1/reload")
    assert written.state() == before


def counts(written: Written) -> tuple[int, int]:
    """Route messages that the kernel was sent, and changes of the table that the planes were told."""
    status = written.edge.status()
    return status["kernel"]["sent"], status["commits"]

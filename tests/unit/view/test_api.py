"""The control API over its socket: a real bridge answers, refusals have words, listings come in slices."""

from __future__ import annotations

import asyncio
import stat
from types import SimpleNamespace

import pytest

from bgpbridge.api.client import Client
from bgpbridge.api.server import ControlApi
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.events import Severity


@pytest.fixture
def ask(rig, tmp_path):
    """Run `question(client)` in a thread while the API serves."""
    rig.session("isp-a")
    rig.announce("isp-a", [f"100.64.{n}.0/24" for n in range(200)] + ["10.1.0.0/16"], [64601, 64500])
    path = tmp_path / "control.sock"

    def asked(question):
        async def served():
            api = ControlApi(rig.bridge, path)
            await api.start()
            try:
                return await asyncio.to_thread(question, Client(path, timeout_s=10))
            finally:
                await api.stop()

        return rig.loop.run_until_complete(served())

    return asked


def test_the_socket_is_for_its_owner_alone(ask, tmp_path):
    mode = ask(lambda client: stat.S_IMODE((tmp_path / "control.sock").stat().st_mode))
    assert mode == 0o600


@pytest.mark.parametrize(
    "path",
    [
        "/v1/status",
        "/v1/peers",
        "/v1/peers/isp-a",
        "/v1/routes",
        "/v1/route/100.64.7.1",
        "/v1/explain/100.64.7.1",
        "/v1/explain/100.64.7.0/24",
        "/v1/explain/2001:db8::/32",
        "/v1/fib/100.64.7.1",
        "/v1/groups",
        "/v1/groups/1",
        "/v1/adjacencies",
        "/v1/paths",
        "/v1/paths/would",
        "/v1/counters",
        "/v1/events",
    ],
)
def test_every_path_answers(ask, path):
    assert ask(lambda client: client.get(path)) is not None


def test_listings_longer_than_a_slice_are_whole(ask):
    found = ask(lambda client: client.get("/v1/routes", {"limit": "0"}))
    assert len(found) == 201
    assert len({route["prefix"] for route in found}) == 201
    assert ask(lambda client: client.get("/v1/routes", {"peer": "isp-b"})) == []
    assert len(ask(lambda client: client.get("/v1/routes", {"limit": "100"}))) == 100
    (refused,) = ask(lambda client: client.get("/v1/routes", {"rejected": "1"}))
    assert refused["prefix"] == "10.1.0.0/16"


def test_groups_come_most_used_first_as_many_as_asked_and_one_alone(ask):
    found = ask(lambda client: client.get("/v1/groups"))
    counts = [group["prefixes"] for group in found]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 200
    assert ask(lambda client: client.get("/v1/groups", {"limit": "1"})) == found[:1]
    assert ask(lambda client: client.get(f"/v1/groups/{found[0]['id']}")) == found[0]
    assert ask(lambda client: client.get("/v1/groups/2"))["flags"] == "blackhole: dropped"


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("/v1/groups/99999", {}, "there is no group 99999"),
        ("/v1/groups/many", {}, "`many` is not the id of a group"),
        ("/v1/groups", {"limit": "-1"}, "is not a number"),
        ("/v1/peers/nobody", {}, "there is no peer nobody"),
        ("/v1/route/300.1.1.1", {}, "`300.1.1.1` is not an IP address"),
        ("/v1/route/192.0.2.0/24", {}, "`192.0.2.0/24` is not an IP address"),
        ("/v1/fib/192.0.2.0/24", {}, "`192.0.2.0/24` is not an IP address"),
        ("/v1/explain/10.0.0.1/8", {}, "has host bits set"),
        ("/v1/routes", {"peer": "nobody"}, "there is no peer nobody"),
        ("/v1/routes", {"family": "ipx"}, "is not an address family"),
        ("/v1/routes", {"limit": "many"}, "is not a number"),
        ("/v1/routes", {"limit": "-1"}, "limit=-1 is not a number from 0 on; expected a whole number from 0 to"),
        ("/v1/routes", {"limit": "9" * 30}, "is too large; expected a whole number from 0 to"),
        ("/v1/routes", {"best": "perhaps"}, "neither yes nor no"),
        ("/v1/routes", {"pear": "isp-a"}, "unknown parameter `pear`"),
        ("/v1/status", {"verbose": "1"}, "unknown parameter `verbose`"),
        ("/v1/nonsense", {}, "no such path: /v1/nonsense"),
    ],
)
def test_what_cannot_be_answered_is_usage(ask, path, query, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")) as told:
        ask(lambda client: client.get(path, query))
    assert told.value.mend


def test_switching_without_xdp_is_refused_with_its_mend(ask):
    with pytest.raises(UsageError, match="no XDP") as told:
        ask(lambda client: client.post("/v1/off"))
    assert "datapath.interfaces" in told.value.mend


def test_an_audit_without_planes_is_clean(ask):
    report = ask(lambda client: client.post("/v1/audit"))
    assert (report["clean"], report["checked"]) == (True, {})


def test_a_wrong_file_changes_nothing(ask, rig):
    rig.bridge.config.path.write_text("routr: {}\n")
    with pytest.raises(BridgeError, match="unknown key `routr`"):
        ask(lambda client: client.post("/v1/reload"))
    assert rig.bridge.config.router.asn == 64700
    told = rig.bridge.events.tail()[-1]
    assert (told.kind, told.severity) == ("reload-refused", Severity.ERROR)
    assert "did you mean `router`?" in told.text


def test_a_second_start_takes_over_a_socket_that_was_left(ask, tmp_path):
    ask(lambda client: client.get("/v1/status"))
    assert (tmp_path / "control.sock").is_socket()
    assert ask(lambda client: client.get("/v1/status"))["name"] == "edge"


def test_followers_hear_what_happens(ask, rig):
    def question(client):
        events = client.follow("/v1/events", {"limit": "1", "follow": "1"})
        first = next(events)
        rig.loop.call_soon_threadsafe(rig.bridge.events.add, "test", "somebody", "something")
        return first, next(events)

    first, then = ask(question)
    assert then["number"] == first["number"] + 1
    assert (then["kind"], then["subject"], then["text"]) == ("test", "somebody", "something")


def test_a_plan_is_made_without_a_reload(ask, rig, monkeypatch):
    monkeypatch.setattr(rig.bridge, "_reader", SimpleNamespace(lanes=range(8)))
    (rig.bridge.config.path).write_text(_config_text(rig))
    before = rig.bridge.log.number
    report = ask(lambda client: client.post("/v1/plan"))
    assert (report["changes"], rig.bridge.log.number) == (True, before)
    assert [peer["change"] for peer in report["peers"]] == ["removed"] * len(rig.bridge.config.peers)
    assert report["tables"][0]["lost"] == report["tables"][0]["routes_before"] > 0


@pytest.mark.parametrize(("file", "words"), [("p.yaml", "not a whole path"), ("/nowhere/p.yaml", "/nowhere/p.yaml")])
def test_a_plan_of_a_file_that_cannot_be_read(ask, file, words):
    with pytest.raises(UsageError, match=words):
        ask(lambda client: client.post("/v1/plan", {"file": file}))


def _config_text(rig):
    """The same without peers."""
    router = rig.bridge.config.router
    return f"router: {{asn: {router.asn}, router_id: {router.router_id}}}\nkernel: {{enabled: false}}\npeers: []\n"


def test_paths_are_those_of_one_peer(ask):
    seen = ask(lambda client: client.get("/v1/paths", {"peer": "isp-a"}))
    assert [exit_["peers"] for exit_ in seen["exits"]] == [["isp-a"]]
    assert ask(lambda client: client.get("/v1/paths", {"peer": "isp-b"}))["exits"] == []
    with pytest.raises(UsageError, match="there is no peer nobody"):
        ask(lambda client: client.get("/v1/paths", {"peer": "nobody"}))

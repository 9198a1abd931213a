"""`override`: what the command line says becomes the mapping of a policy file, and what is wrong is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from bgpbridge.cli.commands import Asking
from bgpbridge.cli.override import override
from bgpbridge.policy.override_schema import OverrideText

VIEW = {
    "name": "o1",
    "scope": "192.0.2.0/24",
    "kind": "pin",
    "what": "pin to peer isp-b",
    "target": "peer isp-b",
    "owner": "alice",
    "reason": "ticket 7",
    "expires": None,
    "source": "command by alice",
    "state": "fallen back",
    "why": "the session with isp-b is lost",
    "prefixes": 1,
    "pinned": 0,
}


class Client:
    """In place of a daemon: keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def get(self, path: str, query: dict[str, str]) -> Any:
        self.asked.append((path, query))
        return [VIEW]

    def post(self, path: str, query: dict[str, str], body: Any) -> Any:
        self.asked.append((path, body))
        return VIEW

    def delete(self, path: str) -> Any:
        self.asked.append((path, None))
        return {"name": "o1", "text": "o1 removed"}


def run(*words: str) -> tuple[int, str, Client]:
    asking = Asking()
    asking.client = client = Client()  # type: ignore[assignment]
    ran = CliRunner().invoke(override, list(words), obj=asking)
    return ran.exit_code, ran.output, client


WHY = ("--reason", "ticket 7", "--owner", "alice")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("pin", "--peer", "isp-b"), {"pin": {"peer": "isp-b"}}),
        (("pin", "--next-hop", "203.0.113.9"), {"pin": {"next_hop": "203.0.113.9"}}),
        (("prefer", "--group", "g", "--value", "300"), {"prefer": {"group": "g", "local_pref": 300}}),
        (("weight", "--peer", "x", "--value", "7"), {"weight": {"peer": "x", "weight": 7}}),
        (("blackhole",), {"blackhole": True}),
        (("reject",), {"reject": True}),
        (("reject", "--peer", "x"), {"reject": {"peer": "x"}}),
    ],
)
def test_a_command_says_what_a_file_would(words, meant) -> None:
    code, out, client = run("add", "192.0.2.0/24", *words, *WHY)
    assert (code, client.asked[0][0]) == (0, "/v1/overrides"), out
    assert client.asked[0][1] == {"prefix": "192.0.2.0/24", "owner": "alice", "reason": "ticket 7", **meant}
    OverrideText.model_validate(client.asked[0][1])


def test_a_time_to_last_becomes_one_to_end() -> None:
    _, _, client = run("add", "192.0.2.0/24", "blackhole", "--or-longer", "--for", "2h", *WHY)
    body = client.asked[0][1]
    assert body["prefix"] == "192.0.2.0/24 or-longer"
    assert OverrideText.model_validate(body).expires is not None


@pytest.mark.parametrize(
    "words",
    [
        ("blackhole", "--peer", "x"),
        ("prefer", "--peer", "x"),
        ("pin", "--peer", "x", "--value", "3"),
        ("blackhole", "--for", "soon"),
        ("blackhole", "--for", "1h", "--until", "2026-12-01T08:00:00Z"),
    ],
)
def test_what_makes_no_sense_is_refused_here(words) -> None:
    code, _, client = run("add", "192.0.2.0/24", *words, *WHY)
    assert (code, client.asked) == (2, [])


def test_a_reason_is_needed() -> None:
    assert run("add", "192.0.2.0/24", "blackhole")[0] == 2


def test_the_list_says_why_one_is_not_in_force() -> None:
    code, out, _ = run("list")
    assert code == 0
    for words in ("o1", "fallen back", "0 of 1", "ticket 7", "the session with isp-b is lost"):
        assert words in out
    assert json.loads(run("list", "--json")[1]) == [VIEW]


def test_one_is_removed_by_id_or_prefix() -> None:
    assert run("remove", "192.0.2.0/24 or-longer")[2].asked == [("/v1/overrides/192.0.2.0/24 or-longer", None)]

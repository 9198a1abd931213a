"""What an answer may hold over TCP, and what a body must be: a real bridge answers, the wrong ways too."""

# ruff: noqa: F811 - fixtures come from the other file

from __future__ import annotations

import io
import json
from itertools import pairwise

import pytest

from tests.unit.view.test_http import TOKEN, answer_of, ask, bearer, token_file  # noqa: F401

GOOD = {"prefix": "100.64.7.0/24", "blackhole": True, "owner": "o", "reason": "r"}
OBJECT = {"Content-Type": "application/json"}


def pages(ask, path, limit):
    after = "0"
    while True:
        status, _, page = answer_of(ask, f"{path}limit={limit}&after={after}")
        assert status == 200
        if not page:
            return
        yield page
        after = page[-1]["prefix"]


@pytest.mark.parametrize("limit", [1, 7, 201, 10_000])
def test_pages_hold_every_route_once(ask, rig, limit):
    rig.session("isp-b")
    rig.announce("isp-b", [f"100.64.{n}.0/24" for n in range(100, 110)], [64602])
    found = list(pages(ask, "/api/v1/routes?", limit))
    keys = [(route["prefix"], route["peer"]) for page in found for route in page]
    assert len(keys) == len(set(keys)) == 211
    assert all(len(page) <= limit + 1 for page in found)
    assert all(len(page) >= limit for page in found[:-1])
    for page, following in pairwise(found):
        assert page[-1]["prefix"] != following[0]["prefix"]


def test_pages_go_with_filters(ask, rig):
    rig.session("isp-b")
    rig.announce("isp-b", ["100.64.3.0/24", "203.0.113.0/24"], [64602])
    found = [route["prefix"] for page in pages(ask, "/api/v1/routes?peer=isp-b&", 1) for route in page]
    assert sorted(found) == ["100.64.3.0/24", "203.0.113.0/24"]
    assert not list(pages(ask, "/api/v1/routes?family=ipv6&", 1))


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("limit=0", 400, "limit=0 is too much over HTTP"),
        ("limit=10001", 400, "limit=10001 is too much over HTTP"),
        ("after=x", 400, "is not a prefix"),
        ("after=192.0.2.0/24", 404, "no peer has sent 192.0.2.0/24"),
    ],
)
def test_bounds_are_told(ask, query, status, said):
    got, _, body = answer_of(ask, f"/api/v1/routes?{query}")
    assert (got, said in body["error"]) == (status, True), body
    assert body["mend"]


def test_groups_come_whole(ask, rig):
    status, _, found = answer_of(ask, "/api/v1/groups")
    assert (status, [group["prefixes"] for group in found]) == (200, [200])


@pytest.mark.parametrize(
    ("headers", "data", "status", "said", "expected"),
    [
        ({"Content-Type": "text/plain"}, json.dumps(GOOD), 415, "a body of type text/plain", "application/json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "a=b", 415, "a body of type", "application/json"),
        (OBJECT, "{", 400, "the body is not JSON", "a JSON object"),
        (OBJECT, b"\xff\xfe", 400, "the body is not JSON", "a JSON object"),
        (OBJECT, "[" * 100_000, 400, "the body is not JSON", "a JSON object"),
        (OBJECT, "", 400, "the body is not JSON", "a JSON object"),
        (OBJECT, "[]", 400, "the body is an empty list", "a JSON object"),
        (OBJECT, "null", 400, "the body is nothing", "a JSON object"),
        (OBJECT, json.dumps({**GOOD, "prefix": "100.64.7.1/24"}), 400, "prefix: `100.64.7.1/24`", "or-longer"),
        (OBJECT, json.dumps({**GOOD, "pin": {"peer": "isp-a"}}), 400, "the body: does several things", "one of `pin`"),
        (OBJECT, json.dumps({**GOOD, "prefix": 5, "owner": 7}), 400, "it); owner is `7`", ""),
        (OBJECT, json.dumps({**GOOD, "onwer": "x"}), 400, "onwer", ""),
        (OBJECT, json.dumps({k: v for k, v in GOOD.items() if k != "owner"}), 400, "owner", ""),
        (OBJECT, json.dumps({**GOOD, "expires": "2020-01-01T00:00:00Z"}), 400, "its time is over already", ""),
        (OBJECT, io.BytesIO(b" " * (2 << 20)), 413, "the body is too large", "at most 1,048,576 octets"),
    ],
)
def test_bodies_that_are_wrong(ask, rig, token_file, headers, data, status, said, expected):
    more = {"settings": {"token_file": token_file}, "headers": {**bearer(TOKEN), **headers}, "data": data}
    got, seen, body = answer_of(ask, "/api/v1/overrides", "POST", **more)
    assert (got, seen["Content-Type"].split(";")[0]) == (status, "application/json"), body
    assert said in body["error"], body
    assert expected in body["expected"], body
    assert body["mend"]
    assert not rig.bridge.overrides.all()


def test_a_body_that_is_right(ask, rig, token_file):
    more = {"settings": {"token_file": token_file}, "headers": bearer(TOKEN)}
    status, _, body = answer_of(ask, "/api/v1/overrides", "POST", json=GOOD, **more)
    assert (status, body["name"], body["source"]) == (200, "o1", "http")
    status, _, body = answer_of(ask, "/api/v1/overrides", "POST", json=GOOD, **more)
    assert (status, "has an override already" in body["error"]) == (400, True)
    assert answer_of(ask, "/api/v1/overrides/o1", "DELETE", **more)[0] == 200
    assert answer_of(ask, "/api/v1/overrides/o1", "DELETE", **more)[0] == 404


def test_an_alarm_of_rpki_is_a_warning_that_makes_nothing_unready(ask, rig, monkeypatch):
    monkeypatch.setattr(type(rig.bridge.rpki), "alarms", lambda self: ["v holds no VRP any more"])
    status, _, body = answer_of(ask, "/readyz?exclude=adoption,sessions")
    assert (status, body["ready"], body["warnings"]) == (200, True, ["v holds no VRP any more"])

"""`bgpbridge replay`: what it prints of files made by hand, whole and damaged."""

from __future__ import annotations

import gzip
import ipaddress
import json

import pytest

from bgpbridge.cli.replay_file import Pace
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.message import build_update

PEERS = bytes([192, 0, 2, 1, 192, 0, 2, 9])


def record(message: bytes, time_s: int) -> bytes:
    body = (65001).to_bytes(4, "big") + (65000).to_bytes(4, "big") + b"\0\0\0\1" + PEERS + message
    return time_s.to_bytes(4, "big") + b"\0\x10\0\4" + len(body).to_bytes(4, "big") + body


def update(*nlri: bytes) -> bytes:
    path = b"\x02\x01" + (65001).to_bytes(4, "big")
    hop = ipaddress.ip_address("192.0.2.1").packed
    given = ((Code.ORIGIN, b"\0"), (Code.AS_PATH, path), (Code.NEXT_HOP, hop))
    return build_update(b"".join(encode_attribute(code, value) for code, value in given), b"".join(nlri))


WHOLE = record(update(b"\x18\xc6\x33\x64", b"\x18\xcb\x00\x71"), 1000) + record(update(b"\x21\0\0\0\0\0"), 1060)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(octets: bytes, name: str = "feed.mrt") -> str:
        (tmp_path / name).write_bytes(octets)
        return name

    return write


def steady(text: str) -> str:
    """Without the line that differs from run to run."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("took"))


def test_the_figures_of_a_file(bgpbridge, golden, file):
    ran = bgpbridge("replay", file(WHOLE))
    assert (ran.code, ran.err) == (0, "")
    golden("replay", steady(ran.out))


def test_json_has_the_same_and_the_table(bgpbridge, file):
    found = json.loads(bgpbridge("replay", "--json", "--routes", file(gzip.compress(WHOLE))).out)
    assert found["routes"] == {"ipv4": 2, "ipv6": 0}
    assert found["findings"] == [{"reason": "nlri: invalid prefix", "verdict": "session_reset", "times": 1}]
    assert [route["prefix"] for route in found["table"]] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert (found["recorded_s"], found["damage"]) == (60, None)


def test_the_table_as_text(bgpbridge, golden, file):
    golden("replay-routes", bgpbridge("replay", "--routes", file(WHOLE)).out)


@pytest.mark.parametrize("words", [[], ["--routes"], ["--json"]])
def test_what_stood_before_a_torn_record_counts(bgpbridge, file, words):
    ran = bgpbridge("replay", *words, file(WHOLE[:-7], "torn.mrt"))
    assert ran.code == 1
    place = len(record(update(b"\x18\xc6\x33\x64", b"\x18\xcb\x00\x71"), 1000))
    assert f"torn.mrt: record 2, at octet {place} of the records: the file ends" in ran.out + ran.err


def test_a_damaged_file_is_told_with_its_mend(bgpbridge, golden, file):
    golden("replay-torn", steady(bgpbridge("replay", file(WHOLE[:-7], "torn.mrt")).out))


def test_no_file_no_pace_no_policy(bgpbridge, file):
    assert "No such file" in bgpbridge("replay", "absent.mrt").err
    for pace in ("fast", "0x", "-1", "nanx", "inf"):
        ran = bgpbridge("replay", "--pace", pace, file(WHOLE))
        assert (ran.code, "is no pace" in ran.err) == (2, True)
    ran = bgpbridge("replay", "--import", "nosuch", file(WHOLE))
    assert (ran.code, "there is no policy nosuch" in ran.err) == (2, True)


def test_a_dump_without_its_peers_names_the_record(bgpbridge, file):
    body = b"\0\0\0\0" + b"\x18\xc6\x33\x64" + b"\0\1" + b"\0\5" + bytes(4) + b"\0\0"
    ran = bgpbridge("replay", file(b"\0\0\0\1\0\x0d\0\2" + len(body).to_bytes(4, "big") + body))
    assert ran.code == 1
    assert "feed.mrt: record 1: the record of 198.51.100.0/24 speaks of peer 5; its table has 0" in ran.out


def test_pace_holds_records_back_and_shows_what_waits():
    slept: list[float] = []
    shown: list[bool] = []
    pace = Pace(10, clock=lambda: 100 + sum(slept), sleep=slept.append)
    for recorded in (1000, 1020, 1015, 1020, 1050):
        pace.wait(recorded, lambda: shown.append(True))
    assert slept == [2.0, 3.0]
    assert len(shown) == 2


def test_the_recorded_pace_is_kept(bgpbridge, file):
    ran = bgpbridge("replay", "--pace", "100000x", "--json", file(WHOLE))
    assert json.loads(ran.out)["updates"] == 2

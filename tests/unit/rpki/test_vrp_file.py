"""VRP files as validators write them, and all that can be wrong with one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.errors import DocumentError, DocumentErrors
from bgpbridge.rpki.vrp_file import VrpFile, parse_vrps, read_vrps
from bgpbridge.rpki.vrp_source import VrpSource, shrink_alarm
from bgpbridge.rpki.vrps import Vrp, VrpTable
from bgpbridge.types import Family, Prefix

NOW = 1_700_000_000.0
RPKI_CLIENT = """{
\t"metadata": {
\t\t"buildmachine": "host.example",
\t\t"buildtime": "2023-11-14T22:00:00Z",
\t\t"roas": 4,
\t\t"vrps": 4
\t},

\t"roas": [
\t\t{ "asn": 65000, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "apnic", "expires": 1700009999 },
\t\t{ "asn": 65001, "prefix": "198.51.100.0/23", "maxLength": 24, "ta": "ripe", "expires": 1700009999 },
\t\t{ "asn": 0, "prefix": "2001:db8::/32", "maxLength": 128, "ta": "arin", "expires": 1700009999 },
\t\t{ "asn": 65003, "prefix": "203.0.113.0/24", "maxLength": 24, "ta": "ripe", "expires": 1699999999 }
\t],

\t"bgpsec_keys": []
}
"""
ROUTINATOR = """{
  "metadata": { "generated": 1700000000, "generatedTime": "2023-11-14T22:13:20Z" },
  "roas": [
    { "asn": "AS65000", "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "apnic" },
    { "asn": "AS65001", "prefix": "2001:db8::/32", "maxLength": 48, "ta": "ripe" }
  ]
}
"""


def listed(table: VrpTable) -> list[str]:
    found = []
    for family, part in table.columns.items():
        rows = zip(part.hi, part.lo, part.length, part.max_length, part.asn, strict=True)
        found += [str(Vrp(Prefix(family, int(h) << 64 | int(lo), int(n)), int(m), int(a))) for h, lo, n, m, a in rows]
    return found


def one(**entry: Any) -> str:
    """A file of one entry, as given and otherwise well."""
    return json.dumps({"roas": [{"asn": 65000, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "x"} | entry]})


def many(count: int) -> str:
    roas = [{"asn": 65000, "prefix": f"10.{n >> 8}.{n & 255}.0/24", "maxLength": 24} for n in range(count)]
    return json.dumps({"roas": roas})


def read_or_error(text: str) -> VrpFile | DocumentError:
    try:
        return parse_vrps(text, "f", NOW)
    except DocumentError as error:
        return error


def test_a_file_of_rpki_client_without_what_has_expired() -> None:
    found = parse_vrps(RPKI_CLIENT, "vrps.json", NOW)
    assert listed(found.table) == [
        "192.0.2.0/24 max 24 AS65000",
        "198.51.100.0/23 max 24 AS65001",
        "2001:db8::/32 max 128 AS0",
    ]
    assert found.expired == 1


def test_a_file_of_routinator() -> None:
    found = parse_vrps(ROUTINATOR, "vrps.json", NOW)
    assert listed(found.table) == ["192.0.2.0/24 max 24 AS65000", "2001:db8::/32 max 48 AS65001"]


def test_several_errors_each_stand_at_their_line() -> None:
    text = RPKI_CLIENT.replace("198.51.100.0/23", "198.51.100.1/24").replace('"maxLength": 128', '"maxLength": 129')
    with pytest.raises(DocumentErrors) as caught:
        parse_vrps(text, "vrps.json", NOW)
    message = str(caught.value)
    assert 'vrps.json:11:3: roas[1]: "198.51.100.1/24" has bits set behind its length' in message
    assert "vrps.json:12:3: roas[2]: `maxLength` is 129, expected 32 to 128 for 2001:db8::/32" in message
    assert "2 errors in all" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        (RPKI_CLIENT[:400], "the file ends too early"),
        ("prefix,asn\n192.0.2.0/24,65000\n", "vrps.json:1:1: not JSON"),
        ("[]", "no list `roas`"),
        ('{"roas": {}}', "no list `roas`"),
        ("[" * 100_000, "not the JSON of a validator"),
        ('{"roas": [{"asn": ' + "9" * 5000 + "}]}", "not the JSON of a validator"),
        ('{"roas": [7]}', "vrps.json:1:11: roas[0]: the entry is 7"),
        (one(asn="AS"), '`asn` is "AS"'),
        (one(asn=-1), "`asn` is -1"),
        (one(asn=1 << 32), "`asn` is 4294967296"),
        (one(asn=True), "`asn` is true"),
        (one(asn=None), "`asn` is missing"),
        (one(asn="AS4294967296"), "expected an AS number"),
        (one(prefix=None), "`prefix` is missing"),
        (one(prefix="192.0.2.0"), "its length must be 0 to 32"),
        (one(prefix="192.0.2/24"), "is not a prefix"),
        (one(prefix="192.0.2.0/33"), "its length must be 0 to 32"),
        (one(prefix="192.0.2.0\0/24"), "is not a prefix"),
        (one(prefix="\ud800/24"), "is not a prefix"),
        (one(prefix="2001:db8::/129"), "its length must be 0 to 128"),
        (one(maxLength=23), "expected 24 to 32"),
        (one(maxLength=24.0), "`maxLength` is 24.0"),
        (one(expires="soon"), "`expires` is"),
        (one(asn=10**400), "`asn` is 1000"),
        (one(expires=10**400, asn=None), "`asn` is missing"),
        ('{"roas": [1], "x": [{}, "]"], "roas" : [ {"asn":1,"prefix":"::/0","maxLength":0} ,\n 2]}', ":2:2: roas[1]:"),
    ],
)
def test_files_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_vrps(text, "vrps.json", NOW)
    assert says in str(caught.value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["AS1", "10.0.0.0/8", "::/0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
entries = st.dictionaries(st.sampled_from(["asn", "prefix", "maxLength", "ta", "expires"]), values) | values
well = st.builds(
    lambda value, length, more, asn: {
        "asn": asn,
        "prefix": str(Prefix.make(Family.IPV4, value, length)),
        "maxLength": min(32, length + more),
    },
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 32),
    st.integers(0, 8),
    st.integers(0, (1 << 32) - 1),
)


@given(st.lists(entries | well, max_size=6), st.integers(0, 3))
def test_whatever_stands_in_the_list_is_read_whole_or_refused_with_its_place(roas: list[Any], indent: int) -> None:
    text = json.dumps({"metadata": {"roas": 3}, "roas": roas}, indent=indent or None)
    found = read_or_error(text)
    if isinstance(found, DocumentError):
        assert found.place.line > 0
    else:
        assert len(found.table) + found.expired <= len(roas)


@given(st.integers(0, len(RPKI_CLIENT) - 3), st.text(max_size=3))
def test_a_file_that_was_cut_or_scribbled_on_never_raises_anything_else(at: int, scribble: str) -> None:
    for text in (RPKI_CLIENT[:at], RPKI_CLIENT[:at] + scribble + RPKI_CLIENT[at + 1 :]):
        found = read_or_error(text)
        assert isinstance(found, VrpFile) or found.place.file == "f"


def test_a_file_is_read_again_only_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    path.write_text(many(10))
    source = VrpSource(path)
    assert source.look(NOW)
    assert len(source.table) == 10
    assert not source.look(NOW)
    path.write_text(many(11))
    assert source.look(NOW)
    assert (len(source.table), source.alarm) == (11, "")


def test_a_file_that_shrinks_too_much_changes_nothing_until_it_is_well(tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    path.write_text(many(10))
    source = VrpSource(path)
    source.look(NOW)
    for text, says in [
        (many(4), "shrank from 10 VRPs to 4 (60% less, 50% is allowed at once)"),
        ('{"roas": []}', "holds no VRP that counts now; the 10 from before stay in use"),
        (many(10)[:50], "not JSON"),
    ]:
        path.write_text(text)
        assert not source.look(NOW)
        assert says in source.alarm
        assert len(source.table) == 10
    path.unlink()
    assert not source.look(NOW)
    assert "no such file" in source.alarm
    path.write_text(many(5))
    assert source.look(NOW)
    assert (len(source.table), source.alarm) == (5, "")


def test_payloads_end_by_time_when_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    path.write_text(RPKI_CLIENT.replace("1700009999", "1700000010", 1))
    source = VrpSource(path)
    source.look(NOW)
    assert len(source.table) == 3
    assert source.look(NOW + 60, again=True)
    assert len(source.table) == 2


@pytest.mark.parametrize(
    ("present", "offered", "percent", "may"),
    [
        (0, 10, 50, True),
        (0, 0, 50, False),
        (0, 0, 100, True),
        (10, 5, 50, True),
        (10, 4, 50, False),
        (10, 9, 0, False),
        (10, 10, 0, True),
        (10, 0, 99, False),
        (10, 0, 100, True),
    ],
)
def test_how_much_may_go_at_once(present: int, offered: int, percent: int, may: bool) -> None:
    assert (shrink_alarm(present, offered, percent) == "") is may


def test_a_folder_and_other_octets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be read: is a directory"):
        read_vrps(tmp_path, NOW)
    path = tmp_path / "vrps.json"
    path.write_bytes(b'{\n"roas": "\xff"}')
    with pytest.raises(DocumentError, match=r"json:2: is not UTF-8 text"):
        read_vrps(path, NOW)
    os.truncate(path, 0)
    with pytest.raises(DocumentError, match="is empty"):
        read_vrps(path, NOW)

"""Malformed messages of incidents and of other implementations' tests: each gives the verdict of the RFC.

EXPECTED holds our verdict for every vector. Where the origin of a vector says otherwise, DISAGREEMENTS
says why the RFC is right; a vector that is in neither place with its origin's verdict fails the test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Session, Verdict
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.message import MessageType, build_message, build_update
from bgpbridge.wire.opening import parse_open
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.segments import as_path_text
from bgpbridge.wire.update import Update, decode_update

ACCEPT, DISCARD, WITHDRAW, DISABLE, RESET = Verdict

# id (with #2 for the second vector of that name): our verdict and its first reason
EXPECTED: dict[str, tuple[Verdict, str]] = {
    "incident/nanog-2025-05-prefix-sid-zeros": (DISCARD, "prefix_sid: malformed TLV"),
    "incident/disco-2019-01-attr255": (ACCEPT, ""),
    "incident/junose-2008-as4path-confed": (DISCARD, "as4_path: confederation segment"),
    "frr/mp_reach/IPv6-lnh": (WITHDRAW, "next_hop: not a unicast address"),
    "frr/mp_reach/IPv6-nhlen": (DISABLE, "mp_reach: next hop length"),
    "frr/mp_reach/IPv6-nhlen3": (DISABLE, "mp_reach: next hop length"),
    "frr/mp_reach/IPv6-nhlen4": (DISABLE, "mp_reach: invalid prefix"),
    "frr/mp_reach/IPv6-nlri": (DISABLE, "mp_reach: invalid prefix"),
    "frr/mp_reach/IPv4": (ACCEPT, ""),
    "frr/mp_reach/IPv4-nhlen": (DISABLE, "mp_reach: next hop length"),
    "frr/mp_reach/IPv4-nlrilen": (DISABLE, "mp_reach: invalid prefix"),
    "frr/mp_reach/IPv4-VPNv4": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_reach/IPv4-VPNv4-plen1-short": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_reach/IPv4-VPNv4-plenn-long": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_reach/IPv4-VPNv4-plenn-short": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_reach/IPv4-VPNv4-bogus-rd-type": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_reach/IPv6-bug": (ACCEPT, ""),
    "frr/mp_reach/IPv4#2": (DISCARD, "mp_reach: family not negotiated"),
    "frr/mp_unreach/IPv6-unreach2": (ACCEPT, ""),
    "frr/mp_unreach/IPv6-unreach-nlri": (DISABLE, "mp_unreach: invalid prefix"),
    "frr/mp_unreach/IPv4-unreach": (ACCEPT, ""),
    "frr/mp_unreach/IPv4-unreach-nlrilen": (DISABLE, "mp_unreach: invalid prefix"),
    "frr/mp_unreach/IPv4": (DISCARD, "mp_unreach: family not negotiated"),
    "frr/prefix_sid/PREFIX-SID": (ACCEPT, ""),
    "frr/prefix_sid/PREFIX-SID-SRv6-L3-Service-missing-reserved": (WITHDRAW, "prefix_sid: malformed SRv6 service TLV"),
    "frr/prefix_sid/PREFIX-SID-SRv6-L3-Service-sid-info-short": (WITHDRAW, "prefix_sid: malformed SRv6 service TLV"),
    "frr/aspath/zero-size overflow": (WITHDRAW, "as_path: malformed segment"),
    "frr/aspath/zero-size overflow + valid segment": (WITHDRAW, "as_path: malformed segment"),
    "frr/aspath/invalid segment type": (WITHDRAW, "as_path: malformed segment"),
    "frr/aspath/BGP_AS_ZERO": (WITHDRAW, "as_path: AS 0"),
    "frr/aspath/BGP_AS_ZERO asdot+": (WITHDRAW, "as_path: AS 0"),
    "gobgp/malformed-update/0": (WITHDRAW, "update: attribute does not fit"),
    "gobgp/malformed-update/1": (DISCARD, "aggregator: length"),
    "gobgp/malformed-update/3": (RESET, "update: attribute error without NLRI"),
    "gobgp/malformed-update/4": (WITHDRAW, "aggregator: length"),
    "gobgp/scenario/MalformedMpReachNlri": (RESET, "mp_reach: flags"),
    "gobgp/scenario/MalformedAsPath": (WITHDRAW, "as_path: malformed segment"),
    "gobgp/scenario/MalformedRouteFamily": (DISABLE, "mp_reach: flags"),
    "gobgp/rfc7606/attribute_discard": (DISCARD, "aggregator: length"),
    "gobgp/rfc7606/treat_as_withdraw": (WITHDRAW, "med: length"),
    "frr/topotest/aigp-bad-flags": (DISCARD, "aigp: flags"),
} | {
    f"gobgp/bad-len/{name}": (RESET, "header: marker")
    for name in ("147a924d9a4a", "27f19d6959e9", "3dce7e046d70", "4d4dc736bc89", "66e6aab4f34c", "a8ecedce17e2")
}

_NOT_NEGOTIATED = "VPN is no family of the session: the attribute is skipped unread (RFC 4760 s8), right or wrong"
DISAGREEMENTS = {
    "frr/mp_reach/IPv6-lnh": "parses; but its next hop fffe:... is in ff00::/8, multicast (RFC 4291 s2.7): no route",
    "frr/mp_reach/IPv4-VPNv4-plen1-short": _NOT_NEGOTIATED,
    "frr/mp_reach/IPv4-VPNv4-plenn-long": _NOT_NEGOTIATED,
    "frr/mp_reach/IPv4-VPNv4-plenn-short": _NOT_NEGOTIATED,
    "frr/mp_reach/IPv6-bug": "no prefix after the reserved octet; RFC 7606 s5.3 asks for 5 octets, no more",
    "frr/aspath/BGP_AS_ZERO": "FRR's printer shows it; RFC 7607 s2: AS 0 makes the AS_PATH malformed",
    "frr/aspath/BGP_AS_ZERO asdot+": "as BGP_AS_ZERO",
    "gobgp/malformed-update/3": "no reachable NLRI beside the wrong ORIGIN flags: RFC 7606 s5.2 resets",
    "gobgp/scenario/MalformedMpReachNlri": "GoBGP withdraws since 2026; wrong flags make MP_REACH_NLRI incorrect "
    "(RFC 7606 s5.3), its NLRI cannot be found (s3 j), and AFI 0x1122 cannot be disabled: reset",
    "gobgp/scenario/MalformedRouteFamily": "as MalformedMpReachNlri, but for IPv6, which can be disabled",
}

ORIGIN = encode_attribute(1, b"\0")
NEXT_HOP = encode_attribute(3, bytes([192, 0, 2, 1]))
EMPTY_PATH = encode_attribute(2, b"")
PREFIX = bytes([24, 10, 1, 0])


def load(shared: Path) -> dict[str, dict[str, Any]]:
    vectors: dict[str, dict[str, Any]] = {}
    for line in (shared / "malformed/malformed.jsonl").read_text().splitlines():
        vector = json.loads(line)
        name = vector["id"]
        vectors[f"{name}#2" if name in vectors else name] = vector
    return vectors


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> dict[str, dict[str, Any]]:
    return load(shared_data)


def message_of(vector: dict[str, Any]) -> bytes:
    """The vector in a whole UPDATE that is right in everything else."""
    octets = bytes.fromhex(vector["hex"])
    match vector["shape"]:
        case "message":
            return octets
        case "body":
            return build_message(MessageType.UPDATE, octets)
        case "attr":
            plain = {1: ORIGIN, 2: EMPTY_PATH, 3: NEXT_HOP}
            if octets[1] == 17:
                plain[2] = encode_attribute(2, bytes.fromhex("020200640065"))
            rest = b"".join(attribute for code, attribute in plain.items() if code != octets[1])
            return build_update(rest + octets, PREFIX)
        case "mp_reach":
            return build_update(ORIGIN + EMPTY_PATH + encode_attribute(14, octets))
        case "mp_unreach":
            return build_update(encode_attribute(15, octets))
        case "prefix_sid":
            return build_update(ORIGIN + EMPTY_PATH + NEXT_HOP + encode_attribute(40, octets), PREFIX)
        case "aspath":
            return build_update(ORIGIN + NEXT_HOP + encode_attribute(2, octets), PREFIX)
    raise AssertionError(vector["shape"])


def session_of(name: str, make_session: Callable[..., Session]) -> Session:
    """Two-octet sessions for the vectors that are made for them."""
    return make_session(asn4=not (name.startswith("frr/aspath") or "as4path" in name))


def origin_allows(said: str) -> set[Verdict]:
    """What the origin's words mean as a verdict for the whole UPDATE."""
    table = {
        "SHOULD_PARSE": {ACCEPT, DISCARD},
        "SHOULD_ERR": {WITHDRAW, DISABLE, RESET},
        "SHOULD_WITHDRAW": {WITHDRAW},
        "ERROR_HANDLING_TREAT_AS_WITHDRAW": {WITHDRAW},
        "ERROR_HANDLING_ATTRIBUTE_DISCARD": {DISCARD},
        "malformed": {WITHDRAW},
    }
    if said in table:
        return table[said]
    if said.startswith("prints as"):
        return {ACCEPT}
    if said.startswith("must raise"):
        return {RESET}
    if "treat-as-withdraw" in said:
        return {WITHDRAW}
    if "discard" in said:
        return {DISCARD}
    return {ACCEPT}


def decode(name: str, vector: dict[str, Any], make_session: Callable[..., Session]) -> Update:
    return decode_update(message_of(vector), session_of(name, make_session))


def updates(vectors: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: vector for name, vector in vectors.items() if vector.get("kind", 2) == 2}


def test_every_update_gives_the_verdict_of_the_rfc(
    vectors: dict[str, dict[str, Any]], make_session: Callable[..., Session]
) -> None:
    seen = set()
    for name, vector in updates(vectors).items():
        update = decode(name, vector, make_session)
        reason = update.findings[0].reason if update.findings else ""
        if name in EXPECTED:
            seen.add(name)
            assert (update.verdict, reason) == EXPECTED[name], name
        else:
            assert (update.verdict, vector["shape"]) == (ACCEPT, "aspath"), name
    assert seen == EXPECTED.keys()


def test_disagreements_with_the_origin_are_exactly_those_that_are_explained(
    vectors: dict[str, dict[str, Any]], make_session: Callable[..., Session]
) -> None:
    differing = {
        name
        for name, vector in updates(vectors).items()
        if decode(name, vector, make_session).verdict not in origin_allows(vector["verdict"])
    }
    assert differing == DISAGREEMENTS.keys()


def test_paths_read_as_the_origin_prints_them(
    vectors: dict[str, dict[str, Any]], make_session: Callable[..., Session]
) -> None:
    compared = 0
    for name, vector in vectors.items():
        said = vector["verdict"]
        if not said.startswith("prints as") or name in DISAGREEMENTS:
            continue
        (route,) = decode(name, vector, make_session).announced
        expected = said.removeprefix("prints as: ").strip("'")
        if "asdot+" in name:  # the same octets in another notation
            expected = expected.replace("0.", "")
        assert as_path_text(route.attributes.as_path) == expected, name
        compared += 1
    assert compared == 18


def test_no_verdict_but_a_reset_loses_routes_without_saying_so(
    vectors: dict[str, dict[str, Any]], make_session: Callable[..., Session]
) -> None:
    for name, vector in updates(vectors).items():
        update = decode(name, vector, make_session)
        if update.verdict is WITHDRAW:
            assert update.withdrawn, name
            assert not update.announced, name
        for finding in update.findings:
            assert (finding.notification is not None) == (finding.verdict >= DISABLE), name


def test_bulk_gives_the_same(vectors: dict[str, dict[str, Any]], make_session: Callable[..., Session]) -> None:
    good = build_update(ORIGIN + EMPTY_PATH + NEXT_HOP, PREFIX)
    good6 = build_update(
        ORIGIN + EMPTY_PATH + encode_attribute(14, b"\0\2\1\x10 \1\r\xb8" + bytes(12) + b"\0\x20 \1\r\xb8")
    )
    for name, vector in updates(vectors).items():
        session = session_of(name, make_session)
        bad = message_of(vector)
        length_ok = int.from_bytes(bad[16:18], "big") == len(bad)
        run = [good, good6, bad, good6, good] if length_ok else [good, bad]
        assert difference(run, session) == "", name
        assert difference([bad], session) == "", name


def test_the_open_that_lies_about_its_parameters_is_refused(vectors: dict[str, dict[str, Any]]) -> None:
    message = bytes.fromhex(vectors["cve/2022-40302-open-extlen"]["hex"])
    with pytest.raises(WireError, match="octets"):
        parse_open(message)


def test_opens_without_a_marker_are_refused(vectors: dict[str, dict[str, Any]]) -> None:
    opens = [v for v in vectors.values() if v.get("kind") == 1 and v["id"].startswith("gobgp/bad-len")]
    assert len(opens) == 2
    for vector in opens:
        with pytest.raises(WireError, match="marker"):
            parse_open(bytes.fromhex(vector["hex"]))

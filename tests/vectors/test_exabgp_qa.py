"""ExaBGP's own test messages: we read what it reads, for the families that we carry."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.describe import describe
from bgpbridge.wire.message import MessageType, iter_messages
from bgpbridge.wire.opening import parse_open, parse_route_refresh
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.update import Update, decode_update

MakeSession = Callable[..., Session]
Announced = tuple[str, str, str | None]  # prefix, path identifier, next hop (None: withdrawn)

# What ExaBGP announces and the RFC does not let through
DISAGREEMENTS = {
    "exabgp/encoding/conf-attributes:10": (
        Verdict.TREAT_AS_WITHDRAW,
        "next hop 255.255.255.255 is no host's address (RFC 4271 s6.3)",
    ),
    "exabgp/encoding/conf-generic-attribute:9": (
        Verdict.SESSION_RESET,
        "attribute 0x99 has flags 0x70: well-known, and not known to us (RFC 4271 s6.3, 3/2)",
    ),
    "exabgp/encoding/extended-nexthop:6": (
        Verdict.AFI_SAFI_DISABLE,
        "an IPv6 prefix with an IPv4 next hop of 4 octets: RFC 2545 s3 knows 16 and 32 (RFC 7606 s7.11)",
    ),
}
TORN = "exabgp/decoding/bgp-ls-7"  # its hex holds a second header inside the first message


def load(shared: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shared / "vectors/exabgp-qa.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> list[dict[str, Any]]:
    return load(shared_data)


def session_of(name: str, make_session: MakeSession) -> Session:
    """By the configuration that the message was made under."""
    return make_session(
        asn4="no-asn4" not in name,
        add_path=frozenset(Family) if "path-information" in name else frozenset(),
        extended_next_hop=True,
    )


def readings(vectors: list[dict[str, Any]]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """UPDATEs for which ExaBGP's own reading is there."""
    for vector in vectors:
        if vector["kind"] == MessageType.UPDATE and vector["expect"]:
            message = vector["expect"]["neighbor"]["message"]
            yield vector["id"], bytes.fromhex(vector["hex"]), message.get("update", {})


def theirs(update: dict[str, Any]) -> set[Announced]:
    found: set[Announced] = set()
    for family in ("ipv4 unicast", "ipv6 unicast"):
        for hop, routes in update.get("announce", {}).get(family, {}).items():
            found |= {(route["nlri"], route.get("path-information", "0.0.0.0"), hop) for route in routes}
        for route in update.get("withdraw", {}).get(family, []):
            found.add((route["nlri"], route.get("path-information", "0.0.0.0"), None))
    return found


def ours(update: Update) -> set[Announced]:
    def path_id(number: int) -> str:
        return str(ipaddress.IPv4Address(number))

    found: set[Announced] = {(str(prefix), path_id(number), None) for prefix, number in update.withdrawn}
    for route in update.announced:
        found.add((str(route.prefix), path_id(route.path_id), str(route.attributes.next_hop)))
    return found


def test_routes_are_those_that_exabgp_reads(vectors: list[dict[str, Any]], make_session: MakeSession) -> None:
    compared = 0
    for name, message, reading in readings(vectors):
        if name in DISAGREEMENTS or name == TORN:
            continue
        update = decode_update(message, session_of(name, make_session))
        assert ours(update) == theirs(reading), name
        compared += bool(theirs(reading))
    assert compared > 50


def test_disagreements_are_those_that_are_explained(vectors: list[dict[str, Any]], make_session: MakeSession) -> None:
    strong = {
        name: decode_update(message, session_of(name, make_session)).verdict
        for name, message, _ in readings(vectors)
        if name != TORN
    }
    refused = {name: verdict for name, verdict in strong.items() if verdict >= Verdict.TREAT_AS_WITHDRAW}
    assert refused == {name: verdict for name, (verdict, _) in DISAGREEMENTS.items()}


def as_exabgp(attributes: PathAttributes) -> dict[str, Any]:
    """Our attributes in ExaBGP's words."""
    said = describe(attributes)
    out: dict[str, Any] = {"origin": said["origin"].lower()}
    if attributes.as_path:
        out["as-path"] = [asn for segment in attributes.as_path for asn in segment.asns]
    for theirs_, mine in (("med", "med"), ("local-preference", "local_pref"), ("originator-id", "originator_id")):
        if mine in said:
            out[theirs_] = said[mine]
    if attributes.communities:
        out["community"] = [[value >> 16, value & 0xFFFF] for value in attributes.communities]
    if attributes.large:
        out["large-community"] = [list(value) for value in attributes.large]
    if attributes.extended:
        out["extended-community"] = [int.from_bytes(value, "big") for value in attributes.extended]
    if attributes.cluster_list:
        out["cluster-list"] = said["cluster_list"]
    return out


def test_attributes_are_those_that_exabgp_reads(vectors: list[dict[str, Any]], make_session: MakeSession) -> None:
    compared = 0
    for name, message, reading in readings(vectors):
        announced = decode_update(message, session_of(name, make_session)).announced
        if not announced:
            continue
        mine = as_exabgp(announced[0].attributes)
        expected = {key: value for key, value in reading["attribute"].items() if key in mine or key == "med"}
        if "as-path" in expected:
            expected["as-path"] = [asn for part in expected["as-path"].values() for asn in part["value"]]
        if "extended-community" in expected:
            expected["extended-community"] = [entry["value"] for entry in expected["extended-community"]]
        assert {key: mine.get(key) for key in expected} == expected, name
        compared += 1
    assert compared > 40


def test_bulk_reads_them_all_as_the_scalar_way_does(vectors: list[dict[str, Any]], make_session: MakeSession) -> None:
    for vector in vectors:
        if vector["kind"] != MessageType.UPDATE or vector["id"] == TORN:
            continue
        message = bytes.fromhex(vector["hex"])
        for session in (session_of(vector["id"], make_session), make_session(asn4=False, peer_as=1)):
            assert difference([message], session) == "", vector["id"]


def test_other_messages_frame_and_parse(vectors: list[dict[str, Any]]) -> None:
    kinds = set()
    for vector in vectors:
        message = bytes.fromhex(vector["hex"])
        if vector["kind"] == MessageType.OPEN:
            assert parse_open(message).version == 4
        elif vector["kind"] == MessageType.ROUTE_REFRESH:
            parse_route_refresh(message)
        elif vector["kind"] == MessageType.NOTIFICATION:
            assert list(iter_messages(message)) == [message]
        kinds.add(vector["kind"])
    assert kinds == {1, 2, 3, 5}


def test_the_open_of_the_decoding_set(vectors: list[dict[str, Any]]) -> None:
    (vector,) = (v for v in vectors if v["id"] == "exabgp/decoding/bgp-open-sofware-version")
    said = vector["expect"]["neighbor"]["open"]
    opened = parse_open(bytes.fromhex(vector["hex"]))
    assert (opened.version, opened.asn, opened.hold_time_s) == (4, said["asn"], said["hold_time"])
    assert str(opened.router_id) == said["router_id"]
    assert opened.families == {Family.IPV4}

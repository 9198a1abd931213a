"""BGP roles in OPEN (RFC 9234 s4): what we say, what we make of the peer's, and OTC on what we announce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgpbridge.config.model import Config
from bgpbridge.speaker.render import render
from bgpbridge.types import Role

PAIRS = {("provider", "customer"), ("customer", "provider"), ("peer", "peer")}
PAIRS |= {("rs-server", "rs-client"), ("rs-client", "rs-server")}


def received(*values: bytes) -> Any:
    """The capabilities of an OPEN with these roles, read by ExaBGP."""
    from exabgp.bgp.message.open.capability import Capabilities

    import bgpbridge.speaker.roles  # noqa: F401 - registers the capability

    body = b"".join(bytes([2, 2 + len(value), 9, len(value)]) + value for value in values)
    return Capabilities.unpack(bytes([len(body)]) + body)


def test_the_values_are_those_of_the_registry() -> None:
    assert [(role.value, role.code) for role in Role] == [
        ("provider", 0),
        ("rs-server", 1),
        ("rs-client", 2),
        ("customer", 3),
        ("peer", 4),
    ]


@pytest.mark.parametrize("ours", list(Role))
@pytest.mark.parametrize("theirs", list(Role))
def test_only_opposites_go_together(ours: Role, theirs: Role) -> None:
    from bgpbridge.speaker.roles import mismatch, role_of

    capabilities = received(bytes([theirs.code]))
    assert role_of(capabilities) is theirs
    assert (mismatch(ours, capabilities, strict=False) == "") is ((ours.value, theirs.value) in PAIRS)
    assert mismatch(None, capabilities, strict=True) == ""


@pytest.mark.parametrize(
    ("values", "strict", "words"),
    [
        ([], False, ""),
        ([], True, "it says no role; we are customer, so it must be provider (`role_strict`)"),
        ([b"\0", b"\0"], True, ""),
        ([b"\0", b"\3"], False, "it says several roles"),
        ([b"\5"], False, "it says that it is 0x05, which is no role"),
        ([b"\0\0"], False, "it says that it is 0x0000, which is no role"),
        ([b""], False, "which is no role"),
        ([b"\4"], False, "it says that it is peer; we are customer, so it must be provider"),
    ],
)
def test_what_a_peer_may_send_in_place_of_a_role(values: list[bytes], strict: bool, words: str) -> None:
    from bgpbridge.speaker.roles import mismatch

    found = mismatch(Role.CUSTOMER, received(*values), strict=strict)
    assert words in found
    assert bool(words) is bool(found)


@pytest.mark.parametrize("role", [*Role, None])
def test_what_we_offer_and_what_we_announce(tmp_path: Path, role: Role | None) -> None:
    from bgpbridge.speaker.configuration import TapConfiguration
    from bgpbridge.speaker.roles import TapCapabilities

    peer = {"name": "a", "address": "192.0.2.1", "asn": 65001, "local_address": "192.0.2.2", "role": role}
    peer["announce"] = [{"prefix": "203.0.113.0/24"}]
    config = Config.model_validate({"router": {"asn": 65000, "router_id": "10.0.0.1"}, "peers": [peer]})
    path = tmp_path / "speaker.conf"
    path.write_text(render(config, {"a": 1}, {}))
    configuration = TapConfiguration(path)
    assert configuration.reload() is True, str(configuration.error)
    (neighbor,) = configuration.neighbors.values()
    packed = TapCapabilities().new(neighbor, False).pack()
    assert (b"\x02\x03\x09\x01" in packed) is (role is not None)
    assert role is None or b"\x02\x03\x09\x01" + bytes([role.code]) in packed
    marked = role in (Role.PROVIDER, Role.RS_SERVER, Role.PEER)
    assert ("0x23 0xc0 0x0000fde8" in path.read_text()) is marked
    (change,) = neighbor.changes
    assert (35 in change.nlri.attributes if hasattr(change.nlri, "attributes") else 35 in change.attributes) is marked

"""The rendered configuration, whole, and read back by ExaBGP itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgpbridge.config.model import Config
from bgpbridge.speaker.render import render
from bgpbridge.speaker.words import whole

GOLDEN = Path(__file__).parents[2] / "golden" / "speaker"
ROUTER = {"asn": 4200000001, "router_id": "10.0.0.2"}

FULL = {
    "name": "transit-a",
    "address": "192.0.2.1",
    "asn": 65001,
    "local_address": "192.0.2.2",
    "local_asn": 65010,
    "port": 1790,
    "listen_port": 1791,
    "hold_time_s": 30,
    "ttl_security": 1,
    "families": ["ipv4", "ipv6"],
    "add_path": ["ipv4", "ipv6"],
    "extended_next_hop": True,
    "graceful_restart_s": 60,
    "announce": [
        {"prefix": "203.0.113.0/24", "med": 7, "prepend": 2, "communities": ["65000:9", "65000:1:2", "rt:65000:5"]},
        {"prefix": "2001:db8::/32", "next_hop": "2001:db8::2"},
    ],
}
INTERNAL = {
    "name": "reflector",
    "address": "2001:db8:1::1",
    "asn": 4200000001,
    "passive": True,
    "multihop": 5,
    "extended_message": False,
    "route_refresh": False,
    "graceful_restart_s": None,
    "announce": [{"prefix": "203.0.113.0/24", "next_hop": "192.0.2.2", "prepend": 1}],
}
PLAIN = {"name": "customer", "address": "192.0.2.9", "asn": 65009}


def made(*peers: dict[str, Any]) -> Config:
    return Config.model_validate({"router": ROUTER, "peers": list(peers)})


@pytest.mark.parametrize(
    ("name", "peers"), [("full", [FULL]), ("three", [FULL, INTERNAL, PLAIN]), ("plain", [PLAIN]), ("none", [])]
)
def test_rendered_as_it_always_was(name: str, peers: list[dict[str, Any]]) -> None:
    numbers = {peer["name"]: number for number, peer in enumerate(peers, 4)}
    text = render(made(*peers), numbers, {"transit-a": 's3cr"et; }'})
    assert text == (GOLDEN / f"{name}.conf").read_text()
    assert whole(text) == len(peers)


def test_nothing_is_announced_unless_told() -> None:
    assert "route" not in render(made(PLAIN), {"customer": 1}, {}).replace("route-refresh", "").replace("router-id", "")


def test_a_password_appears_in_no_readable_form() -> None:
    assert "hunter2" not in render(made(PLAIN), {"customer": 1}, {"customer": "hunter2"})


def test_exabgp_reads_what_we_meant(tmp_path: Path) -> None:
    from bgpbridge.speaker.configuration import TapConfiguration

    path = tmp_path / "speaker.conf"
    numbers = {"transit-a": 4, "reflector": 5, "customer": 6}
    path.write_text(render(made(FULL, INTERNAL, PLAIN), numbers, {"transit-a": 's3cr"et; }'}))
    configuration = TapConfiguration(path)
    assert configuration.reload() is True, str(configuration.error)
    full, reflector, customer = configuration.neighbors.values()
    assert (int(full["local-as"]), int(full["peer-as"]), full["connect"]) == (65010, 65001, 1790)
    assert (full["incoming-ttl"], full["outgoing-ttl"], int(full["hold-time"])) == (255, 255, 30)
    assert [tuple(map(int, family)) for family in full.addpaths()] == [(1, 1), (2, 1)]
    assert [tuple(map(int, entry)) for entry in full.nexthops()] == [(1, 1, 2)]
    assert full["capability"]["graceful-restart"] == 60
    first, second = map(str, full.changes)
    assert first == (
        "203.0.113.0/24 next-hop 192.0.2.2 as-path ( 65010 65010 65010 ) med 7 community 65000:9"
        " extended-community target:65000:5 large-community 65000:1:2"
    )
    assert second.startswith("2001:db8::/32 next-hop 2001:db8::2")
    assert reflector["passive"]
    assert reflector.auto_discovery
    assert not reflector["capability"]["graceful-restart"]
    assert not reflector["capability"]["route-refresh"]
    assert not reflector["capability"]["extended-message"]
    assert "as-path ( 4200000001 )" in str(reflector.changes[0])
    assert customer["outgoing-ttl"] == 1
    assert customer.changes == []


@pytest.mark.parametrize(("key", "value"), [("add_path", ["ipv4"]), ("extended_next_hop", False), ("port", 1800)])
def test_a_change_that_needs_another_open_makes_a_neighbor_differ(tmp_path: Path, key: str, value: Any) -> None:
    from bgpbridge.speaker.configuration import TapConfiguration

    found = []
    for number, peer in enumerate((FULL, FULL, {**FULL, key: value})):
        path = tmp_path / f"{number}.conf"
        path.write_text(render(made(peer), {"transit-a": 4}, {}))
        configuration = TapConfiguration(path)
        assert configuration.reload() is True
        found += configuration.neighbors.values()
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[: len(text) // 2], lambda text: text + "x"])
def test_a_damaged_file_leaves_the_configuration_as_it_was(tmp_path: Path, damage: Any) -> None:
    from bgpbridge.speaker.configuration import TapConfiguration

    path = tmp_path / "speaker.conf"
    text = render(made(PLAIN), {"customer": 1}, {})
    path.write_text(text)
    configuration = TapConfiguration(path)
    assert configuration.reload() is True
    before = dict(configuration.neighbors)
    path.write_text(damage(text))
    assert not configuration.reload()
    assert "nothing is changed" in str(configuration.error)
    assert configuration.neighbors == before

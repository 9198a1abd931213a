"""Which sockets listen, for whom, and with which TTL limit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bgpbridge.config.model import Config
from bgpbridge.speaker.configuration import TapConfiguration
from bgpbridge.speaker.listener import wishes
from bgpbridge.speaker.render import render
from bgpbridge.speaker.words import PeerWords


def peers(folder: Path, *options: dict[str, Any], passwords: dict[str, str] | None = None) -> list[Any]:
    given = [{"name": f"p{n}", "address": f"192.0.2.{n}", "asn": 65001, **each} for n, each in enumerate(options, 1)]
    config = Config.model_validate({"router": {"asn": 65000, "router_id": "10.0.0.1"}, "peers": given})
    path = folder / "speaker.conf"
    path.write_text(render(config, {peer["name"]: n for n, peer in enumerate(given, 1)}, passwords or {}))
    configuration = TapConfiguration(path)
    assert configuration.reload() is True
    return [
        SimpleNamespace(neighbor=neighbor, words=PeerWords.from_text(neighbor["description"]))
        for neighbor in configuration.neighbors.values()
    ]


def test_peers_share_a_socket_per_address_and_port(tmp_path: Path) -> None:
    local = {"local_address": "192.0.2.100"}
    found = wishes(peers(tmp_path, local, local, {**local, "listen_port": 1790}))
    assert sorted(found) == [("192.0.2.100", 179), ("192.0.2.100", 1790)]


def test_one_peer_without_local_address_makes_it_a_wildcard(tmp_path: Path) -> None:
    six = {"address": "2001:db8::1", "local_address": "2001:db8::2"}
    found = wishes(peers(tmp_path, {"local_address": "192.0.2.100"}, {}, six))
    assert sorted(found) == [("0.0.0.0", 179), ("2001:db8::2", 179)]


def test_the_ttl_limit_of_a_socket_is_the_lowest_of_its_peers(tmp_path: Path) -> None:
    both = wishes(peers(tmp_path, {"ttl_security": 1}, {"ttl_security": 3}))
    assert both["0.0.0.0", 179].limit == 253
    mixed = wishes(peers(tmp_path, {"ttl_security": 1}, {}))
    assert mixed["0.0.0.0", 179].limit == 0


def test_each_peer_has_its_own_key(tmp_path: Path) -> None:
    found = wishes(peers(tmp_path, {}, {}, {}, passwords={"p1": "a", "p3": "b"}))
    assert set(found["0.0.0.0", 179].keys) == {"192.0.2.1", "192.0.2.3"}

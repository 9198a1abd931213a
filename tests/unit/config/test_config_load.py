"""The configuration file as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.config import Config, advise, loads_config, missing_passwords, read_password
from bgpbridge.config.model import Loader, MedMode
from bgpbridge.errors import DocumentError
from bgpbridge.types import Family, Prefix

ROUTER = "router: {asn: 65000, router_id: 192.0.2.1}\n"
PEER = "peers:\n  - {name: a, address: 198.51.100.1, asn: 65001"


def config(text: str, folder: Path = Path("/etc/bgpbridge")) -> Config:
    return loads_config(text, folder / "bgpbridge.yml")


def test_defaults_are_those_of_the_documentation() -> None:
    loaded = config(ROUTER + PEER + "}\n")
    peer = loaded.peers[0]
    assert (peer.port, peer.listen_port, peer.hold_time_s, peer.families) == (179, 179, 90, (Family.IPV4,))
    assert (peer.extended_message, peer.route_refresh, peer.graceful_restart_s) == (True, True, 120)
    assert (peer.announce, peer.import_policy, peer.passive, peer.weight) == ((), None, False, 0)
    assert loaded.decision.med is MedMode.SAME_NEIGHBOR
    assert loaded.datapath.loader is Loader.AUTO
    assert (loaded.kernel.table, loaded.kernel.protocol, loaded.kernel.metric) == (254, 203, 200)
    assert loaded.http is not None
    assert (loaded.http.address, loaded.http.port) == ("127.0.0.1", 9479)
    assert loaded.router.name == "bgpbridge"


def test_a_peer_knows_its_line() -> None:
    loaded = config(ROUTER + "peers:\n  - name: a\n    address: 198.51.100.1\n    asn: 65001\n")
    assert str(loaded.peers[0].place) == "/etc/bgpbridge/bgpbridge.yml:3:11"


def test_defaults_of_peers_stand_under_each_peer() -> None:
    text = ROUTER + "peer_defaults: {asn: 65009, hold_time_s: 9, families: [ipv4, ipv6]}\n"
    text += (
        "peers:\n  - {name: a, address: 198.51.100.1}\n  - {name: b, address: 198.51.100.2, asn: 1, hold_time_s: 30}\n"
    )
    first, second = config(text).peers
    assert (first.asn, first.hold_time_s, first.families) == (65009, 9, (Family.IPV4, Family.IPV6))
    assert (second.asn, second.hold_time_s) == (1, 30)


def test_a_peer_can_take_a_default_back() -> None:
    text = ROUTER + "peer_defaults: {graceful_restart_s: 60, ttl_security: 1}\n"
    text += PEER + ", graceful_restart_s: null, ttl_security: null, multihop: 3}\n"
    peer = config(text).peers[0]
    assert (peer.graceful_restart_s, peer.ttl_security, peer.multihop) == (None, None, 3)


@pytest.mark.parametrize(("text", "asn"), [("65001", 65001), ("AS65001", 65001), ("1.10", 65546), ('"7"', 7)])
def test_as_numbers_may_be_written_in_three_ways(text: str, asn: int) -> None:
    assert config(ROUTER + f"peers:\n  - {{name: a, address: 198.51.100.1, asn: {text}}}\n").peers[0].asn == asn


def test_announcements() -> None:
    text = ROUTER + PEER + ", announce: [{prefix: 192.0.2.0/24, next_hop: 198.51.100.9, med: 5, prepend: 2, "
    text += 'communities: ["65000:1", "65000:1:2", "rt:1:2", no-export]}]}\n'
    (announcement,) = config(text).peers[0].announce
    assert announcement.prefix == Prefix.parse("192.0.2.0/24")
    assert announcement.standard == (65000 << 16 | 1, 0xFFFFFF01)
    assert announcement.large == ((65000, 1, 2),)
    assert announcement.extended == (bytes([0, 2, 0, 1, 0, 0, 0, 2]),)


def test_none_announces_nothing() -> None:
    assert config(ROUTER + PEER + ", announce: none}\n").peers[0].announce == ()


def test_external_and_internal_peers() -> None:
    text = ROUTER + "peers:\n  - {name: a, address: 198.51.100.1, asn: 65000}\n"
    text += "  - {name: b, address: 198.51.100.2, asn: 65000, local_asn: 65007}\n"
    loaded = config(text)
    assert [loaded.is_ebgp(peer) for peer in loaded.peers] == [False, True]
    assert [loaded.local_asn(peer) for peer in loaded.peers] == [65000, 65007]


def test_http_can_be_off() -> None:
    assert config(ROUTER + "http: null\n").http is None


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    for name in ("one", "two"):
        (tmp_path / "policies" / f"{name}.yml").write_text(
            f"policies: {{{name}: {{terms: [{{term: all, then: accept}}]}}}}\n"
        )
    text = ROUTER + "policies: [policies/*.yml]\nruntime: {directory: state}\n" + PEER
    loaded = config(text + ", import: two, password: {file: secret}}\n", tmp_path)
    assert sorted(loaded.policy_set.policies) == ["one", "two"]
    assert loaded.runtime.directory == tmp_path / "state"
    assert loaded.peers[0].password is not None
    assert loaded.peers[0].password.file == tmp_path / "secret"


def test_errors_in_a_policy_file_stand_beside_those_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("policies:\n  in:\n    terms: [{term: a, then: accept, match: {prefix: nets}}]\n")
    text = ROUTER + "policies: [p.yml]\n" + PEER + ", import: in}\n  - {name: a, address: 198.51.100.2, asn: 65001}\n"
    with pytest.raises(DocumentError) as caught:
        config(text, tmp_path)
    assert "p.yml:3:53: there is no prefix set `nets`" in str(caught.value)
    assert "a second peer has the name `a`" in str(caught.value)


def test_passwords_are_read_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hunter2\nsecond line\n")
    monkeypatch.setenv("BGP_PASSWORD", "hunter3")
    text = ROUTER + PEER + ", password: {file: secret}}\n"
    text += "  - {name: b, address: 198.51.100.2, asn: 1, password: {env: BGP_PASSWORD}}\n"
    text += "  - {name: c, address: 198.51.100.3, asn: 1}\n"
    assert [read_password(peer) for peer in config(text, tmp_path).peers] == ["hunter2", "hunter3", None]


@pytest.mark.parametrize("content", [None, b"", b"\n", b"x" * 81, b"\xff\xfe", b"a\tb"])
def test_a_password_that_cannot_be_used_is_named_not_shown(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    loaded = config(ROUTER + PEER + ", password: {file: secret}}\n", tmp_path)
    (problem,) = missing_passwords(loaded)
    assert "password of peer a" in str(problem)
    assert "bgpbridge.yml:3:12" in str(problem)
    assert "xxx" not in str(problem)


def test_advice(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "secret").chmod(0o644)
    (tmp_path / "p.yml").write_text(
        "sets: {prefixes: {idle: [192.0.2.0/24]}}\n"
        "policies:\n  idle: {terms: [{term: a, then: reject, match: {peer: nobody}}]}\n"
    )
    text = ROUTER + "policies: [p.yml]\nhttp: {address: 0.0.0.0}\nkernel: {enabled: false}\n" + PEER
    text += ", password: {file: secret}}\n  - {name: b, address: 2001:db8::1, asn: 2, import: accept, hold_time_s: 0}\n"
    said = "\n".join(str(oddity) for oddity in advise(config(text, tmp_path)))
    for words in (
        "external peer a has no `import`: every route of it will be refused (RFC 8212)",
        "external peer b is believed everything",
        "everybody can read",
        "IPv4 routes over an IPv6 session",
        "without a hold time",
        "can be read by everybody",
        "neither XDP nor the kernel",
        "policy idle is the `import` of no peer",
        "asks for the peer `nobody`, which there is not",
        "the prefixes set `idle` is used by no policy",
        "policy idle accepts nothing",
    ):
        assert words in said

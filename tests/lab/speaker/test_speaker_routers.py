"""Real routers against the real speaker: every option of a peer, as FRR, BIRD and GoBGP understand it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgpbridge.feed.frames import NoticeKind, Refresh, RefreshKind, SessionUp
from bgpbridge.types import Family

pytestmark = pytest.mark.root

FRR_BASE = """
router bgp {asn}
 bgp router-id 10.9.255.{n}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor {peer} remote-as 65000
 neighbor {peer} timers 3 9
 neighbor {peer} timers connect 1
{session}
 address-family ipv4 unicast
  network 198.51.{n}.0/24
  neighbor {peer} activate
{ipv4}
 exit-address-family
"""


def test_frr_with_md5_gtsm_four_octet_as_and_extended_message(rig: Any) -> None:
    name, n = rig.router()
    session = f" neighbor 10.9.{n}.1 password s3cr'et#1\n neighbor 10.9.{n}.1 ttl-security hops 1"
    vtysh = rig.frr(name, FRR_BASE.format(asn=4200000002, n=n, peer=f"10.9.{n}.1", session=session, ipv4=""))
    peer = {"name": "frr", "address": f"10.9.{n}.2", "asn": 4200000002, "ttl_security": 1, "hold_time_s": 30}
    rig.speaker({"peers": [peer]}, {"frr": "s3cr'et#1"})
    session_up = rig.up("frr").session
    assert (session_up.peer_as, session_up.asn4, session_up.hold_time_s) == (4200000002, True, 9)
    assert str(session_up.router_id) == f"10.9.255.{n}"
    assert session_up.route_refresh
    assert session_up.enhanced_refresh
    assert session_up.families == {Family.IPV4}
    rig.until(lambda: bytes([24, 198, 51, n]) in rig.octets("frr"))
    assert '"state":"Established"' in vtysh("show bgp summary json").replace(" ", "").replace("\n", "")


@pytest.fixture(scope="module")
def strangers(make_rig: Callable[[], Any]) -> dict[str, Any]:
    """Speakers whose FRR has a password that they have not, a rig each. It takes tens of seconds until that can be
    told, so they wait beside each other."""
    found = {}
    for kind, ours, passive in (("another", "mine", False), ("none", None, False), ("passive", "mine", True)):
        rig = found[kind] = make_rig()
        name, n = rig.router()
        session = f" neighbor 10.9.{n}.1 password other\n neighbor 10.9.{n}.1 timers connect 1"
        rig.frr(name, FRR_BASE.format(asn=65001, n=n, peer=f"10.9.{n}.1", session=session, ipv4=""))
        peer = {"name": "frr", "address": f"10.9.{n}.2", "asn": 65001, "passive": passive}
        rig.speaker({"peers": [peer]}, {"frr": ours} if ours else {})
    return found


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("another", "a password: has the other side the same one? The kernel dropped"),
        ("none", "an MD5 signature that nobody here has a password for: does the other side have one for us?"),
    ],
)
def test_frr_with_another_password_never_comes_up_and_the_operator_is_told(
    strangers: dict[str, Any], kind: str, words: str
) -> None:
    rig = strangers[kind]
    rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.CONNECT_FAILED and words in x.text], 60)
    assert rig.events("frr", SessionUp) == []


def test_a_passive_peer_with_another_password_is_told_of_as_well(strangers: dict[str, Any]) -> None:
    rig = strangers["passive"]
    notice = rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.SIGNATURE_REFUSED], 60)[0]
    assert notice.peer == 1
    assert "with a wrong MD5 signature meanwhile" in notice.text


def test_bird_with_add_path_extended_messages_and_graceful_restart(rig: Any) -> None:
    name, n = rig.router()
    config = f"""
router id 10.9.255.{n};
protocol device {{}}
protocol static {{ ipv4; route 198.51.{n}.0/24 blackhole; }}
protocol bgp speaker {{
  local 10.9.{n}.2 as 65002; neighbor 10.9.{n}.1 as 65000; hold time 9; connect retry time 1; error wait time 1,2;
  graceful restart on; graceful restart time 77; enable extended messages on; enable route refresh on;
  ipv4 {{ import all; export all; add paths tx; }};
}}
"""
    birdc = rig.bird(name, config)
    peer = {"name": "bird", "address": f"10.9.{n}.2", "asn": 65002, "local_address": f"10.9.{n}.1"}
    rig.speaker({"peers": [{**peer, "add_path": ["ipv4"]}]})
    up = rig.up("bird")
    assert up.session.add_path == {Family.IPV4}
    assert up.session.extended_message
    assert up.session.graceful_restart_s == 77
    assert up.session.graceful_families == {Family.IPV4}
    rig.until(lambda: bytes([24, 198, 51, n]) in rig.octets("bird"))
    assert "Established" in birdc("show protocols speaker")


def test_bird_over_ipv6_as_a_passive_peer_with_both_families(rig: Any) -> None:
    name, n = rig.router()
    config = f"""
router id 10.9.255.{n};
protocol device {{}}
protocol static {{ ipv6; route 2001:db8:{n}::/48 blackhole; }}
protocol bgp speaker {{
  local fd09:{n}::2 as 65002; neighbor fd09:{n}::1 as 65000; connect retry time 1; error wait time 1,2;
  ttl security on; password "six";
  ipv4 {{ import all; export all; extended next hop on; }};
  ipv6 {{ import all; export all; }};
}}
"""
    rig.bird(name, config)
    peer = {"name": "bird", "address": f"fd09:{n}::2", "asn": 65002, "passive": True, "ttl_security": 1}
    rig.speaker({"peers": [{**peer, "families": ["ipv4", "ipv6"], "extended_next_hop": True}]}, {"bird": "six"})
    session = rig.up("bird").session
    assert session.families == {Family.IPV4, Family.IPV6}
    assert session.extended_next_hop
    assert str(session.local_address) == f"fd09:{n}::1"
    rig.until(lambda: bytes.fromhex(f"3020010db8{n:04x}") in rig.octets("bird"))


def test_extended_next_hop_needs_no_ipv6_family(rig: Any) -> None:
    name, n = rig.router()
    peer_line = f"fd09:{n}::1"
    session = f" neighbor {peer_line} capability extended-nexthop"
    rig.frr(name, FRR_BASE.format(asn=65001, n=n, peer=peer_line, session=session, ipv4=""))
    peer = {"name": "frr", "address": f"fd09:{n}::2", "asn": 65001, "extended_next_hop": True}
    rig.speaker({"peers": [peer]})
    session_up = rig.up("frr").session
    assert session_up.extended_next_hop
    assert session_up.families == {Family.IPV4}
    rig.until(lambda: bytes([24, 198, 51, n]) in rig.octets("frr"))


def test_gobgp_connects_to_a_passive_peer_of_a_four_octet_as_on_another_port(rig: Any) -> None:
    name, n = rig.router()
    config = f"""
global:
  config: {{as: 4200000003, router-id: 10.9.255.{n}, port: -1}}
neighbors:
  - config: {{neighbor-address: 10.9.{n}.1, peer-as: 65000}}
    timers: {{config: {{connect-retry: 1, idle-hold-time-after-reset: 1}}}}
    transport: {{config: {{remote-port: 1790, local-address: 10.9.{n}.2}}}}
    graceful-restart: {{config: {{enabled: true, restart-time: 60}}}}
    afi-safis:
      - config: {{afi-safi-name: ipv4-unicast}}
        mp-graceful-restart: {{config: {{enabled: true}}}}
"""
    gobgp = rig.gobgp(name, config)
    peer = {"name": "gobgp", "address": f"10.9.{n}.2", "asn": 4200000003, "passive": True, "listen_port": 1790}
    rig.speaker({"peers": [peer]})
    up = rig.up("gobgp", 40)
    assert up.session.graceful_restart_s == 60
    gobgp(f"global rib add 198.51.{n}.0/24 nexthop 10.9.{n}.2")
    rig.until(lambda: bytes([24, 198, 51, n]) in rig.octets("gobgp"))


def test_own_prefixes_arrive_as_configured_and_change_by_reload(rig: Any) -> None:
    from bgpbridge.feed.control import Reload

    name, n = rig.router()
    vtysh = rig.frr(name, FRR_BASE.format(asn=65001, n=n, peer=f"10.9.{n}.1", session="", ipv4=""))
    quiet = {"name": "frr", "address": f"10.9.{n}.2", "asn": 65001, "local_address": f"10.9.{n}.1"}
    one = {"prefix": "203.0.113.0/24", "med": 7, "prepend": 2, "communities": ["65000:9", "65000:1:2", "rt:65000:5"]}
    rig.speaker({"peers": [{**quiet, "announce": [one]}]})
    rig.up("frr")

    def route() -> str:
        return str(vtysh("show bgp ipv4 unicast 203.0.113.0/24"))

    rig.until(lambda: "65000 65000 65000" in route())
    text = route()
    for part in ("metric 7", "65000:9", "65000:1:2", "RT:65000:5", f"10.9.{n}.1"):
        assert part in text, text

    rig.process.configure(rig.render({"peers": [{**quiet, "announce": [{**one, "med": 8}]}]}))
    rig.sender.send(Reload())
    rig.until(lambda: "metric 8" in route())
    rig.process.configure(rig.render({"peers": [quiet]}))
    rig.sender.send(Reload())
    rig.until(lambda: "not in table" in route())
    assert len(rig.events("frr", SessionUp)) == 1


def test_reload_adds_and_removes_a_peer_and_the_others_never_blink(rig: Any) -> None:
    from bgpbridge.feed.control import Reload
    from bgpbridge.feed.frames import DownReason, SessionDown

    first, a = rig.router()
    second, b = rig.router()
    rig.frr(first, FRR_BASE.format(asn=65001, n=a, peer=f"10.9.{a}.1", session="", ipv4=""))
    rig.bird(
        second,
        f"router id 10.9.255.{b}; protocol device {{}}\nprotocol bgp speaker {{ local as 65002;"
        f" neighbor 10.9.{b}.1 as 65000; ipv4 {{ import all; export all; }}; }}",
    )
    one = {"name": "one", "address": f"10.9.{a}.2", "asn": 65001}
    two = {"name": "two", "address": f"10.9.{b}.2", "asn": 65002}
    rig.speaker({"peers": [one]})
    rig.up("one")
    rig.process.configure(rig.render({"peers": [two, one]}))
    rig.sender.send(Reload())
    rig.up("two")
    rig.process.configure(rig.render({"peers": [one]}))
    number = rig.index  # the table forgets the name, the lane keeps its number
    token = rig.sender.send(Reload())
    rig.until(lambda: [x for x in rig.notices() if x.token == token and x.kind is NoticeKind.RELOADED])
    rig.until(lambda: [x for x in rig.told.get(2, []) if isinstance(x, SessionDown)])
    assert [x.reason for x in rig.told[2] if isinstance(x, SessionDown)] == [DownReason.REMOVED]
    assert number["one"] == 1
    assert len(rig.events("one", SessionUp)) == 1
    assert rig.events("one", SessionDown) == []


@pytest.mark.parametrize("damage", ["", "neighbor 10.0.0.1 {\n", "# hello\n"])
def test_a_damaged_file_is_refused_and_changes_nothing(rig: Any, damage: str) -> None:
    from bgpbridge.feed.control import Reload
    from bgpbridge.feed.frames import SessionDown

    name, n = rig.router()
    rig.frr(name, FRR_BASE.format(asn=65001, n=n, peer=f"10.9.{n}.1", session="", ipv4=""))
    rig.speaker({"peers": [{"name": "frr", "address": f"10.9.{n}.2", "asn": 65001}]})
    rig.up("frr")
    rig.process.configure(damage)
    token = rig.sender.send(Reload())
    notice = rig.until(lambda: [x for x in rig.notices() if x.token == token])[0]
    assert notice.kind is NoticeKind.RELOAD_REFUSED
    assert "nothing is changed" in notice.text
    assert rig.events("frr", SessionDown) == []


def test_resync_asks_for_the_table_between_borr_and_eorr(rig: Any) -> None:
    from bgpbridge.feed.control import Resync

    name, n = rig.router()
    rig.frr(name, FRR_BASE.format(asn=65001, n=n, peer=f"10.9.{n}.1", session="", ipv4=""))
    rig.speaker({"peers": [{"name": "frr", "address": f"10.9.{n}.2", "asn": 65001}]})
    rig.up("frr")
    prefix = bytes([24, 198, 51, n])
    rig.until(lambda: rig.octets("frr").count(prefix) == 1)
    rig.sender.send(Resync())
    rig.until(lambda: [x for x in rig.events("frr", Refresh) if x.kind is RefreshKind.EORR])
    assert rig.octets("frr").count(prefix) == 2
    assert [x.resync for x in rig.events("frr", SessionUp)] == [False, True]
    assert [x.kind for x in rig.events("frr", Refresh)] == [RefreshKind.BORR, RefreshKind.EORR]

"""BGP roles (RFC 9234) with a real FRR and a real BIRD: agreed, refused, and asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bgpbridge.feed.frames import NoticeKind, SessionUp
from bgpbridge.types import Role

pytestmark = pytest.mark.root

FRR = """
router bgp 65001
 bgp router-id 10.9.255.{n}
 no bgp ebgp-requires-policy
 neighbor 10.9.{n}.1 remote-as 65000
 neighbor 10.9.{n}.1 timers connect 1
{role}
"""
BIRD = """
router id 10.9.255.{n};
protocol device {{}}
protocol bgp speaker {{
  local 10.9.{n}.2 as 65002; neighbor 10.9.{n}.1 as 65000; connect retry time 1; error wait time 1,2;
  {role}
  ipv4 {{ import all; export none; }};
}}
"""


def test_roles_are_agreed_and_what_we_announce_downwards_is_only_for_customers(rig: Any) -> None:
    (frr, n), (bird, m) = rig.router(), rig.router()
    vtysh = rig.frr(frr, FRR.format(n=n, role=f" neighbor 10.9.{n}.1 local-role customer strict-mode"))
    birdc = rig.bird(bird, BIRD.format(n=m, role="local role peer; require roles yes;"))
    ours = [{"prefix": "203.0.113.0/24"}]
    down = {"name": "frr", "address": f"10.9.{n}.2", "asn": 65001, "role": "provider", "role_strict": True}
    across = {"name": "bird", "address": f"10.9.{m}.2", "asn": 65002, "role": "peer", "role_strict": True}
    places = {"frr": f"10.9.{n}.1", "bird": f"10.9.{m}.1"}
    rig.speaker({"peers": [{**one, "local_address": places[one["name"]], "announce": ours} for one in (down, across)]})
    for name, roles in (("frr", (Role.PROVIDER, Role.CUSTOMER)), ("bird", (Role.PEER, Role.PEER))):
        session = rig.up(name).session
        assert (session.role, session.peer_role) == roles
    rig.wait_for(lambda: "otc 65000" in vtysh("show bgp ipv4 unicast 203.0.113.0/24"))
    rig.wait_for(lambda: "bgp.otc: 65000" in birdc("show route 203.0.113.0/24 all").lower())


def test_another_role_is_refused_with_its_own_subcode_and_none_by_strict_mode(rig: Any) -> None:
    (frr, n), (bird, m) = rig.router(), rig.router()
    vtysh = rig.frr(frr, FRR.format(n=n, role=f" neighbor 10.9.{n}.1 local-role provider"))
    birdc = rig.bird(bird, BIRD.format(n=m, role=""))
    both = {"frr": (f"10.9.{n}.2", 65001), "bird": (f"10.9.{m}.2", 65002)}
    rig.speaker(
        {
            "peers": [
                {"name": name, "address": address, "asn": asn, "role": "provider", "role_strict": True}
                for name, (address, asn) in both.items()
            ]
        }
    )
    wanted = {
        "frr": "it says that it is provider; we are provider, so it must be customer",
        "bird": "it says no role; we are provider, so it must be customer (`role_strict`)",
    }
    for name, words in wanted.items():
        told = rig.until(
            lambda name=name, words=words: [
                one
                for one in rig.notices()
                if one.kind is NoticeKind.OPEN_REFUSED and one.peer == rig.index[name] and words in one.text
            ]
        )
        assert "Role Mismatch" in told[0].text
        assert rig.events(name, SessionUp) == []
    rig.wait_for(lambda: "role mismatch" in vtysh("show bgp neighbors").lower())
    rig.wait_for(lambda: "role mismatch" in birdc("show protocols all speaker").lower())

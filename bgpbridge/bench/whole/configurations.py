"""What each subject of the whole-table bench is configured with: these peers, their one family, everything taken,
nothing announced, and what its manual advises for speed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bgpbridge.bench.rig import ASN, Uplink, bridge_config
from bgpbridge.types import Family

__all__ = ["ZEBRA", "bird", "of", "ours"]

ZEBRA: Final = "frr defaults traditional\n"  # zebra alone, for GoBGP
ROOM: Final = 1_200_000  # prefixes that our maps have room for by default
FEED_SCRIPT: Final = Path(__file__).with_name("exabgp_ip.py")

BIRD: Final = """router id 10.0.0.1;
protocol device {{ scan time 60; }}
protocol kernel {{ scan time 3600; persist off; netlink rx buffer 67108864; {channel} {{ import none; export all; }}; }}
{policy}{peers}"""
BIRD_PEER: Final = """protocol bgp {name} {{
  local {ours} as {asn};
  neighbor {theirs} as {peer};
  direct; passive on; error wait time 1, 1; connect delay time 1;
  {channel} {{ import {accepts}; export none; }};
}}
"""
FRR: Final = """frr defaults traditional
route-map nothing deny 10
router bgp {asn}
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
{peers} address-family {family} unicast
{active} exit-address-family
"""
FRR_PEER: Final = """ neighbor {theirs} remote-as {peer}
 neighbor {theirs} passive
 neighbor {theirs} advertisement-interval 0
"""
FRR_ACTIVE: Final = """  neighbor {theirs} activate
  neighbor {theirs} route-map nothing out
"""
GOBGP: Final = """[global.config]
  as = {asn}
  router-id = "10.0.0.1"
[global.apply-policy.config]
  default-export-policy = "reject-route"
[zebra.config]
  enabled = true
  url = "unix:{zserv}"
  version = 6
  software-name = "frr8.4"
"""
GOBGP_PEER: Final = """[[neighbors]]
  [neighbors.config]
    neighbor-address = "{theirs}"
    peer-as = {peer}
  [neighbors.transport.config]
    passive-mode = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}-unicast"
"""
EXABGP: Final = """process feed {{
  run {python} -P {script};
  encoder json;
}}
"""
EXABGP_PEER: Final = """neighbor {theirs} {{
  router-id 10.0.0.1;
  local-address {ours};
  local-as {asn};
  peer-as {peer};
  hold-time 90;
  passive true;
  listen 179;
  adj-rib-in false;
  family {{ {family} unicast; }}
  capability {{ asn4 enable; route-refresh enable; }}
  api {{ processes [ feed ]; neighbor-changes; receive {{ parsed; update; }} }}
}}
"""


def of(who: str, peers: Sequence[Uplink], zserv: Path, prefixes: int = ROOM) -> str:
    """The configuration of a subject by its name in records; ours has to know how many `prefixes` there may be."""
    made: dict[str, Callable[[], str]] = {
        "bgpbridge": lambda: ours(peers, prefixes),
        "bird": lambda: bird(peers),
        "frr": lambda: _frr(peers),
        "gobgp": lambda: GOBGP.format(asn=ASN, zserv=zserv) + _each(GOBGP_PEER, peers),
        "exabgp-ip": lambda: EXABGP.format(python=_python(), script=FEED_SCRIPT) + _each(EXABGP_PEER, peers),
    }
    return made[who]()


def ours(peers: Sequence[Uplink], prefixes: int = ROOM, policy: str = "", **sections: Any) -> str:
    """Bgpbridge, with room for so many IPv4 prefixes; `policy` is what the first peer's routes go through. A recorded
    table does not begin with its peer's AS."""
    listed: list[dict[str, Any]] = [
        {
            "name": up.name,
            "address": str(up.theirs),
            "asn": up.asn,
            "families": [_family(up).label],
            "enforce_first_as": False,
        }
        for up in peers
    ]
    if policy:
        listed[0]["import"] = policy
    datapath = {"interfaces": ["eth1", "eth2", "eth3"], "max_ipv4": max(ROOM, prefixes * 6 // 5)}
    return bridge_config(listed, **{"datapath": datapath, "http": {}, **sections})


def bird(peers: Sequence[Uplink], filters: str = "", accepts: str = "all") -> str:
    """BIRD; `accepts` is the import clause of the first peer."""
    text = _each(BIRD_PEER, peers[:1], accepts=accepts) + _each(BIRD_PEER, peers[1:], accepts="all")
    return BIRD.format(channel=_family(peers[0]).label, peers=text, policy=filters)


def _frr(peers: Sequence[Uplink]) -> str:
    family = _family(peers[0]).label
    return FRR.format(asn=ASN, peers=_each(FRR_PEER, peers), family=family, active=_each(FRR_ACTIVE, peers))


def _each(text: str, peers: Sequence[Uplink], **more: str) -> str:
    def one(up: Uplink) -> str:
        label = _family(up).label
        name = up.name.replace("-", "_")
        words = {"ours": up.ours, "theirs": up.theirs, "asn": ASN, "peer": up.asn}
        return text.format(name=name, channel=label, family=label, **words, **more)

    return "".join(map(one, peers))


def _family(up: Uplink) -> Family:
    return Family.IPV4 if up.theirs.version == 4 else Family.IPV6


def _python() -> str:
    """The interpreter that we run under, as ExaBGP's `run` wants it: a whole path."""
    return os.path.abspath(sys.executable)  # noqa: PTH100 -- a link must stay one: it is what makes the environment

"""What a whole look at the kernel asks for, and what an event socket has to hear beside it: numbers and octets of
rtnetlink, and nothing that takes time to import.

Layouts: uapi/linux/rtnetlink.h, if_link.h, neighbour.h, nexthop.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "ADDRESSES",
    "ALL",
    "LINKS",
    "LINK_GROUPS",
    "NEIGHBOURS",
    "NEXTHOPS",
    "ROUTES",
    "ROUTE_GROUPS",
    "RULES",
    "Ask",
]

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH, RTM_NEWRULE, RTM_NEWNEXTHOP = 16, 20, 24, 28, 32, 104
GET = 2  # from RTM_NEW* to RTM_GET*
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
HEADER = struct.Struct("=IHHII")
RTMSG = struct.Struct("=BBBBBBBBI")
RTA_TABLE = struct.Struct("=HHI")
TABLE_KIND = 15
AF_INET, AF_INET6 = 2, 10
TABLE_MAIN, TABLE_LOCAL = 254, 255

LINK_GROUPS = (1, 5, 9, 3)
"""RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_NEIGH."""
ROUTE_GROUPS = (7, 11, 32, 8, 19)
"""RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE."""


class Ask(NamedTuple):
    """One dump: its name, the type of message that it is answered by, and the payload of the request."""

    what: str
    answer: int
    payload: bytes
    family: int = 0
    table: int = 0

    def request(self, sequence: int) -> bytes:
        """The octets to be sent."""
        kind, flags = self.answer + GET, NLM_F_REQUEST | NLM_F_DUMP
        return HEADER.pack(HEADER.size + len(self.payload), kind, flags, sequence, 0) + self.payload


def _routes(family: int, table: int) -> Ask:
    payload = RTMSG.pack(family, 0, 0, 0, table, 0, 0, 0, 0) + RTA_TABLE.pack(RTA_TABLE.size, TABLE_KIND, table)
    return Ask(f"routes of table {table}", RTM_NEWROUTE, payload, family, table)


LINKS = Ask("links", RTM_NEWLINK, bytes(16))
ADDRESSES = Ask("addresses", RTM_NEWADDR, bytes(8))
NEIGHBOURS = Ask("neighbours", RTM_NEWNEIGH, bytes(12))
NEXTHOPS = Ask("nexthops", RTM_NEWNEXTHOP, bytes(8))
RULES = Ask("rules", RTM_NEWRULE, bytes(12))
ROUTES = tuple(_routes(family, table) for family in (AF_INET, AF_INET6) for table in (TABLE_LOCAL, TABLE_MAIN))
ALL = (LINKS, ADDRESSES, NEIGHBOURS, NEXTHOPS, RULES, *ROUTES)
"""In their order: links before what lies on them, so that a link that goes down meanwhile is told of afterwards."""

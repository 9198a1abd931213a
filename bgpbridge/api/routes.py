"""The table of the API: what the control socket serves under /v1, HTTP serves under /api/v1.

To add a call, add a row: it is then on both, in the OpenAPI document, and fuzzed. A row's `answer` is a line over
`view` or over the bridge's own operations; what needs more is in `operations` or `listings`.
"""

from __future__ import annotations

from bgpbridge.api import listings, operations
from bgpbridge.api.overrides import OVERRIDES
from bgpbridge.api.packets import PACKETS
from bgpbridge.api.parameters import ADDRESS, ASN, GROUP, PEER_NAME, PREFIX, TARGET
from bgpbridge.api.table import Route
from bgpbridge.events import Event
from bgpbridge.pipeline.plan_report import Plan
from bgpbridge.pipeline.reload import ReloadReport
from bgpbridge.pipeline.upgrade import UpgradeReport
from bgpbridge.view.audit import AuditView
from bgpbridge.view.counters import CounterView, counters
from bgpbridge.view.explain import ExplainView, explain
from bgpbridge.view.fib import FibView, fib
from bgpbridge.view.groups import AdjacencyView, GroupView, adjacencies, group
from bgpbridge.view.health import HealthView, health
from bgpbridge.view.paths import PathsView, WouldView, paths, would
from bgpbridge.view.peers import PeerView, peer, peers
from bgpbridge.view.routes import RouteView, route
from bgpbridge.view.rpki import RpkiView, ValidityView, rpki, validity
from bgpbridge.view.status import StatusView, status

__all__ = ["ROUTES"]

SHOWS = (
    Route("GET", "/status", "The whole at a glance", lambda call: status(call.bridge), StatusView),
    Route("GET", "/peers", "All peers", lambda call: peers(call.bridge), list[PeerView]),
    Route("GET", "/peers/{name}", "One peer", lambda call: peer(call.bridge, call[PEER_NAME]), PeerView, (PEER_NAME,)),
    Route(
        "GET",
        "/route/{address}",
        "All paths of the longest prefix that holds an address, best first",
        lambda call: route(call.bridge, call[ADDRESS]),
        tuple[RouteView, ...],
        (ADDRESS,),
    ),
    Route(
        "GET",
        "/explain/{target}",
        "Why packets to an address go where they go",
        lambda call: explain(call.bridge, *call[TARGET]),
        ExplainView,
        (TARGET,),
    ),
    Route(
        "GET",
        "/fib/{address}",
        "What both planes hold for an address",
        lambda call: fib(call.bridge, call[ADDRESS]),
        FibView,
        (ADDRESS,),
    ),
    Route("GET", "/rpki", "Sources of VRPs, and routes by state", lambda call: rpki(call.bridge), RpkiView),
    Route(
        "GET",
        "/rpki/{asn}/{prefix}",
        "What RPKI says of a prefix and an origin AS",
        lambda call: validity(call.bridge, call[PREFIX], call[ASN]),
        ValidityView,
        (ASN, PREFIX),
    ),
    Route(
        "GET",
        "/groups",
        "Next-hop groups, the most used first, in slices",
        listings.list_groups,
        list[GroupView],
        (listings.MOST_USED,),
        streams=True,
    ),
    Route("GET", "/groups/{group}", "One group", lambda call: group(call.bridge, call[GROUP]), GroupView, (GROUP,)),
    Route("GET", "/adjacencies", "Neighbours", lambda call: adjacencies(call.bridge), list[AdjacencyView]),
    Route("GET", "/health", "Checks and BFD", lambda call: health(call.bridge), HealthView),
    Route(
        "GET",
        "/paths",
        "Ways out with what probes found",
        lambda call: paths(call.bridge, call[listings.PEER]),
        PathsView,
        (listings.PEER,),
    ),
    Route("GET", "/paths/would", "What latency does or would do", lambda call: would(call.bridge), list[WouldView]),
    Route("GET", "/counters", "What became of packets", lambda call: counters(call.bridge), list[CounterView]),
)

LISTINGS = (
    Route(
        "GET",
        "/routes",
        "Adj-RIB-In and Loc-RIB, in slices",
        listings.list_routes,
        list[RouteView],
        listings.ROUTES_PARAMETERS,
        streams=True,
    ),
    Route(
        "GET",
        "/events",
        "What happened; with follow=1 a JSON line each, those to come as well",
        listings.list_events,
        list[Event],
        (listings.EVENTS_LIMIT, listings.FOLLOW),
        streams=True,
    ),
    Route(
        "GET",
        "/record",
        "What comes in, as frames",
        listings.record,
        bytes,
        (listings.PEER,),
        streams=True,
        media="application/octet-stream",
    ),
)

DOINGS = (
    Route(
        "POST",
        "/audit",
        "Compare the planes with the Loc-RIB",
        operations.compare,
        AuditView,
        (operations.REPAIR,),
        writes=True,
    ),
    Route("POST", "/reload", "Take the changed configuration over", operations.reload, ReloadReport, writes=True),
    Route(
        "POST",
        "/plan",
        "What a reload would do; nothing is changed",
        operations.plan,
        Plan,
        (operations.FILE,),
        writes=True,
    ),
    Route(
        "POST",
        "/peers/{name}/clear-hold-off",
        "Let a peer connect again",
        operations.clear_hold_off,
        operations.ClearedView,
        (PEER_NAME,),
        writes=True,
    ),
    Route(
        "POST",
        "/datapath/upgrade",
        "Another program, and maps as the file wants them, with no packet lost",
        operations.upgrade_datapath,
        UpgradeReport,
        (operations.WATCH, operations.VERBOSE),
        writes=True,
    ),
    Route("POST", "/on", "Let XDP forward", operations.switch_on, operations.SwitchedView, writes=True),
    Route("POST", "/off", "All packets to the kernel", operations.switch_off, operations.SwitchedView, writes=True),
)

ROUTES: tuple[Route, ...] = (*SHOWS, *PACKETS, *LISTINGS, *OVERRIDES, *DOINGS)

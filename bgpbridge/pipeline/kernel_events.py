"""What the kernel tells, carried to whom it concerns: paths, overlay, both planes.

A link loss is the case to be quick in. The adjacency table hears of it first and marks its entries down (stores);
then the groups over them are filled again (stores), then the kernel's groups; next hops and routes follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.observed import (
    Address,
    ForeignRoute,
    KernelListener,
    Link,
    Nexthop,
    OwnRouteChange,
    OwnRouteEvent,
    PuntChange,
    Resync,
)
from bgpbridge.fib.resolve import Resolver
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.overlay import Overlay
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.types import IPAddress

__all__ = ["KernelEvents"]

GATHER_S = 0.1


@dataclass(slots=True)
class KernelEvents(KernelListener):
    """Listens from the moment that `live` is set: before, the state is still being read for the first time."""

    rib: Rib
    paths: Paths
    resolver: Resolver
    committer: Committer
    work: Work
    events: EventLog
    own_protocol: int
    datapath: Datapath | None = None
    overlay: Overlay | None = None
    kernel: KernelFib | None = None
    rebind: Callable[[IPAddress], None] = lambda _: None
    live: bool = False
    missed: bool = False
    repairs: int = 0
    deleted: list[Nexthop] = field(default_factory=list)  # told of together, a moment later

    def go_live(self) -> None:
        """Everything is in place: carry on what comes from now on. Next hops and overlay are made of the state
        as it is; only the kernel's own routes may have changed while they were being adopted."""
        self.live = True
        if self.missed and self.kernel is not None:
            self.kernel.audit_soon()

    def adjacencies_changed(self, adjacencies: tuple[int, ...], up: bool) -> None:
        """From the adjacency table, after its stores: groups follow at once."""
        groups = self.paths.adjacencies_changed(adjacencies)
        seen = self.paths.adjacencies.get(adjacencies[0]) if self.paths.adjacencies is not None else None
        why = "up" if up else (seen.reason if seen is not None else "gone")
        where = f"{seen.gateway} on {seen.link}" if seen is not None and len(adjacencies) == 1 else ""
        text = where or f"{len(adjacencies)} adjacencies{f' on {seen.link}' if seen is not None else ''}"
        self.committer.groups(groups, Cause(CauseKind.NEIGHBOUR, detail=f"{text}: {why}"))
        self.events.add("adjacency-up" if up else "adjacency-down", text, why, Severity.NOTICE)

    def on_link(self, link: Link, present: bool) -> None:
        """The adjacency table has heard of it already."""
        if not self.live:
            self.missed = True
            return
        if self.datapath is not None:
            self.datapath.follow_link(link, present)
        state = "gone" if not present else "up" if link.up else "down"
        self.events.add(f"link-{state}", link.name, f"MTU {link.mtu}", Severity.NOTICE)
        self._resolve_again(self.resolver.affected_by_link(link.ifindex), CauseKind.LINK, f"{link.name} {state}")
        if self.kernel is not None and self._carries_routes(link.ifindex):
            self.kernel.rebuild(link.ifindex)

    def _carries_routes(self, ifindex: int) -> bool:
        """Only by a link that leads to a next hop can the kernel have lost something: containers come and go."""
        return self.paths.adjacencies is not None and ifindex in self.paths.adjacencies.links()

    def on_address(self, address: Address, present: bool) -> None:
        """An own address is on a link again, perhaps on another one than before: sessions over it move along."""
        if self.live and present:
            self.rebind(address.address)

    def on_punt_change(self, change: PuntChange) -> None:
        """What XDP must leave to the kernel; told before the route itself."""
        if self.live and self.overlay is not None:
            self.overlay.foreign_changed(change)

    def on_foreign_route(self, route: ForeignRoute, present: bool) -> None:
        """A route of somebody else: which next hops resolve over it, and what it stood in the way of."""
        if not self.live:
            return
        affected = self.resolver.affected_by_prefix(route.prefix)
        self._resolve_again(affected, CauseKind.FOREIGN_ROUTE, str(route.prefix))
        if not present and self.kernel is not None:
            self.kernel.retry([route.prefix])

    def on_own_route_changed(self, change: OwnRouteChange) -> None:
        """A foreign hand on a route of ours, if there was one: put it back, and say whose hand it was."""
        if not self.live or self.kernel is None:
            self.missed = True
            return
        overwritten, foreign = change.event is OwnRouteEvent.OVERWRITTEN, change.by_protocol != self.own_protocol
        if not self.kernel.repair(change.prefix, overwritten=overwritten, foreign=foreign):
            return
        self.repairs += 1
        by = f"{change.event.value} by protocol {change.by_protocol}, netlink port {change.by_port}; put back"
        self.events.add("foreign-hand", str(change.prefix), by, Severity.WARNING)

    def on_nexthop(self, nexthop: Nexthop, present: bool) -> None:
        """A nexthop object of ours that somebody removed takes routes along: look for what is missing. Those of a
        link that goes down the kernel removes without a word."""
        self.missed |= not present
        if self.live and not present and nexthop.protocol == self.own_protocol and self.kernel is not None:
            self.kernel.audit_soon()
            if not self.deleted:
                asyncio.get_running_loop().call_later(GATHER_S, self._tell_deleted)
            self.deleted.append(nexthop)

    def _tell_deleted(self) -> None:
        """One event for those that went together: a hop takes its groups along."""
        gone, self.deleted = self.deleted, []
        what = "group" if gone[0].group else f"to {gone[0].hop.gateway}" if gone[0].hop is not None else "blackhole"
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        text = f"{what}{more}: deleted by somebody else; made again, with the routes that it took along"
        self.events.add("nexthop-deleted", f"id {gone[0].id}", text, Severity.WARNING)

    def on_resync(self, resync: Resync) -> None:
        """Events were lost: our own routes may have been touched without our hearing of it."""
        if resync.cause == "start":
            self.missed = False  # all that has been told so far is what there was
        self.missed |= resync.cause == "overrun"
        if not self.live or resync.cause != "overrun":
            return
        text = (
            "the kernel told more than the socket held (net.core.rmem_max bounds it): asked for all of it again, "
            f"{resync.differences:,} differences found and taken up"
        )
        self.events.add("netlink-overrun", "kernel", text, Severity.WARNING)
        if self.kernel is not None:
            self.kernel.audit_soon()

    def _resolve_again(self, next_hops: Iterable[int], kind: CauseKind, detail: str) -> None:
        decide, groups = self.paths.refresh(list(next_hops))
        cause = Cause(kind, detail=detail)
        self.committer.groups(groups, cause)
        if decide:
            self.work.add(cause, self.rib.next_hops_changed(decide))

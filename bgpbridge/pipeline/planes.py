"""The two forwarding planes as one: a commit goes to XDP, then to the kernel, then into the log.

Order (DESIGN section 7): groups before prefixes, XDP before the kernel. XDP writes are done when a call returns; the
kernel's run behind in their own thread (`behind` tells how far). A plane that is not configured is None.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bgpbridge.commits import Cause, CommitLog
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.pipeline.overlay import Overlay
from bgpbridge.pipeline.paths import Paths, Spread
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family

__all__ = ["Committer", "Planes"]


@dataclass(slots=True)
class Planes:
    """Both planes, as `Paths` stores groups in them."""

    xdp: XdpFib | None
    kernel: KernelFib | None

    def set_groups(self, groups: Iterable[tuple[int, Spread]]) -> None:
        """All XDP groups first, each as soon as it comes: that is where packets are."""
        hops: dict[int, list[Hop]] = {}
        for group, (members, ways) in groups:
            if self.xdp is not None:
                self.xdp.set_members(group, members)
            hops[group] = ways
        if self.kernel is not None:
            self.kernel.set_groups(hops)

    def held(self, groups: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """For each of these groups whether a plane may still forward by it, though the Loc-RIB does not."""
        held = np.zeros(len(groups), np.bool_)
        if self.kernel is not None:
            held |= self.kernel.holds(groups)
        if self.xdp is not None:
            held |= np.isin(groups, list(self.xdp.holds()))
        return held

    def forget(self, family: Family, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Any:
        """Of rows that the RIB would have back for other prefixes those that no plane knows anything of by now."""
        if self.xdp is not None:
            rows = self.xdp.at_rest(family, rows)
        if self.kernel is not None:
            rows = self.kernel.forget(family, rows)
        if self.xdp is not None:
            self.xdp.forget(family, rows)
        return rows

    def free_group(self, group: int) -> None:
        """Nothing points at the group any more."""
        if self.xdp is not None:
            self.xdp.free_group(group)
        if self.kernel is not None:
            self.kernel.free_group(group)


@dataclass(slots=True)
class Committer:
    """Carries changes of the Loc-RIB and of groups to both planes, and numbers them.

    While `deferred`, prefixes stay as an earlier run left them (RFC 4724 s4.1: a restarting speaker does not select
    before it has heard its peers; else all traffic would move to the peer that answers first). Groups are filled
    all the same: a lost link is acted on at once. Afterwards `Rib.everything` brings the planes in step.

    `stored_s` says when packets were last given another way by `routes` (time.monotonic())."""

    planes: Planes
    paths: Paths
    log: CommitLog
    overlay: Overlay | None = None
    deferred: bool = False
    stored_s: float = 0.0

    def routes(self, changes: Changes | FewChanges, cause: Cause) -> None:
        """One batch of prefixes with new groups. One without any may still have brought next hops that cannot
        be reached yet: they are watched from now on, so that their routes come up when they can."""
        if isinstance(changes, FewChanges):
            stored = self.few(changes)
        else:
            stored = self._ready(changes)
            if stored:
                self._columns(changes)
        if stored:
            self.log.append(cause, changes)

    def _ready(self, changes: Changes | FewChanges) -> bool:
        if self.paths.next_hops.fresh:
            self.paths.watch_fresh()
        return not self.deferred and len(changes) > 0

    def few(self, few: FewChanges) -> bool:
        """`routes` for a single UPDATE, but for the log: whoever calls appends to it afterwards when this is True.
        Packets wait for this, and not for the words about it."""
        if not self._ready(few):
            return False
        self._few(few)
        return True

    def rehearse(self, few: FewChanges) -> None:
        """Go the way of `few` with what stands already: nothing changes."""
        xdp = self.planes.xdp
        if self.deferred or xdp is None or (self.overlay is not None and self.overlay.touches(few)):
            return
        self.paths.prepare_few(few)
        xdp.rehearse(few)

    def _few(self, few: FewChanges) -> None:
        """The prefixes of a single UPDATE, the short way where nothing about them is odd."""
        if self.overlay is not None and self.overlay.touches(few):
            self._columns(few.columns())
            return
        self.paths.prepare_few(few)
        if self.planes.xdp is not None:
            self.stored_s = self.planes.xdp.apply_few(few)
        if self.planes.kernel is not None:
            self.planes.kernel.apply_few(few)

    def _columns(self, changes: Changes) -> None:
        self.paths.prepare(changes.new)
        if self.planes.xdp is not None:
            concerned = self.overlay.before(changes) if self.overlay is not None else []
            self.planes.xdp.apply(changes)
            self.stored_s = time.monotonic()
            if self.overlay is not None and concerned:
                self.overlay.after(concerned)
        if self.planes.kernel is not None:
            self.planes.kernel.apply(changes)

    def groups(self, groups: set[int], cause: Cause) -> None:
        """Groups whose members changed; every prefix behind them follows by pointing."""
        filled = self.paths.fill(groups)
        if filled:
            self.log.append(cause, groups=filled)

"""Prefix overrides at work: those of the policy files and those given at run time are one list, and the RIB obeys it.

An override acts only where BGP has a usable path, so it never makes a route; nothing of it is ever announced. What
changes is decided again in slices, as all whole-table work. Once a second the list is looked at: whose time is over,
whose target has gone or is back. The fall back itself does not wait for that: a pin is the active part of a next-hop
group whose backups are what BGP prefers.

Times are wall-clock times, since operators mean those. A clock that jumps ends no override for a while
(`CLOCK_SETTLES_S`): it may be set right again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import AbsentError, BridgeError, DocumentError, UsageError
from bgpbridge.events import EventLog, Severity
from bgpbridge.pipeline.override_entries import Meaning, holding, suspended
from bgpbridge.pipeline.override_state import Standing, State, Watch
from bgpbridge.pipeline.override_store import read_overrides, write_overrides
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.work import Work
from bgpbridge.policy.model import PolicySet
from bgpbridge.policy.override_schema import OverrideText
from bgpbridge.policy.overrides import Members, Override, Scope, of_text
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.overrides import Entry
from bgpbridge.scheduling import beat
from bgpbridge.types import Prefix

__all__ = ["Overrides"]

EVERY_S = 1.0
CLOCK_STEP_S = 5.0
CLOCK_SETTLES_S = 60.0
MOST = 100_000


@dataclass(slots=True)
class Overrides:
    """All overrides of a bridge. `store` is the file of those given at run time."""

    rib: Rib
    peers: PeerTable
    paths: Paths
    work: Work
    events: EventLog
    store: Path
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    active: tuple[Override, ...] = ()
    """Those that hold, in the order of the entries that the RIB has."""
    standing: dict[str, Standing] = field(default_factory=dict)
    """By name, as of the last look."""
    _files: tuple[Override, ...] = ()
    _groups: Mapping[str, Members] = field(default_factory=dict)
    _given: dict[str, Override] = field(default_factory=dict)
    _expired: set[tuple[Scope, float]] = field(default_factory=set)
    _entries: tuple[Entry, ...] = ()
    _next: int = 1
    _offset: float | None = None
    _stepped: float | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # -- coming and going ---------------------------------------------------------------------------

    def start(self, policies: PolicySet) -> None:
        """What the files say and what was kept, before the first route comes."""
        kept = read_overrides(self.store)
        if kept.unreadable:
            aside = self.store.with_suffix(".unreadable")
            text = f"{kept.unreadable}; what was given at run time is not in force, the file is now {aside.name}"
            self.events.add("state-unreadable", str(self.store), text, Severity.ERROR)
            self.store.replace(aside)
        for words in kept.refused:
            self.events.add("override-refused", str(self.store), words, Severity.ERROR)
        self._next = kept.next_number
        self._given = {one.name: one for one in kept.overrides}
        self._take(policies)
        for one in self.suspended():
            self.events.add("override-suspended", one.scope_text, self._clash(one), Severity.ERROR)
        self._apply("start")

    def check(self, policies: PolicySet) -> None:
        """Would these files go with what was given at run time? Raises DocumentError that names both."""
        now, given = self.clock(), {one.scope: one for one in self._given.values()}
        waiting = {one.name for one in self.suspended()}
        for item in policies.overrides:
            other = given.get(item.scope)
            if other is None or other.name in waiting or other.ended(now) or item.ended(now):
                continue
            problem = f"{item.scope_text} has an override already: {_named(other)}"
            assert item.place is not None
            mend = f"`bgpbridge override remove {other.name}`, or take this one out of the file"
            raise DocumentError(item.place, problem, mend=mend)

    def reload(self, policies: PolicySet) -> list[str]:
        """Other files hold, or other peers; `check` was asked before. Lines for an operator."""
        come, gone = self.differing(policies)
        self._take(policies)
        for one in gone:
            self.events.add("override-removed", one.scope_text, f"{one.name}: {one.what}", Severity.NOTICE)
        for one in come:
            self._tell_added(one)
        self._apply("reload")
        return [f"overrides: {len(come)} added or changed, {len(gone)} removed"] if come or gone else []

    def differing(self, policies: PolicySet) -> tuple[list[Override], list[Override]]:
        """(those that would be new or others, those that would go) if these files held."""
        before = {one.scope: one for one in self._files}
        after = {one.scope: one for one in policies.overrides}
        come = [one for scope, one in after.items() if _meaning(before.get(scope)) != _meaning(one)]
        return come, [one for scope, one in before.items() if scope not in after]

    def _take(self, policies: PolicySet) -> None:
        self._files = policies.overrides
        self._groups = {name: members for name, (members, _) in policies.groups.items()}
        ends = {(one.scope, one.expires) for one in self._files if one.expires is not None}
        self._expired &= ends

    def add(self, text: OverrideText, source: str) -> Override:
        """One given at run time, as a policy file would say it. It holds, and is kept, when this returns. Raises
        UsageError for one that conflicts or names what is not there, BridgeError when it cannot be kept."""
        one = of_text(text, f"o{self._next}", source)
        self._refuse(one)
        self._keep({**self._given, one.name: one}, self._next + 1)
        self._tell_added(one)
        self._apply(one.scope_text)
        return one

    def _refuse(self, one: Override) -> None:
        now = self.clock()
        if one.ended(now):
            raise UsageError(f"{one.scope_text}: its time is over already", mend="give a time that is to come")
        if len(self._given) >= MOST:
            raise UsageError(f"{MOST:,} overrides are kept", mend="remove some: `bgpbridge override list`")
        for other in (*self._files, *self._given.values()):
            if other.scope == one.scope and not self._over(other, now):
                mend = f"`bgpbridge override remove {other.name}` first"
                if other.place is not None:
                    mend = f"change it in {other.name} and `bgpbridge reload`"
                raise UsageError(f"{one.scope_text} ({one.what}) has an override already: {_named(other)}", mend=mend)
        if one.target is None:
            return
        if one.target.peer and self.peers.named(one.target.peer) is None:
            names = ", ".join(sorted(peer.name for peer in self.peers)) or "none"
            raise UsageError(f"there is no peer {one.target.peer}", mend=f"peers are: {names}")
        if one.target.group and one.target.group not in self._groups:
            names = ", ".join(sorted(self._groups)) or "none"
            raise UsageError(f"there is no group {one.target.group}", mend=f"groups of the policy files are: {names}")

    def remove(self, name: str) -> Override:
        """By its id, or by its prefix as `list` writes it. Raises UsageError for one of a file, or none."""
        found = [one for one in self._given.values() if name in (one.name, one.scope_text)]
        if not found:
            for one in self._files:
                if name in (one.name, one.scope_text):
                    raise UsageError(
                        f"the override of {one.scope_text} stands in {one.name}",
                        mend="take it out of the file and `bgpbridge reload`",
                    )
            raise AbsentError(
                f"there is no override {name}", mend="`bgpbridge override list` names those that there are"
            )
        one = found[0]
        self._keep({key: value for key, value in self._given.items() if key != one.name}, self._next)
        self.events.add("override-removed", one.scope_text, f"{one.name}: {one.what}", Severity.NOTICE)
        self._apply(one.scope_text)
        return one

    def _keep(self, given: dict[str, Override], number: int) -> None:
        """Write first: what is in force is on the disk."""
        try:
            write_overrides(self.store, given.values(), number)
        except OSError as error:
            raise BridgeError(
                f"the override cannot be kept: {self.store}: {error.strerror}", mend="nothing was changed; mend that"
            ) from None
        self._given, self._next = given, number

    def _tell_added(self, one: Override) -> None:
        until = f", until {_clock(one.expires)}" if one.expires is not None else ""
        text = f"{one.what}, by {one.owner}: {one.reason}{until} ({one.name}, {one.source})"
        self.events.add("override-added", one.scope_text, text, Severity.NOTICE)

    # -- what the RIB is to obey --------------------------------------------------------------------

    def suspended(self) -> list[Override]:
        """Given at run time, while a file has one for the same prefix: the file's holds."""
        now = self.clock()
        return suspended(self._files, self._given.values(), lambda one: self._over(one, now))

    def _clash(self, one: Override) -> str:
        other = next(other for other in self._files if other.scope == one.scope)
        return f"{one.name} ({one.what}) is not in force: {other.name} has another one ({other.what})"

    def _over(self, one: Override, now: float) -> bool:
        return one.expires is not None and ((one.scope, one.expires) in self._expired or one.ended(now))

    def _apply(self, what: str) -> None:
        """Bring the RIB in line, and have it decide again what another override decides on now."""
        self.active = self._holding(self._files)
        before = set(self._entries)
        self._entries = self._meaning(self._groups, self._index).entries(self.active)
        differing = before.symmetric_difference(self._entries)
        self.paths.watch_fresh()
        self.standing = {one.name: self.standing[one.name] for one in self.active if one.name in self.standing}
        self._changed.set()
        if differing:
            self.rib.set_overrides(self._entries)
            self.work.add(Cause(CauseKind.OPERATOR, detail=f"override {what}"), self.rib.redecide_under(differing))

    def would(self, policies: PolicySet, indices: Mapping[str, int]) -> tuple[tuple[Entry, ...], set[Entry]]:
        """What the RIB would obey if these files held, among peers of these indices; and how that differs from now.
        Next hops that only this names are kept by nobody: `Rib.spare` them."""
        groups = {name: members for name, (members, _) in policies.groups.items()}
        entries = self._meaning(groups, indices.get).entries(self._holding(policies.overrides))
        return entries, set(self._entries).symmetric_difference(entries)

    def _holding(self, files: Sequence[Override]) -> tuple[Override, ...]:
        now = self.clock()
        return holding(files, tuple(self._given.values()), lambda one: self._over(one, now))

    def _meaning(self, groups: Mapping[str, Members], index: Callable[[str], int | None]) -> Meaning:
        return Meaning(groups, index, self.rib.next_hops.intern)

    def _index(self, name: str) -> int | None:
        peer = self.peers.named(name)
        return peer.index if peer is not None else None

    def members(self, one: Override) -> Members:
        """The peers and next hops of an override's target."""
        return self._meaning(self._groups, self._index).members(one)

    # -- looking ------------------------------------------------------------------------------------

    def all(self) -> list[Override]:
        """All that are known: of the files, then those given at run time."""
        return [*self._files, *self._given.values()]

    def deciding(self, prefix: Prefix) -> Override | None:
        """The one that decides on exactly this prefix."""
        table = self.rib.families[prefix.family].overrides
        number = table.number_one(prefix.value, prefix.length) if table is not None else 0
        if not number or table is None:
            return None
        scope = table.entries[number - 1][:2]
        return next((one for one in self.active if one.scope == scope), None)

    def state(self, one: Override) -> Standing:
        """How one stands, as of the last look."""
        if one.name in self.standing:
            return self.standing[one.name]
        if self._over(one, self.clock()):
            return Standing(State.EXPIRED)
        if any(one.name == other.name for other in self.suspended()):
            return Standing(State.SUSPENDED, self._clash(one))
        return self.watch.standing(one)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many by (kind, state)."""
        return Counter((one.kind.value, self.state(one).state.value) for one in self.all())

    @property
    def watch(self) -> Watch:
        """What tells how an override stands."""
        return Watch(self.rib, self.peers, self.paths, self.members)

    # -- time ---------------------------------------------------------------------------------------

    async def keep(self, quiet: Callable[[], bool]) -> None:
        """For ever: look once a second while there are overrides. While `quiet` says so (an earlier run's routes are
        still being claimed) nobody is told of targets."""
        while True:
            await beat(EVERY_S)
            if not self._files and not self._given:
                self._changed.clear()
                await self._changed.wait()
                continue
            self.expire()
            if not quiet():
                for _ in self.look():
                    await asyncio.sleep(0)

    def expire(self) -> None:
        """End those whose time is over."""
        now = self.clock()
        if self._clock_stepped(now):
            return
        over = [one for one in self.all() if one.ended(now) and (one.scope, one.expires) not in self._expired]
        if not over:
            return
        for one in over:
            assert one.expires is not None
            self._expired.add((one.scope, one.expires))
            self.events.add("override-expired", one.scope_text, f"{one.name}: {one.what}", Severity.NOTICE)
        names = {one.name for one in over}
        left = {name: one for name, one in self._given.items() if name not in names}
        try:
            self._keep(left, self._next)
        except BridgeError as error:
            self.events.add("state-not-written", str(self.store), str(error), Severity.WARNING)
            self._given = left
        self._apply("expired")

    def _clock_stepped(self, now: float) -> bool:
        """True for a while after the wall clock went another way than time did."""
        steady = self.monotonic()
        offset, before = now - steady, self._offset
        self._offset = offset
        if before is not None and abs(offset - before) > CLOCK_STEP_S:
            self._stepped = steady
            text = f"the clock jumped by {offset - before:+.0f} s; no override ends for {CLOCK_SETTLES_S:.0f} s"
            self.events.add("clock-jumped", "overrides", text, Severity.WARNING)
        return self._stepped is not None and steady - self._stepped < CLOCK_SETTLES_S

    def look(self) -> Iterator[None]:
        """How each stands now; tells of those that fell back or came back. A point after some of them."""
        watch = self.watch
        for count, one in enumerate(self.active):
            if count % 200 == 199:
                yield
            before, now = self.standing.get(one.name), watch.standing(one)
            self.standing[one.name] = now
            was_back = before is not None and before.state is State.FALLEN_BACK
            if now.state is State.FALLEN_BACK and not was_back:
                text = f"{one.what}: {now.why}; BGP decides ({one.name})"
                self.events.add("override-target-gone", one.scope_text, text, Severity.WARNING)
            elif was_back and now.state is State.IN_FORCE:
                text = f"{one.what} is in force again ({one.name})"
                self.events.add("override-target-back", one.scope_text, text, Severity.NOTICE)


def _meaning(one: Override | None) -> Override | None:
    """An override without where it stands: a line that moved is no change."""
    return replace(one, name="", place=None) if one is not None else None


def _named(one: Override) -> str:
    where = f"in {one.name}" if one.place is not None else f"{one.name}, {one.source}"
    return f"{where}: {one.what}, by {one.owner}, {one.reason}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))

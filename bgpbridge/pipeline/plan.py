"""`bgpbridge plan`: what a reload would do to the live tables, without doing it.

The file is read, and policies are compiled, in a thread. Then the tables are gone through in slices by the RIB's
`trial`: what decides is what decides in a reload (`config.diff`, the judge, the decision), and UPDATEs go on between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.config import Config, ConfigDiff, diff
from bgpbridge.config.limits import Counting
from bgpbridge.config.load import load_changed
from bgpbridge.errors import CapacityError
from bgpbridge.fib.resolve import Resolver
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.limits import Level, level_of
from bgpbridge.pipeline.plan_report import EXAMPLES, OverridesPlan, PeerPlan, Plan
from bgpbridge.pipeline.plan_routes import RouteTally
from bgpbridge.pipeline.plan_table import TableTally
from bgpbridge.pipeline.reload import ready
from bgpbridge.pipeline.rib_settings import decision_options, peer_info
from bgpbridge.policy.compile import CompiledPolicy, compile_policy
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext
from bgpbridge.policy.overrides import Override
from bgpbridge.rib.decision_bulk import Reach
from bgpbridge.rib.overrides import Entry, OverrideTable
from bgpbridge.rib.tables import Ids
from bgpbridge.rib.trial import Trial, outlook
from bgpbridge.types import Family, IPAddress

__all__ = ["plan"]

SPARED = 8  # a plan leaves one in so many attribute ids to the routes that come meanwhile


async def plan(bridge: Bridge, file: Path | None) -> Plan:
    """Foretell a reload. Raises what a reload would raise. No reload may happen meanwhile: the caller's lock."""
    new = await asyncio.to_thread(load_changed, bridge.config.path, file)
    change = diff(bridge.config, new)
    numbers, _ = ready(bridge, new, change)
    compiled = await asyncio.to_thread(_compiled, new, change)
    contexts = _contexts(bridge, new)
    entries, differing = bridge.overrides.would(new.policy_set, numbers)
    run = _Run(bridge, new, change, file or new.path, entries, differing)
    with bridge.judge.trial(new.policy_set, contexts) as judge, bridge.rib.spare(entries):
        judge.prepare(compiled)
        run.begin(judge, contexts)
        for _ in run.steps():
            await asyncio.sleep(0)
    return run.report()


def _compiled(new: Config, change: ConfigDiff) -> list[CompiledPolicy]:
    """The policies that will judge: in a thread, since they may name thousands of prefixes."""
    names = {peer.import_policy for peer in new.peers if peer.name in change.rejudge}
    return [compile_policy(policy) for name, policy in new.policy_set.policies.items() if name in names]


def _contexts(bridge: Bridge, new: Config) -> dict[int, PeerContext]:
    """What policy would know of the peers that stay."""
    states = ((bridge.peers.named(peer.name), peer) for peer in new.peers)
    return {
        state.index: PeerContext(
            peer.name, new.is_ebgp(peer), peer.import_policy, new.local_asn(peer), peer.role, peer.asn
        )
        for state, peer in states
        if state is not None
    }


def _shown(overrides: Sequence[Override]) -> tuple[str, ...]:
    """The first of them in words."""
    return tuple(f"{one.scope_text}: {one.what} ({one.name})" for one in overrides[:EXAMPLES])


def _tables(entries: Iterable[Entry]) -> dict[Family, OverrideTable]:
    """By family; none where there are none."""
    listed = tuple(entries)
    return {family: table for family in Family if len(table := OverrideTable(family, listed))}


class _OtherReach:
    """Next hops as they would be resolved with another `resolve_via_default`."""

    def __init__(self, bridge: Bridge, *, via_default: bool) -> None:
        self._table, self._target = bridge.rib.next_hops, bridge.paths.target
        state = bridge.watcher.state
        self._resolver = Resolver(state.foreign, state.link_up, via_default=via_default)
        self.reachable, self.metric = self._table.reachable.copy(), self._table.metric.copy()
        self._known: set[int] = set()

    def catch_up(self) -> None:
        """Resolve those that were not seen so far."""
        for number in set(self._table.ids()) - self._known:
            found = self._resolver.resolve(*self._target(self._table[number]))
            self.reachable[number], self.metric[number] = found.reachable, min(found.metric, 0xFFFFFFFF)
            self._known.add(number)

    def scoped(self, numbers: Ids, peer: int) -> Ids:
        """As the table says."""
        return self._table.scoped(numbers, peer)

    def address(self, number: int) -> IPAddress | None:
        """As the table says."""
        return self._table.address(number)


@dataclass
class _Run:
    """One plan on its way."""

    bridge: Bridge
    new: Config
    change: ConfigDiff
    file: Path
    entries: tuple[Entry, ...]
    differing: set[Entry]
    warnings: list[str] = field(default_factory=list)
    held_s: float = 0.0

    def begin(self, judge: PolicyJudge, contexts: dict[int, PeerContext]) -> None:
        """From here on the tables are looked at."""
        rib = self.bridge.rib
        self.started, self.commit, self.jobs = time.monotonic(), self.bridge.log.number, len(self.bridge.work)
        self.routes = RouteTally(rib, judge, contexts)
        self.table = TableTally(rib, self.bridge.peers.name)
        self.judge = judge

    def _trial(self) -> Trial:
        bridge, new, change = self.bridge, self.new, self.change
        kept = {item.new.name for item in change.peers_changed}
        infos = {
            state.index: peer_info(state.index, peer, new.is_ebgp(peer))
            for peer in new.peers
            if peer.name in kept and (state := bridge.peers.named(peer.name)) is not None
        }
        return Trial(
            judge=self.judge,
            options=decision_options(new.decision),
            reach=self._reach(),
            rejudged=frozenset(bridge.peers_by_name(name).index for name in change.rejudge),
            leaving=tuple(bridge.peers_by_name(peer.name).index for peer in change.peers_removed),
            infos=infos,
            redecide=change.decision,
            weights=any("weight" in item.keys for item in change.peers_changed) and not change.decision,
            overrides=_tables(self.entries),
            differing=_tables(self.differing),
        )

    def _reach(self) -> Reach:
        via_default = self.new.decision.resolve_via_default
        if via_default == self.bridge.config.decision.resolve_via_default:
            return self.bridge.rib.next_hops
        return _OtherReach(self.bridge, via_default=via_default)

    def steps(self) -> Iterator[None]:
        """Slice by slice; between two the loop turns."""
        trial = self._trial()
        if not (trial.rejudged or trial.leaving or trial.redecide or trial.weights or trial.differing):
            return
        slices = outlook(self.bridge.rib, trial)
        while True:
            began = time.monotonic()
            if not self._room():
                break
            if isinstance(trial.reach, _OtherReach):
                trial.reach.catch_up()
            try:
                part = next(slices, None)
            except CapacityError as error:
                self.warnings.append(f"not all was looked at, and a reload may be cut short: {error.what}")
                break
            if part is None:
                break
            for found in part.verdicts:
                self.routes.take(part.family, found)
            self.table.take(part)
            self.held_s = max(self.held_s, time.monotonic() - began)
            yield

    def _room(self) -> bool:
        pool = self.bridge.rib.attributes.pool
        if pool.room() * SPARED >= pool.capacity:
            return True
        self.warnings.append(
            f"not all was looked at: {pool.used():,} of {pool.capacity:,} attribute ids are in use, the rest is spared"
        )
        return False

    # -- the report -----------------------------------------------------------------------------------------

    def report(self) -> Plan:
        """What was found."""
        routes, groups = self.routes.report(), self.table.groups()
        tables = tuple(self.table.table(family) for family in Family)
        peers, change, overrides = tuple(self._peers()), self.change, self._overrides()
        if groups.come > self.bridge.rib.groups.room():
            self.warnings.append(
                f"{groups.come:,} groups would come, {self.bridge.rib.groups.room():,} ids are free: "
                "groups would lose backups, or prefixes keep their old group"
            )
        self.warnings += self._limits()
        return Plan(
            file=str(self.file),
            changes=change != ConfigDiff() or bool(self.differing or overrides.come or overrides.go),
            commit=self.commit,
            commits_meanwhile=self.bridge.log.number - self.commit,
            jobs=self.jobs,
            took_s=round(time.monotonic() - self.started, 3),
            held_ms=round(self.held_s * 1000, 1),
            peers=peers,
            decision=change.decision,
            live=change.live,
            restart=change.restart,
            routes=routes,
            tables=tables,
            groups=groups,
            overrides=overrides,
            warnings=tuple(self.warnings),
        )

    def _peers(self) -> Iterator[PeerPlan]:
        change = self.change
        for peer in change.peers_added:
            yield PeerPlan(peer.name, "added")
        for peer in change.peers_removed:
            yield PeerPlan(peer.name, "removed")
        changed = {item.new.name: item for item in change.peers_changed}
        for name in (*changed, *sorted(change.rejudge - set(changed))):
            item = changed.get(name)
            keys = tuple(sorted(item.keys)) if item is not None else ()
            reset = item is not None and item.resets_session
            yield PeerPlan(name, "changed", keys, reset, name in change.rejudge)

    def _overrides(self) -> OverridesPlan:
        come, gone = self.bridge.overrides.differing(self.new.policy_set)
        texts = [
            tuple(f"{one.scope_text}: {one.what} ({one.name})" for one in part[:EXAMPLES]) for part in (come, gone)
        ]
        return OverridesPlan(len(come), len(gone), *texts)

    def _limits(self) -> Iterator[str]:
        """Peers that would be beyond a limit that counts accepted routes, or that is another one."""
        for peer in self.new.peers:
            state = self.bridge.peers.named(peer.name)
            if state is None or peer.max_prefix is None:
                continue
            for family, limit in peer.max_prefix.items():
                adj = self.bridge.rib.families[family].adj.get(state.index)
                accepted = limit.count is Counting.ACCEPTED
                received = adj.received if adj is not None else 0
                used = self.routes.accepted_then(state.index, family) if accepted else received
                if level_of(limit, used, 0) is Level.BEYOND:
                    yield f"{peer.name} would be beyond its limit of {limit.limit:,} {family.label} prefixes: {used:,}"

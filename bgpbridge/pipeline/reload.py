"""A changed configuration, taken over by a bridge that runs: what differs changes, nothing else blinks.

Everything that can be refused is looked at first (passwords, lanes, rendering); from the first change on nothing
raises. What only a restart can change is named in the report, and the old value goes on holding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config import LIVE_DATAPATH, Config, ConfigDiff, diff
from bgpbridge.errors import UsageError
from bgpbridge.events import Severity
from bgpbridge.feed.control import Reload
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.peers import number_peers
from bgpbridge.pipeline.rib_settings import decision_options
from bgpbridge.rib.changes import Changes

__all__ = ["ReloadReport", "ready", "reload"]


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload did: lines for an operator, and keys that wait for a restart."""

    done: tuple[str, ...]
    restart: tuple[str, ...]


def reload(bridge: Bridge, new: Config) -> ReloadReport:
    """Go over to another configuration. Raises DocumentError, UsageError, CapacityError or SpeakerError with nothing
    changed."""
    change = diff(bridge.config, new)
    memory = bridge.lane_memory
    known = {peer.name: peer.index for peer in bridge.peers}
    numbers, rendered = ready(bridge, new, change)
    # the table first: it holds the old peers as well, so that it fits whether the file after it succeeds or not
    memory.write_peers({**known, **numbers})
    bridge.orders.write(rendered)
    done = [line for step in STEPS for line in step(bridge, new, change, numbers)]
    bridge.config = _in_force(bridge.config, new, change)
    bridge.health.configure(bridge.config)
    if change.peers_added or change.peers_removed or change.peers_changed:
        bridge.orders.send(Reload())
        bridge.feeders.ask_again()
    for item in change.peers_changed:  # last: a reload of the speaker loses what it has queued for a peer
        bridge.limits.changed(bridge.peers_by_name(item.new.name), item.old.max_prefix)
    for key in change.restart:
        bridge.events.add(
            "restart-needed", key, "changed in the file; the old value holds until a restart", Severity.NOTICE
        )
    summary = "; ".join(done) if done else "nothing to change"
    bridge.events.add("reloaded", str(new.path), summary, Severity.NOTICE)
    return ReloadReport(tuple(done), (*change.restart, *bridge.health.waiting))


def ready(bridge: Bridge, new: Config, change: ConfigDiff) -> tuple[dict[str, int], str]:
    """(indices of the peers by name, the speaker's configuration), nothing changed. Raises what `reload` does."""
    _refuse_other_source(change)
    known = {peer.name: peer.index for peer in bridge.peers}
    busy = [bridge.peers_by_name(peer.name).index for peer in change.peers_removed]
    numbers = number_peers(new, known, bridge.lanes, (*busy, *bridge.roster.leaving))
    bridge.overrides.check(new.policy_set)
    return numbers, bridge.orders.text(new, numbers)


def _refuse_other_source(change: ConfigDiff) -> None:
    for item in change.peers_changed:
        if "source" in item.keys:
            raise UsageError(
                f"peer {item.new.name}: `source` cannot change from {item.old.source} to {item.new.source} while the "
                "peer is there",
                mend="give it another name: the old peer then goes, and a new one comes",
            )


def _in_force(old: Config, new: Config, change: ConfigDiff) -> Config:
    """The new configuration with those sections of the old one that hold until a restart, but for what is live in
    them."""
    kept = {section: getattr(old, section) for section in {key.split(".")[0] for key in change.restart} - {"router"}}
    if "datapath" in kept:
        live = {name: getattr(new.datapath, name) for name in LIVE_DATAPATH}
        kept["datapath"] = old.datapath.model_copy(update=live)
    return new.model_copy(update=kept)


def _policies(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del change, numbers
    bridge.judge.set_policies(new.policy_set)
    return []


def _removed(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del new, numbers
    for peer in change.peers_removed:
        bridge.roster.remove(peer)
    return [f"peer {peer.name} removed" for peer in change.peers_removed]


def _added(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    for peer in change.peers_added:
        bridge.roster.add(new, peer, numbers[peer.name])
    return [f"peer {peer.name} added" for peer in change.peers_added]


def _changed(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del numbers
    lines, weights = [], False
    for item in change.peers_changed:
        state = bridge.peers_by_name(item.new.name)
        bridge.roster.change(state, new, item.new)
        if item.resets_session:
            bridge.feeders.renew(state)
        if not state.hold_off.latched or item.resets_session or "max_prefix" in item.keys:
            bridge.sessions.end_hold_off(state, "its configuration changed")
        weights |= "weight" in item.keys
        how = "session reset" if item.resets_session else "session goes on"
        lines.append(f"peer {item.new.name}: {', '.join(sorted(item.keys))} ({how})")
    if weights and not change.decision:
        bridge.work.add(Cause(CauseKind.OPERATOR, detail="weights"), bridge.rib.redecide())
    return lines


def _rejudged(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del new, numbers
    peers = [bridge.peers_by_name(name).index for name in sorted(change.rejudge)]
    if not peers:
        return []
    cause = Cause(CauseKind.POLICY, detail="reload")
    bridge.work.add(cause, _judge_again(bridge, peers), lambda: bridge.limits.look_at(peers))
    return [f"routes of {', '.join(sorted(change.rejudge))} judged again"]


def _judge_again(bridge: Bridge, peers: list[int]) -> Iterator[Changes]:
    """Only where the verdict may be another one, if that can be told."""
    again = bridge.judge.again(peers)
    yield from bridge.rib.rejudge(peers, again.differing)
    again.done()


def _decision(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del numbers
    if not change.decision:
        return []
    bridge.rib.options = decision_options(new.decision)
    bridge.resolver.via_default = new.decision.resolve_via_default
    cause = Cause(CauseKind.OPERATOR, detail="decision options")
    decide, groups = bridge.paths.refresh(bridge.rib.next_hops.ids())
    del decide  # the whole table is decided again below
    bridge.committer.groups(groups, cause)
    bridge.work.add(cause, bridge.rib.redecide())
    return ["whole table decided again"]


def _overrides(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del change, numbers
    return bridge.overrides.reload(new.policy_set)


def _live(bridge: Bridge, new: Config, change: ConfigDiff, numbers: dict[str, int]) -> list[str]:
    del numbers
    bridge.sessions.stale_time_s = new.graceful_restart.stale_time_s
    bridge.self_audit.permille = new.audit.cpu_permille
    if bridge.rpki.settings != new.rpki:
        bridge.rpki.configure(new.rpki)
    bridge.latency.apply(new.latency)
    bridge.handshakes.apply(new.latency)
    if bridge.datapath is not None:
        bridge.datapath.take_options(new.datapath)
    logging.getLogger("bgpbridge").setLevel(new.log.level.upper())
    return [f"{key} taken over" for key in change.live]


Step = Callable[[Bridge, Config, ConfigDiff, dict[str, int]], list[str]]
STEPS: tuple[Step, ...] = (_policies, _removed, _added, _changed, _rejudged, _decision, _overrides, _live)

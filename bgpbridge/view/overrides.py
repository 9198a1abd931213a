"""`override list`: what operators have pinned, and how each override stands. `explain` shows one of them first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.override_state import Reach, State, Watch, reach
from bgpbridge.policy.overrides import Override, Scope
from bgpbridge.rib import lookups
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.types import OverrideKind, Prefix

__all__ = ["OverrideView", "override_of", "override_view", "overrides"]


@dataclass(frozen=True, slots=True)
class OverrideView:
    """One override. `name` is FILE:LINE, or the id of one given at run time; `expires` is Unix time; `why` is there
    when it is not in force. `prefixes` with a route that it decides on, `pinned` of them that go by its pin; both None
    where nobody counted."""

    name: str
    scope: str
    kind: str
    what: str
    target: str
    owner: str
    reason: str
    expires: float | None
    source: str
    state: str
    why: str
    prefixes: int | None = None
    pinned: int | None = None


def override_view(bridge: Bridge, one: Override, counted: Reach | None = None) -> OverrideView:
    """One of them in words."""
    standing = bridge.overrides.state(one)
    return OverrideView(
        name=one.name,
        scope=one.scope_text,
        kind=one.kind.value,
        what=one.what,
        target=str(one.target) if one.target is not None else "",
        owner=one.owner,
        reason=one.reason,
        expires=one.expires,
        source=one.source,
        state=standing.state.value,
        why=standing.why,
        prefixes=counted.prefixes if counted is not None else None,
        pinned=counted.pinned if counted is not None else None,
    )


async def overrides(bridge: Bridge) -> list[OverrideView]:
    """All of them, those of files first. Counted in slices, between which routing goes on."""
    counted: dict[Scope, Reach] = {}
    for part in reach(bridge.rib, bridge.paths):
        counted = part or counted
        await asyncio.sleep(0)
    for _ in bridge.overrides.look():
        await asyncio.sleep(0)
    active = {one.name for one in bridge.overrides.active}
    views = []
    for count, one in enumerate(bridge.overrides.all()):
        views.append(override_view(bridge, one, counted.get(one.scope) if one.name in active else None))
        if count % 200 == 199:
            await asyncio.sleep(0)
    return views


def override_of(bridge: Bridge, prefix: Prefix) -> OverrideView | None:
    """The override that decides on exactly this prefix, with how it stands for this one."""
    one = bridge.overrides.deciding(prefix)
    if one is None:
        return None
    state, why = _here(bridge, one, prefix)
    seen = override_view(bridge, one)
    return OverrideView(
        seen.name,
        seen.scope,
        seen.kind,
        seen.what,
        seen.target,
        seen.owner,
        seen.reason,
        seen.expires,
        seen.source,
        state,
        why,
    )


def _here(bridge: Bridge, one: Override, prefix: Prefix) -> tuple[str, str]:
    """(state, why) for one prefix of perhaps many."""
    watch: Watch = bridge.overrides.watch
    group = lookups.group_of(bridge.rib, prefix)
    gone = watch.target_gone(one)
    if not group and one.kind is not OverrideKind.REJECT:
        return State.IDLE.value, "BGP has no usable path, and an override makes none"
    if one.kind is OverrideKind.PIN and group and group != BLACKHOLE and not bridge.paths.usable(group).pinned:
        return State.FALLEN_BACK.value, gone or f"{one.target} has no usable path for {prefix}"
    return (State.FALLEN_BACK.value, gone) if gone else (State.IN_FORCE.value, "")

"""What terms set: the operator's wishes, and what they come to for one route.

Edits may hold wildcards (`remove: ["65000:*"]`), so what they do to communities depends on the route; the
attribute table wants plain values. `resolve` turns a row of edits, in the order of their terms, into the
AttributeChanges for one set of attributes: a later value wins over an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bgpbridge.policy.communities import AnyCommunity, CommunityKind, CommunityPattern
from bgpbridge.policy.conditions import communities_of
from bgpbridge.types import AttributeChanges, CommunityChanges, IPAddress
from bgpbridge.wire.path_attributes import PathAttributes

__all__ = ["CommunityEdits", "Edits", "resolve"]

Value = tuple[CommunityKind, AnyCommunity]


@dataclass(frozen=True, slots=True)
class CommunityEdits:
    """First `assign` (None: keep; it replaces the kinds that it names, an empty one all kinds), then `remove`,
    then `add`."""

    assign: tuple[Value, ...] | None = None
    remove: tuple[CommunityPattern, ...] = ()
    add: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Edits:
    """Everything that one term sets; None leaves as received."""

    local_pref: int | None = None
    med: int | None = None
    weight: int | None = None
    next_hop: IPAddress | None = None
    prepend: tuple[int, int] | None = None
    communities: CommunityEdits = field(default_factory=CommunityEdits)


_SCALARS = ("local_pref", "med", "weight", "next_hop", "prepend")
_FIELDS = {CommunityKind.STANDARD: "communities", CommunityKind.EXTENDED: "extended", CommunityKind.LARGE: "large"}


def resolve(edits: Sequence[Edits], attributes: PathAttributes | None) -> AttributeChanges:
    """The changes that the edits come to, one after the other. `attributes` None stands
    for a route without communities."""
    values: dict[str, Any] = {}
    for edit in edits:
        values |= {name: getattr(edit, name) for name in _SCALARS if getattr(edit, name) is not None}
    for kind, name in _FIELDS.items():
        present = communities_of(attributes, kind) if attributes else ()
        changes: CommunityChanges[Any] = CommunityChanges()
        for edit in edits:
            changes = _after(changes, edit.communities, kind, present)
        values[name] = changes
    return AttributeChanges(**values)


def _after(
    before: CommunityChanges[Any], edits: CommunityEdits, kind: CommunityKind, present: tuple[AnyCommunity, ...]
) -> CommunityChanges[Any]:
    """`before`, then `edits`, as one change: ((X - r1) + a1 - r2) + a2 = (X - r1 - r2) + (a1 - r2) + a2."""
    if edits.assign is not None and (not edits.assign or any(of is kind for of, _ in edits.assign)):
        before = CommunityChanges(replace=_distinct([value for of, value in edits.assign if of is kind]))
    here = before.replace if before.replace is not None else present
    removed: list[Any] = []
    for pattern in edits.remove:
        if pattern.kind is kind:
            exact = pattern.value
            removed += [v for v in (*here, *before.add) if pattern.matches(v)] if exact is None else [exact]
    return replace(
        before,
        remove=_distinct([*before.remove, *removed]),
        add=_distinct([v for v in before.add if v not in removed] + [value for of, value in edits.add if of is kind]),
    )


def _distinct(values: list[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))

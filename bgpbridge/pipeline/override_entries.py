"""From overrides to what the RIB is to obey: which of them hold, and what each means in indices and next-hop ids.

The bridge asks for what is, `plan` for what would be with other files and peers; both get it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bgpbridge.policy.overrides import Members, Override
from bgpbridge.rib.overrides import Entry, Intent
from bgpbridge.types import IPAddress, OverrideKind

__all__ = ["Meaning", "holding", "suspended"]


def suspended(files: Sequence[Override], given: Iterable[Override], over: Callable[[Override], bool]) -> list[Override]:
    """Given at run time, while a file has one for the same prefix: the file's holds."""
    scopes = {one.scope for one in files if not over(one)}
    return [one for one in given if one.scope in scopes]


def holding(
    files: Sequence[Override], given: Sequence[Override], over: Callable[[Override], bool]
) -> tuple[Override, ...]:
    """Those in force: no scope twice, none whose time is `over`."""
    waiting = {one.name for one in suspended(files, given, over)}
    return tuple(one for one in (*files, *given) if not over(one) and one.name not in waiting)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names stand for: `groups` of the policy files, `index` of a peer (None: there is none), `intern` the id of a
    next hop (0: there is no room)."""

    groups: Mapping[str, Members]
    index: Callable[[str], int | None]
    intern: Callable[[IPAddress], int]

    def entries(self, active: Iterable[Override]) -> tuple[Entry, ...]:
        """As the RIB takes them, in the same order."""
        return tuple(Entry(*one.scope, self._intent(one)) for one in active)

    def members(self, one: Override) -> Members:
        """The peers and next hops of an override's target."""
        return one.target.members(self.groups) if one.target is not None else Members()

    def _intent(self, one: Override) -> Intent:
        if one.target is None:
            return Intent(one.kind, everything=one.kind is OverrideKind.REJECT)
        members = self.members(one)
        own: Iterable[int] = ()
        if one.kind is OverrideKind.PIN:
            hops = [hop for hop in members.next_hops if hop.version == 6 or one.prefix.family.bits == 32]
            own = [number for hop in hops if (number := self.intern(hop))]
        indices = [index for name in members.peers if (index := self.index(name)) is not None]
        return Intent(
            one.kind,
            peers=frozenset(indices),
            addresses=frozenset(members.next_hops),
            own=tuple(own),
            value=one.value or 0,
            share=one.kind is OverrideKind.PIN and bool(one.target.group),
        )

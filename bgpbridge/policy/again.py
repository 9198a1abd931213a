"""Routes that are judged again under a changed policy: on which of them the verdict may be another one.

All routes of a peer stand on the same grounds when they were all judged by the same policy. Where the next policy
differs from that one only in what it asks of attributes, most attributes come to the same under both, and so do the
routes that have them, whatever their prefixes are. Where anything else has changed, or changes meanwhile, all are asked
about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bgpbridge.policy.columns import Ids, Truth
from bgpbridge.policy.model import PeerContext

__all__ = ["Again", "Grounds", "Standing"]


class Grounds(NamedTuple):
    """By what a peer's routes are judged: what is known of the peer, and the digest of its policy."""

    context: PeerContext
    digest: str


class Standing:
    """The grounds on which all routes of peers stand; those that came after a change stand on newer ones. `now` are the
    grounds of today, None where verdicts depend on more than that; `compare` says of attribute ids where today's policy
    may come to another verdict than the one of earlier grounds, None: anywhere."""

    def __init__(self, now: Callable[[int], Grounds | None], compare: Callable[[Grounds, Ids], Truth | None]) -> None:
        self.now, self.compare = now, compare
        self.edition = 0
        self._of: dict[int, Grounds] = {}

    def changed(self) -> None:
        """Policies or peers are others from now on."""
        self.edition += 1

    def stand(self, peers: Iterable[int]) -> None:
        """All routes of these peers, which may have none so far, were judged on today's grounds."""
        for peer in peers:
            if (grounds := self.now(peer)) is not None:
                self._of[peer] = grounds

    def take(self, peer: int) -> Grounds | None:
        """The grounds of a peer's routes, None where that is not known; from now on it is not."""
        return self._of.pop(peer, None)


@dataclass(frozen=True, slots=True)
class Again:
    """Routes of some peers on their way to today's grounds, from those `before`."""

    standing: Standing
    edition: int
    before: Mapping[int, Grounds | None]

    @classmethod
    def begin(cls, standing: Standing, peers: Iterable[int]) -> Again:
        """From now on."""
        return cls(standing, standing.edition, {peer: standing.take(peer) for peer in peers})

    def differing(self, peer: int, ids: Ids) -> Truth | None:
        """On which of a peer's attribute ids the verdict may be another one than before; None: on any."""
        before, now = self.before[peer], self.standing.now(peer)
        if before is None or now is None or before.context != now.context or self.standing.edition != self.edition:
            return None
        return self.standing.compare(before, ids)

    def done(self) -> None:
        """All have been judged."""
        if self.standing.edition == self.edition:
            self.standing.stand(self.before)

"""What an operator does with a whole table: a changed policy is taken over, a bridge that was killed comes back."""

from __future__ import annotations

from collections.abc import Iterator

from bgpbridge.bench.results import Figure
from bgpbridge.bench.whole import policies, restarts
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.parts import QUICK, Metrics, Part, with_audit
from bgpbridge.bench.whole.scale import Scale, words
from bgpbridge.bench.whole.tables import Table, table
from bgpbridge.bench.whole.turn import Turn

__all__ = ["policy", "restart"]


def policy(scale: Scale) -> Part:
    """A changed term; those who would have to ask their peers again, or be told so, are not asked."""

    def first() -> Table:
        return table(scale.ipv4, 0, scale.samples)

    def second() -> Table:
        return table(scale.ipv4, policies.OTHER, scale.samples, longer=1)

    chosen = policies.Policy(first)

    def prepare() -> None:
        chosen.prepare()
        second()

    def one(turn: Turn) -> Iterator[Figure]:
        return policies.reloaded(turn, chosen, second())

    def metrics(who: Who) -> Metrics:
        return with_audit(who, {f"policy_reload_{words(scale.ipv4)}": "s"})

    neighbours = (0, policies.OTHER)
    return Part("policy", scale.ipv4, metrics, one, QUICK, neighbours, once=True, prepare=prepare, text=chosen.text)


def restart(scale: Scale) -> Part:
    """Ours alone: the others' routes go when they are killed, or stay and are nobody's."""

    def first() -> Table:
        return table(scale.ipv4, 0, scale.samples)

    def one(turn: Turn) -> Iterator[Figure]:
        return restarts.restarted(turn, first())

    def metrics(who: Who) -> Metrics:
        return with_audit(who, restarts.metrics(words(scale.ipv4)))

    return Part("restart", scale.ipv4, metrics, one, (Who.OURS,), prepare=first)

"""From facts to the order and weights of a group's members: what latency advises, and why. Pure.

BGP gives the members, which of them are active, and their order; nothing here adds one, and where nothing better is
known for sure the answer is BGP's own. A member's **cost** is its smoothed RTT, its jitter and its loss in one figure
of seconds. It is compared with the least cost in the group: only what is above that by more than an absolute AND a
relative threshold is WORSE, by more than twice as much BAD; back to GOOD only below half of it (hysteresis).

    active in BGP, GOOD     keeps its traffic
    active in BGP, WORSE    keeps a quarter of its weight beside those that are GOOD
    active in BGP, BAD      a backup, as long as one that is GOOD carries the traffic
    none of them GOOD       the first backup in BGP's order that is GOOD carries it alone

What keeps it calm: a least number of probes; `hold_s` between two moves of a group's traffic; a member that turned
worse or bad returns after a wait that doubles with every time (back-off; a shorter one where nobody else is good);
`ChangeBudget` for all groups together. What acts at once: where facts about a member that is active in BGP, or that
carries traffic now, are stale or missing, the group becomes plain BGP.

Whoever calls does what `Decision.arrangement` says every time (BGP's members may have changed in between), spends from
the budget where it is `changed`, keeps the `Memory` and hands it in again, also where the decision is only told and not
done (`observe`): `Decision.would` then says in words and values what would be, and why.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bgpbridge.enrich.facts import Facts
from bgpbridge.errors import UsageError

__all__ = [
    "Arrangement",
    "Candidate",
    "ChangeBudget",
    "Decision",
    "Memory",
    "Rules",
    "Standing",
    "arrange",
    "decide",
    "plain",
]

FULL, REDUCED = 4, 1  # what the weights of GOOD and WORSE are multiplied by, where both carry traffic
FORGET_HOLDS = 20  # a member that stays good for so many waits has its flips forgiven
ALONE_HOLDS = 8  # the best of a group in which nobody is good waits no longer than so many holds
CALM = -math.inf


class Standing(enum.IntEnum):
    """How a member compares with the best of its group."""

    GOOD = 0
    WORSE = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds in seconds and as a share of the least cost. `loss_cost_s` is what losing everything costs: with 1 s,
    1% of loss weighs as much as 10 ms."""

    absolute_s: float = 0.010
    relative: float = 0.2
    least_probes: int = 20
    hold_s: float = 60.0
    most_wait_s: float = 3600.0
    jitter_factor: float = 1.0
    loss_cost_s: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"latency rule {name}: {value} is no finite number from 0", mend="correct the value")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member as BGP gave it. `facts` are those of its way out, None where it is not probed."""

    name: str
    weight: int
    active: bool
    facts: Facts | None


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Who carries the traffic, with weights, and who stands by, in order."""

    active: tuple[tuple[str, int], ...]
    backup: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is remembered of a member: its standing, how often it turned bad lately, and when last."""

    standing: Standing = Standing.GOOD
    flips: int = 0
    turned_s: float = CALM

    def wait_s(self, rules: Rules) -> float:
        """How long after turning bad it may not return."""
        return min(rules.hold_s * 2.0 ** min(self.flips - 1, 32), rules.most_wait_s) if self.flips else 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What one group's decisions go on from. `compared` are those whose standing counts now: none in plain BGP."""

    members: Mapping[str, Judged] = field(default_factory=dict)
    compared: frozenset[str] = frozenset()
    moved_s: float = CALM

    def standings(self) -> dict[str, Standing]:
        """The standings that count."""
        return {name: self.members[name].standing for name in self.compared}

    def judged(self, name: str) -> Judged:
        """A member as remembered; one that was not compared last time begins as good, with its flips."""
        found = self.members.get(name, Judged())
        return found if name in self.compared else replace(found, standing=Standing.GOOD)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the group should be now. `changed` against what the memory held; `would` says why, line by line."""

    arrangement: Arrangement
    changed: bool
    would: tuple[str, ...]
    memory: Memory


class ChangeBudget:
    """How many groups may change within any minute, all together."""

    def __init__(self, per_minute: int) -> None:
        if per_minute < 1:
            raise UsageError(f"a change budget of {per_minute} per minute", mend="at least 1, or latency switched off")
        self.per_minute = per_minute
        self._spent: deque[float] = deque()

    def free(self, now_s: float) -> bool:
        """True when one more change is allowed."""
        while self._spent and self._spent[0] <= now_s - 60:
            self._spent.popleft()
        return len(self._spent) < self.per_minute

    def spend(self, now_s: float) -> None:
        """A change was made."""
        self._spent.append(now_s)


def plain(members: Sequence[Candidate]) -> Arrangement:
    """The group as BGP has it."""
    return Arrangement(
        tuple((m.name, m.weight) for m in members if m.active), tuple(m.name for m in members if not m.active)
    )


def decide(members: Sequence[Candidate], memory: Memory, rules: Rules, now_s: float, *, free: bool = True) -> Decision:
    """What to do with a group. `free` is the change budget's word; a change back to plain BGP for want of facts does
    not ask for it."""
    current = arrange(members, memory.standings())
    obstacle = _obstacle(members, current, rules)
    if obstacle:
        changed = current != plain(members)
        memory = Memory(memory.members, frozenset(), now_s if changed else memory.moved_s)
        return Decision(plain(members), changed, (f"plain BGP: {obstacle}",), memory)
    costs = {m.name: _cost(m.facts, rules) for m in members if m.facts is not None and _usable(m.facts, rules)}
    judged = _judge(costs, memory, rules, now_s)
    wanted = arrange(members, {name: one.standing for name, one in judged.items()})
    words = tuple(_words(m, costs, judged, rules, now_s) for m in members)
    if not any(one.standing is Standing.GOOD for one in judged.values()):
        told = f"{_carriers(current)}: stays, none is good that may return yet"
        return Decision(current, False, (*words, told), memory)
    moves = wanted.active != current.active
    told, waits = _told(current, wanted, memory.moved_s + rules.hold_s - now_s, free=free)
    if waits:
        return Decision(current, False, (*words, told), memory)
    names = {m.name for m in members}
    kept = {name: one for name, one in {**memory.members, **judged}.items() if name in names}
    memory = Memory(kept, frozenset(judged), now_s if moves else memory.moved_s)
    return Decision(wanted, wanted != current, (*words, told), memory)


def _told(current: Arrangement, wanted: Arrangement, wait_s: float, *, free: bool) -> tuple[str, bool]:
    """The last line, and whether the change has to wait. A new order of backups moves no traffic: no hold."""
    if wanted == current:
        return f"{_carriers(current)}: stays", False
    if wanted.active == current.active:
        move = f"{_carriers(current)}: stays; backups {', '.join(current.backup)} -> {', '.join(wanted.backup)}"
    else:
        move = f"{_carriers(current)} -> {_carriers(wanted)}"
        if wait_s > 0:
            return f"{move}: not yet, held for {wait_s:.0f} s more", True
    return (move, False) if free else (f"{move}: not yet, the change budget is spent", True)


def arrange(members: Sequence[Candidate], standings: Mapping[str, Standing]) -> Arrangement:
    """The group by its members' standings. One without a standing stays where BGP put it, and is not promoted."""
    good = [m for m in members if standings.get(m.name) is Standing.GOOD]
    carriers = [m for m in members if m.active and standings.get(m.name, Standing.GOOD) is not Standing.BAD]
    if not good:
        return plain(members)
    if not any(standings.get(m.name, Standing.GOOD) is Standing.GOOD for m in carriers):
        carriers = good[:1]
    reduced = any(standings.get(m.name) is Standing.WORSE for m in carriers)
    active = tuple((m.name, m.weight * _factor(standings.get(m.name), reduced=reduced)) for m in carriers)
    carrying = {m.name for m in carriers}
    rest = [m for m in members if m.name not in carrying]
    rest.sort(key=lambda m: standings.get(m.name, Standing.GOOD))  # stable: BGP's order among equals
    return Arrangement(active, tuple(m.name for m in rest))


def _factor(standing: Standing | None, *, reduced: bool) -> int:
    if not reduced:
        return 1
    return REDUCED if standing is Standing.WORSE else FULL


# -- facts


def _usable(facts: Facts, rules: Rules) -> bool:
    return not facts.stale and facts.samples + facts.lost >= rules.least_probes


def _obstacle(members: Sequence[Candidate], current: Arrangement, rules: Rules) -> str:
    """Why nothing can be advised; empty when something can."""
    carrying = {name for name, _ in current.active}
    for member in members:
        if not member.active and member.name not in carrying:
            continue
        facts = member.facts
        if facts is None:
            return f"nothing is known about {member.name}"
        if facts.stale:
            return f"facts about {member.name} are stale, {facts.age_s:.1f} s old"
        if not _usable(facts, rules):
            return f"{facts.samples + facts.lost} probes of {member.name}, {rules.least_probes} are wanted"
    usable = [m.facts for m in members if m.facts is not None and _usable(m.facts, rules)]
    if len(usable) < 2:
        return "no second member with fresh facts to compare with"
    if not any(facts.samples for facts in usable):
        return "no member answers"
    return ""


def _cost(facts: Facts, rules: Rules) -> float:
    """Seconds; infinite where nothing was answered."""
    if facts.srtt_s is None:
        return math.inf
    return facts.srtt_s + rules.jitter_factor * (facts.jitter_s or 0.0) + rules.loss_cost_s * facts.loss


def _limit(best: float, rules: Rules) -> float:
    """Past both thresholds is past the greater. Never 0, so that equals are equal."""
    return max(rules.absolute_s, rules.relative * best, 1e-9)


# -- judging


def _judge(costs: Mapping[str, float], memory: Memory, rules: Rules, now_s: float) -> dict[str, Judged]:
    """Everyone's standing now. Back-off must not leave the traffic with those that are worse for long: where it would
    leave no good member, waits are cut short."""
    found = _judge_waiting(costs, memory, rules, now_s, math.inf)
    if any(one.standing is Standing.GOOD for one in found.values()):
        return found
    return _judge_waiting(costs, memory, rules, now_s, ALONE_HOLDS * rules.hold_s)


def _judge_waiting(
    costs: Mapping[str, float], memory: Memory, rules: Rules, now_s: float, most_s: float
) -> dict[str, Judged]:
    best = min(costs.values())
    limit = _limit(best, rules)
    found = {}
    for name, cost in costs.items():
        before = memory.judged(name)
        turned = _turn(before, (cost - best) / limit, rules, now_s)
        waits = now_s < before.turned_s + min(before.wait_s(rules), most_s)
        found[name] = before if turned.standing < before.standing and waits else turned
    return found


def _turn(before: Judged, excess: float, rules: Rules, now_s: float) -> Judged:
    """The standing by how many limits a member is above the best, with hysteresis."""
    worse, better = _by(excess, 1.0), _by(excess, 0.5)
    if worse > before.standing:
        calm = now_s - before.turned_s > FORGET_HOLDS * max(before.wait_s(rules), rules.hold_s)
        fresh = before.standing is Standing.GOOD
        flips = (0 if calm else before.flips) + 1 if fresh else before.flips
        return Judged(worse, flips, now_s if fresh else before.turned_s)
    return replace(before, standing=min(before.standing, better))


def _by(excess: float, share: float) -> Standing:
    if excess <= share:
        return Standing.GOOD
    return Standing.WORSE if excess <= 2 * share else Standing.BAD


# -- words


def _carriers(arrangement: Arrangement) -> str:
    return ", ".join(f"{name} (weight {weight})" for name, weight in arrangement.active) or "nobody"


def _words(
    member: Candidate, costs: Mapping[str, float], judged: Mapping[str, Judged], rules: Rules, now_s: float
) -> str:
    facts, cost = member.facts, costs.get(member.name)
    if facts is None or cost is None:
        return f"{member.name}: not compared, " + ("not probed" if facts is None else "stale or too few probes")
    best, one = min(costs.values()), judged[member.name]
    figures = f"loss {facts.loss:.1%}, {facts.samples} answers, {facts.age_s:.1f} s old"
    if facts.srtt_s is None or facts.jitter_s is None:
        return f"{member.name}: no answer ({figures}): {one.standing.name.lower()}"
    text = f"{member.name}: {_ms(cost)} (rtt {_ms(facts.srtt_s)}, jitter {_ms(facts.jitter_s)}, {figures})"
    above = "the best" if cost == best else f"{_ms(cost - best)} above the best, limit {_ms(_limit(best, rules))}"
    wait_s = one.turned_s + one.wait_s(rules) - now_s
    back = f", may return in {wait_s:.0f} s" if one.standing is not Standing.GOOD and wait_s > 0 else ""
    return f"{text}: {above}, {one.standing.name.lower()}{back}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"

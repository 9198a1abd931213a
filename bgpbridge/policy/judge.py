"""Import policy for the RIB: attribute ids in, attribute ids out, 0 for a refused route.

One judge lives as long as the bridge. It is told about peers and policies as they come and go; what it has
worked out about attribute ids stays valid for every policy whose meaning did not change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from bgpbridge.policy.again import Again, Grounds, Standing
from bgpbridge.policy.columns import AttributeView, Ids, Truth
from bgpbridge.policy.compile import WORD, CompiledPolicy, compile_policy, split
from bgpbridge.policy.edits import Edits
from bgpbridge.policy.evaluate import built_in, deny_by_default, verdict_of
from bgpbridge.policy.leaks import LeakCache, leak_of, looks
from bgpbridge.policy.masks import DerivedIds, MaskCache
from bgpbridge.policy.model import Action, PeerContext, PolicySet, PolicyVerdict
from bgpbridge.policy.prefix_table import Words
from bgpbridge.rpki.vrps import States, Validity, VrpTable
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.path_attributes import PathAttributes

__all__ = ["PolicyJudge"]

Lengths = npt.NDArray[np.uint8]


class PolicyJudge:
    """The Judge that the RIB asks. `attach` it to the RIB's attribute table before the first route."""

    def __init__(self, policies: PolicySet | None = None) -> None:
        self.policies = policies or PolicySet()
        self._view: AttributeView | None = None
        self._peers: dict[int, PeerContext] = {}
        self._open: dict[int, bool] = {}  # peers all of whose routes pass as they are, as far as they were asked about
        self._courts: dict[str, _Court] = {}
        self._trials: list[PolicyJudge] = []
        self._leaks = LeakCache()
        self._standing = Standing(self._grounds, self._differing)
        self.vrps = VrpTable()
        """What RPKI says now. Who sets another one has the RIB judge again what `VrpTable.changed_since` names."""

    def attach(self, view: AttributeView) -> None:
        """The attribute table whose ids it will be asked about."""
        self._view = view
        view.on_release(self._forget)

    def set_policies(self, policies: PolicySet) -> None:
        """Other policies, from now on. What is known by policies of the same meaning is kept, and of one that has
        changed what its terms have in common with those before. The caller has the RIB judge again what `config.diff`
        names."""
        kept = {name: court for name, court in self._courts.items() if name in policies.policies}
        self._courts = {
            name: court.renewed(compile_policy(policies.policies[name], court.compiled)) for name, court in kept.items()
        }
        self.policies = policies
        self._standing.changed()
        self._open.clear()

    def again(self, peers: Iterable[int]) -> Again:
        """What these peers sent is judged again from now on."""
        return Again.begin(self._standing, peers)

    def _grounds(self, peer: int) -> Grounds | None:
        """By what the routes of a peer are judged, None where it is not a written policy alone."""
        context = self._peers.get(peer)
        policy = None if context is None else self.policies.policies.get(context.policy or "")
        if context is None or policy is None or policy.asks_rpki:
            return None
        return Grounds(context, policy.digest)

    def _differing(self, before: Grounds, ids: Ids) -> Truth | None:
        """On which ids a peer's policy may come to another verdict than it did on these grounds; None: on any."""
        court = self._court(before.context)
        return None if court is None else court.differing(ids, before.digest)

    @contextmanager
    def trial(self, policies: PolicySet, peers: Mapping[int, PeerContext]) -> Iterator[PolicyJudge]:
        """A judge like this one under other policies and peers, for as long as the block runs. What it works out
        stays its own; ids that are released are forgotten by it as well."""
        other = copy.copy(self)
        other.policies, other._peers, other._courts, other._trials = policies, {**self._peers, **peers}, {}, []
        other._open = {}
        self._trials.append(other)
        try:
            yield other
        finally:
            self._trials.remove(other)

    def prepare(self, compiled: Iterable[CompiledPolicy]) -> None:
        """Take policies that were compiled beforehand, in a thread: for a `trial`."""
        assert self._view is not None
        self._courts.update({one.policy.name: _Court(one, self._view) for one in compiled})

    def deciding(self, peer: int, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Which term of the peer's policy decides on each route, -1 where none does, or no written policy judges."""
        court = self._court(self._peers[peer])
        if court is None:
            return np.full(len(attribute_ids), -1, np.int64)
        context = self._peers[peer]
        states = self._states(court, context, family, attribute_ids, hi, lo, length)
        matched = court.matched(context.name, family, attribute_ids, hi, lo, length, states)
        clause = court.deciding(matched)
        terms = np.append(court.compiled.term_of, -1).take(clause)
        leaks = self._leaking(context, attribute_ids)
        return terms if leaks is None else np.where(leaks, -1, terms)

    def set_peer(self, index: int, peer: PeerContext) -> None:
        """A peer, new or changed."""
        new = index not in self._peers
        self._peers[index] = peer
        self._open.pop(index, None)
        self._standing.changed()
        if new:
            self._standing.stand([index])

    def remove_peer(self, index: int) -> None:
        """A peer that is gone."""
        self._peers.pop(index, None)
        self._standing.take(index)
        self._open.pop(index, None)

    def judge(self, peer: int, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Verdicts on many routes of one peer: leaks by its role first (RFC 9234), then its policy."""
        context = self._peers[peer]
        leaks = self._leaking(context, attribute_ids)
        if leaks is None or not leaks.any():
            return self._judged(context, family, attribute_ids, hi, lo, length)
        rest = np.flatnonzero(~leaks)
        verdict = np.zeros_like(attribute_ids)
        columns = hi.take(rest), lo.take(rest), length.take(rest)
        verdict[rest] = self._judged(context, family, attribute_ids.take(rest), *columns)
        return verdict

    def _leaking(self, context: PeerContext, ids: Ids) -> Truth | None:
        """Which ids are leaks by the peer's role, None where none can be."""
        if not looks(context):
            return None
        assert self._view is not None
        return self._leaks.leaks(context, ids, self._view)

    def _judged(
        self, context: PeerContext, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths
    ) -> Ids:
        """What the peer's policy says."""
        court = self._court(context)
        if court is None:
            return attribute_ids if self._all_pass(context) else np.zeros_like(attribute_ids)
        states = self._states(court, context, family, attribute_ids, hi, lo, length)
        return court.judge(context.name, family, attribute_ids, hi, lo, length, states)

    def judge_one(self, peer: int, family: Family, attribute_id: int, hi: int, lo: int, length: int) -> int:
        """The verdict on one route."""
        if self._is_open(peer) if (known := self._open.get(peer)) is None else known:
            return attribute_id
        context = self._peers[peer]
        if looks(context):
            assert self._view is not None
            if self._leaks.leak(context, attribute_id, self._view):
                return 0
        court = self._court(context)
        if court is None:
            return attribute_id if self._all_pass(context) else 0
        state = Validity.NOT_FOUND
        if court.compiled.asks_rpki:
            origins = self._origins(np.array([attribute_id], np.int64), context.local_asn)
            words = np.array([hi], np.uint64), np.array([lo], np.uint64), np.array([length], np.uint8)
            state = Validity(int(self.vrps.validate(family, *words, origins)[0]))
        return court.judge_one(context.name, family, attribute_id, hi << 64 | lo, length, state)

    def _is_open(self, peer: int) -> bool:
        """Whether nothing of this peer is refused or changed: no role, no written policy, no rule against it."""
        context = self._peers[peer]
        written = context.policy is not None and context.policy in self.policies.policies
        found = self._open[peer] = not written and not looks(context) and self._all_pass(context)
        return found

    def asks_rpki(self, peer: int) -> bool:
        """Whether verdicts on what a peer sends depend on what RPKI says."""
        policy = self.policies.policies.get(self._peers[peer].policy or "") if peer in self._peers else None
        return policy is not None and policy.asks_rpki

    def origin_of(self, peer: int, attributes: PathAttributes) -> int:
        """The origin AS of a route for RFC 6811 s2: of an empty path our own, of one that ends with a set none (0)."""
        inside = not attributes.origin_as and not attributes.path_length
        return self._peers[peer].local_asn if inside else attributes.origin_as

    def validity(self, peer: int, prefix: Prefix, attributes: PathAttributes) -> Validity:
        """What RPKI says of one route."""
        return self.vrps.validate_one(prefix, self.origin_of(peer, attributes))

    def _states(
        self, court: _Court, peer: PeerContext, family: Family, ids: Ids, hi: Words, lo: Words, length: Lengths
    ) -> States | None:
        """What RPKI says of many routes, None where the policy does not ask."""
        if not court.compiled.asks_rpki:
            return None
        return self.vrps.validate(family, hi, lo, length, self._origins(ids, peer.local_asn))

    def origins(self, peer: int, ids: Ids) -> npt.NDArray[np.uint32]:
        """`origin_of` for many routes of a peer, by their attribute ids."""
        return self._origins(ids, self._peers[peer].local_asn if peer in self._peers else 0)

    def _origins(self, ids: Ids, local_asn: int) -> npt.NDArray[np.uint32]:
        """`origin_of` for many; a path without length is an empty one, or one inside our confederation."""
        assert self._view is not None
        origins: npt.NDArray[np.uint32] = self._view.origin_as.take(ids)
        empty = (origins == 0) & (self._view.path_length.take(ids) == 0)
        return np.where(empty, np.uint32(local_asn), origins) if empty.any() else origins

    def explain(self, peer: int, prefix: Prefix, attributes: PathAttributes) -> PolicyVerdict:
        """The verdict on one route, with the line that decided it. `attributes` are those that came in."""
        context = self._peers[peer]
        verdict = leak_of(context, attributes) or built_in(context, self.policies)
        if verdict is not None:
            return verdict
        court = self._court(context)
        assert court is not None
        return explain(court.compiled, context.name, prefix, attributes, self.validity(peer, prefix, attributes))

    def _all_pass(self, context: PeerContext) -> bool:
        verdict = built_in(context, self.policies)
        return verdict is not None and verdict.accept

    def _court(self, context: PeerContext) -> _Court | None:
        """What judges by the peer's written policy; None where a built-in rule decides."""
        name = context.policy
        if name is None or name not in self.policies.policies:
            return None
        court = self._courts.get(name)
        if court is None:
            assert self._view is not None, "attach the judge to an attribute table first"
            court = self._courts[name] = _Court(compile_policy(self.policies.policies[name]), self._view)
        return court

    def _forget(self, ids: Ids) -> None:
        self._leaks.forget(ids)
        for judge in (self, *self._trials):
            for court in judge._courts.values():
                court.forget(ids)


class _Court:
    """One compiled policy with all that is known by attribute id."""

    def __init__(self, compiled: CompiledPolicy, view: AttributeView, before: _Court | None = None) -> None:
        self.compiled = compiled
        self.view = view
        self.cache: MaskCache = MaskCache(compiled, view, None if before is None else before.cache)
        self._before = ""  # the digest of a policy with which this one can be compared
        if before is not None and compiled.asks_others(before.compiled):
            self._before = before.compiled.policy.digest
        self._by_edits: dict[tuple[Edits, ...], DerivedIds] = {} if before is None else before.in_use()
        self._actions: dict[tuple[int, int], DerivedIds | None] = {}
        self._rpki = np.array([split(mask, compiled.words) for mask in compiled.rpki_masks], np.uint64)
        terms = compiled.policy.terms
        accepting = [terms[clause.term].action is Action.ACCEPT for clause in compiled.clauses]
        self._accepting = np.array([*accepting, False])  # the last one, index -1, when no clause decides

    def renewed(self, compiled: CompiledPolicy) -> _Court:
        """The same under another policy of this name; nothing is lost where only lines have moved."""
        if compiled.policy.digest != self.compiled.policy.digest:
            return _Court(compiled, self.view, self)
        self.compiled = self.cache.compiled = compiled
        return self

    def in_use(self) -> dict[tuple[Edits, ...], DerivedIds]:
        """What is known of the rows of edits that were asked for."""
        return {action.edits: action for action in self._actions.values() if action is not None}

    def differing(self, ids: Ids, digest: str) -> Truth | None:
        """On which ids the verdict may be another one than by the policy of that digest; None: on any."""
        return self.cache.differing(ids) if self._before == digest else None

    def forget(self, ids: Ids) -> None:
        self.cache.forget(ids)
        for action in self._by_edits.values():
            action.forget(ids)

    def judge(
        self, peer: str, family: Family, ids: Ids, hi: Words, lo: Words, length: Lengths, states: States | None
    ) -> Ids:
        matched = self.matched(peer, family, ids, hi, lo, length, states)
        clause = self.deciding(matched)
        verdict = np.where(self._accepting.take(clause), ids, 0)
        self._change(verdict, ids, clause, matched)
        return verdict

    def matched(
        self, peer: str, family: Family, ids: Ids, hi: Words, lo: Words, length: Lengths, states: States | None
    ) -> Words:
        """The clauses that hold, as masks; `states` are there when the policy asks for them."""
        compiled = self.compiled
        matched = compiled.prefix_masks(family, hi, lo, length)
        matched &= self.cache.masks(ids)
        matched &= np.array(split(compiled.peer_mask(peer), compiled.words), np.uint64)
        if states is not None:
            matched &= self._rpki.take(states, axis=0)
        return matched

    def deciding(self, matched: Words) -> Ids:
        """The first clause of each mask that accepts or rejects, -1 where none does."""
        return lowest_bit(matched & np.array(split(self.compiled.decisive, self.compiled.words), np.uint64))

    def judge_one(self, peer: str, family: Family, number: int, value: int, length: int, state: Validity) -> int:
        compiled = self.compiled
        matched = compiled.prefix_mask(family, value, length) & self.cache.mask(number) & compiled.peer_mask(peer)
        matched &= compiled.rpki_masks[state]
        clause, setting = decide(compiled, matched)
        if clause < 0 or not self._accepting[clause]:
            return 0
        action = self._action(clause, setting)
        return number if action is None else action.one(number)

    def _change(self, verdict: Ids, ids: Ids, clause: Ids, matched: Words) -> None:
        """Puts derived ids where accepted routes are changed."""
        accepted = np.flatnonzero(verdict)
        if self.compiled.setting:
            accepted = self._change_by_next(verdict, ids, clause, matched, accepted)
        for number in np.flatnonzero(np.bincount(clause.take(accepted), minlength=1)).tolist():
            action = self._action(number, 0)
            if action is not None:
                rows = accepted.compress(clause.take(accepted) == number)
                verdict[rows] = action.many(ids.take(rows))

    def _change_by_next(self, verdict: Ids, ids: Ids, clause: Ids, matched: Words, accepted: Ids) -> Ids:
        """Routes that `next` terms before the deciding one have set something on; gives the other rows."""
        compiled = self.compiled
        before = matched.take(accepted, axis=0) & np.array(split(compiled.setting, compiled.words), np.uint64)
        before &= _below(clause.take(accepted), compiled.words)
        touched = before.any(axis=1)
        rows, keys = accepted.compress(touched), before.compress(touched, axis=0)
        if len(rows):
            keys = np.column_stack([keys, clause.take(rows).astype(np.uint64)])
            distinct, which = np.unique(keys, axis=0, return_inverse=True)
            for number, key in enumerate(distinct.tolist()):
                action = self._action(key[-1], sum(word << WORD * index for index, word in enumerate(key[:-1])))
                here = rows.compress(which.reshape(-1) == number)
                verdict[here] = ids.take(here) if action is None else action.many(ids.take(here))
        return accepted.compress(~touched)

    def _action(self, clause: int, setting: int) -> DerivedIds | None:
        """What is changed on routes that `clause` accepts after the `next` clauses in `setting`; None:
        nothing."""
        key = (clause, setting)
        if key not in self._actions:
            edits = self.compiled.edits_of(clause, setting)
            if edits and edits not in self._by_edits:
                self._by_edits[edits] = DerivedIds(edits, self.view)
            self._actions[key] = self._by_edits.get(edits)
        return self._actions[key]


def decide(compiled: CompiledPolicy, matched: int) -> tuple[int, int]:
    """The deciding clause (-1: none) and the `next` clauses before it, of one route's mask."""
    deciding = matched & compiled.decisive
    lowest = deciding & -deciding
    if not lowest:
        return -1, 0
    return lowest.bit_length() - 1, matched & compiled.setting & (lowest - 1)


def explain(
    compiled: CompiledPolicy, peer: str, prefix: Prefix, attributes: PathAttributes, state: Validity
) -> PolicyVerdict:
    """One route by its masks, without any cache."""
    attribute_mask = compiled.attribute_free
    for bit, holds in compiled.attribute_mask(lambda condition: np.bool_(condition.holds(attributes))):
        attribute_mask |= int(holds) << bit
    prefix_mask = compiled.prefix_mask(prefix.family, prefix.value, prefix.length)
    others = compiled.peer_mask(peer) & compiled.rpki_masks[state]
    clause, setting = decide(compiled, prefix_mask & attribute_mask & others)
    if clause < 0:
        return deny_by_default(compiled.policy)
    term = compiled.policy.terms[compiled.clauses[clause].term]
    edits = [edit for edit in compiled.edits_of(clause, setting) if edit is not term.edits]
    return verdict_of(compiled.policy, term, edits, attributes)


def lowest_bit(words: Words) -> Ids:
    """The index of the lowest set bit of each row, -1 where none is. Powers of two are exact in a double."""
    result = np.full(len(words), -1, np.int64)
    for index in range(words.shape[1] - 1, -1, -1):
        word = words[:, index]
        some = np.flatnonzero(word)
        lowest = word.take(some)
        lowest &= ~lowest + np.uint64(1)
        result[some] = np.frexp(lowest.astype(np.float64))[1].astype(np.int64) - 1 + WORD * index
    return result


def _below(clause: Ids, words: int) -> Words:
    """Masks of all bits below a clause, row by row."""
    result: Words = np.zeros((len(clause), words), np.uint64)
    for index in range(words):
        shift = np.clip(clause - WORD * index, 0, WORD)
        full = shift == WORD
        partial = (np.uint64(1) << np.where(full, 0, shift).astype(np.uint64)) - np.uint64(1)
        result[:, index] = np.where(full, np.uint64(0xFFFFFFFFFFFFFFFF), partial)
    return result

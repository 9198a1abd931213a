"""One route through one policy, term by term: the definition of what a policy means.

Conditions look at the route as the peer sent it; what an earlier term sets does not change what a later one
matches. `compile` does the same for whole tables and is held against this by tests.
"""

from __future__ import annotations

from bgpbridge.errors import Place
from bgpbridge.policy.edits import Edits, resolve
from bgpbridge.policy.model import ACCEPT, Action, PeerContext, Policy, PolicySet, PolicyVerdict, Term
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import AttributeChanges, Prefix
from bgpbridge.wire.path_attributes import PathAttributes

__all__ = ["BUILT_IN", "built_in", "deny_by_default", "evaluate", "verdict_of"]

BUILT_IN = Place("built in")


def evaluate(
    policy: Policy, prefix: Prefix, attributes: PathAttributes, peer: str, rpki: Validity = Validity.NOT_FOUND
) -> PolicyVerdict:
    """The fate of a route. `peer` is our name for the peer that it came from, `rpki` the state of prefix and origin."""
    edits: list[Edits] = []
    for term in policy.terms:
        if not _matches(term, prefix, attributes, peer, rpki):
            continue
        if term.action is Action.NEXT:
            edits.append(term.edits)
            continue
        return verdict_of(policy, term, edits, attributes)
    return deny_by_default(policy)


def _matches(term: Term, prefix: Prefix, attributes: PathAttributes, peer: str, rpki: Validity) -> bool:
    wanted = not term.matches or any(match.holds(prefix, attributes, peer, rpki) for match in term.matches)
    return wanted and not any(match.holds(prefix, attributes, peer, rpki) for match in term.unless)


def verdict_of(policy: Policy, term: Term, edits: list[Edits], attributes: PathAttributes) -> PolicyVerdict:
    """The verdict of the deciding term; `edits` are those of the `next` terms before it."""
    accept = term.action is Action.ACCEPT
    changes = resolve([*edits, term.edits], attributes) if accept else AttributeChanges()
    return PolicyVerdict(accept, changes, term.place, policy.name, term.name, "" if accept else term.reason)


def deny_by_default(policy: Policy) -> PolicyVerdict:
    """What becomes of a route that no term decides on."""
    reason = f"no term of policy {policy.name} accepts it"
    return PolicyVerdict(False, AttributeChanges(), policy.place, policy.name, "default", reason)


def built_in(peer: PeerContext, policies: PolicySet) -> PolicyVerdict | None:
    """The verdict on every route of a peer that no written policy judges; None where one does."""
    if peer.policy in policies.policies:
        return None
    if peer.policy is not None and peer.policy != ACCEPT:
        reason = f"there is no policy {peer.policy} for peer {peer.name}"
        return PolicyVerdict(False, AttributeChanges(), BUILT_IN, peer.policy, "missing", reason)
    if peer.policy is None and peer.ebgp:
        reason = f"RFC 8212: no import policy for peer {peer.name}; set peers[].import"
        return PolicyVerdict(False, AttributeChanges(), BUILT_IN, "none", "RFC 8212", reason)
    return PolicyVerdict(True, AttributeChanges(), BUILT_IN, ACCEPT, ACCEPT, "")

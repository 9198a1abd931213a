"""Route leaks by ONLY_TO_CUSTOMER (RFC 9234 s5, ingress), refused before any policy is asked.

Where we are provider or rs-server, what comes from below with an OTC has been above: a leak. Where both are peers, an
OTC of another AS than the peer's is one. What a customer or rs-client hears from above is as it should be.

The AS that RFC 9234 has a receiver put into routes without OTC is not put there: it is for announcing them further, and
the bridge announces no route that it was sent.
"""

from __future__ import annotations

import numpy as np

from bgpbridge.errors import Place
from bgpbridge.policy.columns import AttributeView, Ids, Truth
from bgpbridge.policy.model import PeerContext, PolicyVerdict
from bgpbridge.types import AttributeChanges, Role
from bgpbridge.wire.path_attributes import PathAttributes

__all__ = ["LeakCache", "leak_of", "looks"]

PLACE = Place("built in")
FROM_BELOW = {Role.PROVIDER: "customer", Role.RS_SERVER: "rs-client"}
UNKNOWN, NO_OTC, OTC = 0, 1, 2


def looks(peer: PeerContext) -> bool:
    """True when some OTC from this peer is a leak."""
    return peer.role in FROM_BELOW or peer.role is Role.PEER


def leak_of(peer: PeerContext, attributes: PathAttributes) -> PolicyVerdict | None:
    """The refusal of a leak, None for what is none."""
    otc = attributes.otc
    if otc is None or not looks(peer) or (peer.role is Role.PEER and otc == peer.asn):
        return None
    whom = f"{FROM_BELOW[peer.role]} {peer.name}" if peer.role in FROM_BELOW else f"peer {peer.name} (AS {peer.asn})"
    reason = f"route leak: OTC {otc} from {whom}"
    return PolicyVerdict(False, AttributeChanges(), PLACE, "roles", "RFC 9234", reason)


class LeakCache:
    """The OTC of attribute ids, looked up once and kept until the id is released."""

    def __init__(self) -> None:
        self._known = np.zeros(1024, np.uint8)
        self._otc = np.zeros(1024, np.uint32)

    def leaks(self, peer: PeerContext, ids: Ids, view: AttributeView) -> Truth:
        """Which of the ids are leaks when this peer sends them."""
        top = int(ids.max(initial=0)) + 1
        if top > len(self._known):
            more = max(top, 2 * len(self._known)) - len(self._known)
            self._known = np.concatenate([self._known, np.zeros(more, np.uint8)])
            self._otc = np.concatenate([self._otc, np.zeros(more, np.uint32)])
        unknown = ids.compress(self._known.take(ids) == UNKNOWN)
        if len(unknown):
            self._look(np.unique(unknown), view)
        marked: Truth = self._known.take(ids) == OTC
        return marked & (self._otc.take(ids) != peer.asn) if peer.role is Role.PEER else marked

    def leak(self, peer: PeerContext, number: int, view: AttributeView) -> bool:
        """The same for one."""
        return bool(self.leaks(peer, np.array([number], np.int64), view)[0])

    def _look(self, ids: Ids, view: AttributeView) -> None:
        lists = view.lists(ids)
        self._known[ids] = NO_OTC
        marked = ids.take(lists.otc_block)
        self._known[marked], self._otc[marked] = OTC, lists.otc
        odd = ids.compress(lists.odd)
        for number in odd.tolist():
            attributes = view.get(number).attributes
            otc = attributes.otc if attributes is not None else None
            self._known[number], self._otc[number] = (NO_OTC, 0) if otc is None else (OTC, otc)

    def forget(self, ids: Ids) -> None:
        """These ids will soon mean something else."""
        self._known[ids.compress(ids < len(self._known))] = UNKNOWN

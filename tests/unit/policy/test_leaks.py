"""Route leaks by OTC (RFC 9234 s5): refused before policy, by columns as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.leaks import leak_of
from bgpbridge.policy.listed import ListedAttributes
from bgpbridge.policy.model import ACCEPT, PeerContext
from bgpbridge.types import Family, Prefix, Role
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import Segment, SegmentKind

ASN = 64501
PREFIX = Prefix.parse("198.51.100.0/24")


def route(otc: int | None, *, odd: bool = False) -> PathAttributes:
    kinds = [SegmentKind.AS_SEQUENCE, SegmentKind.AS_SET][: 1 + odd]
    return PathAttributes(as_path=tuple(Segment(kind, (ASN,)) for kind in kinds), otc=otc)


def peer(role: Role | None) -> PeerContext:
    return PeerContext("a", True, ACCEPT, 65000, role, ASN)


@pytest.mark.parametrize(
    ("role", "otc", "reason"),
    [
        (Role.PROVIDER, 64501, "route leak: OTC 64501 from customer a"),
        (Role.RS_SERVER, 1, "route leak: OTC 1 from rs-client a"),
        (Role.PEER, 64502, "route leak: OTC 64502 from peer a (AS 64501)"),
        (Role.PEER, 64501, ""),
        (Role.PEER, None, ""),
        (Role.PROVIDER, None, ""),
        (Role.CUSTOMER, 64502, ""),
        (Role.RS_CLIENT, 64502, ""),
        (None, 64502, ""),
    ],
)
def test_what_is_a_leak(role, otc, reason):
    found = leak_of(peer(role), route(otc))
    assert (found.reason if found else "") == reason
    judge = PolicyJudge()
    judge.attach(ListedAttributes([route(otc)]))
    judge.set_peer(0, peer(role))
    shown = judge.explain(0, PREFIX, route(otc))
    assert (shown.accept, shown.term) == ((False, "RFC 9234") if reason else (True, ACCEPT))


@given(
    st.lists(st.tuples(st.sampled_from([None, 0, ASN, 64502]), st.booleans()), min_size=1, max_size=20),
    st.lists(st.sampled_from([None, *Role]), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_columns_one_by_one_and_the_definition_agree(listed, roles):
    routes = [route(otc, odd=odd) for otc, odd in listed]
    judge = PolicyJudge()
    judge.attach(ListedAttributes(routes))
    ids = np.arange(1, len(routes) + 1)
    hi, lo = np.full(len(routes), PREFIX.value << 32, np.uint64), np.zeros(len(routes), np.uint64)
    length = np.full(len(routes), 24, np.uint8)
    for index, role in enumerate(roles):
        judge.set_peer(index, peer(role))
        many = judge.judge(index, Family.IPV4, ids, hi, lo, length).tolist()
        single = [judge.judge_one(index, Family.IPV4, number, PREFIX.value, 0, 24) for number in ids.tolist()]
        wanted = [0 if leak_of(peer(role), one) else number for number, one in enumerate(routes, 1)]
        assert many == single == wanted


def test_a_released_id_is_looked_at_again():
    view = ListedAttributes([route(None)])
    judge = PolicyJudge()
    judge.attach(view)
    judge.set_peer(0, peer(Role.PROVIDER))
    assert judge.judge_one(0, Family.IPV4, 1, PREFIX.value, 0, 24) == 1
    view.release([1])
    view.replace(1, route(5))
    assert judge.judge_one(0, Family.IPV4, 1, PREFIX.value, 0, 24) == 0

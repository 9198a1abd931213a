"""Whole tables judged by masks give what the scalar evaluator gives, route by route."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgpbridge.policy.evaluate import evaluate
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.listed import ListedAttributes
from bgpbridge.policy.model import PeerContext, PolicySet
from bgpbridge.policy.parse import loads_policies
from bgpbridge.rpki.vrps import Vrp, VrpTable
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import Segment, SegmentKind

PEERS = ("alpha", "beta")
LOCAL_AS = 4
asns = st.integers(1, 5)


def prefix_values(family: Family) -> st.SearchStrategy[Prefix]:
    """Prefixes that often nest and often share borders; half of the long IPv6 ones within one /64."""
    bits = family.bits
    corner = st.sampled_from([0, 1, 2, 3]).map(lambda v: v << bits - 2)
    middle = st.integers(0, 7).map(lambda v: v << bits - 11)
    low = st.integers(0, 15)
    length = st.sampled_from([0, 1, 2, 3, 8, 9, 10, 11, 24, bits - 4, bits - 3, bits - 1, bits, bits // 2])
    return st.builds(lambda a, b, c, n: Prefix.make(family, a | b | c, n), corner, middle, low, length)


prefixes = st.sampled_from(Family).flatmap(prefix_values)


@st.composite
def prefix_texts(draw: st.DrawFn) -> str:
    prefix = draw(prefixes)
    low = draw(st.integers(prefix.length, prefix.family.bits))
    high = draw(st.integers(low, prefix.family.bits))
    return f"{prefix} " + draw(
        st.sampled_from(["exact", "or-longer", f"ge {low}", f"ge {low} le {high}", f"le {high}"])
    )


def bounds(highest: int) -> st.SearchStrategy[Any]:
    pair = st.tuples(st.integers(0, highest), st.integers(0, highest)).map(sorted)
    return st.one_of(st.integers(0, highest), pair.map(lambda p: {"ge": p[0], "le": p[1]}))


tokens = st.sampled_from(["*", "?", "1", "2", "1-3", "(1|4)", "@low", "2+", "?+"])
communities = st.sampled_from(["1:1", "1:2", "2:*", "1:1-2", "3:3:3", "3:*:3", "rt:1:1", "rt:*:2", "some"])
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "prefix": st.lists(st.one_of(prefix_texts(), st.just("nets")), min_size=1, max_size=3),
    "prefix_length": bounds(32),
    "family": st.lists(st.sampled_from(["ipv4", "ipv6"]), min_size=1, max_size=2),
    "rpki": st.lists(st.sampled_from(["valid", "invalid", "not-found"]), min_size=1, max_size=2),
    "peer": st.lists(st.sampled_from([*PEERS, "nobody", "greek"]), min_size=1, max_size=2),
    "as_path": st.one_of(st.lists(tokens, min_size=1, max_size=4).map(" ".join), st.just("walks")),
    "path_length": bounds(5),
    "path_contains": st.sampled_from([[1], ["low"], ["2-3", 5]]),
    "neighbor_as": st.sampled_from([[1], ["low"], ["0"]]),
    "origin_as": st.sampled_from([[1], ["low"], ["0", "4-5"]]),
    "origin": st.sampled_from(["igp", ["egp", "incomplete"]]),
    "community": st.lists(communities, min_size=1, max_size=2),
    "every_community": st.lists(communities, min_size=1, max_size=2),
    "next_hop": st.sampled_from(["nets", "192.0.2.0/25", ["2001:db8::/33", "192.0.2.128/25"]]),
    "otc": st.sampled_from(["absent", "present", "neighbor", [1], ["absent", "low"], ["2-3", "neighbor"]]),
    "med": bounds(3),
    "local_pref": bounds(120),
}
matches = st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: CONDITIONS[key] for key in keys})
)
edits = st.fixed_dictionaries(
    {"med": st.integers(0, 3)},
    optional={
        "local_pref": st.integers(0, 3),
        "weight": st.integers(0, 3),
        "prepend": st.fixed_dictionaries({"asn": asns, "times": st.integers(1, 2)}),
        "communities": st.fixed_dictionaries(
            {},
            optional={
                "set": st.sampled_from([[], ["1:1"], ["3:3:3", "rt:1:1"]]),
                "remove": st.sampled_from([["1:*"], ["*:*"], ["1:1", "3:*:*"], ["rt:*:*"]]),
                "add": st.sampled_from([["1:1"], ["2:7", "3:9:9"], ["rt:2:2"]]),
            },
        ).filter(bool),
    },
)


@st.composite
def terms(draw: st.DrawFn, number: int) -> dict[str, Any]:
    then = draw(st.sampled_from(["accept", "reject", "next", "next"]))
    term: dict[str, Any] = {"term": f"t{number}", "then": then}
    if draw(st.integers(0, 5)):
        term["match"] = draw(st.one_of(matches, st.lists(matches, min_size=1, max_size=2)))
    if draw(st.booleans()):
        term["unless"] = draw(st.one_of(matches, st.lists(matches, min_size=1, max_size=2)))
    if then == "next" or (then == "accept" and draw(st.booleans())):
        term["set"] = draw(edits)
    return term


SETS = {
    "prefixes": {"nets": ["192.0.2.0/24 or-longer", "64.0.0.0/2 ge 9", "2001:db8::/32 or-longer", "c000::/2 le 127"]},
    "asns": {"low": ["1-2"]},
    "as_paths": {"walks": ["1 *", "* @low", "?"]},
    "communities": {"some": ["1:1", "3:3:3"]},
    "peers": {"greek": ["beta", "nobody"]},
}


@st.composite
def policies(draw: st.DrawFn) -> PolicySet:
    written = [draw(terms(number)) for number in range(draw(st.integers(1, 6)))]
    if draw(st.booleans()):
        written.append({"term": "last", "then": "accept", "set": {"local_pref": 7}})
    named = [term for term in written[1:] if draw(st.booleans())]
    first, *rest = ({"include": term["term"]} if term in named else term for term in written)
    wanted = (
        {"part": {"terms": rest}, "p": {"terms": [first, {"include": "part"}]}} if rest else {"p": {"terms": [first]}}
    )
    text = json.dumps({"sets": SETS, "terms": named, "policies": wanted})
    return loads_policies([(text, "policy.yml")])


segments = st.builds(
    lambda kind, asns_: Segment(kind, tuple(asns_)),
    st.sampled_from([SegmentKind.AS_SEQUENCE] * 3 + [SegmentKind.AS_SET, SegmentKind.AS_CONFED_SEQUENCE]),
    st.lists(asns, min_size=1, max_size=3),
)
attributes = st.builds(
    PathAttributes,
    origin=st.integers(0, 2),
    as_path=st.lists(segments, max_size=2).map(tuple),
    next_hop=st.sampled_from(["192.0.2.1", "192.0.2.200", "2001:db8::1", "64.0.0.1"]).map(
        lambda text: __import__("ipaddress").ip_address(text)
    ),
    otc=st.one_of(st.none(), asns),
    med=st.one_of(st.none(), st.integers(0, 3)),
    local_pref=st.one_of(st.none(), st.integers(90, 110)),
    communities=st.lists(st.sampled_from([0x10001, 0x10002, 0x20007]), max_size=2, unique=True).map(tuple),
    extended=st.lists(
        st.sampled_from([bytes([0, 2, 0, 1, 0, 0, 0, 1]), bytes([2, 2, 0, 0, 0, 9, 0, 2])]), max_size=2
    ).map(tuple),
    large=st.lists(st.sampled_from([(3, 3, 3), (3, 8, 3), (3, 9, 9)]), max_size=2, unique=True).map(tuple),
)
vrps = st.builds(
    lambda prefix, more, asn: Vrp(prefix, min(prefix.length + more, prefix.family.bits), asn),
    prefixes,
    st.integers(0, 16),
    st.integers(0, 5),
)
routes = st.tuples(st.sampled_from([0, 1]), prefixes, st.integers(0, 3))


@given(
    policies(),
    st.lists(attributes, min_size=3, max_size=3),
    st.lists(routes, min_size=1, max_size=24),
    st.lists(vrps, max_size=8),
)
@settings(
    max_examples=settings.default.max_examples * 3 // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_masks_and_the_scalar_evaluator_give_the_same_verdicts(
    policy_set: PolicySet, listed: list[PathAttributes], asked: list[tuple[int, Prefix, int]], held: list[Vrp]
) -> None:
    view, judge = ListedAttributes(listed), PolicyJudge(policy_set)
    judge.vrps = VrpTable.of(held)
    judge.attach(view)
    for index, name in enumerate(PEERS):
        judge.set_peer(index, PeerContext(name, True, "p", LOCAL_AS))
    policy = policy_set.policies["p"]
    wanted = []
    for peer, prefix, number in asked:
        verdict = None
        if number:
            state = judge.vrps.validate_one(prefix, origin(listed[number - 1]))
            verdict = evaluate(policy, prefix, listed[number - 1], PEERS[peer], state)
        wanted.append(view.derive(number, verdict.changes) if verdict and verdict.accept else 0)
        if verdict:
            assert judge.explain(peer, prefix, listed[number - 1]) == verdict
    assert in_bulk(judge, asked) == wanted
    assert one_by_one(judge, asked) == wanted
    assert in_bulk(judge, asked) == wanted, "the second time, from caches"


@given(
    st.lists(policies(), min_size=2, max_size=4),
    st.lists(attributes, min_size=3, max_size=3),
    st.lists(st.tuples(st.lists(routes, min_size=1, max_size=12), st.sets(st.integers(1, 3))), min_size=4, max_size=4),
)
@settings(
    max_examples=settings.default.max_examples * 2 // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_changed_policy_judges_as_one_that_never_knew_another(
    sets: list[PolicySet],
    listed: list[PathAttributes],
    steps: list[tuple[list[tuple[int, Prefix, int]], set[int]]],
) -> None:
    """One judge that goes from policy to policy, back to the first and on, against a new one for each; between two of
    them ids are forgotten, and the first three are only partly asked for."""
    view, judge = ListedAttributes(listed), PolicyJudge(sets[0])
    for asked, forgotten in steps:
        for policy_set in (*sets, sets[0]):
            judge.set_policies(policy_set)
            fresh = PolicyJudge(policy_set)
            for one in (judge, fresh):
                one.attach(view)
                for index, name in enumerate(PEERS):
                    one.set_peer(index, PeerContext(name, True, "p", LOCAL_AS))
            wanted = in_bulk(fresh, asked)
            assert in_bulk(judge, asked) == wanted
            assert one_by_one(judge, asked) == wanted
        judge._forget(np.array(sorted(forgotten), np.int64))


def origin(route: PathAttributes) -> int:
    """RFC 6811 s2, written out: our own AS for an empty path and one that ends inside our confederation."""
    if not route.as_path or all(segment.confederation for segment in route.as_path):
        return LOCAL_AS
    return route.origin_as


def in_bulk(judge: PolicyJudge, asked: list[tuple[int, Prefix, int]]) -> list[int]:
    verdicts = [0] * len(asked)
    for peer in (0, 1):
        for family in Family:
            rows = [i for i, (of, prefix, _) in enumerate(asked) if of == peer and prefix.family is family]
            values = [asked[i][1].value for i in rows]
            found = judge.judge(
                peer,
                family,
                np.array([asked[i][2] for i in rows], np.int64),
                np.array([value >> 64 for value in values], np.uint64),
                np.array([value & (1 << 64) - 1 for value in values], np.uint64),
                np.array([asked[i][1].length for i in rows], np.uint8),
            )
            for row, verdict in zip(rows, found.tolist(), strict=True):
                verdicts[row] = verdict
    return verdicts


def one_by_one(judge: PolicyJudge, asked: list[tuple[int, Prefix, int]]) -> list[int]:
    low = (1 << 64) - 1
    return [
        judge.judge_one(peer, prefix.family, number, prefix.value >> 64, prefix.value & low, prefix.length)
        for peer, prefix, number in asked
    ]


@given(st.lists(st.integers(0, 199), min_size=1, max_size=12), st.integers(0, 1 << 30))
@settings(max_examples=20, deadline=None)
def test_policies_of_more_terms_than_a_word_has_bits(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    written: list[dict[str, Any]] = []
    for number in range(150):
        then = ["accept", "reject", "next"][int(rng.integers(3))]
        term: dict[str, Any] = {
            "term": f"t{number}",
            "then": then,
            "match": {"prefix_length": number % 33, "med": int(rng.integers(3))},
        }
        if then != "reject":
            term["set"] = {"local_pref": number, "communities": {"add": [f"9:{number}"]}}
        written.append(term)
    policy_set = loads_policies([(json.dumps({"policies": {"p": {"terms": written}}}), "p.yml")])
    listed = [PathAttributes(med=value) for value in range(3)]
    view, judge = ListedAttributes(listed), PolicyJudge(policy_set)
    judge.attach(view)
    judge.set_peer(0, PeerContext("alpha", True, "p"))
    judge.set_peer(1, PeerContext("beta", True, "p"))
    asked = [(0, Prefix.make(Family.IPV4, 0xC0000200, value % 33), 1 + value % 3) for value in lengths]
    wanted = []
    for _, prefix, number in asked:
        verdict = evaluate(policy_set.policies["p"], prefix, listed[number - 1], "alpha")
        wanted.append(view.derive(number, verdict.changes) if verdict.accept else 0)
    assert in_bulk(judge, asked) == wanted
    assert one_by_one(judge, asked) == wanted

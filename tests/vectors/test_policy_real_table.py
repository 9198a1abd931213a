"""The example policies on the real table of 2015: the counts that others found (MANIFEST of the shared data)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bgpbridge.policy.edits import Edits
from bgpbridge.policy.evaluate import evaluate
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import Action, PeerContext, Policy, PolicySet
from bgpbridge.policy.parse import load_policies, loads_policies
from bgpbridge.rib.attributes import AttributeTable
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.mrt import MessageRecord, read_mrt
from bgpbridge.wire.verdicts import SessionKind

LOCAL_AS = 4_199_999_999  # in no path


@dataclass
class Table:
    attributes: AttributeTable
    ids: Any
    lo: Any
    length: Any


@pytest.fixture(scope="module")
def table(shared_data: Path) -> Table:
    """The last announcement of every prefix."""
    peer = ip_address("192.0.2.1")
    session = Session(0, LOCAL_AS, LOCAL_AS, peer, peer, peer, asn4=True)
    records = read_mrt(shared_data / "mrt" / "full-table-2015.mrt.gz")
    messages = [r.message for r in records if isinstance(r, MessageRecord) and r.message[18] == 2]
    attributes = AttributeTable(NextHopTable(None), capacity=1_000_000)
    parts = []
    for begin in range(0, len(messages), 8192):
        batch = decode_run(b"".join(messages[begin : begin + 8192]), session)
        rows = batch.columns[Family.IPV4]
        ids = attributes.intern_batch(batch.blocks, SessionKind.of(session))
        parts.append((np.where(rows.block >= 0, ids[rows.block], 0), rows.lo, rows.length))
    ids, lo, length = (np.concatenate(column) for column in zip(*parts, strict=True))
    keys = lo << np.uint64(8) | length
    _, last = np.unique(keys[::-1], return_index=True)
    last = len(keys) - 1 - last
    last = last[ids[last] > 0]  # the others were withdrawn
    return Table(attributes, ids[last], lo[last], length[last])


def policy(terms: Sequence[dict[str, Any]], **sets: Any) -> PolicySet:
    text = json.dumps({"sets": sets, "policies": {"p": {"terms": list(terms)}}})
    return loads_policies([(text, "p.yml")])


def judged(table: Table, policies: PolicySet, name: str = "p") -> Any:
    judge = PolicyJudge(policies)
    judge.attach(table.attributes)
    judge.set_peer(0, PeerContext("collector", True, name))
    return judge.judge(0, Family.IPV4, table.ids, np.zeros_like(table.lo), table.lo, table.length)


def refused(table: Table, policies: PolicySet) -> int:
    """How many routes the policy refuses, of those that are not withdrawn already (one path holds AS 0: four
    prefixes, RFC 7607)."""
    usable = table.attributes.verdict.take(table.ids) < Verdict.TREAT_AS_WITHDRAW
    assert int((~usable).sum()) == 4
    return int(((judged(table, policies) == 0) & usable).sum())


REST = {"term": "rest", "then": "accept"}


@pytest.mark.parametrize(("source", "count"), [("nlnog", 456), ("openbgpd", 456), ("arouteserver", 457)])
def test_bogons_hit_as_many_prefixes_as_the_manifest_says(
    table: Table, shared_data: Path, source: str, count: int
) -> None:
    listed = json.loads((shared_data / "policy" / "bogon_prefixes.json").read_text())[source]
    bogons = [text if "exact" in text else f"{text} or-longer" for text in listed]
    policies = policy(
        [{"term": "b", "match": {"prefix": "bogons"}, "then": "reject"}, REST], prefixes={"bogons": bogons}
    )
    assert len(table.ids) == 577_703
    assert refused(table, policies) == count


def test_prefixes_longer_than_24(table: Table) -> None:
    policies = policy([{"term": "l", "match": {"family": "ipv4", "prefix_length": {"ge": 25}}, "then": "reject"}, REST])
    assert refused(table, policies) == 8_875


def test_masks_agree_with_the_scalar_evaluator_on_real_routes(table: Table) -> None:
    policies = policy(
        [
            {"term": "transit", "match": {"path_contains": ["174", "3356", "1299"]}, "set": {"med": 5}, "then": "next"},
            {"term": "tagged", "match": {"community": ["3356:*", "174:*"]}, "set": {"local_pref": 120}, "then": "next"},
            {
                "term": "long",
                "match": {"path_length": {"ge": 6}},
                "unless": {"as_path": "* (3356|174)+ *"},
                "then": "reject",
            },
            {
                "term": "nets",
                "match": {"prefix": ["64.0.0.0/6 ge 20 le 22", "193.0.0.0-193.0.31.255"]},
                "then": "reject",
            },
            {"term": "odd", "match": {"origin_as": ["1-2000"], "origin": ["incomplete"]}, "then": "reject"},
            {**REST, "set": {"communities": {"remove": ["174:*"], "add": ["64500:1"]}}},
        ]
    )
    found = judged(table, policies)
    outcomes = set()
    for row in np.random.default_rng(7).choice(len(found), 3000, replace=False).tolist():
        number = int(table.ids[row])
        attributes = table.attributes.get(number).attributes
        if attributes is None:
            assert found[row] == 0
            continue
        prefix = Prefix(Family.IPV4, int(table.lo[row]), int(table.length[row]))
        verdict = evaluate(policies.policies["p"], prefix, attributes, "collector")
        expected = table.attributes.derive(number, verdict.changes) if verdict.accept else 0
        assert int(found[row]) == expected
        outcomes.add((verdict.term, verdict.changes.med, verdict.changes.local_pref))
    assert len(outcomes) >= 5


# -- the profiles of configs/policies -------------------------------------------------------------------------------

PROFILES = sorted((Path(__file__).parents[2] / "configs" / "policies").glob("*.yml"))
# Counted a second time from what bgpdump reads, with ipaddress and a term after the other.
DECIDED = {
    "transit": {
        "default-route": 1,
        "our-prefixes": 1,
        "bogon-prefixes": 455,
        "bogon-asns": 1_134,
        "no-origin": 147,
        "too-specific": 8_346,
        "rest": 567_615,
        "none": 4,
    },
    "peering": {
        "default-route": 1,
        "our-prefixes": 1,
        "bogon-prefixes": 455,
        "bogon-asns": 1_134,
        "no-origin": 147,
        "leak": 202_872,
        "too-specific": 7_950,
        "endless-paths": 287,
        "rest": 364_852,
        "none": 4,
    },
    "customer": {
        "default-route": 1,
        "our-prefixes": 1,
        "bogon-prefixes": 455,
        "bogon-asns": 1_134,
        "no-origin": 147,
        "leak": 202_872,
        "foreign-origin": 373_089,
        "none": 4,
    },
    "internal": {
        "our-networks": 52,
        "bogon-prefixes": 405,
        "bogon-asns": 1_134,
        "too-specific": 8_349,
        "rest": 567_759,
        "none": 4,
    },
}


def labelled(policy: Policy) -> tuple[PolicySet, list[str]]:
    """The policy with every deciding term accepting and setting its number as weight; names by number."""
    terms = [term for term in policy.terms if term.action is not Action.NEXT]
    marked = [replace(t, action=Action.ACCEPT, edits=Edits(weight=n)) for n, t in enumerate(terms, 1)]
    named = replace(policy, name="p", terms=tuple(marked), digest="labelled")
    return PolicySet({"p": named}), ["none", *(term.name for term in terms)]


def decided(table: Table, policy: Policy) -> list[str]:
    """The name of the term that decides on each route."""
    policies, names = labelled(policy)
    weights = table.attributes.weight.take(judged(table, policies))
    return [names[weight] for weight in weights.tolist()]


def hits(table: Table, profiles: PolicySet, policy: str, term: str) -> int:
    """How many routes a term of a profile would decide on if it came first."""
    whole = profiles.policies[policy]
    alone = replace(whole, terms=tuple(t for t in whole.terms if t.name in (term, "rest")), digest=term)
    return Counter(decided(table, alone))[term]


@pytest.fixture(scope="module")
def profiles() -> PolicySet:
    return load_policies(PROFILES)


@pytest.mark.parametrize("name", ["transit", "peering", "customer", "internal"])
def test_what_each_term_of_a_profile_decides(table: Table, profiles: PolicySet, name: str) -> None:
    policy = profiles.policies[name]
    by_term = decided(table, policy)
    assert Counter(by_term) == DECIDED[name]
    rejecting = {term.name for term in policy.terms if term.action is Action.REJECT} | {"none"}
    assert int((judged(table, profiles, name) == 0).sum()) == sum(DECIDED[name].get(term, 0) for term in rejecting)
    rows = np.random.default_rng(11).choice(len(by_term), 1500, replace=False).tolist()
    rare = [row for row, term in enumerate(by_term) if DECIDED[name][term] < 10_000]
    for row in [*rows, *rare[:: max(len(rare) // 1500, 1)]]:
        attributes = table.attributes.get(int(table.ids[row])).attributes
        if by_term[row] == "none" or attributes is None:
            assert by_term[row] == "none"  # withdrawn by RFC 7607
            continue
        prefix = Prefix(Family.IPV4, int(table.lo[row]), int(table.length[row]))
        assert evaluate(policy, prefix, attributes, "collector").term == by_term[row], prefix


@pytest.mark.parametrize("policy", ["transit", "peering", "customer", "internal"])
def test_the_profiles_terms_hit_what_the_manifest_says(table: Table, profiles: PolicySet, policy: str) -> None:
    assert hits(table, profiles, policy, "bogon-prefixes") == 456
    assert hits(table, profiles, policy, "too-specific") == 8_875
    assert hits(table, profiles, policy, "bogon-asns") == 1_139 - 4  # those four hold AS 0 and are withdrawn already

"""Policies as written, and what becomes of routes under them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.errors import DocumentError
from bgpbridge.policy.evaluate import evaluate
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.lint import lint
from bgpbridge.policy.listed import ListedAttributes
from bgpbridge.policy.model import PeerContext, PolicySet
from bgpbridge.policy.parse import load_policies, loads_policies
from bgpbridge.types import AttributeChanges, CommunityChanges, Family, Prefix
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import Segment, SegmentKind

TEXT = """\
sets:
  prefixes:
    bogons: [10.0.0.0/8 or-longer, 192.168.0.0/16 or-longer]
policies:
  in:
    terms:
      - term: bogons
        match: {prefix: bogons}
        then: reject
        reason: bogon prefix
      - term: too-long
        match: {family: ipv4, prefix_length: {ge: 25}}
        unless: {community: blackhole}
        then: reject
      - term: tag
        match: {neighbor_as: 64501}
        set: {local_pref: 150, communities: {add: 65000:1}}
        then: next
      - term: scrub
        match: {community: "65000:*"}
        set: {communities: {remove: "65000:*"}}
        then: next
      - term: short-paths
        match: {path_length: {le: 3}}
        set: {local_pref: 200}
        then: accept
      - term: ours
        match: {origin_as: 65000}
        then: reject
      - term: rest
        match: {path_length: {le: 9}}
        then: accept
"""


def attributes(*asns: int, communities: tuple[int, ...] = ()) -> PathAttributes:
    path = (Segment(SegmentKind.AS_SEQUENCE, asns),) if asns else ()
    return PathAttributes(as_path=path, next_hop=ip_address("192.0.2.1"), communities=communities)


@pytest.fixture
def policies() -> PolicySet:
    return loads_policies([(TEXT, "p.yml")])


@pytest.mark.parametrize(
    ("prefix", "route", "accept", "term", "line", "reason"),
    [
        ("10.1.0.0/16", attributes(1), False, "bogons", 7, "bogon prefix"),
        ("198.51.100.0/25", attributes(1), False, "too-long", 11, "rejected by term too-long"),
        ("198.51.100.7/32", attributes(1, communities=(0xFFFF029A,)), True, "short-paths", 23, ""),
        ("198.51.100.0/24", attributes(1, 2, 3, 65000), False, "ours", 27, "rejected by term ours"),
        ("2001:db8::/64", attributes(1, 2, 3, 4), True, "rest", 30, ""),
        ("198.51.100.0/24", attributes(*range(1, 12)), False, "default", 5, "no term of policy in accepts it"),
    ],
)
def test_a_verdict_names_the_line_that_decided(
    policies: PolicySet, prefix: str, route: PathAttributes, accept: bool, term: str, line: int, reason: str
) -> None:
    verdict = evaluate(policies.policies["in"], Prefix.parse(prefix), route, "a")
    assert (verdict.accept, verdict.term, verdict.line, verdict.reason) == (accept, term, line, reason)
    assert verdict.file == "p.yml"


def test_what_next_terms_set_adds_up_and_the_last_value_wins(policies: PolicySet) -> None:
    route = attributes(64501, 2, communities=(65000 << 16 | 9, 7))
    verdict = evaluate(policies.policies["in"], Prefix.parse("198.51.100.0/24"), route, "a")
    assert verdict.changes.local_pref == 200
    assert verdict.changes.communities.apply(route.communities) == (7,)


def test_conditions_see_the_route_as_it_was_sent(policies: PolicySet) -> None:
    """`tag` adds 65000:1; `scrub` matches 65000:* on what came in, so it does not match here."""
    verdict = evaluate(policies.policies["in"], Prefix.parse("198.51.100.0/24"), attributes(64501), "a")
    assert verdict.changes == AttributeChanges(local_pref=200, communities=CommunityChanges(add=(65000 << 16 | 1,)))


def judge_with(policies: PolicySet, listed: list[PathAttributes | None], policy: str | None, ebgp: bool = True):
    view, judge = ListedAttributes(listed), PolicyJudge(policies)
    judge.attach(view)
    judge.set_peer(4, PeerContext("a", ebgp, policy))
    return view, judge


def ask(judge: PolicyJudge, ids: list[int], prefix: str = "198.51.100.0/24") -> list[int]:
    parsed = Prefix.parse(prefix)
    count = len(ids)
    low = np.full(count, parsed.value & (1 << 64) - 1, np.uint64)
    high = np.full(count, parsed.value >> 64, np.uint64)
    lengths = np.full(count, parsed.length, np.uint8)
    found = judge.judge(4, parsed.family, np.array(ids, np.int64), high, low, lengths).tolist()
    one_by_one = [
        judge.judge_one(4, parsed.family, i, parsed.value >> 64, parsed.value & (1 << 64) - 1, parsed.length)
        for i in ids
    ]
    assert found == one_by_one
    return found


def test_an_external_peer_without_policy_is_refused_everything(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1)], None)
    assert ask(judge, [1, 1]) == [0, 0]
    verdict = judge.explain(4, Prefix.parse("198.51.100.0/24"), attributes(1))
    assert verdict.reason == "RFC 8212: no import policy for peer a; set peers[].import"
    assert not verdict.accept


def test_an_internal_peer_without_policy_is_believed(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1)], None, ebgp=False)
    assert ask(judge, [1]) == [1]


def test_accept_is_built_in(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1)], "accept")
    assert ask(judge, [1]) == [1]
    assert judge.explain(4, Prefix.parse("198.51.100.0/24"), attributes(1)).accept


def test_a_policy_that_is_gone_refuses_everything(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1)], "gone")
    assert ask(judge, [1]) == [0]
    reason = judge.explain(4, Prefix.parse("198.51.100.0/24"), attributes(1)).reason
    assert reason == "there is no policy gone for peer a"


def test_unreadable_attributes_are_refused(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [None, attributes(1, 2, 3, 4)], "in")
    assert ask(judge, [0, 1, 2]) == [0, 0, 2]


def test_an_id_that_means_something_else_is_judged_anew(policies: PolicySet) -> None:
    view, judge = judge_with(policies, [attributes(1, 2, 3, 4)], "in")
    assert ask(judge, [1]) == [1]
    view.release([1])
    view.replace(1, attributes(1, 2, 3, 65000))
    assert ask(judge, [1]) == [0]


def test_a_derived_id_that_is_released_is_derived_anew(policies: PolicySet) -> None:
    view, judge = judge_with(policies, [attributes(1)], "in")
    (derived,) = ask(judge, [1])
    assert view.changes[derived] == (1, AttributeChanges(local_pref=200))
    view.release([derived])
    view.derived.clear()
    view.derive(1, AttributeChanges(med=1))  # takes the number that was free again
    (again,) = ask(judge, [1])
    assert view.changes[again] == (1, AttributeChanges(local_pref=200))
    assert again != derived


def test_new_policies_hold_at_once(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1, 2, 3, 4)], "in")
    assert ask(judge, [1]) == [1]
    judge.set_policies(loads_policies([(TEXT.replace("le: 9", "le: 3"), "p.yml")]))
    assert ask(judge, [1]) == [0]


def test_policies_whose_lines_moved_keep_what_is_known_and_name_the_new_lines(policies: PolicySet) -> None:
    view, judge = judge_with(policies, [attributes(1, 2, 3, 4)], "in")
    assert ask(judge, [1]) == [1]
    view.get = None  # type: ignore[method-assign, assignment]  # nothing may be read a second time
    view.lists = None  # type: ignore[method-assign, assignment]
    judge.set_policies(loads_policies([("# one line more\n" + TEXT, "p.yml")]))
    assert ask(judge, [1]) == [1]
    assert judge.explain(4, Prefix.parse("198.51.100.0/24"), attributes(1, 2, 3, 4)).line == 31


def test_sets_are_known_to_all_files_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("policies: {p: {terms: [{term: t, match: {prefix: nets}, then: accept}]}}\n")
    (tmp_path / "b.yml").write_text("sets: {prefixes: {nets: {file: nets.txt, match: le 24}}}\n")
    (tmp_path / "nets.txt").write_text("# ours\n192.0.2.0/23\n2001:db8::/32   or-longer # all of it\n")
    loaded = load_policies([tmp_path / "a.yml", tmp_path / "b.yml"])
    assert not evaluate(loaded.policies["p"], Prefix.parse("192.0.2.0/25"), attributes(1), "a").accept
    for prefix in ("192.0.3.0/24", "2001:db8::1/128"):
        assert evaluate(loaded.policies["p"], Prefix.parse(prefix), attributes(1), "a").accept


def test_the_order_of_terms_decides() -> None:
    text = "policies: {p: {terms: [{term: a, match: {origin: igp}, then: reject}, {term: b, then: accept}]}}\n"
    loaded = loads_policies([(text, "p.yml")])
    _, judge = judge_with(loaded, [attributes(1), PathAttributes(origin=2)], "p")
    assert ask(judge, [1, 2]) == [0, 2]


def test_exceptions_that_would_need_too_many_masks_are_refused() -> None:
    mixed = ", ".join(f"{{prefix: 10.{n}.0.0/16, med: {n}, peer: p{n}}}" for n in range(7))
    plain = ", ".join(f"{{prefix: 10.{n}.0.0/16}}" for n in range(70))
    text = "policies: {{p: {{terms: [{{term: t, then: accept, unless: [{}]}}]}}}}\n"
    loads_policies([(text.format(plain), "p.yml")])
    with pytest.raises(DocumentError, match=r"p\.yml:1:48: term t: the `unless` mappings that mix"):
        loads_policies([(text.format(mixed), "p.yml")])


def test_lint() -> None:
    text = """\
sets:
  prefixes: {idle: [192.0.2.0/24]}
  asns: {seen: [1]}
policies:
  p:
    terms:
      - term: nets
        match: {prefix: [10.0.0.0/8 or-longer, 10.1.0.0/16, 10.0.0.0/8 le 9], as_path: "* @seen"}
        then: reject
      - {term: all, then: reject}
      - {term: never, then: reject}
"""
    said = [str(oddity).split("\n")[0] for oddity in lint(loads_policies([(text, "p.yml")]))]
    assert said == [
        "p.yml:2:14: the prefixes set `idle` is used by no policy",
        "p.yml:11:16: term never and all behind it are never reached: all decides on every route",
        "p.yml:5:3: policy p accepts nothing: a route that no term accepts is refused",
        (
            "p.yml:7:15: term nets: 2 of 3 entries of 10.0.0.0/8 or-longer, 10.1.0.0/16, 10.0.0.0/8 le 9 add nothing, "
            "such as `10.0.0.0/8 ge 8 le 9` beside `10.0.0.0/8 or-longer`"
        ),
    ]


def test_family_of_a_prefix_decides_which_table_is_asked(policies: PolicySet) -> None:
    _, judge = judge_with(policies, [attributes(1, 2, 3, 4)], "in")
    assert ask(judge, [1], "2001:db8:1::/48") == [1]
    assert ask(judge, [1], "10.0.0.0/9") == [0]
    assert Family.IPV6.bits == 128


def test_included_terms_stand_where_the_include_stands_and_keep_their_lines() -> None:
    text = """\
    sets:
      peers: {uplinks: [a, b]}
      as_paths: {short: ["?", "? ?"]}
    terms:
      - {term: ours, match: {origin_as: 65000}, then: reject}
    policies:
      part:
        terms:
          - {term: quick, match: {peer: uplinks, as_path: short}, set: {local_pref: 7}, then: accept}
      whole:
        terms:
          - include: ours
          - include: part
          - {term: rest, then: accept}
      other:
        terms:
          - include: part
          - include: ours
          - {term: rest, then: accept}
    """
    policies = loads_policies([(text, "p.yml")])
    assert [term.name for term in policies.policies["other"].terms] == ["quick", "ours", "rest"]
    prefix, route = Prefix.parse("198.51.100.0/24"), attributes(1, 65000)
    whole, other = (evaluate(policies.policies[name], prefix, route, "a") for name in ("whole", "other"))
    assert (whole.accept, whole.term, whole.line, whole.policy) == (False, "ours", 5, "whole")
    assert (other.accept, other.term, other.line, other.changes.local_pref) == (True, "quick", 9, 7)
    assert evaluate(policies.policies["other"], prefix, attributes(1, 2), "c").term == "rest"
    assert lint(policies) == []


def test_a_policy_means_something_else_when_what_it_includes_does() -> None:
    text = """\
    terms:
      - {term: ours, match: {origin_as: 65000}, then: reject}
    policies:
      part: {terms: [{include: ours}]}
      whole: {terms: [{include: part}, {term: rest, then: accept}]}
      alone: {terms: [{term: rest, then: accept}]}
    """
    before, after = (loads_policies([(t, "p.yml")]).policies for t in (text, text.replace("65000", "65001")))
    assert before["whole"].digest != after["whole"].digest
    assert before["alone"].digest == after["alone"].digest

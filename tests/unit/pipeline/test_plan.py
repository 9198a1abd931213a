"""What a plan foretells is what the reload then does; and the plan itself changes nothing."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgpbridge.errors import DocumentError
from bgpbridge.pipeline import plan_routes, plan_table
from bgpbridge.pipeline.plan import plan
from bgpbridge.policy.override_schema import OverrideText
from bgpbridge.rib import trial
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.rpki.vrps import Vrp, VrpTable
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.attributes import encode_attribute

NETS = [f"203.0.{number}.0/24" for number in range(6)] + ["198.51.100.0/25", "2001:db8:a::/48", "2001:db8:b::/56"]
TERMS = {
    "short": "{term: short, match: {path_length: {le: 1}}, then: accept}",
    "far": "{term: far, match: {path_length: {ge: 2}}, then: reject, reason: too far}",
    "nets": "{term: nets, match: {prefix: [203.0.0.0/22 or-longer]}, set: {local_pref: 200}, then: accept}",
    "tag": "{term: tag, set: {communities: {add: ['65000:1']}}, then: next}",
    "med": "{term: med, set: {med: 5}, then: next}",
    "heavy": "{term: heavy, match: {prefix: ['198.51.100.0/24 or-longer']}, set: {weight: 9}, then: accept}",
    "invalid": "{term: invalid, match: {rpki: invalid}, then: reject, reason: RPKI}",
    "valid": "{term: valid, match: {rpki: valid}, set: {local_pref: 150}, then: next}",
    "rest": "{term: rest, then: accept}",
}
GROUPS = {"both": ["a", "b", "10.0.1.3"], "far": ["10.0.2.77", "2001:db8:2::77", "c"]}
VRPS = [
    Vrp(Prefix.parse("203.0.0.0/23"), 24, 65001),
    Vrp(Prefix.parse("203.0.2.0/24"), 24, 64600),
    Vrp(Prefix.parse("2001:db8:a::/48"), 48, 65002),
]


def policy(terms, overrides=(), peers="abc"):
    """Groups and overrides name no peer that there is not."""
    groups = {name: [one for one in members if one in peers or len(one) > 1] for name, members in GROUPS.items()}
    there = [one for one in overrides if not any(f"peer: {name}" in one for name in set("abc") - set(peers))]
    listed = "".join(f"  - {{{one}, owner: o, reason: r}}\n" for one in there)
    text = f"policies: {{p: {{terms: [{', '.join(TERMS[name] for name in terms)}]}}}}\n"
    return f"{text}sets: {{next_hop_groups: {json.dumps(groups)}}}\noverrides:\n{listed}" if listed else text


def foretell(world, file=None):
    return asyncio.run(plan(world.bridge, file))


def text_of(world, peers, **more):
    import sys

    return sys.modules[type(world).__module__].text_of(peers, **more)


def write(world, peers, *, terms=("rest",), overrides=(), **more):
    (world.folder / "p.yaml").write_text(policy(terms, overrides, peers))
    (world.folder / "bgpbridge.yaml").write_text(text_of(world, peers, policies="[p.yaml]", **more))


def reload(world):
    import sys

    module = sys.modules[type(world).__module__]
    with world.running():
        module.reload(
            world.bridge, module.loads_config((world.folder / "bgpbridge.yaml").read_text(), world.config.path)
        )
    world.finish()


def verdicts(world):
    """(peer, family, prefix, path) to the attributes after policy, weight included; None when refused."""
    rib, found = world.bridge.rib, {}
    for family, tables in rib.families.items():
        for source in tables.sources:
            for row in range(1, tables.top + 1):
                if source.plane.raw[row]:
                    number = int(source.plane.effective[row])
                    value = (rib.attributes.get(number).attributes, int(rib.attributes.weight[number]))
                    key = (world.bridge.peers.name(source.peer), family, str(tables.prefixes.prefix(row)))
                    found[*key, source.plane.slot] = value if number else None
    return found


def table(world):
    """(family, prefix) to (name of the best peer, active members, backups)."""
    rib, found = world.bridge.rib, {}
    for family, tables in rib.families.items():
        for row in range(1, tables.top + 1):
            group = int(tables.group[row])
            if group == BLACKHOLE:
                found[family, str(tables.prefixes.prefix(row))] = ("(dropped)", [], [])
            elif group:
                active, backup = rib.groups[group]
                ways = [
                    [(world.bridge.peers.name(m.peer), str(rib.next_hops[m.next_hop].address), m.weight) for m in part]
                    for part in (active, backup)
                ]
                found[family, str(tables.prefixes.prefix(row))] = (ways[0][0][0], *ways)
    return found


def hold_to_the_table(report, before, after):
    """The plan's counts and examples against two tables."""
    for said in report.tables:
        old = {prefix: way for (family, prefix), way in before.items() if family is said.family}
        new = {prefix: way for (family, prefix), way in after.items() if family is said.family}
        gained, lost = set(new) - set(old), set(old) - set(new)
        moved = {p for p in set(old) & set(new) if old[p][1] != new[p][1]}
        backups = {p for p in set(old) & set(new) if old[p] != new[p]} - moved
        for names, examples in (
            (gained, said.gained_examples),
            (lost, said.lost_examples),
            (moved, said.moved_examples),
        ):
            assert {str(example.prefix) for example in examples} == names
        assert (said.gained, said.lost, said.moved) == (len(gained), len(lost), len(moved))
        assert (said.backups, said.routes_before, said.routes_after) == (len(backups), len(old), len(new))
        ways = Counter((old.get(p, ("",))[0], new.get(p, ("",))[0]) for p in gained | lost | moved)
        assert {(move.before, move.after): move.count for move in said.moves} == ways


def hold_to_verdicts(report, before, after, leaving):
    """Routes newly accepted, refused or changed."""
    wanted = {}
    for key in before:
        old, new = before[key], after.get(key)
        if key[0] in leaving or old == new:
            continue
        kind = "accepted" if old is None else "rejected" if new is None else "changed"
        wanted.setdefault(key[:2], Counter())[kind] += 1
    said = {}
    for routes in report.routes:
        counts = Counter(accepted=routes.accepted, rejected=routes.rejected, changed=routes.changed)
        assert sum(term.count for term in routes.accepted_by) == routes.accepted
        assert sum(term.count for term in routes.rejected_by) == routes.rejected
        if +counts:
            said[routes.peer, routes.family] = +counts
    assert said == wanted


ROUTES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.lists(st.sampled_from(NETS), min_size=1, unique=True), st.integers(0, 2),
        st.sampled_from([None, 1, 5]),
    ),
    max_size=8,
)  # fmt: skip
POLICY = st.lists(st.sampled_from(sorted(TERMS)), min_size=1, max_size=4, unique=True)
PEERS = st.dictionaries(
    st.sampled_from("abc"),
    st.sampled_from(["", ", import: p", ", import: p", ", import: null", ", weight: 7", ", weight: 3, import: p"]),
    min_size=1,
)
TARGETS = st.sampled_from(
    ["peer: a", "peer: b", "peer: c", "next_hop: 10.0.1.2", "next_hop: 10.0.2.77", "group: both", "group: far"]
)


@st.composite
def intents(draw):
    """What an override does, and to which family it can do that."""
    kind, target = draw(st.sampled_from(["pin", "pin", "prefer", "weight", "blackhole", "reject"])), draw(TARGETS)
    more = {"prefer": ", local_pref: 170", "weight": ", weight: 8"}.get(kind, "")
    both = kind == "blackhole" or "next_hop" not in target
    if kind == "blackhole" or (kind == "reject" and draw(st.booleans())):
        return f"{kind}: true", both or kind == "reject"
    return f"{kind}: {{{target}{more}}}", both


SCOPES = [*NETS[:3], "0.0.0.0/0 or-longer", "203.0.0.0/22 or-longer", "::/0 or-longer", NETS[-2]]
OVERRIDES = st.dictionaries(st.sampled_from(SCOPES), intents(), max_size=3).map(
    lambda found: tuple(f"prefix: '{net}', {does}" for net, (does, both) in found.items() if both or ":" not in net)
)
DECISION = st.sampled_from(
    ["{}", "{}", "{backups: 0}", "{multipath: {ebgp: 2, relax: true}}", "{prefer_oldest: true}", "{med: always}"]
)


@pytest.mark.parametrize("size", [3, 4096])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=ROUTES,
    old=st.tuples(PEERS, POLICY, DECISION, OVERRIDES),
    new=st.tuples(PEERS, POLICY, DECISION, OVERRIDES),
)
def test_what_is_foretold_comes_true(worlds, size, said, old, new):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(trial, "SLICE", size)
        patch.setattr(plan_routes, "EXAMPLES", 100)
        patch.setattr(plan_table, "EXAMPLES", 100)
        world = worlds(Path(folder))
        try:
            _come_true(world, said, old, new)
        finally:
            world.close()


def _come_true(world, said, old, new):
    world.xdp.groups[BLACKHOLE], world.kernel.groups[BLACKHOLE] = [], []
    world.bridge.judge.vrps = VrpTable.of(VRPS)
    write(world, {"a": "", "b": "", "c": ""} | old[0], terms=old[1], decision=old[2], overrides=old[3])
    reload(world)
    for name in "abc":
        world.up(name)
    for name, nets, longer, med in said:
        more = encode_attribute(4, med.to_bytes(4, "big")) if med else b""
        for family in (".", ":"):
            some = [net for net in nets if (":" in net) == (family == ":")]
            if some:
                world.says(name, world.route(name, *some, longer=longer, more=more))
    before, verdicts_before, commit = table(world), verdicts(world), world.bridge.log.number
    groups = world.bridge.rib.groups
    used_before = {number for number in groups.ids() if groups.refs[number]}
    write(world, new[0], terms=new[1], decision=new[2], overrides=new[3])
    report = foretell(world)
    assert (table(world), verdicts(world), world.bridge.log.number) == (before, verdicts_before, commit)
    assert (report.commit, report.commits_meanwhile, report.warnings) == (commit, 0, ())
    reload(world)
    hold_to_the_table(report, before, table(world))
    hold_to_verdicts(report, verdicts_before, verdicts(world), set("abc") - set(new[0]))
    used = {number for number in groups.ids() if groups.refs[number]}
    counts = (len(used_before), len(used), len(used - used_before), len(used_before - used))
    assert (report.groups.before, report.groups.after, report.groups.come, report.groups.go) == counts
    again = foretell(world)
    assert not again.changes
    assert not again.routes


@pytest.fixture
def three(world):
    """a and b with routes by policy p, which accepts all."""
    write(world, {"a": ", import: p", "b": ", import: p", "c": ""})
    reload(world)
    for name in "ab":
        world.up(name)
    world.says("a", world.route("a", *NETS[:3]))
    world.says("b", world.route("b", *NETS[:2], longer=1))
    return world


def test_a_policy_edited_in_place(three):
    (three.folder / "p.yaml").write_text(policy(["far", "rest"]))
    report = foretell(three)
    assert [(peer.name, peer.rejudged) for peer in report.peers] == [("a", True), ("b", True)]
    (routes,) = report.routes
    assert (routes.peer, routes.rejected, routes.accepted, routes.changed) == ("b", 2, 0, 0)
    (term,) = routes.rejected_by
    assert (term.policy, term.term, term.reason, term.count) == ("p", "far", "too far", 2)
    assert term.place.endswith("p.yaml:1:25") or ":1" in term.place
    assert report.tables[0].backups == 2


def test_a_policy_file_alone_takes_the_place_of_its_namesake(three, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "p.yaml").write_text(policy(["nets", "rest"]))
    report = foretell(three, folder / "p.yaml")
    assert {routes.peer: routes.changed for routes in report.routes} == {"a": 3, "b": 2}
    assert report.routes[0].attributes == {"local_pref": 3}
    assert report.routes[0].changed_examples[0].text == "local_pref 100 -> 200 (p term nets)"
    assert not foretell(three).changes


def test_a_policy_file_of_another_name_comes_beside_the_others(three, tmp_path):
    (tmp_path / "q.yaml").write_text(policy(["rest"]).replace("p:", "q:"))
    assert not foretell(three, tmp_path / "q.yaml").changes


def test_another_configuration(three, tmp_path):
    (tmp_path / "other.yaml").write_text(text_of(three, {"b": ", import: p, hold_time_s: 30"}, policies="[p.yaml]"))
    report = foretell(three, tmp_path / "other.yaml")
    assert [(peer.name, peer.change, peer.reset) for peer in report.peers] == [
        ("a", "removed", False), ("c", "removed", False), ("b", "changed", True)
    ]  # fmt: skip
    (ipv4, _) = report.tables
    assert (ipv4.lost, ipv4.moved, ipv4.routes_after) == (1, 2, 2)
    assert {(move.before, move.after): move.count for move in ipv4.moves} == {("a", "b"): 2, ("a", ""): 1}
    assert ipv4.moved_examples[0].text == "a via 10.0.1.2 -> b via 10.0.2.2"


def test_overrides_of_a_file(three):
    pins = [f"prefix: {NETS[0]}, pin: {{peer: b}}", f"prefix: {NETS[1]}, pin: {{next_hop: 10.0.2.77}}"]
    more = [f"prefix: {NETS[2]}, blackhole: true", "prefix: 203.0.4.0/22 or-longer, reject: true"]
    (three.folder / "p.yaml").write_text(policy(["rest"], [*pins, *more]))
    report = foretell(three)
    assert (report.changes, report.overrides.come, report.overrides.go) == (True, 4, 0)
    assert report.overrides.come_examples[0].startswith(f"{NETS[0]}: pin to peer b (")
    assert [(example.prefix, example.text) for example in report.tables[0].moved_examples] == [
        (NETS[0], "a via 10.0.1.2 -> b via 10.0.2.2 (pinned)"),
        (NETS[1], "a via 10.0.1.2 -> (override) via 10.0.2.77 (pinned)"),
        (NETS[2], "a via 10.0.1.2 -> dropped"),
    ]
    assert {move.after for move in report.tables[0].moves} == {"b", "(override)", "(dropped)"}
    assert report.tables[0].lost == 0


def test_a_conflict_with_one_given_at_run_time_is_told_as_reload_tells_it(three):
    given = {"prefix": NETS[0], "pin": {"peer": "b"}, "owner": "o", "reason": "r"}
    three.bridge.overrides.add(OverrideText.model_validate(given), "command")
    three.finish()
    assert not foretell(three).changes
    (three.folder / "p.yaml").write_text(policy(["rest"], [f"prefix: {NETS[0]}, reject: true"]))
    with pytest.raises(DocumentError) as foretold:
        foretell(three)
    with pytest.raises(DocumentError) as refused:
        reload(three)
    assert str(foretold.value) == str(refused.value)
    assert "o1, command: pin to peer b" in str(foretold.value)


def test_the_next_hop_of_a_foretold_pin_is_not_collected_meanwhile(three, monkeypatch):
    monkeypatch.setattr(trial, "SLICE", 1)
    (three.folder / "p.yaml").write_text(policy(["rest"], [f"prefix: {NETS[1]}, pin: {{next_hop: 10.0.2.77}}"]))

    async def both():
        running = asyncio.ensure_future(plan(three.bridge, None))
        while not running.done():
            await asyncio.sleep(0)
            for _ in three.bridge.rib.collect():
                pass
        return await running

    (example,) = asyncio.run(both()).tables[0].moved_examples
    assert example.text.endswith("(override) via 10.0.2.77 (pinned)")
    for _ in three.bridge.rib.collect():
        pass
    assert all(str(three.bridge.rib.next_hops[n].address) != "10.0.2.77" for n in three.bridge.rib.next_hops.ids())


def test_a_limit_on_accepted_routes_that_would_be_passed(three):
    limit = ", max_prefix: {ipv4: {limit: 2, count: accepted, action: warn}}"
    write(three, {"a": f", import: p{limit}", "b": ", import: p", "c": ""})
    assert foretell(three).warnings == ("a would be beyond its limit of 2 ipv4 prefixes: 3",)


def test_next_hops_by_way_of_the_default_route(three):
    three.says("a", three.route("a", NETS[4], hop="192.0.2.77"))
    three.connected("0.0.0.0/0", 11)
    write(three, {"a": ", import: p", "b": ", import: p", "c": ""}, decision="{resolve_via_default: true}")
    report = foretell(three)
    before = table(three)
    reload(three)
    assert [str(example.prefix) for example in report.tables[0].gained_examples] == [NETS[4]]
    assert set(table(three)) - set(before) == {(Family.IPV4, NETS[4])}


def test_a_wrong_file_is_refused_and_nothing_left_behind(three):
    (three.folder / "p.yaml").write_text("policies: {p: {terms: [{term: x, match: {nothing: 1}}]}}\n")
    with pytest.raises(DocumentError):
        foretell(three)
    assert three.bridge.judge._trials == []


def test_attribute_ids_are_spared_for_the_routes_that_come(three):
    pool = three.bridge.rib.attributes.pool
    pool.capacity, before = pool.top, pool.capacity
    (three.folder / "p.yaml").write_text(policy(["far", "rest"]))
    (warning,) = foretell(three).warnings
    pool.capacity = before
    assert warning.startswith("not all was looked at")


def test_updates_go_in_between_the_slices(three, monkeypatch):
    """Each turn of the loop another UPDATE; the answer says that the table has changed."""
    monkeypatch.setattr(trial, "SLICE", 1)
    (three.folder / "p.yaml").write_text(policy(["far", "rest"]))

    async def both():
        running = asyncio.ensure_future(plan(three.bridge, None))
        number = 0
        while not running.done():
            await asyncio.sleep(0)
            if number < 20 and three.bridge.judge._trials:
                three.bridge.ingest.one(three.peer("a").index, _said(three, f"203.1.{number}.0/24"))
                number += 1
        return await running, number

    report, sent = asyncio.run(both())
    assert sent
    assert 0 < report.commits_meanwhile <= sent
    three.finish()
    three.assert_in_step()


def _said(world, net):
    from bgpbridge.feed.frames import Updates

    return Updates(world.route("a", net))

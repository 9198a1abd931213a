"""Every numbered step decides when all before it tie, and says so."""

from __future__ import annotations

import pytest

from bgpbridge.rib.decision import (
    Candidate,
    DecisionOptions,
    MedMode,
    MissingMed,
    Step,
    bandwidth_weights,
    decide,
)

BASE = Candidate(
    peer=1, path_id=1, next_hop=1, weight=5, local_pref=100, path_length=3, origin=1, med=10, neighbor_as=65001,
    metric=10, router_id=10, cluster_length=2, peer_order=5,
)  # fmt: skip
PLAIN = DecisionOptions()
WORSE = [
    (Step.NEXT_HOP, {"reachable": False}),
    (Step.WEIGHT, {"weight": 4}),
    (Step.LOCAL_PREF, {"local_pref": 99}),
    (Step.AS_PATH_LENGTH, {"path_length": 4}),
    (Step.ORIGIN, {"origin": 2}),
    (Step.MED, {"med": 11}),
    (Step.EBGP, {"ebgp": False}),
    (Step.IGP_METRIC, {"metric": 11}),
    (Step.ROUTER_ID, {"router_id": 11}),
    (Step.CLUSTER_LIST, {"cluster_length": 3}),
    (Step.PEER_ADDRESS, {"peer_order": 6}),
    (Step.PATH_ID, {"path_id": 2}),
]


@pytest.mark.parametrize(("step", "worse"), WORSE, ids=[step.name for step, _ in WORSE])
def test_a_step_decides_when_all_before_it_tie(step: Step, worse: dict) -> None:
    better_later = {"peer": 2, "next_hop": 2}
    later = [change for other, change in WORSE if other > step]
    winner = BASE
    for change in later:  # the winner is worse in everything that comes after
        winner = winner._replace(**change) if step is not Step.NEXT_HOP or "reachable" not in change else winner
    loser = BASE._replace(**better_later, **worse)
    for order in ([winner, loser], [loser, winner]):
        decision = decide(order, PLAIN)
        assert decision.best == winner
        assert [(e.loser, e.step) for e in decision.eliminated] == [(loser, step)]
        assert decision.eliminated[0].winner == (None if step is Step.NEXT_HOP else winner)


def test_every_step_has_a_text_and_a_source() -> None:
    assert all(step.text and step.rfc for step in Step)
    assert [step.value for step in Step] == list(range(-1, 13))


def test_no_path_no_best() -> None:
    assert decide([], PLAIN).best is None
    dead = BASE._replace(reachable=False)
    assert decide([dead], PLAIN) == decide([dead], PLAIN, (1, 1))
    assert decide([dead], PLAIN).backups == ()


def test_med_is_compared_within_a_neighbour_as_only() -> None:
    """RFC 4271 s9.1.2.2 c, and the classic three-path example of RFC 4451: A and B share a neighbour."""
    a = BASE._replace(peer=1, med=20, router_id=1)
    b = BASE._replace(peer=2, med=10, router_id=3)
    c = BASE._replace(peer=3, med=15, router_id=2, neighbor_as=65002)
    decision = decide([a, b, c], PLAIN)
    assert decision.best == c
    assert {(e.loser.peer, e.step, e.winner.peer) for e in decision.eliminated if e.winner} == {
        (1, Step.MED, 2),
        (2, Step.ROUTER_ID, 3),
    }


def test_med_may_be_compared_always_or_never() -> None:
    a = BASE._replace(peer=1, med=20, router_id=1)
    b = BASE._replace(peer=2, med=10, router_id=2, neighbor_as=65002)
    assert decide([a, b], PLAIN).best == a
    assert decide([a, b], DecisionOptions(med=MedMode.ALWAYS)).best == b
    c = b._replace(neighbor_as=65001)
    assert decide([a, c], PLAIN).best == c
    assert decide([a, c], DecisionOptions(med=MedMode.IGNORE)).best == a


def test_a_missing_med_is_best_or_worst() -> None:
    a, b = BASE._replace(peer=1, med=None), BASE._replace(peer=2, med=1, router_id=1)
    assert decide([a, b], PLAIN).best == a
    assert decide([a, b], DecisionOptions(missing_med=MissingMed.WORST)).best == b


def test_the_present_best_external_path_stays() -> None:
    """RFC 5004; only when it is asked for, and never against an earlier step."""
    a, b = BASE._replace(peer=1, router_id=1), BASE._replace(peer=2, router_id=2)
    keep = DecisionOptions(prefer_oldest=True)
    assert decide([a, b], keep, (2, 1)).best == b
    assert decide([a, b], keep, (2, 1)).eliminated[0].step is Step.OLDEST
    assert decide([a, b], PLAIN, (2, 1)).best == a
    assert decide([a, b], keep, (7, 1)).best == a
    assert decide([a, b._replace(med=99)], keep, (2, 1)).best == a
    internal = [a._replace(ebgp=False), b._replace(ebgp=False)]
    assert decide(internal, keep, (2, 1)).best == internal[0]


def test_the_router_id_can_be_left_out() -> None:
    a = BASE._replace(peer=1, router_id=9, peer_order=1)
    b = BASE._replace(peer=2, router_id=1, peer_order=2)
    assert decide([a, b], PLAIN).best == b
    assert decide([a, b], DecisionOptions(compare_router_id=False)).best == a


def test_multipath_takes_equal_paths_of_the_same_as_path() -> None:
    paths = [BASE._replace(peer=n, next_hop=n, router_id=n, as_path="x" if n != 2 else "y") for n in (1, 2, 3, 4)]
    options = DecisionOptions(ebgp_paths=3, backups=1)
    decision = decide(paths, options)
    assert [c.peer for c in decision.multipath] == [1, 3, 4]
    assert [c.peer for c in decision.backups] == [2]
    relaxed = decide(paths, DecisionOptions(ebgp_paths=3, relax=True, backups=1))
    assert [c.peer for c in relaxed.multipath] == [1, 2, 3]
    assert {e.step for e in decision.eliminated} == {Step.ROUTER_ID}


def test_multipath_limits_differ_for_internal_paths_and_count_next_hops_once() -> None:
    paths = [BASE._replace(peer=n, next_hop=n % 2, router_id=n, ebgp=False) for n in (1, 2, 3, 4)]
    assert len(decide(paths, DecisionOptions(ebgp_paths=4)).multipath) == 1
    assert [c.peer for c in decide(paths, DecisionOptions(ibgp_paths=4)).multipath] == [1, 2]


def test_paths_that_differ_before_the_cut_are_not_equal() -> None:
    a, b = BASE._replace(peer=1), BASE._replace(peer=2, next_hop=2, metric=11)
    assert decide([a, b], DecisionOptions(ebgp_paths=2)).multipath == (a,)


def test_a_backup_is_the_best_of_the_rest_also_where_med_had_put_it_out() -> None:
    a = BASE._replace(peer=1, med=20, router_id=1)
    b = BASE._replace(peer=2, med=10, router_id=3)
    c = BASE._replace(peer=3, med=15, router_id=2, neighbor_as=65002)
    assert [p.peer for p in decide([a, b, c], PLAIN).backups] == [2, 1]
    assert decide([a, b, c], DecisionOptions(backups=0)).backups == ()


def test_options_have_bounds() -> None:
    with pytest.raises(ValueError, match=r"1\.\.16"):
        DecisionOptions(ebgp_paths=17)
    with pytest.raises(ValueError, match=r"0\.\.8"):
        DecisionOptions(backups=9)


def test_bandwidth_gives_weights_only_when_all_have_it() -> None:
    assert bandwidth_weights([1e9, 2e9]) == [128, 255]
    assert bandwidth_weights([1e9, 0.0]) == [1, 1]
    assert bandwidth_weights([1.0, 1e12]) == [1, 255]
    assert bandwidth_weights([]) == []

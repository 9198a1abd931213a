"""The bulk decision gives what the scalar one gives, whatever the candidates and options."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.rib.adj_rib_in import Plane
from bgpbridge.rib.attributes import NO_RANK, WEIGHT_SET, AttributeTable, rank_of
from bgpbridge.rib.decision import Candidate, DecisionOptions, MedMode, MissingMed, bandwidth_weights, decide
from bgpbridge.rib.decision_bulk import PathSource, decide_rows
from bgpbridge.rib.groups import member_word
from bgpbridge.rib.next_hops import NextHopTable, Resolution

ROWS = 8
CELL = st.none() | st.fixed_dictionaries(
    {
        "path_id": st.integers(0, 2),
        "next_hop": st.integers(1, 5),
        "weight": st.sampled_from([None, None, 0, 7]),
        "local_pref": st.sampled_from([100, 100, 100, 200]),
        "path_length": st.sampled_from([2, 2, 2, 3]),
        "origin": st.sampled_from([0, 0, 2]),
        "med": st.sampled_from([None, 0, 5, 10]),
        "neighbor_as": st.sampled_from([65001, 65002]),
        "originator": st.sampled_from([0, 0, 9]),
        "cluster_length": st.sampled_from([0, 0, 1]),
        "as_path": st.integers(1, 2),
        "bandwidth": st.sampled_from([0.0, 1e6, 3e6]),
    }
)
PEER = st.fixed_dictionaries(
    {
        "ebgp": st.booleans(),
        "weight": st.sampled_from([0, 0, 7]),
        "router_id": st.sampled_from([8, 9, 10]),
        "cells": st.lists(CELL, min_size=ROWS, max_size=ROWS),
    }
)
OPTIONS = st.builds(
    DecisionOptions,
    med=st.sampled_from(MedMode),
    missing_med=st.sampled_from(MissingMed),
    compare_router_id=st.booleans(),
    prefer_oldest=st.booleans(),
    ebgp_paths=st.sampled_from([1, 1, 2, 4]),
    ibgp_paths=st.sampled_from([1, 2, 3]),
    relax=st.booleans(),
    backups=st.integers(0, 3),
    link_bandwidth=st.booleans(),
)


class Table(AttributeTable):
    """An attribute table with made-up AS paths and bandwidths."""

    def __init__(self, hops: NextHopTable) -> None:
        super().__init__(hops, capacity=1000)
        self.paths: dict[int, int] = {}
        self.bandwidths: dict[int, float] = {}

    def as_path(self, number: int) -> int:
        return self.paths[number]

    def bandwidth(self, number: int) -> float:
        return self.bandwidths[number]


def store(table: Table, cell: dict) -> int:
    number = table.pool.take_one()
    for name in ("local_pref", "path_length", "origin", "neighbor_as", "originator", "cluster_length", "next_hop"):
        getattr(table, name)[number] = cell[name]
    table.med[number] = cell["med"] or 0
    table.weight[number] = cell["weight"] or 0
    flags = (1 if cell["med"] is not None else 0) | (WEIGHT_SET if cell["weight"] is not None else 0)
    table.flags[number] = flags
    table.rank[number] = rank_of(cell["weight"] or 0, cell["local_pref"], cell["path_length"], cell["origin"])
    # the cheap columns must not contradict the AS path: equal paths have equal neighbours
    table.paths[number] = cell["as_path"] * 100_000 + cell["neighbor_as"]
    table.bandwidths[number] = cell["bandwidth"]
    return number


def candidate(number: int, cell: dict, peer: int, info: dict, table: Table, hops: NextHopTable) -> Candidate:
    return Candidate(
        peer=peer,
        path_id=cell["path_id"],
        next_hop=cell["next_hop"],
        reachable=bool(hops.reachable[cell["next_hop"]]),
        weight=info["weight"] if cell["weight"] is None else cell["weight"],
        local_pref=cell["local_pref"],
        path_length=cell["path_length"],
        origin=cell["origin"],
        med=cell["med"],
        neighbor_as=cell["neighbor_as"],
        ebgp=info["ebgp"],
        metric=int(hops.metric[cell["next_hop"]]),
        router_id=cell["originator"] or info["router_id"],
        cluster_length=cell["cluster_length"],
        peer_order=peer,
        as_path=table.paths[number],
        link_bandwidth=cell["bandwidth"],
        attributes=number,
    )


def planes_of(peers, table):
    """A plane for each peer with its cells, and the attribute ids of its rows (row 0 is none)."""
    sources, numbers = [], []
    for order, info in enumerate(peers):
        plane = Plane(order + 1, ROWS + 1, path_ids=True)
        ids = [0] + [0 if cell is None else store(table, cell) for cell in info["cells"]]
        plane.effective[:] = ids
        plane.path_id[1:] = [0 if cell is None else cell["path_id"] for cell in info["cells"]]
        sources.append(PathSource(plane, order, info["ebgp"], info["weight"], info["router_id"], order))
        numbers.append(ids)
    return sources, numbers


def paths_of(row, peers, numbers, table, hops):
    """The same row for the scalar way."""
    return [
        candidate(numbers[p][row], info["cells"][row - 1], p, info, table, hops)
        for p, info in enumerate(peers)
        if info["cells"][row - 1] is not None
    ]


@settings(max_examples=80, deadline=None)
@given(
    peers=st.lists(PEER, min_size=1, max_size=7),
    options=OPTIONS,
    metrics=st.lists(st.sampled_from([0, 0, 5]), min_size=5, max_size=5),
    dead=st.sets(st.integers(1, 5), max_size=2),
    currents=st.lists(st.integers(0, 7), min_size=ROWS, max_size=ROWS),
)
def test_bulk_equals_scalar(peers, options, metrics, dead, currents) -> None:
    hops = NextHopTable(limit=10)
    for place in range(1, 6):
        number = hops.intern(IPv4Address(place))
        hops.set(number, Resolution(place not in dead, metrics[place - 1]))
    table = Table(hops)
    sources, numbers = planes_of(peers, table)
    current = np.array([slot if slot <= len(peers) else 0 for slot in currents])
    rows = np.arange(1, ROWS + 1)
    got = decide_rows(rows, sources, table, hops, options, current)
    for row in range(1, ROWS + 1):
        paths = paths_of(row, peers, numbers, table, hops)
        slot = int(current[row - 1])
        held = [(c.peer, c.path_id) for c in paths if c.peer == slot - 1]
        want = decide(paths, options, held[0] if held else None)
        weights = [1] * len(want.multipath)
        if options.link_bandwidth and len(weights) > 1:
            weights = bandwidth_weights([c.link_bandwidth for c in want.multipath])
        words = [member_word(c.peer, c.next_hop, w) for c, w in zip(want.multipath, weights, strict=True)]
        words += [member_word(c.peer, c.next_hop) for c in want.backups]
        assert [int(column[row - 1]) for column in got.words if column[row - 1]] == words
        assert int(got.active[row - 1]) == len(want.multipath)
        assert int(got.best[row - 1]) == (0 if want.best is None else want.best.peer + 1)


def test_no_rank_is_above_every_rank() -> None:
    assert rank_of(0, 0, 0x3FFF, 2) < NO_RANK
    assert rank_of(0, 0, 0xFFFF, 2) < NO_RANK


@settings(max_examples=50, deadline=None)
@given(order=st.randoms(use_true_random=False), peers=st.lists(PEER, min_size=2, max_size=6), options=OPTIONS)
def test_the_order_of_candidates_does_not_matter(order, peers, options) -> None:
    """MED makes naive pairwise comparison depend on the order of arrival (RFC 4451); this one does not."""
    hops = NextHopTable(limit=10)
    for place in range(1, 6):
        hops.set(hops.intern(IPv4Address(place)), Resolution(True))
    table = Table(hops)
    paths = [
        candidate(store(table, cell), cell, p, info, table, hops)
        for p, info in enumerate(peers)
        if (cell := info["cells"][0]) is not None
    ]
    shuffled = list(paths)
    order.shuffle(shuffled)
    first, second = decide(paths, options), decide(shuffled, options)
    assert (first.best, first.multipath, first.backups) == (second.best, second.multipath, second.backups)
    assert set(first.eliminated) == set(second.eliminated)
    assert {e.loser for e in first.eliminated} | {first.best} >= set(paths)

"""One stream, cut in two ways: UPDATE by UPDATE, and in runs of any size with single ones in between. In the end both
have the same Adj-RIBs-In, groups, decisions with their reasons, findings and counts, and the kernel plane has been told
to hold the same routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.kernel_table import KernelTable
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.groups import LIMIT
from bgpbridge.rib.pieces import Pieces, Size
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.verdicts import Finding
from tests.property.slow_rib import DEAD, KEEP, LOAD, OPTIONS, PEER, PEERS, PREFIXES, SAID, SESSIONS, Both

pytestmark = pytest.mark.usefixtures("small_pieces")
EVERY_GROUP = np.ones(LIMIT + 1, np.bool_)  # the kernel has them all


class Way(Both):
    """The Rib and the kernel plane's state behind it, fed in one of the two ways. Where the stream is `cut` the way of
    the last single UPDATE is rehearsed now and then."""

    def __init__(self, options: DecisionOptions, *, cut: bool) -> None:
        super().__init__(options)
        self.cut = cut
        self.rib.pieces = Pieces(Size(1, 2, 4), Size(1, 2, 3))
        self.rib.pieces.allow(1.0, hurried=True)
        self.took = cycle((0.5, 4.0, 0.1, 1.1, 0.2))  # no two pieces are alike
        self.kernel = {family: KernelTable(family) for family in Family}
        self.findings: Counter[tuple[int, Finding]] = Counter()
        self.last: tuple[int, bytes] | None = None  # the single UPDATE whose way is rehearsed

    def take(self, changes: Changes | FewChanges) -> None:
        super().take(changes)
        if isinstance(changes, FewChanges):
            self.kernel[changes.family].apply_few(changes)
        elif len(changes):
            self.kernel[changes.family].apply(changes)

    def one(self, peer: int, message: bytes) -> None:
        self.slow.apply(peer, message)
        applied = self.rib.apply_one(peer, message)
        self.findings.update((peer, finding) for finding in applied.findings)
        for changes in applied.changes:
            self.take(changes)
        self.last = peer, message
        self.rehearse()

    def rehearse(self) -> None:
        """Of which nothing must be seen."""
        if self.cut and self.last is not None:
            self.rib.rehearse(*self.last)

    def run(self, peer: int, messages: list[bytes]) -> Iterator[Changes]:
        for message in messages:
            self.slow.apply(peer, message)
        batch = decode_run(b"".join(messages), SESSIONS[peer])
        for changes in self.rib.apply(peer, batch):
            self.rib.pieces.took(next(self.took))
            yield changes
        self.findings.update((peer, finding) for _, finding in batch.findings)
        for finding, times in self.rib.take_findings(peer):
            self.findings[peer, finding] += times

    def write(self) -> dict[Prefix, tuple]:
        """The worker's turn: everything that waits, as the kernel takes it. What stands there then."""
        found = {}
        for table in self.kernel.values():
            while table.waiting:
                if storm := table.take_storm():
                    table.order(storm)
                for take in (table.take_few, table.take_piece):
                    if (cut := take(EVERY_GROUP, 0.0)) is not None:
                        table.finish(cut, (), 0.0)
            rows, keys = table.snapshot()
            groups = table.installed[rows].tolist()
            found |= {keys.prefix(at): self.group(group) for at, group in enumerate(groups) if group}
        return found

    def told(self) -> list:
        """All that there is to say of a Rib, without its own numbers."""
        found: list = [self.findings, self.write()]
        for prefix in PREFIXES:
            tables = self.rib.families[prefix.family]
            row = int(tables.prefixes.find_one(prefix.value >> 64, prefix.value & (1 << 64) - 1, prefix.length))
            if not row:
                found.append((prefix, (), ((), ()), [], None))
                continue
            found.append((prefix, self.paths(tables, row), self.group(int(tables.group[row])), *self.why(tables, row)))
        found.append([self.rib.counts(peer) for peer in range(len(PEERS))])
        return found

    def paths(self, tables, row: int) -> tuple:
        """What each peer has sent for a row, and what policy made of it."""
        kept, out = self.rib.attributes, []
        for source in tables.sources:
            raw, effective = int(source.plane.raw[row]), int(source.plane.effective[row])
            if raw:
                after = kept.get(effective).attributes if effective else None
                out.append((source.peer, source.plane.path(row), kept.block(raw), after, int(source.plane.stale[row])))
        return tuple(sorted(out, key=lambda path: path[:2]))

    def why(self, tables, row: int) -> tuple:
        """The decision on a row, and by which step each other path lost."""
        decision = tables.decide(row, self.rib.options)
        lost = sorted((e.loser.peer, e.loser.path_id, e.step) for e in decision.eliminated)
        return lost, decision.best and (decision.best.peer, decision.best.path_id)


CUTS = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=4)
STEP = st.one_of(
    *[st.tuples(st.just("says"), PEER, st.lists(SAID, max_size=6), CUTS)] * 3,
    st.tuples(st.just("refresh"), PEER, st.lists(SAID, max_size=4), CUTS),
    st.tuples(st.just("lost"), PEER, KEEP, st.lists(SAID, max_size=3), CUTS),
    st.tuples(st.just("policy"), st.integers(0, 3)),
    st.tuples(st.just("hops"), DEAD),
)


def say(way: Way, peer: int, run: list, cuts: list | None) -> None:
    """The messages of a run, one by one or cut as drawn: pieces of so many, in columns or one by one."""
    messages = [message for said in run for message in said.messages(SESSIONS[peer])]
    for columns, size in [] if cuts is None else cuts:
        piece, messages = messages[:size], messages[size:]
        if columns and piece:
            way.drive(way.run(peer, piece))
        for message in () if columns else piece:
            way.one(peer, message)
    if cuts is not None and messages:
        way.drive(way.run(peer, messages))
        return
    for message in messages:
        way.one(peer, message)


def act(way: Way, action: tuple, *, cut: bool) -> None:
    match action:
        case ("says", peer, run, cuts):
            say(way, peer, run, cuts if cut else None)
        case ("refresh", peer, run, cuts):
            for family in Family:
                way.rib.mark_stale(peer, family)
            way.rehearse()
            say(way, peer, run, cuts if cut else None)
            for family in Family:
                way.drive(way.rib.sweep_stale(peer, family))
        case ("lost", peer, keep, run, cuts):
            way.drive(way.rib.session_down(peer, keep))
            way.rehearse()
            way.rib.session_up(SESSIONS[peer])
            way.rehearse()
            say(way, peer, run, cuts if cut else None)
        case ("policy", mood):
            way.drive(way.policy(mood))
        case ("hops", dead):
            way.drive(way.set_hops(dead))


@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(
    options=OPTIONS,
    first=st.lists(st.tuples(PEER, st.lists(LOAD, min_size=2, max_size=4)), min_size=2, max_size=4),
    steps=st.lists(STEP, min_size=3, max_size=12),
)
def test_however_a_stream_is_cut_all_comes_to_the_same(options: DecisionOptions, first: list, steps: list) -> None:
    single, cut = Way(options, cut=False), Way(options, cut=True)
    for peer, run in first:
        say(single, peer, run, None)
        say(cut, peer, run, [])
    assert single.told() == cut.told()
    for action in steps:
        act(single, action, cut=False)
        act(cut, action, cut=True)
        assert single.told() == cut.told()

"""Import policy on a whole table in this process, and BIRD with the equivalent filter on the same octets.

BIRD keeps what its peer sent (`import table on`, the counterpart of our Adj-RIB-In), so that its `configure` needs no
refresh from the peer. It is done when as many routes stand as our verdicts say: the two have to agree.
"""

from __future__ import annotations

import gc
import ipaddress
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from bgpbridge.bench.bird_alone import BirdAlone, bird_alone
from bgpbridge.bench.feeds import Feed, Origin, made
from bgpbridge.bench.plan import Plan, Tell
from bgpbridge.bench.policy_pair import pair
from bgpbridge.bench.records import OURS, Row
from bgpbridge.bench.results import Figure, Results
from bgpbridge.errors import LabError
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext, PolicySet
from bgpbridge.policy.parse import loads_policies
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import PeerInfo
from bgpbridge.rib.trial import Trial, outlook
from bgpbridge.rpki.vrps import VrpColumns, VrpTable
from bgpbridge.types import Family, Session
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import iter_messages

__all__ = ["NOTE", "measure"]

ASN: Final = 64700
PEER: Final = ipaddress.IPv4Address("192.0.2.2")
ALIKE: Final = (6, 8)  # prefixes of one path: real tables have some 80,000 sets of attributes for 577,000 prefixes
BEFORE, AFTER = 1500, 4000  # the changed term: AS numbers from 1000 to here are refused
VRPS: Final = 400_000
WAIT_S: Final = 120.0
RUN: Final = 4096
NOTE = (
    "50 terms, one of them a set of 10,000 prefixes, on a made table of which every 6 to 8 prefixes have a path of "
    "their own, as in real tables (RIPE RIS 2015: 7 on average). `new`: nothing is known yet, compiling counts; "
    "`again`: the same policy once more. One changed term: ours from reading the changed file to all decisions that "
    "differ, BIRD (`import table on`) from `configure` to the count of routes that our verdicts say. No plane and no "
    "kernel is written by either."
)


def measure(plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Seconds."""
    feed = made(plan.judged, Origin(0, PEER), together=ALIKE)
    results = Results(WAIT_S)
    ours = _Ours(feed)
    for run in range(plan.runs):
        for subject, figures in ((OURS, ours.turn()), ("bird", _birds(feed, ours.accepted))):
            for figure in figures:
                results.add(subject, figure)
            tell(f"policy, run {run + 1}: {subject} {'; '.join(map(str, figures))}")
    return results.rows()


def _changed(routes: int) -> str:
    return f"{routes:,} routes: one term changed"


@dataclass
class _Ours:
    """A RIB with the table in it; `accepted` are the routes before and after the changed term."""

    feed: Feed
    accepted: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.changed = pair(self.feed, AFTER).ours
        texts = pair(self.feed, BEFORE).ours, self.changed
        self.policies = [loads_policies([(text, "p.yml")]) for text in texts]
        self.with_rpki = loads_policies([(pair(self.feed, BEFORE, rpki=True).ours, "p.yml")])
        self.vrps = _vrps(self.feed)
        self.judge = PolicyJudge(self.policies[0])
        self.rib = Rib(DecisionOptions(), self.judge, resolve=lambda _: Resolution(True))
        self.judge.attach(self.rib.attributes)
        self.context = PeerContext("peer", False, "p", ASN)
        self.judge.set_peer(0, self.context)
        self.rib.add_peer(PeerInfo(0, "peer", PEER, ASN, False))
        session = Session(0, ASN, ASN, PEER, PEER, PEER)
        self.rib.session_up(session)
        messages = list(iter_messages(self.feed.octets))
        for first in range(0, len(messages), RUN):
            for _ in self.rib.apply(0, decode_run(b"".join(messages[first : first + RUN]), session)):
                pass

    def turn(self) -> list[Figure]:
        """All figures once; the table is left as it was found."""
        count = f"{len(self.feed):,} routes"
        found = []
        for words, policies, vrps in (("", self.policies[0], VrpTable()), (", RPKI", self.with_rpki, self.vrps)):
            judge = self._judge(policies, vrps)
            found += [Figure(f"{count}: judged{words}, {how}", "s", self._judged(judge)) for how in ("new", "again")]
        gc.collect()
        began = time.monotonic()
        differing = self._planned()
        found.append(Figure(f"{_changed(len(self.feed))}, plan", "s", time.monotonic() - began))
        before = self._accepted()
        began = time.monotonic()
        policies = loads_policies([(self.changed, "p.yml")])
        read = time.monotonic()
        changed = self._reload(policies)
        ended = time.monotonic()
        found.append(Figure(_changed(len(self.feed)), "s", ended - began))
        found.append(Figure(f"{_changed(len(self.feed))}, without reading the file", "s", ended - read))
        found.append(Figure(f"{_changed(len(self.feed))}, changes told to the planes", "routes", changed))
        self.accepted = before, self._accepted()
        if not changed == differing == before - self.accepted[1]:
            raise LabError(
                f"the plan says {differing:,} routes, the reload {changed:,}, {before:,} were accepted before"
            )
        self._reload(self.policies[0])
        return found

    def _judge(self, policies: PolicySet, vrps: VrpTable) -> PolicyJudge:
        """One that knows nothing yet."""
        judge = PolicyJudge(policies)
        judge.attach(self.rib.attributes)
        judge.set_peer(0, self.context)
        judge.vrps = vrps
        return judge

    def _judged(self, judge: PolicyJudge) -> float:
        """Seconds to judge all that was received."""
        gc.collect()
        began = time.monotonic()
        for peer, family, ids, hi, lo, length in self.rib.received():
            judge.judge(peer, family, ids, hi, lo, length)
        return time.monotonic() - began

    def _planned(self) -> int:
        with self.judge.trial(self.policies[1], {0: self.context}) as judge:
            trial = Trial(judge, self.rib.options, self.rib.next_hops, rejudged=frozenset({0}))
            return sum(len(part.rows) for part in outlook(self.rib, trial))

    def _reload(self, policies: PolicySet) -> int:
        """How many routes the planes would be told of."""
        self.judge.set_policies(policies)
        return sum(len(changes) for changes in self.rib.rejudge([0]))

    def _accepted(self) -> int:
        return self.rib.counts(0)[Family.IPV4].accepted


def _vrps(feed: Feed) -> VrpTable:
    """A payload for each of 400,000 prefixes of the table, or for all. The AS numbers are made up: most routes come
    out invalid."""
    rows = np.arange(min(VRPS, len(feed)))
    length = feed.length.take(rows)
    asn = np.where(rows % 5, rows % 60_000 + 1, 64496)
    hi = np.zeros(len(rows), np.uint64)
    columns = VrpColumns.make(Family.IPV4, hi, feed.value.take(rows), length, length, asn.astype(np.uint32))
    return VrpTable({Family.IPV4: columns})


def _birds(feed: Feed, accepted: tuple[int, int]) -> list[Figure]:
    """`configure` with one changed term."""
    options = "import table on; import filter p"
    with (
        bird_alone(ASN, pair(feed, BEFORE).birds, options) as bird,
        bird.feed(feed.octets) as tester,
    ):
        tester.until_up(WAIT_S)
        _until(bird, accepted[0])
        text = pair(feed, AFTER).birds
        began = time.monotonic()
        bird.configure(text, options)
        _until(bird, accepted[1])
        return [Figure(_changed(len(feed)), "s", time.monotonic() - began)]


def _until(bird: BirdAlone, routes: int) -> None:
    bird.until(lambda: bird.routes()[0] == routes, WAIT_S, f"{routes:,} routes are not there")

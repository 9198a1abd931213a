"""A real full table through the bulk way: 577,703 prefixes, and 20,000 longest matches that pytricia gave."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from bgpbridge.rib import lookups
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.next_hops import Resolution
from bgpbridge.rib.peers import AcceptAll, PeerInfo
from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.mrt import MessageRecord, read_mrt

UPDATE = 2
RUN = 5_000  # messages


@dataclass
class Loaded:
    rib: Rib
    session: Session
    messages: list[bytes]


@pytest.fixture(scope="module")
def loaded(shared_data: Path) -> Loaded:
    records = [r for r in read_mrt(shared_data / "mrt" / "full-table-2015.mrt.gz") if isinstance(r, MessageRecord)]
    messages = [record.message for record in records if record.message[18] == UPDATE]
    peer = records[0].peer
    session = Session(0, peer.local_as, peer.asn, peer.local_address, peer.address, IPv4Address(1))
    rib = Rib(DecisionOptions(), AcceptAll(), resolve=lambda _: Resolution(True))
    rib.add_peer(PeerInfo(0, "upstream", peer.address, peer.asn, session.ebgp))
    rib.session_up(session)
    for first in range(0, len(messages), RUN):
        for _ in rib.apply(0, decode_run(b"".join(messages[first : first + RUN]), session)):
            pass
    return Loaded(rib, session, messages)


def test_every_prefix_stands_but_those_with_a_path_that_must_be_refused(loaded: Loaded) -> None:
    refused = [finding for finding, _ in loaded.rib.take_findings(0) if finding.verdict >= Verdict.TREAT_AS_WITHDRAW]
    assert {finding.reason for finding in refused} <= {"as_path: AS 0", "as_path: own AS"}
    counts = loaded.rib.counts(0)[Family.IPV4]
    assert 577_703 - 20 <= counts.received <= 577_703
    assert counts.best == counts.accepted == counts.received == loaded.rib.families[Family.IPV4].routes


def test_the_longest_matches_are_those_of_the_expected_file(loaded: Loaded, shared_data: Path) -> None:
    with gzip.open(shared_data / "lpm" / "lpm4-20000-expected.txt.gz", "rt") as lines:
        expected = [line.split() for line in lines]
    installed = lookups.installed(loaded.rib, Family.IPV4)
    present = set(zip(installed.lo.tolist(), installed.length.tolist(), strict=True))
    wrong = []
    for address, text in expected:
        found = lookups.longest(loaded.rib, ip_address(address))
        want = None if text == "-" else Prefix.parse(text)
        if found != want and (want is None or (want.value, want.length) in present):
            wrong.append((address, want, found))
    assert len(expected) == 20_000
    assert wrong == []


def test_one_by_one_gives_the_same_rows_as_the_run(loaded: Loaded) -> None:
    """Every 40th UPDATE again, the scalar way: nothing may change."""
    for message in loaded.messages[::40]:
        changes = loaded.rib.apply_one(0, message).changes
        for prefix, _, new in (change for part in changes for change in part):
            later = lookups.paths(loaded.rib, prefix)
            assert len(later) == 1, (prefix, new)
            assert later[0].group == new
    counts = loaded.rib.counts(0)[Family.IPV4]
    assert counts.received == loaded.rib.families[Family.IPV4].routes

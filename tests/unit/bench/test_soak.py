"""What a soak counts: a recording as a round, how late UPDATEs are, whether memory is flat."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from bgpbridge.bench.soak import Backlog, Flat, Source, churn
from bgpbridge.errors import LabError
from bgpbridge.wire.message import build_keepalive, build_update
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, StateChange

PEER = MrtPeer(64601, ipaddress.ip_address("192.0.2.1"), 64700, ipaddress.ip_address("192.0.2.9"))
OTHER = dataclasses.replace(PEER, asn=64602, address=ipaddress.ip_address("2001:db8::2"))
UPDATE = build_update()


def test_a_recording_becomes_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        MessageRecord(100.0, PEER, UPDATE, asn4=True),
        MessageRecord(100.9, PEER, UPDATE, asn4=True),
        MessageRecord(102.0, PEER, build_keepalive(), asn4=True),
        StateChange(102.5, OTHER, 6, 1),
        StateChange(103.0, OTHER, 1, 3),
        MessageRecord(103.0, OTHER, UPDATE, asn4=True),
    ]
    (path := tmp_path / "some.mrt").touch()
    monkeypatch.setattr("bgpbridge.bench.soak.read_mrt", lambda _: iter(records))
    one = churn(path)
    assert one.sources == (Source(PEER.address, PEER.asn), Source(OTHER.address, OTHER.asn))
    assert one.sent == {0: {0: (2 * UPDATE, 2)}, 3: {1: (UPDATE, 1)}}
    assert {second: lost for second, lost in one.lost.items() if lost} == {2: (1,)}
    assert (one.updates, one.seconds, one.senders) == (3, 4, {0, 1})
    assert one.sources[1].name == "as64602-20010db8000000000000000000000002"


def test_a_file_that_is_not_there_or_has_nothing_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match="there is no"):
        churn(tmp_path / "absent.mrt")
    (path := tmp_path / "empty.mrt").touch()
    monkeypatch.setattr("bgpbridge.bench.soak.read_mrt", lambda _: iter(()))
    with pytest.raises(LabError, match="has no UPDATE of a peer"):
        churn(path)


def test_how_late_is_since_when_the_oldest_waits() -> None:
    backlog = Backlog()
    backlog.sent(10, 1.0)
    backlog.sent(10, 2.0)
    assert backlog.taken(5, 2.5) == 1.5
    assert backlog.taken(10, 2.6) == pytest.approx(0.6)
    assert backlog.taken(20, 9.0) == 0.0
    assert (backlog.worst_s, backlog.sent_so_far) == (1.5, 20)


@pytest.mark.parametrize(("last", "growth"), [(301.0, 0.0), (330.0, 29.0)])
def test_memory_that_ends_higher_than_it_was_has_grown(last: float, growth: float) -> None:
    flat = Flat()
    for minute, mib in enumerate([200.0, 300.0, 301.0, 302.0, 299.0, last], start=1):
        flat.add(60.0 * minute, mib)
    assert flat.growth_mib == growth
    assert [minute for minute, _ in flat.by_minute()] == [1, 2, 3, 4, 5, 6]

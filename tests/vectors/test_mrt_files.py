"""Real MRT files: what comes out is what their origin says is in them, by both decoders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import decode_attributes
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.message import MessageType
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, PeerTable, RibEntry, RibRecord, StateChange, TablePeer, read_mrt
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.update import decode_update
from bgpbridge.wire.verdicts import SessionKind

MakeSession = Callable[..., Session]
Streams = dict[tuple[MrtPeer, bool], list[bytes]]


def updates(path: Path) -> Streams:
    """The UPDATEs of a file by session."""
    streams: Streams = defaultdict(list)
    for record in read_mrt(path):
        if isinstance(record, MessageRecord) and record.message[18] == MessageType.UPDATE:
            streams[record.peer, record.asn4].append(record.message)
    return streams


@pytest.fixture(scope="module")
def full_table(shared_data: Path) -> list[bytes]:
    (messages,) = updates(shared_data / "mrt/full-table-2015.mrt.gz").values()
    return messages


def test_the_full_table_of_2015_has_577703_prefixes(full_table: list[bytes], make_session: MakeSession) -> None:
    session = make_session(local_as=3856, peer_as=3856)
    table: set[tuple[int, int]] = set()
    announced = 0
    blocks: set[bytes] = set()
    for first in range(0, len(full_table), 8000):
        batch = decode_run(b"".join(full_table[first : first + 8000]), session)
        assert batch.verdict is Verdict.ACCEPT
        rows = batch.columns[Family.IPV4]
        announced += int((rows.block >= 0).sum())
        for lo, length, block in zip(rows.lo.tolist(), rows.length.tolist(), rows.block.tolist(), strict=True):
            (table.add if block >= 0 else table.discard)((lo, length))
        if first == 0:
            blocks = {batch.blocks.block(i) for i in range(len(batch.blocks.start))}
    assert len(full_table) == 89_679  # and one of them is the End-of-RIB
    assert announced == 577_737
    assert len(table) == 577_703
    kind = SessionKind.of(session)
    assert {decode_attributes(block, kind, mp=False).verdict for block in blocks} == {Verdict.ACCEPT}


def test_the_full_table_ends_with_end_of_rib(full_table: list[bytes], make_session: MakeSession) -> None:
    session = make_session(local_as=3856, peer_as=3856)
    short = [message for message in full_table if len(message) == 23]
    assert [decode_update(message, session).end_of_rib for message in short] == [Family.IPV4]
    batch = decode_run(b"".join(full_table[-500:]), session)
    assert [family for _, family in batch.end_of_rib] == [Family.IPV4]


def test_bulk_equals_scalar_on_a_slice_of_the_full_table(full_table: list[bytes], make_session: MakeSession) -> None:
    session = make_session(local_as=3856, peer_as=3856)
    assert difference(full_table[:6000], session) == ""
    assert difference(full_table[-1500:], session) == ""


def test_bulk_equals_scalar_on_35_peers_of_both_families(shared_data: Path, make_session: MakeSession) -> None:
    streams = updates(shared_data / "mrt/updates-35peers-2016.mrt.gz")
    assert len(streams) == 35
    for (peer, asn4), messages in streams.items():
        session = make_session(local_as=peer.local_as, peer_as=peer.asn, asn4=asn4)
        assert difference(messages[:300], session) == ""


def test_35_peers_send_nothing_that_resets_a_session(shared_data: Path, make_session: MakeSession) -> None:
    verdicts: Counter[Verdict] = Counter()
    for (peer, asn4), messages in updates(shared_data / "mrt/updates-35peers-2016.mrt.gz").items():
        session = make_session(local_as=peer.local_as, peer_as=peer.asn, asn4=asn4)
        batch = decode_run(b"".join(messages), session)
        assert batch.messages == len(messages)
        verdicts[batch.verdict] += 1
    assert verdicts == {Verdict.ACCEPT: 35}


def test_state_changes_are_read(shared_data: Path) -> None:
    records = list(read_mrt(shared_data / "mrt/updates-35peers-2016.mrt.gz"))
    assert sum(isinstance(record, StateChange) for record in records) == 22
    assert sum(isinstance(record, MessageRecord) for record in records) == 17_384


def test_an_extended_message_withdraws_4096_prefixes(shared_data: Path, make_session: MakeSession) -> None:
    (messages,) = updates(shared_data / "mrt/extended-message-withdrawal.mrt.gz").values()
    assert [len(message) for message in messages] == [36_894]
    update = decode_update(messages[0], make_session())
    assert len(update.withdrawn) == 4096
    assert update.verdict is Verdict.ACCEPT
    assert difference(messages, make_session()) == ""


def test_an_extended_message_on_a_session_without_them_resets(shared_data: Path, make_session: MakeSession) -> None:
    (messages,) = updates(shared_data / "mrt/extended-message-withdrawal.mrt.gz").values()
    session = make_session(extended_message=False)
    update = decode_update(messages[0], session)
    assert [finding.notification for finding in update.findings] == [(1, 2)]
    assert difference(messages, session) == ""


def test_the_message_with_trailing_bits_ends_in_half_a_prefix(shared_data: Path, make_session: MakeSession) -> None:
    """Its NLRI is 0d 0b 0d 0b: 11.13.0.0/13, whose bits beyond the mask are set, and then a length of 11
    with no octet behind it. The trailing bits are irrelevant (RFC 4271 s4.3); the second prefix runs over
    the end of the field, so that the NLRI cannot be parsed (RFC 7606 s3 j): reset, 3/10."""
    (messages,) = updates(shared_data / "mrt/nlri-trailing-bits.mrt.gz").values()
    session = make_session(local_as=12654, peer_as=7018, asn4=False)
    update = decode_update(messages[0], session)
    assert [finding.notification for finding in update.findings] == [(3, 10)]
    assert difference(messages, session) == ""
    whole = bytearray(messages[0][:-1])
    whole[16:18] = len(whole).to_bytes(2, "big")
    update = decode_update(bytes(whole), session)
    assert [route.prefix for route in update.announced] == [Prefix.parse("11.8.0.0/13")]
    assert difference([bytes(whole)], session) == ""


def add_path_entries(path: Path, family: Family) -> list[tuple[TablePeer, RibEntry, list[str]]]:
    """Every entry of a dump, with the reasons that its block gives."""
    peers, *ribs = read_mrt(path)
    assert isinstance(peers, PeerTable)
    kind = SessionKind(asn4=True, ebgp=False, local_as=64999)
    found = []
    for rib in ribs:
        assert isinstance(rib, RibRecord)
        assert rib.prefix.family is family
        for entry in rib.entries:
            decoded = decode_attributes(entry.block(family), kind, mp=family is Family.IPV6)
            found.append((peers.peers[entry.peer], entry, [finding.reason for finding in decoded.findings]))
    return found


def test_the_ipv4_add_path_dump_has_usable_blocks(shared_data: Path) -> None:
    entries = add_path_entries(shared_data / "mrt/addpath-rib-v4.mrt.gz", Family.IPV4)
    learned = [reasons for peer, _, reasons in entries if peer.asn]
    local = [reasons for peer, _, reasons in entries if not peer.asn]
    assert len({entry.path_id for _, entry, _ in entries}) > 20
    assert not any(learned)
    assert all("origin: missing" in reasons for reasons in local)  # the collector's own have no attributes


def test_the_ipv6_add_path_dump_lacks_next_hops(shared_data: Path) -> None:
    """Its writer left MP_REACH_NLRI out, which RFC 6396 s4.3.4 asks for: the routes are of no use."""
    entries = add_path_entries(shared_data / "mrt/addpath-rib-v6.mrt.gz", Family.IPV6)
    assert len({entry.path_id for _, entry, _ in entries}) > 20
    assert all("mp_reach: missing" in reasons for _, _, reasons in entries)

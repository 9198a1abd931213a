"""What the writer of MRT writes, the reader reads back; captured frames come whole through any cuts."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.feed.capture import HEADER, Captured, read_frames
from bgpbridge.feed.frames import Updates, encode
from bgpbridge.wire.message import MessageType, build_message
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, StateChange, read_mrt
from bgpbridge.wire.mrt_write import mrt_message, mrt_state

ASNS = st.integers(0, (1 << 32) - 1)
SHORT = st.integers(0, (1 << 16) - 1)
V4 = st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address)
V6 = st.integers(0, (1 << 128) - 1).map(ipaddress.IPv6Address)
ENDS = st.one_of(st.tuples(V4, V4), st.tuples(V6, V6))
TIMES = st.integers(0, (1 << 32) * 1_000_000 - 1).map(lambda micros: micros / 1e6)
MESSAGES = st.binary(max_size=400).map(lambda body: build_message(MessageType.UPDATE, body))


@st.composite
def messages(draw: st.DrawFn) -> MessageRecord:
    asn4 = draw(st.booleans())
    asns = ASNS if asn4 else SHORT
    address, local = draw(ENDS)
    peer = MrtPeer(draw(asns), address, draw(asns), local)
    return MessageRecord(draw(TIMES), peer, draw(MESSAGES), asn4, draw(st.booleans()), draw(st.booleans()))


@st.composite
def changes(draw: st.DrawFn) -> StateChange:
    address, local = draw(ENDS)
    peer = MrtPeer(draw(ASNS), address, draw(ASNS), local)
    return StateChange(draw(TIMES), peer, draw(st.integers(1, 6)), draw(st.integers(1, 6)))


def written(record: MessageRecord | StateChange) -> bytes:
    return mrt_message(record) if isinstance(record, MessageRecord) else mrt_state(record)


@given(st.lists(st.one_of(messages(), changes()), max_size=8))
def test_the_reader_reads_what_the_writer_writes(records: list[MessageRecord | StateChange]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "made.mrt")
        path.write_bytes(b"".join(map(written, records)))
        found = list(read_mrt(path))
    assert [abs(a.time_s - b.time_s) < 2e-6 for a, b in zip(found, records, strict=True)] == [True] * len(records)
    assert [written(one) for one in found] == [written(one) for one in records]  # type: ignore[arg-type]
    for one, wanted in zip(found, records, strict=True):
        assert type(one) is type(wanted)
        assert one.peer == wanted.peer  # type: ignore[union-attr]
        if isinstance(wanted, MessageRecord) and isinstance(one, MessageRecord):
            assert (one.message, one.asn4, one.add_path, one.local) == (
                wanted.message,
                wanted.asn4,
                wanted.add_path,
                wanted.local,
            )


@given(st.lists(MESSAGES, max_size=6), st.data())
def test_frames_come_whole_through_any_cuts(given_messages: list[bytes], data: st.DataObject) -> None:
    octets = b""
    for lane, message in enumerate(given_messages):
        kind, payload = encode(Updates(message))
        octets += HEADER.pack(len(payload), kind, lane, 5_000_000) + payload
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    wanted = [Captured(5.0, lane, Updates(message)) for lane, message in enumerate(given_messages)]
    assert list(read_frames(pieces)) == wanted

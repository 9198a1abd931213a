"""Runs: order, odd messages in between, where a run ends. Equality is held in tests/property."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import Code, decode_attributes, encode_attribute
from bgpbridge.wire.bulk import decode_in_steps, decode_run
from bgpbridge.wire.bulk_fields import FieldFlag, Fields, Row, decode_fields, fields_of
from bgpbridge.wire.found import key_of
from bgpbridge.wire.message import build_keepalive, build_update
from bgpbridge.wire.nlri import encode_nlri
from bgpbridge.wire.oracle import difference, read_bulk
from bgpbridge.wire.verdicts import SessionKind

MakeSession = Callable[..., Session]
V4, V6 = Family

PLAIN = (
    encode_attribute(Code.ORIGIN, b"\0")
    + encode_attribute(Code.AS_PATH, bytes.fromhex("02020000fde90000fdea"))
    + encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, 1]))
)
NET4 = Prefix.parse("10.1.0.0/16")
HOP6 = bytes.fromhex("20010db8000000000000000000000001")
KIND = SessionKind(asn4=True, ebgp=False, local_as=64999)


def announce(*prefixes: Prefix) -> bytes:
    return build_update(PLAIN, encode_nlri([(prefix, 0) for prefix in prefixes]))


def withdraw(*prefixes: Prefix) -> bytes:
    return build_update(withdrawn=encode_nlri([(prefix, 0) for prefix in prefixes]))


def announce6(*prefixes: Prefix, hop: bytes = HOP6) -> bytes:
    value = bytes([0, 2, 1, len(hop)]) + hop + b"\0" + encode_nlri([(prefix, 0) for prefix in prefixes])
    return build_update(encode_attribute(Code.MP_REACH, value) + PLAIN[:17])


def nets(count: int, first: int = 0) -> list[Prefix]:
    return [Prefix(V4, 0x0A000000 + (first + i << 8), 24) for i in range(count)]


def test_rows_stand_in_message_order(make_session: MakeSession) -> None:
    messages = [announce(*nets(1 + i % 5, 10 * i)) if i % 3 else withdraw(*nets(3, 10 * i)) for i in range(100)]
    batch = decode_run(b"".join(messages), make_session())
    rows = batch.columns[V4]
    assert (np.diff(rows.message) >= 0).all()
    assert batch.messages == 100
    assert difference(messages, make_session()) == ""


def test_a_withdrawal_and_an_announcement_in_one_message(make_session: MakeSession) -> None:
    both = build_update(PLAIN, encode_nlri([(NET4, 0)]), encode_nlri([(NET4, 0)]))
    rows = decode_run(announce(NET4) + both, make_session()).columns[V4]
    assert rows.message.tolist() == [0, 1, 1]
    assert (rows.block < 0).tolist() == [False, True, False]


def test_both_families_and_their_blocks(make_session: MakeSession) -> None:
    net6 = Prefix.parse("2001:db8:8000::/33")
    batch = decode_run(announce(NET4) + announce6(net6), make_session())
    four, six = batch.columns[V4], batch.columns[V6]
    assert batch.blocks.block(int(four.block[0])) == PLAIN
    assert (int(six.hi[0]), int(six.lo[0]), int(six.length[0])) == (net6.value >> 64, 0, 33)
    assert batch.blocks.mp.tolist() == [False, True]


def test_the_low_word_of_a_long_ipv6_prefix(make_session: MakeSession) -> None:
    prefixes = [Prefix.parse(text) for text in ("2001:db8::1/128", "2001:db8::/64", "2001:db8:0:0:8000::/65", "::/0")]
    batch = decode_run(announce6(*prefixes), make_session())
    assert [row[1] for row in read_bulk(batch).rows[V6]] == prefixes


def test_a_reset_ends_the_run_before_its_message(make_session: MakeSession) -> None:
    bad = build_update(PLAIN, b"\x21\0\0\0\0\0")
    batch = decode_run(announce(NET4) + bad + announce(*nets(5)), make_session())
    assert (batch.messages, batch.verdict) == (1, Verdict.SESSION_RESET)
    assert [index for index, _ in batch.findings] == [1]
    assert len(batch.columns[V4].lo) == 1


def test_octets_that_do_not_frame_end_the_run(make_session: MakeSession) -> None:
    batch = decode_run(announce(NET4) + b"garbage that is no header", make_session())
    assert (batch.messages, batch.verdict) == (1, Verdict.SESSION_RESET)
    assert batch.findings[0][1].notification == (1, 1)
    batch = decode_run(announce(NET4) + announce(NET4)[:-1], make_session())
    assert (batch.messages, batch.findings[0][1].notification) == (1, (1, 2))


def test_an_attribute_that_looks_like_a_marker_does_not_frame(make_session: MakeSession) -> None:
    fake = encode_attribute(Code.COMMUNITIES, b"\xff" * 16 + b"\0\x17\2\0")
    messages = [build_update(PLAIN + fake, encode_nlri([(NET4, 0)])) for _ in range(9)]
    batch = decode_run(b"".join(messages), make_session())
    assert (batch.messages, batch.verdict) == (9, Verdict.ACCEPT)


def test_a_disabled_family_is_gone_from_its_message_on(make_session: MakeSession) -> None:
    net6 = Prefix.parse("2001:db8::/32")
    messages = [announce6(net6), announce6(net6, hop=bytes(5)), announce6(net6), announce(NET4)]
    batch = decode_run(b"".join(messages), make_session())
    assert batch.columns[V6].message.tolist() == [0]
    assert batch.columns[V4].message.tolist() == [3]
    assert [(index, finding.reason) for index, finding in batch.findings] == [
        (1, "mp_reach: next hop length"),
        (2, "mp_reach: family not negotiated"),
    ]
    assert difference(messages, make_session()) == ""
    assert difference(messages[:2], make_session()) == ""


def test_end_of_rib_is_given_with_its_message(make_session: MakeSession) -> None:
    end6 = build_update(encode_attribute(Code.MP_UNREACH, b"\0\2\1"))
    batch = decode_run(announce(NET4) + build_update() + end6 + build_update(), make_session())
    assert batch.end_of_rib == ((1, V4), (2, V6), (3, V4))


def test_an_empty_run(make_session: MakeSession) -> None:
    batch = decode_run(b"", make_session())
    assert (batch.messages, batch.columns, batch.verdict) == (0, {}, Verdict.ACCEPT)
    assert len(decode_fields(batch.blocks, np.arange(0), KIND).odd) == 0


def test_another_type_of_message_is_the_callers_mistake(make_session: MakeSession) -> None:
    with pytest.raises(WireError, match=f"octet {len(announce(NET4))} of a run"):
        decode_run(announce(NET4) + build_keepalive(), make_session())


def test_the_callers_buffer_is_not_kept(make_session: MakeSession) -> None:
    ring = bytearray(announce(NET4) + announce6(Prefix.parse("2001:db8::/32")))
    batch = decode_run(memoryview(ring), make_session())
    before = read_bulk(batch)
    ring[:] = bytes(len(ring))
    ring.clear()  # raises BufferError while a view of it lives
    assert read_bulk(batch) == before


def test_a_message_of_thousands_of_prefixes_or_attributes(make_session: MakeSession) -> None:
    many = build_update(PLAIN, b"\0" * 30000)
    tags = build_update(PLAIN + encode_attribute(200, b"") * 3000, encode_nlri([(NET4, 0)]))
    assert difference([many, announce(NET4), tags], make_session()) == ""


def test_blocks_are_padded_to_be_read_as_words(make_session: MakeSession) -> None:
    for message in (announce(NET4), announce6(Prefix.parse("2001:db8::/32")), build_update()):
        blocks = decode_run(message, make_session()).blocks
        end = int((blocks.start + blocks.length).max(initial=0))
        assert len(blocks.octets) % 8 == 0
        assert len(blocks.octets) >= end + 32
        assert not blocks.octets[len(message) + 200 :].any()


def test_fields_of_plain_blocks(make_session: MakeSession) -> None:
    extra = encode_attribute(Code.MED, b"\0\0\0\7") + encode_attribute(Code.LOCAL_PREF, b"\0\0\0\xc8")
    extra += encode_attribute(Code.ORIGINATOR_ID, bytes([10, 0, 0, 1])) + encode_attribute(Code.CLUSTER_LIST, bytes(8))
    extra += encode_attribute(Code.COMMUNITIES, bytes(4))
    batch = decode_run(build_update(PLAIN + extra, encode_nlri([(NET4, 0)])), make_session())
    fields = decode_fields(batch.blocks, np.array([0]), KIND)
    assert fields.row(0) == Row(
        path_length=2,
        neighbor_as=65001,
        origin_as=65002,
        local_pref=200,
        med=7,
        next_hop_lo=0xC0000201,
        next_hop_family=V4,
        originator=0x0A000001,
        cluster_length=2,
        flags=FieldFlag.MED | FieldFlag.LOCAL_PREF | FieldFlag.COMMUNITIES,
    )


def test_odd_blocks_are_empty_rows_to_be_filled_by_the_oracle(make_session: MakeSession) -> None:
    odd = PLAIN + encode_attribute(Code.AIGP, bytes.fromhex("01000b0000000000000064"))
    batch = decode_run(announce(NET4) + build_update(odd, encode_nlri([(NET4, 0)])), make_session())
    fields = decode_fields(batch.blocks, np.array([1, 0]), KIND)
    assert fields.odd.tolist() == [True, False]
    assert fields.row(0) == Row()
    fields.put(np.array([0]), [fields_of(decode_attributes(odd, KIND, mp=False))])
    assert fields.row(0) == fields.row(1)


def test_a_block_that_cannot_be_read_has_its_verdict_and_what_was_found() -> None:
    fields = Fields.empty(1)
    fields.put(np.array([0]), [fields_of(decode_attributes(b"", KIND, mp=False))])
    found = key_of(decode_attributes(b"", KIND, mp=False).findings)
    assert fields.row(0) == Row(verdict=Verdict.TREAT_AS_WITHDRAW, found=found)


def test_rows_stand_in_message_order_wherever_the_mp_attribute_stands(make_session: MakeSession) -> None:
    """Lock-step finds it in another round when other attributes stand before it."""
    reach = encode_attribute(Code.MP_REACH, b"\0\2\1\x10" + HOP6 + b"\0" + b"\x20\x20\1\x0d\xb8")
    last, first = build_update(PLAIN[:17] + reach), build_update(reach + PLAIN[:17])
    batch = decode_run(last + first + last, make_session())
    assert batch.columns[V6].message.tolist() == [0, 1, 2]
    assert difference([last, first, last, last, first], make_session()) == ""


def test_a_run_of_messages_that_are_read_one_by_one_has_points_between_them(make_session: MakeSession) -> None:
    odd = build_update(encode_attribute(Code.MP_UNREACH, bytes([0, 2, 1])))
    steps = [sum(1 for _ in decode_in_steps(message * 1000, make_session())) for message in (announce(NET4), odd)]
    assert steps[0] < 8
    assert steps[1] > 30

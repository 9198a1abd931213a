"""The bulk decoder says what the scalar one says, on messages that real ones were made into.

A seed makes a run of messages and a session: good attributes and bad ones in any order, NLRI of both
families in both places, octets flipped, cut and put in. Everything is a function of the seed, so a failure
is repeated by its number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import decode_attributes, encode_attribute
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.bulk_fields import decode_fields, fields_of
from bgpbridge.wire.found import findings_of
from bgpbridge.wire.message import MARKER, build_update
from bgpbridge.wire.mrt import MessageRecord, read_mrt
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.plain_update import Plain, plain_route, plain_update
from bgpbridge.wire.raw_update import maximum_message, split_update
from bgpbridge.wire.verdicts import SessionKind

MakeSession = Callable[..., Session]
SEEDS = st.integers(0, 2**32 - 1)
LOCAL_AS = 64999


def random_session(rng: random.Random, make_session: MakeSession) -> Session:
    families = rng.choice([frozenset(Family), frozenset(Family), frozenset({Family.IPV4}), frozenset({Family.IPV6})])
    return make_session(
        local_as=LOCAL_AS,
        peer_as=rng.choice([LOCAL_AS, 65001]),
        asn4=rng.random() < 0.7,
        families=families,
        add_path=rng.choice([frozenset(), frozenset(), frozenset(Family), frozenset({Family.IPV6})]),
        extended_message=rng.random() < 0.8,
        extended_next_hop=rng.random() < 0.5,
        enforce_first_as=rng.random() < 0.5,
    )


def nlri(rng: random.Random, family: Family, add_path: bool) -> bytes:
    out = b""
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 9, 40])):
        length = rng.choice([0, 8, 9, 16, 20, 24, 24, 32, rng.randrange(family.bits + 1)])
        out += rng.randbytes(4) if add_path else b""
        out += bytes([length]) + rng.randbytes(length + 7 >> 3)
    if rng.random() < 0.03:
        out += rng.choice([b"\x81", b"\x21\0\0\0\0\0", b"\x18\1", b"\0\0"])
    return out


def as_path(rng: random.Random, octets: int, first: int) -> bytes:
    out = b""
    for _ in range(rng.choice([1, 1, 1, 1, 1, 1, 2, 0])):
        kind = rng.choice([2] * 12 + [1, 3, 4, 7])
        asns = [first, *rng.choices([1, 174, 65001, 23456, 65535, 70000], k=rng.randrange(6))]
        if rng.random() < 0.05:
            asns.append(rng.choice([0, LOCAL_AS]))
        out += bytes([kind, len(asns)]) + b"".join(
            (asn & (1 << 8 * octets) - 1).to_bytes(octets, "big") for asn in asns
        )
    return out


def mp_reach(rng: random.Random, session: Session) -> bytes:
    family = rng.choice([Family.IPV6, Family.IPV6, Family.IPV6, Family.IPV4])
    long = rng.choice([16, 16, 32])
    size = long if family is Family.IPV6 or (session.extended_next_hop and rng.random() < 0.5) else 4
    hop = rng.choice([bytes.fromhex("20010db8"), bytes.fromhex("fe800000"), bytes(4)]) + rng.randbytes(28)
    hop = bytes(16) if rng.random() < 0.05 else hop[:16]
    hop += rng.choice([bytes.fromhex("fe80"), bytes(2)]) + rng.randbytes(14)
    safi = rng.choice([1] * 15 + [128])
    size = rng.choice([size] * 15 + [0, 5, 24])
    head = bytes([0, family, safi, size]) + hop[:size] + b"\0"
    return head + nlri(rng, family, family in session.add_path)


def attribute(rng: random.Random, code: int, session: Session) -> bytes:
    """One attribute, mostly well-formed."""
    octets = 4 if session.asn4 else 2
    first = session.peer_as if session.ebgp else 174
    values: dict[int, Callable[[], bytes]] = {
        1: lambda: bytes([rng.choice([0, 0, 1, 2, 2, 3 if rng.random() < 0.1 else 0])]),
        2: lambda: as_path(rng, octets, first),
        3: lambda: rng.choice([b"\xc0\0\2\1"] * 9 + [bytes(4), b"\xe0\0\0\5", b"\xff" * 4]),
        6: lambda: b"",
        7: lambda: rng.randbytes(octets + 4),
        8: lambda: rng.randbytes(4 * rng.randrange(1, 5)),
        10: lambda: rng.randbytes(4 * rng.randrange(1, 4)),
        14: lambda: mp_reach(rng, session),
        15: lambda: bytes([0, (f := rng.choice(list(Family))), 1]) + nlri(rng, f, f in session.add_path),
        16: lambda: rng.randbytes(8 * rng.randrange(1, 3)),
        17: lambda: as_path(rng, 4, first),
        18: lambda: rng.choice([b"\0\0\0\1", bytes(4)]) + b"\x0a\0\0\1",
        25: lambda: rng.randbytes(20),
        26: lambda: b"\1\0\x0b" + rng.randbytes(8),
        32: lambda: rng.randbytes(12 * rng.randrange(1, 3)),
        40: lambda: b"\1\0\7" + bytes(7),
    }
    value = values.get(code, lambda: rng.randbytes(4))()
    if rng.random() < 0.02:
        value = value[:-1] if rng.random() < 0.5 else value + b"\0"
    flags = {1: 0x40, 2: 0x40, 3: 0x40, 5: 0x40, 6: 0x40, 4: 0x80, 9: 0x80, 10: 0x80, 14: 0x80, 15: 0x80, 26: 0x80}
    flag = flags.get(code, 0xC0) | rng.choice([0, 0, 0, 0x10, 0x20, 0x0F])
    if rng.random() < 0.015:
        flag ^= rng.choice([0x40, 0x80])
    return encode_attribute(code, value, flag)


def message(rng: random.Random, session: Session) -> bytes:
    """One UPDATE."""
    shape = rng.choice(["classic"] * 5 + ["mp"] * 5 + ["withdraw", "mp withdraw", "end of rib", "mixed"])
    if shape == "end of rib":
        return build_update(rng.choice([b"", encode_attribute(15, bytes([0, rng.choice([1, 2]), 1]))]))
    codes = [] if "withdraw" in shape else [1, 2]
    codes += [3] if shape in {"classic", "mixed"} else []
    codes += [14] if shape in {"mp", "mixed"} else []
    codes += [15] if shape == "mp withdraw" else []
    if codes and shape != "mp withdraw":
        extra = [4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 25, 26, 32, 35, 40, 128, 200, 15]
        codes += rng.sample(extra, rng.choice([0, 0, 1, 2, 4]))
    if rng.random() < 0.03 and codes:
        codes.append(rng.choice(codes))
    if rng.random() < 0.03 and codes:
        codes.remove(rng.choice(codes))
    if rng.random() < 0.5:
        rng.shuffle(codes)
    attributes = b"".join(attribute(rng, code, session) for code in codes)
    plus = Family.IPV4 in session.add_path
    classic = nlri(rng, Family.IPV4, plus) if shape in {"classic", "mixed"} else b""
    gone = nlri(rng, Family.IPV4, plus) if shape == "withdraw" or rng.random() < 0.1 else b""
    return build_update(attributes, classic, gone)


def mutated(rng: random.Random, octets: bytes) -> bytes:
    """Octets flipped, cut or put in behind the header, and the header's length made right again."""
    body = bytearray(octets[19:])
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(3):
            case 0 if at < len(body):
                body[at] = rng.choice([0, 1, 14, 15, 0x40, 0x80, 0xFF, rng.randrange(256)])
            case 1:
                del body[at : at + rng.choice([1, 1, 2, 9])]
            case _:
                body[at:at] = rng.choice([bytes(1), bytes(4), MARKER, rng.randbytes(3)])
    body += bytes(max(0, 4 - len(body)))
    return MARKER + (19 + len(body)).to_bytes(2, "big") + b"\2" + bytes(body)


def only_until_the_header_breaks(messages: list[bytes], session: Session) -> list[bytes]:
    """`difference` takes whole messages: one that is too long for the session must be the last."""
    limit = 65535 if session.extended_message else 4096
    for index, octets in enumerate(messages):
        if len(octets) > limit:
            return messages[: index + 1]
    return messages


@settings(max_examples=120, deadline=None)
@given(seed=SEEDS)
def test_bulk_equals_scalar_on_made_messages(seed: int, make_session: MakeSession) -> None:
    rng = random.Random(seed)
    session = random_session(rng, make_session)
    messages = [message(rng, session) for _ in range(rng.choice([1, 3, 60]))]
    assert difference(only_until_the_header_breaks(messages, session), session) == ""


@settings(max_examples=120, deadline=None)
@given(seed=SEEDS)
@example(seed=74562)  # classic NLRI with no attribute but MP_UNREACH_NLRI
def test_bulk_equals_scalar_on_mutated_messages(seed: int, make_session: MakeSession) -> None:
    rng = random.Random(seed)
    session = random_session(rng, make_session)
    messages = [message(rng, session) for _ in range(30)]
    for _ in range(rng.choice([1, 2, 6])):
        index = rng.randrange(len(messages))
        messages[index] = mutated(rng, messages[index])
    assert difference(only_until_the_header_breaks(messages, session), session) == ""


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[bytes]:
    """A few hundred real UPDATEs of every kind."""
    found = []
    for line in (shared_data / "vectors/exabgp-qa.jsonl").read_text().splitlines():
        vector = json.loads(line)
        octets = bytes.fromhex(vector["hex"])
        if vector["kind"] == 2 and int.from_bytes(octets[16:18], "big") == len(octets):
            found.append(octets)
    for index, record in enumerate(read_mrt(shared_data / "mrt/updates-35peers-2016.mrt.gz")):
        if isinstance(record, MessageRecord) and record.message[18] == 2 and index % 37 == 0:
            found.append(record.message)
    return found


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS)
def test_bulk_equals_scalar_on_mutated_real_messages(seed: int, real: list[bytes], make_session: MakeSession) -> None:
    rng = random.Random(seed)
    session = random_session(rng, make_session)
    messages = rng.sample(real, 40)
    for _ in range(rng.choice([0, 1, 3])):
        index = rng.randrange(len(messages))
        messages[index] = mutated(rng, messages[index])
    assert difference(only_until_the_header_breaks(messages, session), session) == ""


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_a_run_cut_anywhere_gives_the_same_rows(seed: int, make_session: MakeSession) -> None:
    rng = random.Random(seed)
    session = make_session()
    messages = [build_update(nlri=b"", withdrawn=nlri(rng, Family.IPV4, False)) for _ in range(20)]
    data = b"".join(messages)
    cut = len(b"".join(messages[: rng.randrange(20)]))
    whole = decode_run(data, session)
    if whole.findings:
        return
    parts = [decode_run(part, session) for part in (data[:cut], memoryview(data)[cut:])]
    rows = [part.columns[Family.IPV4].lo for part in parts if Family.IPV4 in part.columns]
    expected = whole.columns[Family.IPV4].lo if Family.IPV4 in whole.columns else np.empty(0, np.uint64)
    assert np.array_equal(np.concatenate([*rows, np.empty(0, np.uint64)]), expected)


@settings(max_examples=150, deadline=None)
@given(
    octets=st.lists(st.binary(max_size=60), min_size=1, max_size=8),
    mp=st.booleans(),
    asn4=st.booleans(),
    ebgp=st.booleans(),
)
def test_fields_of_any_octets_are_odd_or_right(octets: list[bytes], mp: bool, asn4: bool, ebgp: bool) -> None:
    """Blocks need not come out of a run; whatever they are, nothing is read beyond them."""
    size = sum(map(len, octets))
    padded = np.full((size + 47) // 8 * 8, 0, np.uint8)
    padded[:size] = np.frombuffer(b"".join(octets), np.uint8)
    length = np.array([len(block) for block in octets], np.int64)
    blocks = Blocks(padded, np.cumsum(length) - length, length, np.full(len(octets), mp))
    kind = SessionKind(asn4, ebgp, LOCAL_AS)
    fields = decode_fields(blocks, np.arange(len(octets)), kind)
    for index, block in enumerate(octets):
        decoded = decode_attributes(block, kind, mp=mp)
        assert fields.odd[index] or fields.row(index) == fields_of(decoded)
        assert fields.odd[index] or findings_of(int(fields.found[index])) == decoded.findings


def assert_route_agrees(route: tuple[bytes, int, int] | None, found: Plain | None) -> None:
    """`plain_route` is for one prefix, whose attributes are somebody else's to know."""
    if found is not None and len(found[0]) + len(found[2]) == 1:
        withdrawn, block, announced = found
        assert route == (b"" if withdrawn else block, *[*withdrawn, *announced][0])
    elif found is not None or (route is not None and not route[0]):
        assert route is None


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_a_plain_update_has_the_parts_that_the_scalar_way_finds(seed: int, make_session: MakeSession) -> None:
    rng = random.Random(seed)
    plain = 0
    for _ in range(40):
        session = random_session(rng, make_session)
        octets = message(rng, session)
        octets = mutated(rng, octets) if rng.random() < 0.5 else octets
        found = plain_update(octets, maximum_message(session))
        assert_route_agrees(plain_route(octets, maximum_message(session)), found)
        if found is None or Family.IPV4 in session.add_path or Family.IPV4 not in session.families:
            continue
        plain += 1
        withdrawn, block, announced = found
        raw = split_update(octets, session)
        assert (raw.findings, raw.end_of_rib, raw.block) == ((), None, block)
        assert raw.unreach == tuple((Prefix(Family.IPV4, *prefix), 0) for prefix in withdrawn)
        prefixes = tuple((Prefix(Family.IPV4, *prefix), 0) for prefix in announced)
        assert raw.reach == (((Family.IPV4, False, prefixes),) if prefixes else ())
    event(f"plain: {plain > 5}")

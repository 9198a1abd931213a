"""What is wrong with blocks, as a column: no block of these is left to the scalar way."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.types import Verdict
from bgpbridge.wire.attributes import DESCRIPTORS, Code, decode_attributes, encode_attribute
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.bulk_fields import decode_fields, fields_of
from bgpbridge.wire.found import MOST, OTHER, findings_of, key_of
from bgpbridge.wire.verdicts import Finding, SessionKind

EXTERNAL = SessionKind(asn4=True, ebgp=True, local_as=64999, first_as=65001)
ORIGIN = encode_attribute(Code.ORIGIN, b"\0")
PATH = encode_attribute(Code.AS_PATH, b"\2\2\0\0\xfd\xe9\0\0\xfd\xea")
HOP = encode_attribute(Code.NEXT_HOP, b"\xc0\0\2\1")
PREFERENCE = encode_attribute(Code.LOCAL_PREF, bytes(4))
PLAIN = ORIGIN + PATH + HOP

WRONG = {
    "an internal attribute from outside": PLAIN + PREFERENCE,
    "three of them": PLAIN + encode_attribute(Code.ORIGINATOR_ID, bytes(4)) + PREFERENCE + b"\x80\x0a\x04\0\0\0\1",
    "AIGP from outside": PLAIN + encode_attribute(Code.AIGP, b"\1\0\x0b" + bytes(8)),
    "no attribute at all": b"",
    "one that is missing": ORIGIN + HOP,
    "flags": PLAIN + encode_attribute(Code.MED, bytes(4), 0xC0),
    "flags of one that has to be there": encode_attribute(Code.ORIGIN, b"\0", 0xC0) + PATH + HOP,
    "length": ORIGIN + PATH + encode_attribute(Code.NEXT_HOP, bytes(5)),
    "length that is no multiple": PLAIN + encode_attribute(Code.COMMUNITIES, bytes(6)),
    "twice": PLAIN + ORIGIN + encode_attribute(Code.ORIGIN, b"\7"),
    "a bad one first, then again": encode_attribute(Code.ORIGIN, b"\0\0") + PLAIN,
    "origin": encode_attribute(Code.ORIGIN, b"\3") + PATH + HOP,
    "AS 0": ORIGIN + encode_attribute(Code.AS_PATH, b"\2\3\0\0\xfd\xe9\0\0\0\0\0\0\0\0") + HOP,
    "our own AS": ORIGIN + encode_attribute(Code.AS_PATH, b"\2\3\0\0\xfd\xe9" + b"\0\0\xfd\xe7" * 2) + HOP,
    "not the peer's AS first, our own, and no host's next hop": ORIGIN
    + encode_attribute(Code.AS_PATH, b"\2\2\0\0\0\1\0\0\xfd\xe7")
    + encode_attribute(Code.NEXT_HOP, b"\xe0\0\0\1"),
    "refused and malformed": ORIGIN
    + encode_attribute(Code.AS_PATH, b"\2\2\0\0\0\1\0\0\xfd\xe7")
    + encode_attribute(Code.NEXT_HOP, b"\xe0\0\0\1")
    + encode_attribute(Code.MED, b""),
    "aggregator": PLAIN + encode_attribute(Code.AGGREGATOR, bytes(8)),
    "aggregator of the other size": PLAIN + encode_attribute(Code.AGGREGATOR, b"\1" * 6),
    "from a four-octet speaker": PLAIN + encode_attribute(Code.AS4_PATH, b"\2\1\0\0\0\1"),
    "nothing: two that nobody knows": PLAIN + encode_attribute(200, b"") + encode_attribute(201, b""),
}


def blocks_of(octets: list[bytes]) -> Blocks:
    data = b"".join(octets) + bytes(40)
    length = np.array([len(block) for block in octets], np.int64)
    padded = np.frombuffer(data[: len(data) // 8 * 8], np.uint8)
    return Blocks(padded, np.cumsum(length) - length, length, np.zeros(len(octets), np.bool_))


@pytest.mark.parametrize("block", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_found_in_columns(block: bytes) -> None:
    octets = [PLAIN, block, PLAIN]
    fields = decode_fields(blocks_of(octets), np.arange(3), EXTERNAL)
    assert not fields.odd.any()
    for at, here in enumerate(octets):
        decoded = decode_attributes(here, EXTERNAL, mp=False)
        assert findings_of(int(fields.found[at])) == decoded.findings
        assert fields.row(at) == fields_of(decoded)


def test_what_stands_there_twice_without_a_descriptor_goes_the_scalar_way() -> None:
    block = PLAIN + encode_attribute(200, b"") * 2
    assert decode_fields(blocks_of([block, PLAIN]), np.arange(2), EXTERNAL).odd.tolist() == [True, False]


def test_a_key_tells_findings_in_their_order() -> None:
    first = Finding(Verdict.ATTRIBUTE_DISCARD, Code.LOCAL_PREF, "local_pref: from an external peer")
    second = Finding(Verdict.TREAT_AS_WITHDRAW, Code.MED, f"{DESCRIPTORS[Code.MED].name}: length")
    assert findings_of(key_of((first, second))) == (first, second)
    assert key_of((second, first)) != key_of((first, second))
    assert key_of(()) == 0
    assert findings_of(key_of((first,) * MOST)) == (first,) * MOST
    assert key_of((first,) * (MOST + 1)) == OTHER
    assert key_of((Finding(Verdict.SESSION_RESET, 0, "not about an attribute"),)) == OTHER

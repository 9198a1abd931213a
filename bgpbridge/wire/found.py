"""What can be wrong with an attribute block, by number: so that findings of many blocks are a column of integers.

A key is the findings of one block in their order, a number of one octet each, the first in the lowest octet; 0 is
none. OTHER stands for findings that have no key: whoever needs them has to decode the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bgpbridge.types import Verdict
from bgpbridge.wire.attributes import DESCRIPTORS, Code
from bgpbridge.wire.refusals import FIRST_AS, NEXT_HOP, OWN_AS
from bgpbridge.wire.verdicts import Finding

__all__ = ["MOST", "OTHER", "OWN_ROUTER_ID", "VERDICTS", "findings_of", "key_of", "number_of"]

MOST = 8  # findings in a key
OTHER = (1 << 8 * MOST) - 1
OWN_ROUTER_ID = Finding(Verdict.TREAT_AS_WITHDRAW, Code.ORIGINATOR_ID, "originator_id: our own router id (RFC 4456 s8)")

_DISCARD, _WITHDRAW = Verdict.ATTRIBUTE_DISCARD, Verdict.TREAT_AS_WITHDRAW
_OF_VALUES = (
    (_WITHDRAW, Code.ORIGIN, "invalid value"),
    (_WITHDRAW, Code.AS_PATH, "malformed segment"),
    (_WITHDRAW, Code.AS_PATH, "AS 0"),
    (_WITHDRAW, Code.AS_PATH, "confederation segment from an external peer"),
    (_DISCARD, Code.AGGREGATOR, "AS 0"),
    (_DISCARD, Code.AS4_PATH, "from a four-octet speaker"),
    (_DISCARD, Code.AS4_PATH, "malformed segment"),
    (_DISCARD, Code.AS4_PATH, "AS 0"),
    (_DISCARD, Code.AS4_PATH, "confederation segment"),
    (_DISCARD, Code.AS4_AGGREGATOR, "from a four-octet speaker"),
    (_DISCARD, Code.AS4_AGGREGATOR, "AS 0"),
    (_DISCARD, Code.AIGP, "malformed TLV"),
    (_DISCARD, Code.AIGP, "length of the metric"),
    (_DISCARD, Code.PREFIX_SID, "malformed TLV"),
    (_DISCARD, Code.PREFIX_SID, "from an external peer"),
    (_WITHDRAW, Code.PREFIX_SID, "malformed SRv6 service TLV"),
)


def _all() -> Iterator[Finding]:
    for code, row in DESCRIPTORS.items():
        yield Finding(_DISCARD, code, f"{row.name}: repeated")
        if row.internal:
            yield Finding(_DISCARD, code, f"{row.name}: from an external peer")
        yield Finding(row.on_flags, code, f"{row.name}: flags")
        yield Finding(row.on_error, code, f"{row.name}: length")
    for verdict, code, reason in _OF_VALUES:
        yield Finding(verdict, code, f"{DESCRIPTORS[code].name}: {reason}")
    for code in (Code.ORIGIN, Code.AS_PATH, Code.NEXT_HOP, Code.MP_REACH):
        yield Finding(_WITHDRAW, code, f"{DESCRIPTORS[code].name}: missing")
    for code, reason in ((2, OWN_AS), (2, FIRST_AS), (3, NEXT_HOP), (14, NEXT_HOP)):
        yield Finding(_WITHDRAW, code, reason)
    yield OWN_ROUTER_ID


_NUMBERS = {finding: number for number, finding in enumerate(dict.fromkeys(_all()), 1)}
_FINDINGS = (None, *_NUMBERS)
_BY_TEXT = {(finding.code, finding.reason): number for finding, number in _NUMBERS.items()}
VERDICTS = (Verdict.ACCEPT, *(finding.verdict for finding in _NUMBERS))
"""The verdict of each number."""
assert len(_FINDINGS) < 255  # 255 is part of OTHER


def number_of(code: int, reason: str) -> int:
    """The number of a finding, 0 when there is none like it. `reason` is without the attribute's name, or whole."""
    return _BY_TEXT.get((code, reason)) or _BY_TEXT.get((code, f"{DESCRIPTORS[code].name}: {reason}"), 0)


def key_of(findings: Sequence[Finding]) -> int:
    """The findings of one block as one integer."""
    if not findings:
        return 0
    numbers = [_NUMBERS.get(finding, 0) for finding in findings]
    return OTHER if len(numbers) > MOST or not all(numbers) else _packed(numbers)


def _packed(numbers: Iterable[int]) -> int:
    return sum(number << 8 * place for place, number in enumerate(numbers))


def findings_of(key: int) -> tuple[Finding, ...]:
    """The findings of a key, which is not OTHER."""
    found = (_FINDINGS[octet] for octet in key.to_bytes(MOST, "little") if octet)
    return tuple(finding for finding in found if finding is not None)

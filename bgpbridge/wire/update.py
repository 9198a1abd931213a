"""One UPDATE with its attributes read, for one message at a time: tests, replay, looking at a message.

`split_update` (in `raw_update`) finds NLRI and attribute block; `decode_update` adds the attributes and
treats as withdrawn what has to be. In both, withdrawals stand before announcements: when a prefix is in
both, the announcement counts (RFC 4271 s4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import decode_attributes
from bgpbridge.wire.nlri import Nlri
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.raw_update import RawUpdate, Reach, split_update
from bgpbridge.wire.verdicts import Finding, SessionKind, strongest

__all__ = ["RawUpdate", "Reach", "Route", "Update", "decode_update", "split_update"]


@dataclass(frozen=True, slots=True)
class Route:
    """One announced prefix."""

    prefix: Prefix
    path_id: int
    attributes: PathAttributes


@dataclass(frozen=True, slots=True)
class Update:
    """An UPDATE, read. `withdrawn` holds what is treated as withdrawn too."""

    announced: tuple[Route, ...]
    withdrawn: tuple[Nlri, ...]
    end_of_rib: Family | None
    verdict: Verdict
    findings: tuple[Finding, ...]


def decode_update(message: bytes, session: Session) -> Update:
    """One whole UPDATE with its attributes read. Raises WireError for another type of message."""
    raw = split_update(message, session)
    kind = SessionKind.of(session)
    announced: list[Route] = []
    withdrawn = list(raw.unreach)
    findings = list(raw.findings)
    for _, mp, prefixes in raw.reach:
        decoded = decode_attributes(raw.block, kind, mp=mp)
        findings += [finding for finding in decoded.findings if finding not in findings]
        if decoded.attributes is None or decoded.verdict >= Verdict.TREAT_AS_WITHDRAW:
            withdrawn += prefixes
        else:
            announced += [Route(prefix, path_id, decoded.attributes) for prefix, path_id in prefixes]
    return Update(tuple(announced), tuple(withdrawn), raw.end_of_rib, strongest(findings), tuple(findings))

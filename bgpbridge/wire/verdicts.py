"""What the decoder says about a message or an attribute block, and what it must know of the session.

A Finding is a value that events, metrics and `bgpbridge peers NAME` print: its reason is a short fixed
phrase out of this room's source, never text that a peer chose, so it is safe as a metric label.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from bgpbridge.types import Family, Session, Verdict

__all__ = ["Finding", "SessionKind", "strongest"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wrong.

    `code` is the attribute type (0: the message itself), `notification` the code and subcode to close
    the session with when the verdict is SESSION_RESET or the receiver prefers a reset to
    AFI_SAFI_DISABLE (RFC 7606 s2 allows either). `family` is the family that AFI_SAFI_DISABLE speaks of.
    """

    verdict: Verdict
    code: int
    reason: str
    notification: tuple[int, int] | None = None
    family: Family | None = None


def strongest(findings: tuple[Finding, ...] | list[Finding]) -> Verdict:
    """The strongest action wins (RFC 7606 s3 h)."""
    return max((finding.verdict for finding in findings), default=Verdict.ACCEPT)


@dataclass(frozen=True, slots=True)
class SessionKind:
    """All of a session that changes the meaning of an attribute block.

    `first_as` is the AS that must stand leftmost in the AS_PATH (RFC 4271 s6.3), 0 where that is not
    enforced.
    """

    asn4: bool
    ebgp: bool
    local_as: int
    first_as: int = 0

    @classmethod
    def of(cls, session: Session) -> Self:
        """The kind of a session."""
        enforced = session.ebgp and session.enforce_first_as
        return cls(session.asn4, session.ebgp, session.local_as, session.peer_as if enforced else 0)

    def to_bytes(self) -> bytes:
        """12 octets that differ exactly when two kinds differ: the prefix of an interning key."""
        return struct.pack("!B3xII", self.asn4 << 1 | self.ebgp, self.local_as, self.first_as)

"""One UPDATE in its parts: NLRI, the attribute block, and what is wrong with the message as a whole.

The readable way, the oracle for `bulk`, and the way of every message there that is not plain. What needs
the message as a whole is judged here: lengths, NLRI that cannot be found, MP attributes, attributes
without NLRI (RFC 7606 s3 to s5). Attributes are left as octets.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.attributes import (
    DESCRIPTORS,
    EXTENDED_LENGTH,
    OPTIONAL,
    TRANSITIVE,
    Code,
    Frame,
    attribute_errors,
    decode_attributes,
    frame_attributes,
    malformed,
)
from bgpbridge.wire.message import MAXIMUM_EXTENDED, MAXIMUM_PLAIN, MessageType, header_problem
from bgpbridge.wire.nlri import Nlri, decode_nlri
from bgpbridge.wire.verdicts import Finding, SessionKind, strongest

__all__ = ["RawUpdate", "Reach", "maximum_message", "next_hop_lengths", "split_update"]

Reach = tuple[Family, bool, tuple[Nlri, ...]]  # family, came in MP_REACH_NLRI, prefixes
_OPTIONAL_ERROR = (3, 9)  # RFC 4760 s7
_MP = {Code.MP_REACH: "mp_reach", Code.MP_UNREACH: "mp_unreach"}


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """An UPDATE with its attributes as octets. `findings` are those of the message; the block has its
    own when it is decoded."""

    reach: tuple[Reach, ...] = ()
    unreach: tuple[Nlri, ...] = ()
    block: bytes = b""
    end_of_rib: Family | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The strongest of the findings."""
        return strongest(self.findings)


class _Reset(Exception):  # noqa: N818 - a verdict on its way up to split_update
    def __init__(self, code: int, reason: str, notification: tuple[int, int]) -> None:
        super().__init__(reason)
        self.finding = Finding(Verdict.SESSION_RESET, code, reason, notification)


def maximum_message(session: Session) -> int:
    """Octets of the largest message that the session allows (RFC 8654)."""
    return MAXIMUM_EXTENDED if session.extended_message else MAXIMUM_PLAIN


def next_hop_lengths(family: Family, session: Session) -> frozenset[int]:
    """Next hop lengths of MP_REACH_NLRI that may be expected (RFC 2545 s3, RFC 8950 s3)."""
    if family is Family.IPV6:
        return frozenset({16, 32})
    return frozenset({4, 16, 32}) if session.extended_next_hop else frozenset({4})


def split_update(message: bytes, session: Session) -> RawUpdate:
    """NLRI and attribute block of one whole UPDATE. Raises WireError for another type of message;
    octets that are wrong give findings."""
    problem = header_problem(message, 0, maximum_message(session))
    if problem is None and message[18] != MessageType.UPDATE:
        raise WireError(f"message type {message[18]}; UPDATE (2) expected")
    if problem is None and int.from_bytes(message[16:18], "big") != len(message):
        problem = ("header: length", (1, 2))
    if problem:
        return RawUpdate(findings=(Finding(Verdict.SESSION_RESET, 0, *problem),))
    try:
        return _Splitter(message, session).split()
    except _Reset as reset:
        return RawUpdate(findings=(reset.finding,))


class _Splitter:
    """The parts of one message while they are found. Its methods run in the order they stand in."""

    def __init__(self, message: bytes, session: Session) -> None:
        self.message = message
        self.session = session
        self.findings: list[Finding] = []
        self.disabled: Family | None = None
        self.frames: list[Frame] = []
        self.mp_frames: list[Frame] = []
        self.withdrawn: tuple[Nlri, ...] = ()
        self.nlri: tuple[Nlri, ...] = ()
        self.mp_withdrawn: tuple[Nlri, ...] = ()
        self.mp_reach: Reach | None = None
        self.mp_reach_frame: Frame | None = None  # of an MP_REACH_NLRI that stays in the block
        self.elsewhere = False  # reachable NLRI of a family that is not ours
        self.end_of_rib: Family | None = None

    def split(self) -> RawUpdate:
        """The whole way."""
        start, end = self._fields()
        self.frames, broken = frame_attributes(self.message, start, end)
        self._attribute_list(broken)
        for frame in self.mp_frames:
            if frame[2] == Code.MP_REACH:
                self._mp_reach(frame)
            else:
                self._mp_unreach(frame)
        self._end_of_rib(end - start)
        block = self._block(start, end)
        reach = self._reach()
        if reach:
            reach = self._judge_mixed(reach, block)
        elif broken is not None or any(frame[2] != Code.MP_UNREACH for frame in self.frames):
            self._judge_without_nlri(block)
        return RawUpdate(reach, self._unreach(), block, self.end_of_rib, tuple(self.findings))

    def _fields(self) -> tuple[int, int]:
        """The classic NLRI; returns where the path attributes start and end (RFC 7606 s3 b, i, j; s5.3)."""
        message, length = self.message, len(self.message)
        withdrawn_end = 21 + (message[19] << 8 | message[20])
        start = withdrawn_end + 2
        if start > length:
            raise _Reset(0, "update: withdrawn routes do not fit", (3, 1))
        end = start + (message[start - 2] << 8 | message[start - 1])
        if end > length:
            raise _Reset(0, "update: path attributes do not fit", (3, 1))
        self.withdrawn = self._classic(21, withdrawn_end, "withdrawn: invalid prefix")
        self.nlri = self._classic(end, length, "nlri: invalid prefix")
        if Family.IPV4 not in self.session.families and (self.withdrawn or self.nlri):
            self.findings.append(Finding(Verdict.ATTRIBUTE_DISCARD, 0, "nlri: family not negotiated"))
            self.elsewhere = bool(self.nlri)
            self.withdrawn = self.nlri = ()
        return start, end

    def _classic(self, start: int, end: int, reason: str) -> tuple[Nlri, ...]:
        try:
            return decode_nlri(self.message, start, end, Family.IPV4, Family.IPV4 in self.session.add_path)
        except WireError:
            raise _Reset(0, reason, (3, 10)) from None

    def _attribute_list(self, broken: int | None) -> None:
        """What the list of attributes alone can be wrong in."""
        for frame in self.frames:
            code = frame[2]
            if code in _MP:
                if any(code == other[2] for other in self.mp_frames):  # RFC 7606 s3 g
                    raise _Reset(code, f"{_MP[code]}: repeated", (3, 1))
                self.mp_frames.append(frame)
            elif code not in DESCRIPTORS and not frame[1] & OPTIONAL:  # RFC 4271 s6.3
                raise _Reset(code, "unknown: not optional", (3, 2))
        if broken in _MP:  # its NLRI cannot be found: RFC 7606 s3 j
            raise _Reset(broken, f"{_MP[broken]}: does not fit", _OPTIONAL_ERROR)

    def _mp_reach(self, frame: Frame) -> None:
        """MP_REACH_NLRI: AFI, SAFI, next hop, a reserved octet, NLRI (RFC 4760 s3)."""
        _, flags, code, start, end = frame
        family = self._family(start, end)
        if (flags ^ OPTIONAL) & (OPTIONAL | TRANSITIVE):
            return self._incorrect(code, family, "mp_reach: flags")
        if end - start < 5:
            return self._incorrect(code, family, "mp_reach: length")
        if family is None:
            self.elsewhere = True
            return self._not_negotiated(code, "mp_reach: family not negotiated")
        octets = self.message[start + 3]
        nlri = start + 5 + octets
        if octets not in next_hop_lengths(family, self.session) or nlri > end:
            return self._incorrect(code, family, "mp_reach: next hop length")
        try:
            prefixes = decode_nlri(self.message, nlri, end, family, family in self.session.add_path)
        except WireError:
            return self._incorrect(code, family, "mp_reach: invalid prefix")
        self.mp_reach_frame = frame
        self.mp_reach = (family, True, prefixes)
        return None

    def _mp_unreach(self, frame: Frame) -> None:
        """MP_UNREACH_NLRI: AFI, SAFI, NLRI (RFC 4760 s4)."""
        _, flags, code, start, end = frame
        family = self._family(start, end)
        if (flags ^ OPTIONAL) & (OPTIONAL | TRANSITIVE):
            return self._incorrect(code, family, "mp_unreach: flags")
        if end - start < 3:
            return self._incorrect(code, family, "mp_unreach: length")
        if family is None:
            return self._not_negotiated(code, "mp_unreach: family not negotiated")
        try:
            self.mp_withdrawn = decode_nlri(self.message, start + 3, end, family, family in self.session.add_path)
        except WireError:
            return self._incorrect(code, family, "mp_unreach: invalid prefix")
        if end - start == 3 and len(self.frames) == 1:
            self.end_of_rib = family
        return None

    def _family(self, start: int, end: int) -> Family | None:
        """The family that an MP attribute names, when the session carries it."""
        if end - start < 3 or self.message[start] or self.message[start + 2] != 1:
            return None
        afi = self.message[start + 1]
        return Family(afi) if afi in {1, 2} and Family(afi) in self.session.families else None

    def _incorrect(self, code: int, family: Family | None, reason: str) -> None:
        """RFC 7606 s5.3, s7.11, s7.12: AFI/SAFI disable, or a reset where the family is unknown or the
        last one, so that nothing would be left of the session."""
        if family is None or self.session.families <= {family, self.disabled}:
            raise _Reset(code, reason, _OPTIONAL_ERROR)
        self.disabled = family
        self.findings.append(Finding(Verdict.AFI_SAFI_DISABLE, code, reason, _OPTIONAL_ERROR, family))

    def _not_negotiated(self, code: int, reason: str) -> None:
        """RFC 4760 s8: routes of a family that was not agreed on are not for us."""
        self.findings.append(Finding(Verdict.ATTRIBUTE_DISCARD, code, reason))

    def _end_of_rib(self, attribute_octets: int) -> None:
        """RFC 4724 s2. For a classic one there must be nothing at all."""
        if self.withdrawn or self.nlri:
            self.end_of_rib = None
        elif not attribute_octets and len(self.message) == 23 and Family.IPV4 in self.session.families:
            self.end_of_rib = Family.IPV4

    def _block(self, start: int, end: int) -> bytes:
        """The canonical block: MP_REACH_NLRI cut after the next hop or gone, MP_UNREACH_NLRI gone."""
        message = self.message
        if not self.mp_frames:
            return message[start:end]
        pieces = []
        position = start
        for frame in self.mp_frames:
            header, _, code, value, stop = frame
            pieces.append(message[position:header])
            if frame is self.mp_reach_frame:
                kept = 4 + message[value + 3]
                pieces += [bytes([OPTIONAL | EXTENDED_LENGTH, code, 0, kept]), message[value : value + kept]]
            position = stop
        pieces.append(message[position:end])
        return b"".join(pieces)

    def _reach(self) -> tuple[Reach, ...]:
        """Announced prefixes, the classic field first; nothing of a family that is being disabled."""
        found = []
        if self.nlri and self.disabled is not Family.IPV4:
            found.append((Family.IPV4, False, self.nlri))
        if self.mp_reach and self.mp_reach[2] and self.disabled is not self.mp_reach[0]:
            found.append(self.mp_reach)
        return tuple(found)

    def _unreach(self) -> tuple[Nlri, ...]:
        both = self.withdrawn + self.mp_withdrawn
        return tuple(nlri for nlri in both if nlri[0].family is not self.disabled) if self.disabled else both

    def _judge_mixed(self, reach: tuple[Reach, ...], block: bytes) -> tuple[Reach, ...]:
        """Classic and MP routes in one UPDATE: an attribute error of one withdraws both (RFC 7606 s2)."""
        if len(reach) == 1:
            return reach
        kind = SessionKind.of(self.session)
        for mp in (False, True):
            findings = decode_attributes(block, kind, mp=mp).findings
            if malformed(findings):
                self.findings += [f for f in findings if f not in self.findings]
                self.withdrawn += tuple(nlri for _, _, prefixes in reach for nlri in prefixes)
                return ()
        return reach

    def _judge_without_nlri(self, block: bytes) -> None:
        """RFC 7606 s5.2: attributes other than MP_UNREACH_NLRI but no reachable NLRI. We cannot be sure that the NLRI
        were found (s3 j), so an error that is more than an attribute discard resets the session."""
        if self.elsewhere or self.disabled:
            return
        for finding in attribute_errors(block, SessionKind.of(self.session)):
            if finding.verdict >= Verdict.TREAT_AS_WITHDRAW:
                raise _Reset(finding.code, "update: attribute error without NLRI", (3, 1))
            self.findings.append(finding)

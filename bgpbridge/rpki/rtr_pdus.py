"""The PDUs of RPKI-to-Router, version 1 (RFC 8210 s5) and version 0 (RFC 6810 s5): octets to values and back.

    0          8          16         24        31
    | version  | PDU type | session, error, 0   |
    |            length, whole PDU              |
    | body as the table says                    |

Every PDU that a cache may send stands in one table with the length that it must have. What does not fit is an error
with the code that RFC 8210 s12 has for it; nothing is read past the length that the table allows, so a cache cannot
make us keep more than one PDU of `MAX_OCTETS`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.errors import BridgeError
from bgpbridge.types import Family

__all__ = [
    "HIGHEST_VERSION",
    "MAX_OCTETS",
    "Code",
    "Kind",
    "Pdu",
    "PduReader",
    "PrefixPdu",
    "RtrError",
    "error_report",
    "error_text",
    "prefix_of",
    "reset_query",
    "serial_query",
    "timers_of",
]

HIGHEST_VERSION = 1
HEADER = struct.Struct("!BBHI")
MAX_OCTETS = 65536  # of an Error Report or a Router Key; all others are 32 at most
ANNOUNCE = 1  # flags of a prefix PDU (s5.6)


class Kind(enum.IntEnum):
    """PDU types (RFC 8210 s5, s14)."""

    SERIAL_NOTIFY = 0
    SERIAL_QUERY = 1
    RESET_QUERY = 2
    CACHE_RESPONSE = 3
    IPV4_PREFIX = 4
    IPV6_PREFIX = 6
    END_OF_DATA = 7
    CACHE_RESET = 8
    ROUTER_KEY = 9
    ERROR_REPORT = 10


class Code(enum.IntEnum):
    """Error codes (RFC 8210 s12)."""

    CORRUPT_DATA = 0
    INTERNAL_ERROR = 1
    NO_DATA_AVAILABLE = 2
    INVALID_REQUEST = 3
    UNSUPPORTED_VERSION = 4
    UNSUPPORTED_PDU = 5
    WITHDRAWAL_OF_UNKNOWN = 6
    DUPLICATE_ANNOUNCEMENT = 7
    UNEXPECTED_VERSION = 8


_CODES = {code.value for code in Code}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a PDU of one kind and version must look like: shortest and longest length in octets, header included."""

    least: int
    most: int


def _fixed(octets: int) -> Shape:
    return Shape(octets, octets)


_BOTH: dict[int, Shape] = {
    Kind.SERIAL_NOTIFY: _fixed(12),
    Kind.CACHE_RESPONSE: _fixed(8),
    Kind.IPV4_PREFIX: _fixed(20),
    Kind.IPV6_PREFIX: _fixed(32),
    Kind.CACHE_RESET: _fixed(8),
    Kind.ERROR_REPORT: Shape(16, MAX_OCTETS),
}
SHAPES: dict[int, dict[int, Shape]] = {
    0: _BOTH | {Kind.END_OF_DATA: _fixed(12)},
    1: _BOTH | {Kind.END_OF_DATA: _fixed(24), Kind.ROUTER_KEY: Shape(32, MAX_OCTETS)},
}


class RtrError(BridgeError):
    """What a cache sent is not RTR, or not what may come now. `code` and `pdu` go into our Error Report."""

    def __init__(self, code: Code, what: str, pdu: bytes = b"") -> None:
        super().__init__(what)
        self.code = code
        self.pdu = pdu


@dataclass(frozen=True, slots=True)
class Pdu:
    """One PDU whose length fits its kind. `session` is the header's third field: session id or error code."""

    version: int
    kind: Kind
    session: int
    octets: bytes

    @property
    def serial(self) -> int:
        """Of Serial Notify and End of Data."""
        number: int = struct.unpack_from("!I", self.octets, 8)[0]
        return number


@dataclass(frozen=True, slots=True)
class PrefixPdu:
    """A payload that comes or goes. `row` is the PDU's body but for flags: length, max length, 0, address, AS."""

    family: Family
    announce: bool
    row: bytes


class PduReader:
    """Octets as they come off a stream to whole PDUs. Holds less than one PDU between calls."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> Iterator[Pdu]:
        """The PDUs that are whole now. Raises RtrError at the first that cannot be one; nothing can be read after."""
        data, at = self._rest + octets, 0
        self._rest = b""
        while len(data) - at >= HEADER.size:
            version, kind, session, length = HEADER.unpack_from(data, at)
            known = _check(version, kind, length, data[at : at + HEADER.size])
            if len(data) - at < length:
                break
            yield Pdu(version, known, session, data[at : at + length])
            at += length
        self._rest = data[at:]


def _check(version: int, kind: int, length: int, header: bytes) -> Kind:
    shapes = SHAPES.get(version)
    if shapes is None:
        if kind == Kind.ERROR_REPORT and _BOTH[Kind.ERROR_REPORT].least <= length <= MAX_OCTETS:
            return Kind.ERROR_REPORT  # it tells which versions it is that the cache would rather have
        raise RtrError(Code.UNSUPPORTED_VERSION, f"the cache speaks RTR version {version}, expected 0 or 1", header)
    shape = shapes.get(kind)
    if shape is None:
        raise RtrError(Code.UNSUPPORTED_PDU, f"a cache sends no PDU of type {kind} in version {version}", header)
    if not shape.least <= length <= shape.most:
        due = f"{shape.least}" if shape.least == shape.most else f"{shape.least} to {shape.most}"
        problem = f"a PDU of type {Kind(kind).name} says it has {length} octets, expected {due}"
        raise RtrError(Code.CORRUPT_DATA, problem, header)
    return Kind(kind)


def prefix_of(pdu: Pdu) -> PrefixPdu:
    """The payload of a prefix PDU. Raises RtrError where lengths or address make no prefix."""
    family = Family.IPV4 if pdu.kind is Kind.IPV4_PREFIX else Family.IPV6
    flags, length, longest = pdu.octets[8], pdu.octets[9], pdu.octets[10]
    if not length <= longest <= family.bits:
        problem = f"a prefix of length {length} with max length {longest}, expected {length} to {family.bits}"
        raise RtrError(Code.CORRUPT_DATA, problem, pdu.octets)
    if int.from_bytes(pdu.octets[12 : 12 + family.octets], "big") & (1 << family.bits - length) - 1:
        raise RtrError(Code.CORRUPT_DATA, f"a prefix of length {length} has bits set behind it", pdu.octets)
    # The octet behind the max length must be zero and is ignored (s5.6); two PDUs that differ in it are one payload.
    return PrefixPdu(family, bool(flags & ANNOUNCE), pdu.octets[9:11] + b"\0" + pdu.octets[12:])


def timers_of(pdu: Pdu) -> tuple[int, int, int] | None:
    """Refresh, retry and expire interval of an End of Data, in seconds; None in version 0 (s5.8)."""
    if pdu.version == 0:
        return None
    refresh, retry, expire = struct.unpack_from("!III", pdu.octets, 12)
    return refresh, retry, expire


def error_text(pdu: Pdu) -> str:
    """What an Error Report says, made safe to print (s5.11)."""
    code = Code(pdu.session).name.lower().replace("_", " ") if pdu.session in _CODES else f"code {pdu.session}"
    (enclosed,) = struct.unpack_from("!I", pdu.octets, 8)
    said = pdu.octets[12 + enclosed + 4 :][:200].decode("utf-8", "replace")
    said = "".join(letter if letter.isprintable() else " " for letter in said).strip()
    return f"{code}: {said}" if said else code


def serial_query(version: int, session: int, serial: int) -> bytes:
    """All that changed since a serial (s5.3)."""
    return HEADER.pack(version, Kind.SERIAL_QUERY, session, 12) + struct.pack("!I", serial)


def reset_query(version: int) -> bytes:
    """All that there is (s5.4)."""
    return HEADER.pack(version, Kind.RESET_QUERY, 0, 8)


def error_report(version: int, code: Code, pdu: bytes, text: str) -> bytes:
    """Our complaint about a PDU, with as much of it as it needs (s5.11)."""
    said = text.encode()[:512]
    enclosed = pdu[:1024]
    body = struct.pack("!I", len(enclosed)) + enclosed + struct.pack("!I", len(said)) + said
    return HEADER.pack(version, Kind.ERROR_REPORT, code, HEADER.size + len(body)) + body

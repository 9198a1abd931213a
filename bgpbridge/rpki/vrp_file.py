"""VRPs from a JSON file, as rpki-client (`json`) and Routinator (`vrps -f json`, `jsonext` without sources) write it.

    {"metadata": {...}, "roas": [{"asn": 65000, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "ripe",
                                  "expires": 1700000000}, ...], "bgpsec_keys": [...], ...}

`asn` is a number or a text such as "AS65000"; `ta` is not looked at; `expires` is Unix time in seconds, and who is
past it does not count. Other keys, there and here, belong to other readers.

A file with one wrong entry is refused whole: half a table makes routes invalid that are not.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgpbridge.documents import read_octets
from bgpbridge.errors import LISTED, DocumentError, DocumentErrors, Place
from bgpbridge.rpki.vrps import LOW64, VrpColumns, VrpTable
from bgpbridge.types import Family

__all__ = ["VrpFile", "parse_vrps", "read_vrps"]

MAX_OCTETS = 256 << 20  # four times what all of the internet's VRPs took in 2025
FORMAT = "the JSON that rpki-client and Routinator write"
MEND = "have the validator write it again; bgpbridge goes on with what it had"
MAX_AS = (1 << 32) - 1
_ASN = re.compile(r"(?:AS)?([0-9]{1,10})", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\r]*")
_LENGTH = re.compile(r"[0-9]{1,3}")

Row = tuple[int, int, int, int]  # address, length, max length, AS


@dataclass(frozen=True, slots=True)
class VrpFile:
    """What a file holds: the payloads that count now, and how many were past their time."""

    table: VrpTable
    expired: int


def read_vrps(path: Path, now_s: float) -> VrpFile:
    """The file's payloads at a time (Unix, seconds). Raises DocumentError or DocumentErrors."""
    absent = "check the path, and that the validator ran"
    octets = read_octets(path, MAX_OCTETS, absent=absent, expected=FORMAT, mend=MEND)
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = Place(str(path), octets.count(b"\n", 0, error.start) + 1)
        raise DocumentError(where, "is not UTF-8 text", expected=FORMAT, mend=MEND) from None
    return parse_vrps(text, str(path), now_s)


def parse_vrps(text: str, file: str, now_s: float) -> VrpFile:
    """The same from text. `file` is the name in errors."""
    roas = _roas(text, file)
    rows: dict[Family, list[Row]] = {family: [] for family in Family}
    wrong: list[tuple[int, str]] = []
    expired = 0
    for number, roa in enumerate(roas):
        try:
            if _expires(roa) <= now_s:
                expired += 1
                continue
            family, row = _row(roa)
        except ValueError as error:
            wrong.append((number, str(error)))
            continue
        rows[family].append(row)
    if wrong:
        raise _refusal(text, file, wrong)
    return VrpFile(VrpTable({family: _columns(family, listed) for family, listed in rows.items()}), expired)


def _roas(text: str, file: str) -> list[Any]:
    if not text.strip():
        raise DocumentError(Place(file), "the file is empty", expected=FORMAT, mend=MEND)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        end = "the file ends too early: " if error.pos >= len(text.rstrip()) else ""
        place = Place(file, error.lineno, error.colno)
        raise DocumentError(place, f"{end}not JSON ({error.msg.lower()})", expected=FORMAT, mend=MEND) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
        raise DocumentError(Place(file), "not the JSON of a validator", expected=FORMAT, mend=MEND) from None
    if not isinstance(data, dict) or not isinstance(data.get("roas"), list):
        problem = "there is no list `roas` at the top level"
        raise DocumentError(Place(file, 1), problem, expected=FORMAT, mend="is it the CSV, or another tool's JSON?")
    roas: list[Any] = data["roas"]
    return roas


def _row(roa: Any) -> tuple[Family, Row]:
    """One entry. Raises ValueError with what is wrong."""
    prefix, longest = roa.get("prefix"), roa.get("maxLength")
    if not isinstance(prefix, str):
        raise ValueError(f"`prefix` is {_shown(prefix)}, expected a text such as 192.0.2.0/24")  # noqa: TRY004
    family, value, length = _prefix(prefix)
    if not isinstance(longest, int) or isinstance(longest, bool) or not length <= longest <= family.bits:
        raise ValueError(f"`maxLength` is {_shown(longest)}, expected {length} to {family.bits} for {prefix}")
    return family, (value, length, longest, _asn(roa.get("asn")))


def _asn(given: Any) -> int:
    found = _ASN.fullmatch(given) if isinstance(given, str) else None
    number = int(found[1]) if found else given
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_AS:
        raise ValueError(f"`asn` is {_shown(given)}, expected an AS number such as 65000 or AS65000")
    return number


def _prefix(text: str) -> tuple[Family, int, int]:
    address, _, bits = text.partition("/")
    family = Family.IPV6 if ":" in address else Family.IPV4
    try:
        value = int.from_bytes(socket.inet_pton(family.af, address), "big")
    except (OSError, ValueError):  # ValueError: a NUL or a surrogate in it
        raise ValueError(f"{_shown(text)} is not a prefix") from None
    length = int(bits) if _LENGTH.fullmatch(bits) else -1
    if not 0 <= length <= family.bits:
        raise ValueError(f"{_shown(text)} is not a prefix: its length must be 0 to {family.bits}")
    if value & (1 << family.bits - length) - 1:
        raise ValueError(f"{_shown(text)} has bits set behind its length")
    return family, value, length


def _expires(roa: Any) -> float:
    if not isinstance(roa, dict):
        raise ValueError(f"the entry is {_shown(roa)}, expected {{asn, prefix, maxLength}}")  # noqa: TRY004
    expires = roa.get("expires")
    if expires is None:
        return float("inf")
    if not isinstance(expires, int) or isinstance(expires, bool):
        raise ValueError(f"`expires` is {_shown(expires)}, expected Unix time in seconds")  # noqa: TRY004
    return float(max(0, min(expires, 1 << 62)))


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _columns(family: Family, rows: list[Row]) -> VrpColumns:
    values = [row[0] for row in rows]
    return VrpColumns.make(
        family,
        np.array([value >> 64 for value in values], np.uint64),
        np.array([value & LOW64 for value in values], np.uint64),
        np.array([row[1] for row in rows], np.uint8),
        np.array([row[2] for row in rows], np.uint8),
        np.array([row[3] for row in rows], np.uint32),
    )


def _refusal(text: str, file: str, wrong: list[tuple[int, str]]) -> DocumentError:
    """All wrong entries, the first of them with their lines: those are looked for only now."""
    wanted = {number for number, _ in wrong[: LISTED + 1]}
    offsets = {}
    for number, offset in enumerate(_entry_offsets(text)):
        if number in wanted:
            offsets[number] = offset
        if len(offsets) == len(wanted):
            break
    errors = []
    for number, problem in wrong:
        place = _place(text, file, offsets[number]) if number in offsets else Place(file)
        errors.append(DocumentError(place, f"roas[{number}]: {problem}", mend=MEND))
    return errors[0] if len(errors) == 1 else DocumentErrors(errors)


def _place(text: str, file: str, offset: int) -> Place:
    return Place(file, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _entry_offsets(text: str) -> Iterator[int]:
    """Where each entry of `roas` begins, in a text that is known to be JSON and to have that list. Of several lists
    of that name the last one is meant, as json.loads means it."""
    scan = json.JSONDecoder().raw_decode
    at, begin = _skip(text, 0) + 1, 0
    while text[at := _skip(text, at)] != "}":
        key, at = scan(text, at)
        at = _skip(text, _skip(text, at) + 1)  # behind the colon
        begin = at if key == "roas" else begin
        at = _skip(text, scan(text, at)[1])
        at += text[at] == ","
    at = begin + 1
    while text[at := _skip(text, at)] != "]":
        yield at
        at = _skip(text, scan(text, at)[1])
        at += text[at] == ","


def _skip(text: str, at: int) -> int:
    """Behind white space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()

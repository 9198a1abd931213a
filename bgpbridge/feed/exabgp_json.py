"""Lines of JSON that a stock ExaBGP (4.2, 5.0) pipes to a process, as what a lane would hold: sessions and UPDATEs.

With `receive { packets; update; }` a line holds the octets as they came, which are taken as they are: RFC 7606 is ours
then. With `parsed` the message is built anew from what ExaBGP made of it (`exabgp_update`). A neighbour that shows its
packets is heard by those alone, so that subscribing to both says nothing twice. Subscribe to `negotiated`: without it a
session counts as one with four-octet AS numbers, both families, and path ids where NLRI have shown them.

Pure: a line in, events out. The process end, which talks to a bridge, is not this room's.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bgpbridge.errors import WireError
from bgpbridge.feed.exabgp_update import FAMILIES, end_of_rib, families_with_path_ids, updates, written
from bgpbridge.feed.frames import DownReason, Record, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.types import Family, IPAddress, Session
from bgpbridge.wire.message import MARKER, MessageType
from bgpbridge.wire.opening import RefreshKind, build_route_refresh

__all__ = ["ENCODER", "ExabgpLines", "Heard", "LineError", "Neighbour", "start_of"]

VERSIONS = ("4.", "5.")
TWICE_QUOTED = re.compile(r'""(\w+)""')
Json = Mapping[str, Any]
LONGEST_TEXT = 500  # characters of a reason that are passed on
LONGEST_QUOTE = 120
ENCODER = "`encoder json` in the process section of ExaBGP's configuration, and no program between ExaBGP and this one"
OTHER_EXABGP = "run ExaBGP 4.2 or 5.0; or give the sessions to bgpbridge (without `source: pipe`), which needs none"
WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, struct.error)


class LineError(WireError):
    """A line that is not taken. `cause` is the same for all lines of one kind of fault."""

    def __init__(self, line: str, cause: str, what: str, expected: str, mend: str) -> None:
        super().__init__(f"{what} (line: {start_of(line)}); expected: {expected}", mend=mend)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The ends of a session, as every line names them."""

    peer_address: IPAddress
    peer_as: int
    local_address: IPAddress
    local_as: int


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing that a line says."""

    neighbour: Neighbour
    record: Record


@dataclass(slots=True)
class _Known:
    """What has been said of a neighbour. `packets`: its octets come, what is parsed is the same again."""

    session: Session
    up: bool = False
    packets: bool = False

    def agreed(self, session: Session) -> Iterator[SessionUp]:
        """How UPDATEs are to be read from now on; told where the session is up already."""
        if session != self.session:
            self.session = session
            if self.up:
                yield SessionUp(session, resync=True)


@dataclass(slots=True)
class ExabgpLines:
    """Reads the lines of one ExaBGP, in their order."""

    _known: dict[Neighbour, _Known] = field(default_factory=dict)

    def read(self, line: str) -> Iterator[Heard]:
        """What a line says; nothing for lines that are of no use to us. Raises LineError for one that is not as
        ExaBGP 4.2 and 5.0 write it; the lines after it can be read."""
        try:
            said = _parsed(line)
            version = str(said["exabgp"])
        except (ValueError, KeyError, TypeError, RecursionError):
            what = "a line of ExaBGP's text encoder" if line.startswith("neighbor ") else "no line of ExaBGP's JSON"
            raise LineError(line, "not JSON", what, "an object with the key `exabgp`", ENCODER) from None
        if not version.startswith(VERSIONS):
            what = f"ExaBGP's JSON of version {_short(version)}"
            raise LineError(line, "version", what, "4.2 or 5.0", OTHER_EXABGP)
        if "neighbor" not in said:
            return
        try:
            yield from self._of_neighbour(said)
        except (WireError, *WRONG) as error:
            kind, why = _short(str(said.get("type"))), _words(error)[:LONGEST_TEXT]
            what = f"a line of type {kind} that cannot be read: {why}"
            expected = f"one as ExaBGP {_short(version)} writes it"
            raise LineError(line, f"type {kind}", what, expected, OTHER_EXABGP) from None

    def sessions(self) -> dict[Neighbour, Session]:
        """The neighbours whose sessions are up, and how their UPDATEs are read."""
        return {neighbour: known.session for neighbour, known in self._known.items() if known.up}

    def _of_neighbour(self, said: Json) -> Iterator[Heard]:
        content = said["neighbor"]
        neighbour = _neighbour(content)
        known = self._known.setdefault(neighbour, _Known(_session(neighbour)))
        if content.get("direction", "receive") not in {"receive", "in"}:
            return
        if "negotiated" in content:
            for changed in known.agreed(_negotiated(known.session, content["negotiated"])):
                yield Heard(neighbour, changed)
        records: Iterator[Record] = iter(())
        match said.get("type"):
            case "state":
                records = self._state(known, neighbour, content)
            case "open":
                _opened(known, content)
            case "update":
                records = self._update(known, content["message"])
            case "refresh" if not known.packets and "route-refresh" in content:
                records = _refresh(content["route-refresh"])
        for record in records:
            yield Heard(neighbour, record)

    def _state(self, known: _Known, neighbour: Neighbour, content: Json) -> Iterator[Record]:
        state = content["state"]
        if state == "up":
            known.up = True
            yield SessionUp(known.session)
        elif state == "down":
            was_up = known.up
            self._known[neighbour] = _Known(_session(neighbour))
            if was_up:
                yield _down(str(content.get("reason", "")))

    def _update(self, known: _Known, message: Json) -> Iterator[Record]:
        if not known.up:  # we were started again by an ExaBGP whose sessions were up already
            known.up = True
            yield SessionUp(known.session, resync=True)
        if "body" in message:
            known.packets = True
            octets = bytes.fromhex((message["header"] + message["body"]).replace("0x", ""))
            if (
                octets[:16] != MARKER
                or octets[18] != MessageType.UPDATE
                or int.from_bytes(octets[16:18]) != len(octets)
            ):
                raise ValueError("header and body are no UPDATE")
            yield Updates(octets)
        elif not known.packets and "eor" in message:
            family = FAMILIES.get(f"{message['eor']['afi']} {message['eor']['safi']}")
            if family is not None:
                yield Updates(end_of_rib(family))
        elif not known.packets:
            add_path = known.session.add_path | families_with_path_ids(message["update"])
            yield from known.agreed(dataclasses.replace(known.session, asn4=True, add_path=add_path))
            internal = known.session.peer_as == known.session.local_as
            octets = b"".join(updates(message["update"], add_path, internal=internal))
            if octets:
                yield Updates(octets)


def _parsed(line: str) -> Any:
    """4.2.21 quotes the values of a refresh twice, which is no JSON: `"afi": ""ipv4""`."""
    return json.loads(TWICE_QUOTED.sub(r'"\1"', line) if '""' in line and '"route-refresh"' in line else line)


def start_of(line: str | bytes | bytearray) -> str:
    """The first characters of a line, as a message quotes them."""
    first = line[:LONGEST_QUOTE]
    return repr(first if isinstance(first, str) else first.decode("utf-8", "replace"))


def _words(error: Exception) -> str:
    """Why a line cannot be read, without the words of Python."""
    if isinstance(error, KeyError):
        return f"it has no key `{error.args[0]}`"
    if isinstance(error, ValueError | WireError):
        return str(error)
    return "a value of it has another type"


def _short(word: str) -> str:
    """A word of the line's in a message: printable, and not long."""
    return word[:40].encode("ascii", "backslashreplace").decode()


def _neighbour(content: Json) -> Neighbour:
    address, asn = content["address"], content["asn"]
    return Neighbour(
        ipaddress.ip_address(written(address["peer"])),
        _number(asn["peer"], 32),
        ipaddress.ip_address(written(address["local"])),
        _number(asn["local"], 32),
    )


def _number(said: Any, bits: int) -> int:
    """A number that fits its field."""
    number = int(said)
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{said!r:.40} is no number of {bits} bits")
    return number


def _session(neighbour: Neighbour) -> Session:
    return Session(
        peer=0,
        local_as=neighbour.local_as,
        peer_as=neighbour.peer_as,
        local_address=neighbour.local_address,
        peer_address=neighbour.peer_address,
        router_id=ipaddress.IPv4Address(0),
        families=frozenset(Family),
        extended_message=True,
        extended_next_hop=True,
    )


def _down(reason: str) -> SessionDown:
    """An ExaBGP that is stopped has its routes kept for a while, as those of our own speaker are; what else ended a
    session is not said well enough to tell a graceful restart from an error."""
    if "shutting down" in reason:
        return SessionDown(DownReason.SHUTDOWN, text="ExaBGP was stopped", graceful=True)
    text = reason[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    return SessionDown(DownReason.TCP_CLOSED, text=text)


def _opened(known: _Known, content: Json) -> None:
    """The peer's OPEN: of all that it says, `negotiated` lacks its BGP Identifier."""
    said = content.get("open", {})
    if "router_id" in said:
        router_id = ipaddress.IPv4Address(written(said["router_id"]))
        known.session = dataclasses.replace(known.session, router_id=router_id)


def _negotiated(session: Session, said: Json) -> Session:
    return dataclasses.replace(
        session,
        asn4=bool(said["asn4"]),
        hold_time_s=_number(said["hold_time"], 16),
        families=_families(said["families"]),
        add_path=_families(said["add_path"]["receive"]),
        extended_message=int(said["message_size"]) > 4096,
        route_refresh=said.get("refresh") != "absent",
        enhanced_refresh=said.get("refresh") == "enhanced",
    )


def _families(names: list[str]) -> frozenset[Family]:
    return frozenset(FAMILIES[name] for name in names if name in FAMILIES)


def _refresh(said: Json) -> Iterator[Record]:
    family = FAMILIES.get(f"{said['afi']} {said['safi']}")
    kind = {"begin": RefreshKind.BEGIN, "end": RefreshKind.END}.get(str(said["subtype"]))
    if family is not None and kind is not None:
        yield Refresh(build_route_refresh(family, kind))

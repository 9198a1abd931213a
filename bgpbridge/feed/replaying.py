"""MRT records as what a feeder says to a running bridge: whose sessions came and went, and what they brought.

A peer of the file is an address and an AS number. Its session is told when something of it comes, and again when its
records change their encoding (four-octet AS numbers, path ids). Routes of a table dump become UPDATEs. Pure: a record
in, frames' contents out; what the bridge lacks (its own AS number, the families that are configured) it adds itself.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from bgpbridge.errors import UsageError, WireError
from bgpbridge.feed.frames import DownReason, Record, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.types import Family, IPAddress, Prefix, Session
from bgpbridge.wire.attributes import Code, encode_attribute, frame_attributes
from bgpbridge.wire.message import MAXIMUM_EXTENDED, MessageType, build_update, header_problem
from bgpbridge.wire.mrt import MessageRecord, PeerTable, RibEntry, RibRecord, StateChange
from bgpbridge.wire.mrt import Record as MrtRecord
from bgpbridge.wire.opening import parse_open

__all__ = ["Replaying", "Source", "update_of"]

ESTABLISHED = 6
UNSPECIFIED = ipaddress.IPv4Address(0)


@dataclass(slots=True)
class Source:
    """A peer of the file, and how what it sent is to be read. `left_out` counts messages that do not frame."""

    number: int
    session: Session
    up: bool = False
    updates: int = 0
    left_out: int = 0


@dataclass
class Replaying:
    """`take` every record in its order. `standing_for` is the address and AS number of the one peer of the file, as
    the configuration has it."""

    standing_for: tuple[IPAddress, int] | None = None
    sources: dict[tuple[IPAddress, int], Source] = field(default_factory=dict)
    _table: list[Source] = field(default_factory=list)

    def take(self, record: MrtRecord) -> Iterator[tuple[Source, Record]]:
        """What a record says. Raises UsageError where there are more peers than `standing_for` can stand for, and
        WireError for a dump that contradicts itself."""
        match record:
            case MessageRecord():
                yield from self._message(record)
            case StateChange() if ESTABLISHED in {record.old, record.new}:
                source = self._source(record.peer.address, record.peer.asn)
                yield from _down(source, SessionDown(DownReason.TCP_CLOSED, text="the recorded session ended"))
            case PeerTable():
                self._table = [Source(0, _session(one.address, one.asn, one.router_id)) for one in record.peers]
            case RibRecord():
                for entry in record.entries:
                    yield from self._route(record.prefix, entry)

    def _message(self, record: MessageRecord) -> Iterator[tuple[Source, Record]]:
        message = record.message
        source = self._source(record.peer.address, record.peer.asn)
        if header_problem(message, 0, MAXIMUM_EXTENDED) or int.from_bytes(message[16:18], "big") != len(message):
            source.left_out += 1
        elif message[18] == MessageType.NOTIFICATION:
            yield from _down(source, SessionDown(DownReason.NOTIFICATION_RECEIVED, message[19], message[20]))
        elif record.local:
            return
        elif message[18] == MessageType.OPEN:
            yield from _opened(source, message)
        elif message[18] == MessageType.UPDATE:
            yield from _up(source, asn4=record.asn4, add_path=frozenset(Family) if record.add_path else frozenset())
            source.updates += 1
            yield source, Updates(message)
        elif message[18] == MessageType.ROUTE_REFRESH and len(message) == 23 and source.up:
            yield source, Refresh(message)

    def _route(self, prefix: Prefix, entry: RibEntry) -> Iterator[tuple[Source, Record]]:
        if entry.peer >= len(self._table):
            raise WireError(
                f"the record of {prefix} speaks of peer {entry.peer}; its table has {len(self._table)}",
                mend="the PEER_INDEX_TABLE of this dump is missing or of another dump",
            )
        met = self._table[entry.peer]
        if not met.number:  # the table names many that have no routes
            router_id = met.session.router_id
            met = self._source(met.session.peer_address, met.session.peer_as, router_id)
            self._table[entry.peer] = met
        add_path = met.session.add_path | ({prefix.family} if entry.path_id else set())
        yield from _up(met, asn4=True, add_path=add_path)
        message = update_of(prefix, entry, path_ids=prefix.family in add_path)
        if len(message) > MAXIMUM_EXTENDED:
            met.left_out += 1
            return
        met.updates += 1
        yield met, Updates(message)

    def _source(self, address: IPAddress, asn: int, router_id: ipaddress.IPv4Address = UNSPECIFIED) -> Source:
        key = address, asn
        if key not in self.sources:
            if self.standing_for is not None and self.sources:
                known = ", ".join(f"AS{number} {one}" for one, number in (*self.sources, key))
                raise UsageError(
                    f"the file has more than one peer ({known}); one name can stand for one",
                    mend="leave --as away, and configure each with `source: replay`",
                )
            shown = self.standing_for or key
            self.sources[key] = Source(len(self.sources) + 1, _session(*shown, router_id))
        return self.sources[key]


def update_of(prefix: Prefix, entry: RibEntry, *, path_ids: bool) -> bytes:
    """A route of a dump as an UPDATE. One without a next hop comes out as that: the decoder has a word for it."""
    octets = prefix.octets[: prefix.length + 7 >> 3]
    nlri = (entry.path_id.to_bytes(4, "big") if path_ids else b"") + bytes([prefix.length]) + octets
    block = entry.block(prefix.family)
    frames, _ = frame_attributes(block, 0, len(block))
    reach = next((frame for frame in frames if frame[2] == Code.MP_REACH), None)
    if reach is None and prefix.family is Family.IPV4:
        return build_update(block, nlri)
    if reach is None:
        nowhere = int(prefix.family).to_bytes(2, "big") + b"\1\0\0"
        return build_update(encode_attribute(Code.MP_REACH, nowhere + nlri) + block)
    header, _, _, start, end = reach
    whole = encode_attribute(Code.MP_REACH, block[start:end] + b"\0" + nlri)
    return build_update(whole + block[:header] + block[end:])


def _session(address: IPAddress, asn: int, router_id: ipaddress.IPv4Address) -> Session:
    return Session(
        peer=0,
        local_as=0,
        peer_as=asn,
        local_address=UNSPECIFIED,
        peer_address=address,
        router_id=router_id,
        families=frozenset(Family),
        extended_message=True,
        extended_next_hop=True,
    )


def _up(source: Source, *, asn4: bool, add_path: frozenset[Family]) -> Iterator[tuple[Source, Record]]:
    """The session, where it is not up or its UPDATEs are to be read otherwise from here on."""
    other = (asn4, add_path) != (source.session.asn4, source.session.add_path)
    if source.up and not other:
        return
    source.session = dataclasses.replace(source.session, asn4=asn4, add_path=add_path)
    source.up = True
    yield source, SessionUp(source.session)


def _down(source: Source, down: SessionDown) -> Iterator[tuple[Source, Record]]:
    if source.up:
        source.up = False
        yield source, down


def _opened(source: Source, message: bytes) -> Iterator[tuple[Source, Record]]:
    """A new session: what the one before had goes, as it went then."""
    yield from _down(source, SessionDown(DownReason.REPLACED))
    try:
        router_id = parse_open(message).router_id
    except WireError:
        return  # who replays wants the routes; the session came up all the same
    source.session = dataclasses.replace(source.session, router_id=router_id)

"""MRT records to write: BGP messages and state changes with microseconds (RFC 6396 s3, s4.4; RFC 8050 s3).

`mrt.read_mrt` reads back what is written here, and so does bgpdump.
"""

from __future__ import annotations

from bgpbridge.wire.mrt import MessageRecord, MrtPeer, StateChange
from bgpbridge.wire.segments import AS_TRANS

__all__ = ["mrt_message", "mrt_state"]

_BGP4MP_ET = 17
_STATE_CHANGE_AS4 = 5
_MESSAGE = {(False, False): 1, (True, False): 4, (False, True): 8, (True, True): 9}  # by asn4, add_path
_LOCAL = {1: 6, 4: 7, 8: 10, 9: 11}


def mrt_message(record: MessageRecord) -> bytes:
    """One message. Where the session has AS numbers of two octets only, wider ones stand as AS_TRANS (RFC 6793)."""
    subtype = _MESSAGE[record.asn4, record.add_path]
    if record.local:
        subtype = _LOCAL[subtype]
    return _record(record.time_s, subtype, _ends(record.peer, 4 if record.asn4 else 2) + record.message)


def mrt_state(change: StateChange) -> bytes:
    """One change of the FSM's state."""
    states = change.old.to_bytes(2, "big") + change.new.to_bytes(2, "big")
    return _record(change.time_s, _STATE_CHANGE_AS4, _ends(change.peer, 4) + states)


def _ends(peer: MrtPeer, width: int) -> bytes:
    """AS numbers, interface index (0: not known), AFI and addresses."""
    most = (1 << 8 * width) - 1
    asns = b"".join((asn if asn <= most else AS_TRANS).to_bytes(width, "big") for asn in (peer.asn, peer.local_as))
    afi = b"\0\1" if peer.address.version == 4 else b"\0\2"
    return asns + b"\0\0" + afi + peer.address.packed + peer.local_address.packed


def _record(time_s: float, subtype: int, body: bytes) -> bytes:
    micros = round(time_s * 1e6)
    seconds, rest = divmod(micros, 1_000_000)
    header = ((seconds, 4), (_BGP4MP_ET, 2), (subtype, 2), (len(body) + 4, 4), (rest, 4))
    return b"".join(number.to_bytes(width, "big") for number, width in header) + body

"""Probes that are on their way, and which of them a packet answers. Pure: no socket, no clock.

Nothing that a stranger sends is an answer. An answer must come from the address that was asked and hold the probe's
token (ICMP and UDP 16 random octets, TCP the 32 bits of the SYN). An ICMP error may come from any router, so it must
quote what only somebody on the path can have seen: in IPv6 the whole transport part (RFC 4443 s2.4), in IPv4 at least
its first 8 octets (RFC 792) and the random identification: beside ports that could be guessed those are the SYN's
sequence number, or a checksum over the token, 32 bits or more in all.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.packets import Quote
from bgpbridge.enrich.targets import Target
from bgpbridge.types import IPAddress

__all__ = ["Flight", "Flights", "Key"]

QUOTED = 8
Key = tuple[IPAddress, int, bytes]  # address and port asked, token


@dataclass(slots=True, eq=False)
class Flight:
    """One probe on its way. `packet` begins with its IP header; `transport` is what follows that."""

    way: Way
    target: Target
    token: bytes
    ident: int
    packet: bytes
    transport: bytes

    @property
    def key(self) -> Key:
        """What an answer is known by."""
        return self.target.address, self.target.port, self.token


class Flights:
    """All probes on their way, found by answer, by quotation, or by the packet itself."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Flight] = {}
        self._by_quote: dict[tuple[IPAddress, bytes], Flight] = {}
        self._by_packet: dict[bytes, Flight] = {}
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, flight: Flight) -> None:
        """A probe that is about to be sent."""
        self._by_key[flight.key] = flight
        self._by_quote[flight.target.address, flight.transport[:QUOTED]] = flight
        self._by_packet[flight.packet] = flight
        self._lengths[len(flight.packet)] = self._lengths.get(len(flight.packet), 0) + 1

    def remove(self, flight: Flight) -> bool:
        """Not on its way any more. False when it was not."""
        if self._by_key.get(flight.key) is not flight:
            return False
        del self._by_key[flight.key], self._by_packet[flight.packet]
        quoted = (flight.target.address, flight.transport[:QUOTED])
        if self._by_quote.get(quoted) is flight:
            del self._by_quote[quoted]
        self._lengths[len(flight.packet)] -= 1
        if not self._lengths[len(flight.packet)]:
            del self._lengths[len(flight.packet)]
        return True

    def answered_by(self, address: IPAddress, port: int, token: bytes) -> Flight | None:
        """The probe that this answers: from the one asked, with its token."""
        return self._by_key.get((address, port, token))

    def quoted_by(self, quote: Quote) -> Flight | None:
        """The probe that an ICMP error is about, if it quotes enough of it."""
        flight = self._by_quote.get((quote.target, quote.transport[:QUOTED]))
        if flight is None or quote.ident != flight.ident:
            return None
        whole = flight.transport if quote.target.version == 6 else flight.transport[:QUOTED]
        return flight if quote.transport.startswith(whole) else None

    def sent_as(self, octets: bytes) -> Flight | None:
        """The probe whose packet these octets end with: what the error queue gives has a link header before it."""
        for length in self._lengths:
            flight = self._by_packet.get(octets[-length:])
            if flight is not None:
                return flight
        return None

    def all(self) -> list[Flight]:
        """Every probe on its way."""
        return list(self._by_key.values())

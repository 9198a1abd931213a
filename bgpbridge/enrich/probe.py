"""Active probes: asks targets through exits at an even pace, and reports what became of each probe.

    prober = Prober(report, Budget(rate_pps=50, interval_s=1))
    prober.set_probes({Way("eth1", "quad9"): (exit_, target)})      # any time, again and again
    prober.close()

Made inside the event loop, in the network namespace that it is to work in; needs CAP_NET_RAW. `sending` says how a
probe is held to its exit, `answers` what is taken for an answer, `sockets` how far timestamps are to be trusted,
`schedule` how the budget is spread. Every probe ends in exactly one `Outcome`, after `timeout_s` at the latest; so no
more than rate times timeout are ever on their way. `note` puts outcomes into facts.

Timestamps of receiving cost every packet that this machine's kernel receives some 30 ns; XDP's are not concerned.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from bgpbridge.enrich import icmp, packets, tcp, udp
from bgpbridge.enrich.answers import Flight, Flights
from bgpbridge.enrich.facts import FactTable, Way
from bgpbridge.enrich.schedule import Budget, Schedule
from bgpbridge.enrich.sending import Senders
from bgpbridge.enrich.sockets import (
    Moment,
    Received,
    drain,
    icmp_receiver,
    now,
    port_pair,
    round_trip_s,
    stamp_received,
    tcp_receiver,
)
from bgpbridge.enrich.targets import Exit, How, Method, Outcome, Target
from bgpbridge.types import IPAddress

__all__ = ["Prober", "note"]

Probe = tuple[Exit, Target]


def note(table: FactTable, outcome: Outcome) -> None:
    """An outcome as a fact. A probe that could not be sent is none: facts then grow stale, and plain BGP decides."""
    if outcome.rtt_s is not None:
        table.answered(outcome.way, outcome.at_s, outcome.rtt_s)
    elif outcome.how is not How.UNSENT:
        table.lost(outcome.way, outcome.at_s)


@dataclass(slots=True)
class _Under:
    """What is known of one flight beside what was sent."""

    sent: Moment
    timer: asyncio.TimerHandle
    tx_ns: int | None = None


class Prober:
    """Probes all ways in turn. `strangers` counts packets that looked like answers and were none, by kind."""

    def __init__(self, report: Callable[[Outcome], None], budget: Budget, *, timeout_s: float = 1.0) -> None:
        self.strangers: Counter[str] = Counter()
        self.sent = 0
        self._report, self._timeout_s = report, timeout_s
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule(budget)
        self._probes: dict[Way, Probe] = {}
        self._flights = Flights()
        self._under: dict[Flight, _Under] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._ident = secrets.randbits(16)
        self._held: list[socket.socket] = []
        self._heard: list[tuple[socket.socket, Callable[[Received, int], None], int]] = []
        self._senders = Senders(self._watch_sender, self._loop.remove_reader)
        self._tcp_port = self._open_tcp()
        self._udp_port = self._open_udp()
        for version in (4, 6):
            self._watch(icmp_receiver(version), self._icmp, version)

    def set_probes(self, probes: Mapping[Way, Probe]) -> None:
        """What is probed from now on. Those on their way are still waited for."""
        self._probes = dict(probes)
        self._schedule.set_ways(probes)
        self._senders.keep_only(frozenset(exit_.ifindex for exit_, _ in probes.values()))
        self._plan()

    def close(self) -> None:
        """Stop. Probes on their way end without an outcome."""
        if self._timer is not None:
            self._timer.cancel()
        for under in self._under.values():
            under.timer.cancel()
        self._senders.close()
        for opened, _, _ in self._heard:
            self._loop.remove_reader(opened)
        for opened in self._held:
            opened.close()
        self._heard.clear()
        self._under.clear()
        self._flights = Flights()

    # -- opening

    def _open_tcp(self) -> int:
        port, four, six = port_pair(socket.SOCK_STREAM)
        self._held += [four, six]  # hold the port, never heard: they do not listen
        for version in (4, 6):
            self._watch(tcp_receiver(version, port), self._tcp, version)
        return port

    def _open_udp(self) -> int:
        port, four, six = port_pair(socket.SOCK_DGRAM)
        for opened, version in ((four, 4), (six, 6)):
            self._watch(stamp_received(opened), self._udp, version)
        return port

    def _watch(self, opened: socket.socket, read: Callable[[Received, int], None], version: int) -> None:
        self._held.append(opened)
        self._heard.append((opened, read, version))
        self._loop.add_reader(opened, self._readable, opened, read, version)

    def _watch_sender(self, opened: socket.socket) -> None:
        self._loop.add_reader(opened, self._stamps_of, opened)

    # -- sending

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at_s = self._schedule.next_s
        self._timer = None if at_s is None else self._loop.call_at(max(at_s, self._loop.time()), self._turn)

    def _turn(self) -> None:
        way = self._schedule.due(self._loop.time())
        self._plan()
        if way is not None:
            self._probe(way, *self._probes[way])

    def _probe(self, way: Way, exit_: Exit, target: Target) -> None:
        source = exit_.source_for(target.address)
        if source is None:
            family = f"IPv{target.address.version}"
            self._tell(way, How.UNSENT, words=f"exit {exit_.name} has no {family} address to probe from")
            return
        flight = self._compose(way, source, target)
        timer = self._loop.call_later(self._timeout_s, self._give_up, flight)
        self._under[flight] = _Under(now(), timer)
        self._flights.add(flight)
        refused = self._senders.send(exit_, target.address, flight.packet)
        if refused:
            self._land(flight)
            self._tell(way, How.UNSENT, words=refused)
        else:
            self.sent += 1

    def _compose(self, way: Way, source: IPAddress, target: Target) -> Flight:
        address, ident = target.address, 1 + secrets.randbelow(0xFFFF) if source.version == 4 else 0
        if target.method is Method.ICMP:
            self._sequence += 1
            token, protocol = secrets.token_bytes(icmp.TOKEN_OCTETS), icmp.protocol(source.version)
            transport = icmp.compose(source, address, self._ident, self._sequence, token)
        elif target.method is Method.TCP:
            token, protocol = secrets.token_bytes(tcp.TOKEN_OCTETS), packets.TCP
            transport = tcp.compose(source, address, (self._tcp_port, target.port), token)
        else:
            token, protocol = secrets.token_bytes(udp.TOKEN_OCTETS), packets.UDP
            transport = udp.compose(source, address, (self._udp_port, target.port), token)
        head = packets.header(source, address, protocol, len(transport), ident)
        return Flight(way, target, token, ident, head + transport, transport)

    # -- hearing

    def _readable(self, opened: socket.socket, read: Callable[[Received, int], None], version: int) -> None:
        for received in drain(opened):
            read(received, version)

    def _stamps_of(self, opened: socket.socket) -> None:
        for received in drain(opened, socket.MSG_ERRQUEUE):
            flight = self._flights.sent_as(received.octets)
            if flight is not None:
                self._under[flight].tx_ns = received.stamp_ns

    def _icmp(self, received: Received, version: int) -> None:
        message = packets.transport_of(received.octets) if version == 4 else received.octets
        quote = packets.quote(message, version)
        if quote is not None:
            self._unreachable(received, quote)
            return
        token = icmp.token_of(message, version)
        flight = self._flights.answered_by(_address(received), 0, token) if token else None
        self._answered(flight, received, "echo reply")

    def _unreachable(self, received: Received, quote: packets.Quote) -> None:
        flight = self._flights.quoted_by(quote)
        if flight is None:
            self.strangers["icmp error"] += 1
        elif quote.port and flight.target.method is Method.UDP and _address(received) == quote.target:
            self._answered(flight, received, quote.words)
        else:
            self._land(flight)
            self._tell(flight.way, How.UNREACHABLE, words=f"{_address(received)} says: {quote.words}")

    def _tcp(self, received: Received, version: int) -> None:
        segment = packets.transport_of(received.octets) if version == 4 else received.octets
        found = tcp.read(segment, self._tcp_port)
        if found is None:
            self.strangers["tcp"] += 1
            return
        port, token, kind = found
        self._answered(self._flights.answered_by(_address(received), port, token), received, kind)

    def _udp(self, received: Received, version: int) -> None:
        del version
        token, port = udp.token_of(received.octets), int(received.address[1])
        flight = self._flights.answered_by(_address(received), port, token) if token else None
        self._answered(flight, received, "echo")

    # -- ending

    def _answered(self, flight: Flight | None, received: Received, words: str) -> None:
        if flight is None:
            self.strangers[words] += 1
            return
        if self._under[flight].tx_ns is None:
            for opened in self._senders.all():
                self._stamps_of(opened)
        under = self._land(flight)
        rtt_s, by_kernel = round_trip_s(under.sent, now(), under.tx_ns, received.stamp_ns)
        self._tell(flight.way, How.ANSWERED, rtt_s, by_kernel=by_kernel, words=words)

    def _give_up(self, flight: Flight) -> None:
        for opened, read, version in self._heard:
            self._readable(opened, read, version)  # where we were held up, the answer may be there unread
        if flight in self._under:
            self._land(flight)
            self._tell(flight.way, How.LOST, words=f"no answer in {self._timeout_s:g} s")

    def _land(self, flight: Flight) -> _Under:
        self._flights.remove(flight)
        under = self._under.pop(flight)
        under.timer.cancel()
        return under

    def _tell(
        self, way: Way, how: How, rtt_s: float | None = None, *, by_kernel: bool = False, words: str = ""
    ) -> None:
        self._report(Outcome(way, self._loop.time(), how, rtt_s, by_kernel, words))


def _address(received: Received) -> IPAddress:
    """Who sent it, without the zone of a link-local address."""
    return ip_address(str(received.address[0]).partition("%")[0])

"""One BFD session: the state machine and its timers (RFC 5880 s6.2, s6.8), asynchronous mode, no echo, no
authentication. Pure: time is handed in as microseconds of a monotonic clock, packets are values.

Whoever runs it calls `receive` for each packet that is this session's, `tick` when `due_us` has come, sends what both
return, and takes `take_changes`. Being called late is harmless but for the lateness: received packets first, then
`tick`, so that a packet that waited for us is not taken for one that did not come.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from bgpbridge.health.bfd_packet import BfdState, ControlPacket, Diagnostic
from bgpbridge.health.bfd_timers import SLOW_US, BfdTimers, Poll, jitter

__all__ = ["BfdChange", "BfdSession"]


@dataclass(frozen=True, slots=True)
class BfdChange:
    """The session went from one state to another. `detection_us`: how long nothing had been heard, for a change that
    the detection time made; else 0."""

    at_us: int
    old: BfdState
    new: BfdState
    diagnostic: Diagnostic
    remote_diagnostic: int
    detection_us: int = 0


class BfdSession:
    """The state variables of RFC 5880 s6.8.1 under readable names. `passive` (s6.1) waits to be spoken to."""

    def __init__(
        self,
        discriminator: int,
        timers: BfdTimers,
        now_us: int,
        *,
        passive: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.state = BfdState.DOWN
        self.diagnostic = Diagnostic.NONE
        self.discriminator = discriminator
        self.timers = timers
        self.passive = passive
        self.desired_tx_us = max(SLOW_US, timers.tx_us)  # as advertised
        self.required_rx_us = timers.rx_us
        self.poll = Poll()
        self._draw = draw
        self._tx_in_use_us, self._rx_in_use_us = self.desired_tx_us, self.required_rx_us
        self._changes: list[BfdChange] = []
        self._forget_remote()
        self._sent_us = self._next_us = now_us
        self._fraction = 1.0
        self.sent = self.received = 0

    def _forget_remote(self) -> None:
        """As at the start (s6.8.1); so too after a detection time without a packet."""
        self.remote_state = BfdState.DOWN
        self.remote_discriminator = 0
        self.remote_diagnostic = 0
        self.remote_min_rx_us = 1
        self.remote_desired_tx_us = 0
        self.remote_multiplier = 0
        self.remote_demand = False
        self._heard_us: int | None = None
        self.poll.forget()

    @property
    def transmit_interval_us(self) -> int:
        """Between two periodic packets, before jitter (s6.8.2)."""
        return max(self._tx_in_use_us, self.remote_min_rx_us)

    @property
    def detection_us(self) -> int:
        """Without a packet for so long, the path is down (s6.8.4). 0 while nothing was heard."""
        return self.remote_multiplier * max(self._rx_in_use_us, self.remote_desired_tx_us)

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do next; None: not before a packet comes."""
        times = [self._next_us] if self._may_send else []
        if self._heard_us is not None:
            times.append(self._heard_us + self.detection_us)
        return min(times, default=None)

    @property
    def _may_send(self) -> bool:
        """Periodic packets at all (s6.8.7)."""
        if self.passive and not self.remote_discriminator:
            return False
        quiet = self.remote_demand and self.state is BfdState.UP and self.remote_state is BfdState.UP
        return self.remote_min_rx_us != 0 and not (quiet and not self.poll.active)

    def take_changes(self) -> list[BfdChange]:
        """What has changed since the last call, in order."""
        taken, self._changes = self._changes, []
        return taken

    # What comes in, and the clock

    def receive(self, packet: ControlPacket, now_us: int) -> ControlPacket | None:
        """A packet of this session that `decode` let pass; the answer that is to be sent at once, if any (s6.8.6)."""
        self.received += 1
        self.remote_discriminator = packet.my_discriminator
        self.remote_state = packet.state
        self.remote_diagnostic = packet.diagnostic
        self.remote_demand = packet.demand
        self.remote_min_rx_us = packet.required_min_rx_us
        self.remote_desired_tx_us = packet.desired_min_tx_us
        self.remote_multiplier = packet.multiplier
        if packet.final and self.poll.answered():
            self._use_advertised()
        if self.state is BfdState.ADMIN_DOWN:
            return None
        self._heard_us = now_us
        self._follow(packet.state, now_us)
        self._next_us = min(self._next_us, self._sent_us + self._jittered())
        return self._packet(final=True) if packet.poll else None

    def _follow(self, said: BfdState, now_us: int) -> None:
        """The state machine of s6.2, in the order of s6.8.6."""
        if said is BfdState.ADMIN_DOWN:
            if self.state is not BfdState.DOWN:
                self._go(BfdState.DOWN, Diagnostic.NEIGHBOUR_SAID_DOWN, now_us)
        elif self.state is BfdState.DOWN:
            if said is BfdState.DOWN:
                self._go(BfdState.INIT, self.diagnostic, now_us)
            elif said is BfdState.INIT:
                self._go(BfdState.UP, self.diagnostic, now_us)
        elif self.state is BfdState.INIT:
            if said is not BfdState.DOWN:
                self._go(BfdState.UP, self.diagnostic, now_us)
        elif said is BfdState.DOWN:
            self._go(BfdState.DOWN, Diagnostic.NEIGHBOUR_SAID_DOWN, now_us)

    def tick(self, now_us: int) -> ControlPacket | None:
        """What the clock asks for: a detection time that has passed, a periodic packet that is due."""
        if self._heard_us is not None and now_us - self._heard_us >= self.detection_us:
            silent_us = now_us - self._heard_us
            self._forget_remote()
            if self.state in {BfdState.INIT, BfdState.UP}:
                self._go(BfdState.DOWN, Diagnostic.DETECTION_TIME_EXPIRED, now_us, silent_us)
        if not self._may_send or now_us < self._next_us:
            return None
        packet = self._packet(poll=self.poll.active)
        self.poll.sent()
        self._sent_us = now_us
        self._fraction = jitter(self.timers.multiplier, self._draw)
        self._next_us = now_us + self._jittered()
        return packet

    # What an operator asks for

    def change_timers(self, timers: BfdTimers, now_us: int) -> None:
        """Other intervals or another multiplier, without losing the session (s6.8.3, s6.8.12)."""
        if timers.multiplier != self.timers.multiplier:
            self._next_us = now_us
        self.timers = timers
        self._advertise(now_us)

    def admin_down(self, now_us: int, diagnostic: Diagnostic = Diagnostic.ADMINISTRATIVELY_DOWN) -> None:
        """Held down by us; the other side is told and takes it for no failure of the path (s6.8.16)."""
        self._go(BfdState.ADMIN_DOWN, diagnostic, now_us)
        self._heard_us = None

    def admin_up(self, now_us: int) -> None:
        """Try again."""
        if self.state is BfdState.ADMIN_DOWN:
            self._forget_remote()
            self._go(BfdState.DOWN, Diagnostic.NONE, now_us)

    # How

    def _go(self, new: BfdState, diagnostic: Diagnostic, now_us: int, silent_us: int = 0) -> None:
        if new is self.state:
            return
        old, self.state, self.diagnostic = self.state, new, diagnostic
        self._changes.append(BfdChange(now_us, old, new, diagnostic, self.remote_diagnostic, silent_us))
        self._advertise(now_us)
        self._next_us = now_us  # s6.8.7: what has changed is said between the periodic packets

    def _advertise(self, now_us: int) -> None:
        """Bring the advertised intervals to what state and operator ask for (s6.8.3)."""
        up = self.state is BfdState.UP
        tx_us = self.timers.tx_us if up else max(SLOW_US, self.timers.tx_us)
        rx_us = self.timers.rx_us
        if (tx_us, rx_us) == (self.desired_tx_us, self.required_rx_us):
            return
        self.desired_tx_us, self.required_rx_us = tx_us, rx_us
        if up:  # a slower pace and a shorter patience wait until the other side has answered the poll
            self._tx_in_use_us = min(self._tx_in_use_us, tx_us)
            self._rx_in_use_us = max(self._rx_in_use_us, rx_us)
        else:
            self._use_advertised()
        if self.remote_discriminator:
            self.poll.begin()
        self._next_us = now_us

    def _use_advertised(self) -> None:
        self._tx_in_use_us, self._rx_in_use_us = self.desired_tx_us, self.required_rx_us

    def _jittered(self) -> int:
        return int(self.transmit_interval_us * self._fraction)

    def _packet(self, *, poll: bool = False, final: bool = False) -> ControlPacket:
        self.sent += 1
        return ControlPacket(
            state=self.state,
            my_discriminator=self.discriminator,
            your_discriminator=self.remote_discriminator,
            desired_min_tx_us=self.desired_tx_us,
            required_min_rx_us=self.required_rx_us,
            multiplier=self.timers.multiplier,
            diagnostic=self.diagnostic,
            poll=poll,
            final=final,
        )

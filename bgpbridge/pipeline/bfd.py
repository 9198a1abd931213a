"""BFD with peers: which sessions there are, and what a session that goes down does.

Down is acted on as FRR's `neighbor X bfd` does, and quicker: the paths through the peer, and those of others whose next
hop it is, are held down at once, by groups; then the BGP session is ended (Cease, BFD Down: RFC 9384), whose routes go
in their own time. What says nothing of the path does nothing: AdminDown of either side (RFC 5882 s3.2), a process of
ours that died, a session that was never up. A peer that speaks BGP again for `SILENT_S` and BFD no more has given BFD
up without a word, as BIRD does: its paths are used again.

Sessions are single hop: the peer is on a link. Where it is not, or the link is gone, it is tried again each second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bgpbridge.config import Config
from bgpbridge.config.health import BfdOptions, Patience
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.resolve import Resolver
from bgpbridge.health.bfd import Bfd
from bgpbridge.health.bfd_engine import BfdPeer, Key
from bgpbridge.health.bfd_timers import BfdTimers
from bgpbridge.health.bfd_words import BfdStatus
from bgpbridge.health.damping import Damping, Health, Rules, Verdict
from bgpbridge.pipeline.peers import PeerTable, Phase
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.ways import source_towards

__all__ = ["BfdWatch", "Watched", "rules_of"]

SILENT_S = 10.0
ADMIN_DOWN = "admin-down"


def rules_of(patience: Patience, rise: int = 1, fall: int = 1) -> Rules:
    """The configuration's patience as the machine takes it."""
    rule = patience.damping
    damping = None
    if rule is not None:
        damping = Damping(rule.half_life_s, rule.suppress, rule.reuse, rule.most_s)
    return Rules(rise, fall, patience.hold_down_s, damping)


@dataclass(slots=True)
class Watched:
    """BFD with one peer. `wanted` is the session as it should be, None where there is no way to one (`trouble`).
    `since` is the Unix time of the verdict."""

    name: str
    options: BfdOptions
    health: Health
    wanted: BfdPeer | None = None
    ifindex: int = 0
    trouble: str = ""
    status: BfdStatus | None = None
    verdict: Verdict = Verdict.UNKNOWN
    since: float = field(default_factory=time.time)
    downs: int = 0
    spoke_s: float | None = None  # since when the peer has been up in BGP while BFD is down


class BfdWatch:
    """All of them. `changed(name)` is called when a peer's verdict is another one."""

    def __init__(
        self,
        peers: PeerTable,
        sessions: Sessions,
        state: KernelState,
        resolver: Resolver,
        events: EventLog,
        changed: Callable[[str], None],
    ) -> None:
        self.peers, self.sessions, self.state, self.resolver, self.events = peers, sessions, state, resolver, events
        self.watched: dict[str, Watched] = {}
        self.bfd = Bfd(self.heard)
        self._changed = changed
        self._there: dict[Key, tuple[str, BfdPeer, int]] = {}
        self._running = False

    @property
    def running(self) -> bool:
        """True when there is a process to ask."""
        return self._running

    def configure(self, config: Config) -> None:
        """Other peers, or others' timers. Sessions follow at the next `keep_up`."""
        now_s = asyncio.get_running_loop().time()
        wanted = {peer.name: peer.bfd for peer in config.peers if peer.bfd is not None}
        for name in [name for name in self.watched if name not in wanted]:
            del self.watched[name]
        for name, options in wanted.items():
            known = self.watched.get(name)
            if known is None:
                self.watched[name] = Watched(name, options, Health(rules_of(options), now_s))
            elif known.options != options:
                known.options = options
                known.health.change(rules_of(options), now_s)

    def bad(self) -> Iterator[Watched]:
        """Peers whose paths are not to be used."""
        return (one for one in self.watched.values() if one.verdict.bad)

    def due_s(self, now_s: float) -> float | None:
        """When a verdict changes by itself."""
        return min((due for one in self.watched.values() if (due := one.health.due_s(now_s)) is not None), default=None)

    # -- what the sessions say

    def heard(self, status: BfdStatus) -> None:
        """A session has changed. This is the way that has to be quick."""
        known = self._there.get((status.interface, status.peer))
        one = self.watched.get(known[0]) if known is not None else None
        if one is None:
            return
        now_s, before, one.status = asyncio.get_running_loop().time(), one.status, status
        if not status.known:
            self.events.add("bfd-unknown", one.name, "the process that speaks BFD has died; what was known goes on")
        elif status.up:
            one.spoke_s = None
            one.health.passed(now_s)
            self.events.add("bfd-up", one.name, f"detects in {status.detect_us / 1000:g} ms", Severity.NOTICE)
        elif ADMIN_DOWN in {status.state, status.remote_state}:
            if before is not None and before.up:
                self.events.add("bfd-admin-down", one.name, "which says nothing of the path", Severity.NOTICE)
            one.health.forget(now_s)
        elif status.failed and one.health.verdict(now_s) is not Verdict.UNHEALTHY and before is not None and before.up:
            self._failed(one, status, now_s)
            return
        self.judge(one, now_s)

    def _failed(self, one: Watched, status: BfdStatus, now_s: float) -> None:
        """First the packets, then the word about it."""
        one.health.failed(now_s)
        one.downs += 1
        one.spoke_s = None
        self.judge(one, now_s)
        found = f", {status.detection_us / 1000:.0f} ms after its last packet" if status.detection_us else ""
        why = status.diagnostic.replace("-", " ")
        self.events.add("bfd-down", one.name, f"{why}{found}", Severity.ERROR)
        peer = self.peers.named(one.name)
        if peer is not None:
            self.sessions.bfd_down(peer, why)

    def judge(self, one: Watched, now_s: float) -> None:
        """Act on a verdict that is another one."""
        verdict, before = one.health.verdict(now_s), one.verdict
        if verdict is before:
            return
        one.verdict, one.since = verdict, time.time()
        self._changed(one.name)
        if before.bad and not verdict.bad:
            self.events.add("bfd-recovered", one.name, "its paths are used again", Severity.NOTICE)

    # -- keeping sessions in line

    async def keep_up(self) -> None:
        """Each second: sessions come and go with peers and links."""
        now_s = asyncio.get_running_loop().time()
        for one in self.watched.values():
            self._look_for_way(one)
            self._look_if_silent(one, now_s)
            self.judge(one, now_s)
        wanted = {one.wanted.key: (one.name, one.wanted, one.ifindex) for one in self.watched.values() if one.wanted}
        if not wanted and not self._running:
            return
        try:
            if not self._running:
                await self.bfd.start()
                self._running = True
            await self._follow(wanted)
        except BridgeError as error:
            self._tell_trouble("bfd", error)

    async def _follow(self, wanted: dict[Key, tuple[str, BfdPeer, int]]) -> None:
        for key, (name, peer, ifindex) in list(self._there.items()):
            now = wanted.get(key)
            same = (name, peer.local, peer.passive, ifindex)
            if now is None or (now[0], now[1].local, now[1].passive, now[2]) != same:
                del self._there[key]
                with contextlib.suppress(UsageError):  # the process died, and has not got it back yet
                    await self.bfd.remove(key)
            elif now[1] != peer:
                self._there[key] = now
                await self.bfd.change(key, now[1].timers)
        for key, (name, peer, ifindex) in wanted.items():
            if key in self._there:
                continue
            self._there[key] = (name, peer, ifindex)
            try:
                await self.bfd.add(peer)
            except BridgeError as error:
                del self._there[key]
                self._tell_trouble(name, error)

    def _look_for_way(self, one: Watched) -> None:
        """Which link the peer is on, and our address there."""
        peer = self.peers.named(one.name)
        if peer is None:
            one.wanted = None
            return
        address = peer.config.address
        resolution = self.resolver.resolve(address)
        hop = next((hop for hop in resolution.hops if hop.gateway == address), None)
        link = self.state.links.get(hop.ifindex) if hop is not None else None
        if hop is None or link is None:
            if resolution.reachable:  # by another hop: it is not on a link; a link that is down only waits
                one.wanted = None
                text = f"{address} is on no link of ours, and BFD here is single hop (RFC 5881)"
                self._trouble(one, text, "remove `bfd` of the peer, or check `ip route get` for it")
            return
        local = peer.config.local_address or (peer.session.local_address if peer.session is not None else None)
        local = local or source_towards(self.state, hop.ifindex, address)
        if local is None:
            self._trouble(one, f"{link.name} has no address to speak to {address} from", "add one")
            return
        every_us = one.options.interval_ms * 1000
        timers = BfdTimers(every_us, every_us, one.options.multiplier)
        one.wanted = BfdPeer(link.name, local, address, timers, one.options.passive)
        one.ifindex, one.trouble = link.ifindex, ""

    def _look_if_silent(self, one: Watched, now_s: float) -> None:
        peer = self.peers.named(one.name)
        if one.verdict is not Verdict.UNHEALTHY or peer is None or peer.phase is not Phase.ESTABLISHED:
            one.spoke_s = None
            return
        if one.spoke_s is None:
            one.spoke_s = now_s
        elif now_s - one.spoke_s >= SILENT_S:
            one.health.forget(now_s)
            text = f"BGP has been up for {SILENT_S:.0f} s and no BFD packet has come; its paths are used again"
            self.events.add("bfd-silent", one.name, text, Severity.WARNING)

    def _tell_trouble(self, name: str, error: BridgeError) -> None:
        one = self.watched.get(name)
        if one is not None:
            self._trouble(one, error.what, error.mend)
        else:
            self.events.add("bfd-refused", name, str(error), Severity.ERROR)

    def _trouble(self, one: Watched, text: str, mend: str) -> None:
        """Once, until it is another."""
        if one.trouble != text:
            one.trouble = text
            self.events.add("bfd-refused", one.name, f"{text}\n  mend: {mend}", Severity.WARNING)

    async def close(self) -> None:
        """The peers hear AdminDown."""
        if self._running:
            self._running = False
            await self.bfd.stop()

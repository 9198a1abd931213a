"""Adjacencies: one id for each (gateway, link) in use, and its MACs, MTU and state in the mmapped map.

A prefix points to a group, a group's slots to adjacency ids, and only here are MACs. So a neighbour that
changes its MAC, a link that changes its MTU or goes down costs one store for each adjacency concerned, however
many prefixes stand behind it (`adjacency_words` knows the layout and the order of stores).

The kernel does not see traffic that XDP forwards, so to it a busy neighbour looks unused: it would grow stale
and be collected, or die unnoticed. So every adjacency in use is asked about at intervals (`Prober.confirm`),
and an unresolved one again and again with back-off (`Prober.resolve`). A neighbour that answers no more is
FAILED in the kernel's table, and down here.

No socket, thread or clock of its own: `words`, prober and clock (asyncio's loop) are handed in.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from bgpbridge.datapath.abi import Place
from bgpbridge.errors import CapacityError
from bgpbridge.fib.adjacency_words import AdjacencyWords, identity_of
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.observed import KernelListener, Link, Neighbour, NeighbourState
from bgpbridge.fib.places import ifindex_at, largest_packet, place_of, vlans_over
from bgpbridge.types import IPAddress

__all__ = ["Adjacency", "AdjacencyTable", "Clock", "Prober", "Timer", "Timing"]

FRESH = NeighbourState.REACHABLE | NeighbourState.PERMANENT | NeighbourState.NOARP
NOT_RESOLVED = "neighbour not resolved yet"


class Timer(Protocol):
    """What `Clock.call_at` gives back."""

    def cancel(self) -> None:
        """Not to be called any more."""


class Clock(Protocol):
    """The part of asyncio's event loop that is needed here."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call `callback(*args)` at `when`."""


class Prober(Protocol):
    """Who asks the kernel about neighbours. Both return at once; the answer is a neighbour event."""

    def resolve(self, address: IPAddress, ifindex: int) -> None:
        """Find the MAC of a neighbour that is not known."""

    def confirm(self, address: IPAddress, ifindex: int) -> None:
        """Ask a known neighbour whether it is still there."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals in seconds. `confirm` bounds how long a neighbour that died silently stays up: the kernel asks
    three times, a second apart, then says FAILED."""

    confirm_s: tuple[float, float] = (15.0, 25.0)
    retry_first_s: float = 1.0
    retry_most_s: float = 30.0
    linger_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Adjacency:
    """One adjacency as seen now. `gateway` is None for one that a former run left and nobody claimed yet.
    `reason` says why it is down, `since` is the clock's time of the last change of `up`."""

    id: int
    gateway: IPAddress | None
    ifindex: int
    link: str
    mac: bytes
    mtu: int
    up: bool
    reason: str
    references: int
    since: float

    @property
    def pending(self) -> bool:
        """Down only because nobody has answered yet: packets passed to the kernel may still get through."""
        return not self.up and self.reason == NOT_RESOLVED


@dataclass(slots=True, eq=False)
class _Entry:
    id: int
    gateway: IPAddress | None
    ifindex: int
    place: Place
    mac: bytes = b""
    up: bool = False
    reason: str = NOT_RESOLVED
    references: int = 0
    since: float = 0.0
    attempts: int = 0
    timer: Timer | None = None


class AdjacencyTable(KernelListener):
    """Hands out adjacency ids and keeps their entries true. `changed(ids, up)` is called after the stores, `moved(id)`
    when an entry has another place, before it is up there."""

    def __init__(
        self,
        words: npt.NDArray[Any],
        kernel: KernelState,
        prober: Prober,
        clock: Clock,
        changed: Callable[[tuple[int, ...], bool], None],
        *,
        timing: Timing | None = None,
        rng: random.Random | None = None,
        stored: Callable[[int], None] | None = None,
        moved: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.words = AdjacencyWords(words, stored)
        self._moved = moved
        self._kernel, self._prober, self._clock, self._changed = kernel, prober, clock, changed
        self._timing = timing or Timing()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._entries: dict[int, _Entry] = {}
        self._by_hop: dict[tuple[IPAddress, int], _Entry] = {}
        self._by_link: dict[int, set[_Entry]] = {}
        self._adopted: dict[tuple[int, Place], _Entry] = {}
        self._free: deque[int] = deque(range(1, len(self.words)))

    def adopt(self) -> int:
        """On restart, after the watcher's start and before the first claim: keep the entries that a former run left
        as they are, until `claim` asks for their gateway or `sweep` frees the rest. How many there are."""
        for left in self.words.used():
            ifindex = ifindex_at(self._kernel.links, left.place)
            entry = _Entry(left.id, None, ifindex, left.place, left.dmac, up=left.up, reason="adopted")
            self._adopted[left.identity, left.place] = entry
            self._remember(entry)
            if entry.up and not self._link_up(entry.ifindex):
                self._set_state(entry, up=False, reason="link down")
        self._free = deque(n for n in self._free if n not in self._entries)
        return len(self._entries)

    def move(self, words: npt.NDArray[Any], stored: Callable[[int], None] | None = None) -> None:
        """From now on another array, which says the same."""
        self.words = AdjacencyWords(words, stored)

    def sweep(self) -> int:
        """Free the adopted entries that nobody claimed. How many there were."""
        unclaimed, self._adopted = [e for e in self._entries.values() if e.gateway is None], {}
        for entry in unclaimed:
            self._store_state(entry, up=False)
            entry.timer = self._clock.call_at(self._clock.time() + self._timing.linger_s, self._forget, entry)
        return len(unclaimed)

    def claim(self, gateway: IPAddress, ifindex: int) -> int:
        """The id for a gateway on a link, with one reference more. Raises CapacityError when all are in use."""
        entry = self._by_hop.get((gateway, ifindex)) or self._claim_adopted(gateway, ifindex)
        if entry is None:
            entry = self._create(gateway, ifindex)
        entry.references += 1
        if entry.references == 1:
            neighbour = self._kernel.neighbours.get((ifindex, gateway))
            fresh = entry.up and neighbour is not None and neighbour.state & FRESH
            self._schedule(entry, self._confirm_after() if fresh else 0.0)
        return entry.id

    def release(self, number: int) -> None:
        """One reference less. The last one starts the grace (`linger_s`) after which the id is given out anew."""
        entry = self._entries[number]
        assert entry.references > 0, f"adjacency {number} was released more often than claimed"
        entry.references -= 1
        if not entry.references:
            self._schedule(entry, self._timing.linger_s)

    def find(self, gateway: IPAddress, ifindex: int) -> int | None:
        """The id for a gateway on a link, if there is one."""
        entry = self._by_hop.get((gateway, ifindex))
        return entry.id if entry else None

    def is_up(self, number: int) -> bool:
        """True when packets may be sent by this adjacency."""
        entry = self._entries.get(number)
        return entry is not None and entry.up

    def links(self) -> frozenset[int]:
        """The interfaces that adjacencies leave by: what `tx_ports` has to hold."""
        return frozenset(self._by_link)

    def view(self) -> list[Adjacency]:
        """All adjacencies by id."""
        return [self._seen(self._entries[number]) for number in sorted(self._entries)]

    def get(self, number: int) -> Adjacency | None:
        """One adjacency."""
        entry = self._entries.get(number)
        return self._seen(entry) if entry else None

    # -- what the kernel says

    def on_link(self, link: Link, present: bool) -> None:
        """Down at once with the link; MAC and MTU by a store; up again as neighbours are known. What stands on a port
        by VLAN tags learns of it too: of the port itself where it was not known yet, of its MTU."""
        self._on_link(link, present)
        for vlan in tuple(vlans_over(self._kernel.links, link.ifindex)) if present else ():
            self._on_link(vlan, present=True)

    def _on_link(self, link: Link, present: bool) -> None:
        entries = tuple(self._by_link.get(link.ifindex, ()))
        if not entries:
            return
        if not (present and link.up):
            self._set_all(entries, up=False, reason="link down" if present else "link gone")
            return
        for entry in entries:
            self._store_ends(entry, link)
            if not entry.up and entry.gateway is not None:
                entry.attempts = 0
                self._follow(entry)
                self._ask_soon(entry)

    def on_neighbour(self, neighbour: Neighbour, present: bool) -> None:
        """Up with a MAC, another MAC by a store, down when the kernel has given up asking."""
        entry = self._by_hop.get((neighbour.address, neighbour.ifindex))
        if entry is None:
            return
        if not present:
            # The kernel collects entries that look unused to it, or someone flushed the table. The neighbour is
            # most likely there still: keep sending, ask anew, and let FAILED decide.
            self._ask_soon(entry)
        else:
            self._follow(entry)

    # -- one entry

    def _create(self, gateway: IPAddress, ifindex: int) -> _Entry:
        if not self._free:
            raise CapacityError(
                f"all {len(self.words) - 1} adjacencies are in use",
                mend="each is one neighbour of a next hop; fewer next hops, or links instead of neighbours",
            )
        place = place_of(self._kernel.links, ifindex)
        entry = _Entry(self._free.popleft(), gateway, ifindex, place, since=self._clock.time())
        self.words.open(entry.id, place, identity_of(gateway))
        self._remember(entry)
        self._by_hop[gateway, ifindex] = entry
        self._follow(entry, tell=False)
        return entry

    def _claim_adopted(self, gateway: IPAddress, ifindex: int) -> _Entry | None:
        place = place_of(self._kernel.links, ifindex)
        entry = self._adopted.pop((identity_of(gateway), place), None)
        if entry is not None:
            self._by_link[entry.ifindex].discard(entry)
            entry.gateway, entry.ifindex = gateway, ifindex
            self._remember(entry)
            self._by_hop[gateway, ifindex] = entry
            self._follow(entry, tell=False)
        return entry

    def _follow(self, entry: _Entry, *, tell: bool = True) -> None:
        """Bring an entry in line with what the kernel knows of its link and neighbour."""
        assert entry.gateway is not None
        link = self._kernel.links.get(entry.ifindex)
        neighbour = self._kernel.neighbours.get((entry.ifindex, entry.gateway))
        if link is None or not link.up:
            self._set_state(entry, up=False, reason="link down" if link else "link gone", tell=tell)
        elif len(link.mac) != 6:
            self._set_state(entry, up=False, reason=f"{link.name} has no Ethernet address", tell=tell)
        elif neighbour is not None and neighbour.state.usable and len(neighbour.mac) == 6:
            entry.mac, entry.attempts = neighbour.mac, 0
            self._store_ends(entry, link)
            self._set_state(entry, up=True, reason="", tell=tell)
        elif neighbour is not None and neighbour.state & NeighbourState.FAILED:
            was_up = entry.up
            self._set_state(entry, up=False, reason="neighbour does not answer", tell=tell)
            if was_up:
                self._ask_soon(entry)
        elif not entry.up:
            self._set_state(entry, up=False, reason=NOT_RESOLVED, tell=tell)

    def _store_ends(self, entry: _Entry, link: Link) -> None:
        """MACs and MTU; and the place, where it was not known when the entry was made: no packet goes there then."""
        place = place_of(self._kernel.links, entry.ifindex)
        moved = place != entry.place
        if moved:
            self.words.store_state(entry.id, up=False)
            self.words.move(entry.id, place)
            entry.place = place
            self._moved(entry.id)
        self.words.store_ends(entry.id, entry.mac, link.mac, largest_packet(self._kernel.links, link, place))
        if moved and entry.up:
            self.words.store_state(entry.id, up=True)

    def _store_state(self, entry: _Entry, *, up: bool) -> None:
        entry.up = up
        self.words.store_state(entry.id, up=up)

    def _set_state(self, entry: _Entry, *, up: bool, reason: str, tell: bool = True) -> None:
        was_pending, entry.reason = not entry.up and entry.reason == NOT_RESOLVED, reason
        if entry.up == up:
            if tell and not up and was_pending != (reason == NOT_RESOLVED):
                self._changed((entry.id,), up)  # given up, or to be asked again: paths choose anew
            return
        self._store_state(entry, up=up)
        entry.since = self._clock.time()
        if tell:
            self._changed((entry.id,), up)

    def _set_all(self, entries: Iterable[_Entry], *, up: bool, reason: str) -> None:
        """Many entries at once: first every store, then one word to the listener."""
        turned = sorted(entry.id for entry in entries if entry.up != up)
        for entry in entries:
            self._store_state(entry, up=up)
            entry.reason = reason
        for number in turned:
            self._entries[number].since = self._clock.time()
        if turned:
            self._changed(tuple(turned), up)

    def _remember(self, entry: _Entry) -> None:
        self._entries[entry.id] = entry
        self._by_link.setdefault(entry.ifindex, set()).add(entry)

    def _forget(self, entry: _Entry) -> None:
        self.words.close(entry.id)
        del self._entries[entry.id]
        if entry.gateway is not None:
            del self._by_hop[entry.gateway, entry.ifindex]
        siblings = self._by_link[entry.ifindex]
        siblings.discard(entry)
        if not siblings:
            del self._by_link[entry.ifindex]
        self._free.append(entry.id)

    # -- asking

    def _schedule(self, entry: _Entry, delay_s: float) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        entry.timer = self._clock.call_at(self._clock.time() + delay_s, self._due, entry)

    def _ask_soon(self, entry: _Entry) -> None:
        if entry.references:  # else its timer is the grace
            self._schedule(entry, 0.0)

    def _due(self, entry: _Entry) -> None:
        """The timer of an entry: in use, ask about its neighbour; out of use for the grace, forget it."""
        entry.timer = None
        if not entry.references:
            self._forget(entry)
            return
        assert entry.gateway is not None
        if not self._link_up(entry.ifindex):
            return  # on_link asks again
        neighbour = self._kernel.neighbours.get((entry.ifindex, entry.gateway))
        if neighbour is None or not neighbour.state.usable:
            self._prober.resolve(entry.gateway, entry.ifindex)
            self._schedule(entry, self._retry_after(entry))
            entry.attempts += 1
            return
        if neighbour.state.probed:
            self._prober.confirm(entry.gateway, entry.ifindex)
        self._schedule(entry, self._confirm_after())

    def _confirm_after(self) -> float:
        return self._rng.uniform(*self._timing.confirm_s)

    def _retry_after(self, entry: _Entry) -> float:
        """Exponential back-off with a quarter of jitter."""
        base = min(self._timing.retry_first_s * 2.0 ** min(entry.attempts, 16), self._timing.retry_most_s)
        return base * self._rng.uniform(0.75, 1.0)

    def _link_up(self, ifindex: int) -> bool:
        link = self._kernel.links.get(ifindex)
        return link is not None and link.up

    def _seen(self, entry: _Entry) -> Adjacency:
        mac, mtu = self.words.far_end(entry.id)
        link = self._kernel.links.get(entry.ifindex)
        return Adjacency(
            entry.id,
            entry.gateway,
            entry.ifindex,
            link.name if link else "",
            mac,
            mtu,
            entry.up,
            entry.reason,
            entry.references,
            entry.since,
        )

"""Where packets come in: interfaces by the place where their frames are seen, and a small number for each.

The place of a VLAN interface is the port below it with its tags: XDP sits on the port and sees them there. Numbers
are the bits of `group_sources`: which links lead back to a source, for the strict reverse-path check (RFC 3704). They
live in the values of `interfaces`, so a later run finds them again. There are SOURCE_BITS of them: interfaces beyond
share the last one, and the check no longer tells these apart.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.errors import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgpbridge.datapath.elements import BpfMap

__all__ = ["Ingress"]

LAST = abi.SOURCE_BITS - 1


class Ingress:
    """Writer of `interfaces` and `tx_ports`. What an earlier run left is taken for what we stored: `taken` is
    (MAC and number, ifindex) by place, `ports` where packets may leave."""

    def __init__(self, interfaces: BpfMap, tx_ports: BpfMap) -> None:
        self._interfaces, self._tx_ports = interfaces, tx_ports
        places, values = interfaces.dump()
        self._numbers = dict(zip(places.tolist(), (values["word"] >> np.uint64(48)).tolist(), strict=True))
        self.taken: dict[int, tuple[int, int]] = _by_place(places, values)
        self.ports: set[int] = set(tx_ports.keys().tolist())
        self._forgotten: dict[int, int] = {}

    def accept(self, ifindex: int, mac: bytes, *places: abi.Place) -> None:
        """Take packets that come in by `ifindex` to this MAC, and let packets out by it. `places` where that is a VLAN
        interface: the first is where its packets go out, by its port. Raises NetlinkError when there is no such
        interface in this network namespace (a devmap itself only says EINVAL)."""
        try:
            socket.if_indextoname(ifindex)
        except OSError:
            raise NetlinkError(f"interface {ifindex}", errno.ENODEV) from None
        places = places or (abi.Place(ifindex),)
        value = abi.interface_word(mac, self.number_of(places[0].word)), ifindex
        if not places[0].tags:
            self.let_out(ifindex, on=True)
        for place in places:
            self.taken[place.word] = value
            self.store(place.word)

    def forget(self, place: abi.Place) -> None:
        """Neither in nor out there any more."""
        self.taken.pop(place.word, None)
        self.store(place.word)
        if (number := self._numbers.pop(place.word, None)) is not None:
            self._forgotten[place.word] = number
        if not place.tags:
            self.let_out(place.ifindex, on=False)

    def let_out(self, ifindex: int, *, on: bool) -> None:
        """Whether packets may leave by a port; without, those that would are passed."""
        if on:
            self._tx_ports.update(ifindex, ifindex)
            self.ports.add(ifindex)
        else:
            self._tx_ports.delete(ifindex)
            self.ports.discard(ifindex)

    def store(self, place: int) -> None:
        """What `taken` says of a place, a word, into the map."""
        if place in self.taken:
            value = np.zeros(1, abi.INTERFACE)
            value["word"], value["ifindex"] = self.taken[place]
            self._interfaces.update(np.uint64(place), value)
        else:
            self._interfaces.delete(np.uint64(place))

    def standing(self) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        """What stands in the maps: as `taken`, and where packets leave, by the port that they should leave by."""
        ports = {port: self._tx_ports.lookup(port) for port in self._tx_ports.keys().tolist()}
        return _by_place(*self._interfaces.dump()), {port: int(to) for port, to in ports.items() if to is not None}

    def take_over(self, other: Ingress) -> None:
        """The numbers that another writer has given out: its interfaces and groups have been copied into our maps."""
        self._numbers, self._forgotten = other._numbers.copy(), other._forgotten.copy()
        self.taken, self.ports = other.taken.copy(), other.ports.copy()

    def keep_only(self, places: Iterable[abi.Place]) -> int:
        """Forget all others: an earlier run took packets there, and the interfaces are gone. How many there were."""
        known = {place.word for place in places}
        gone = [word for word in self._interfaces.dump()[0].tolist() if word not in known]
        for word in gone:
            self.forget(abi.Place.of(word))
        return len(gone)

    def number_of(self, place: int) -> int:
        """The number of a place (as a word), given out at the first question. One that comes back has its old one,
        for groups may still bear it; the longest forgotten is given out anew only when all have been used."""
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = self._take_number(place)
        return number

    def _take_number(self, place: int) -> int:
        if place in self._forgotten:
            return self._forgotten.pop(place)
        used = {*self._numbers.values(), *self._forgotten.values()}
        free = next((number for number in range(LAST) if number not in used), None)
        if free is not None:
            return free
        return self._forgotten.pop(next(iter(self._forgotten))) if self._forgotten else LAST

    def bits_of(self, places: Iterable[int]) -> int:
        """The numbers of these places, words, as bits; 0 is no place."""
        bits = 0
        for place in places:
            if place:
                bits |= 1 << self.number_of(place)
        return bits

    def links_of(self, slots: npt.NDArray[Any], places: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The same for many groups at once: of the adjacencies in their slots, the last axis of `slots`. `places` are
        words by adjacency."""
        named = np.unique(slots)
        bits = np.zeros(int(named.max(initial=0)) + 1, np.uint64)
        bits[named] = [self.bits_of((place,)) for place in places[named].tolist()]
        found: npt.NDArray[np.uint64] = np.bitwise_or.reduce(bits[slots], axis=-1)
        return found


def _by_place(places: npt.NDArray[Any], values: npt.NDArray[Any]) -> dict[int, tuple[int, int]]:
    pairs = zip(values["word"].tolist(), values["ifindex"].tolist(), strict=True)
    return dict(zip(places.tolist(), pairs, strict=True))

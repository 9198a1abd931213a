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
    """Writer of `interfaces` and `tx_ports`."""

    def __init__(self, interfaces: BpfMap, tx_ports: BpfMap) -> None:
        self._interfaces, self._tx_ports = interfaces, tx_ports
        places, values = interfaces.dump()
        self._numbers = dict(zip(places.tolist(), (values["word"] >> np.uint64(48)).tolist(), strict=True))
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
        value = np.zeros(1, abi.INTERFACE)
        value["word"] = abi.interface_word(mac, self.number_of(places[0].word))
        value["ifindex"] = ifindex
        if not places[0].tags:
            self._tx_ports.update(ifindex, ifindex)
        for place in places:
            self._interfaces.update(np.uint64(place.word), value)

    def forget(self, place: abi.Place) -> None:
        """Neither in nor out there any more."""
        self._interfaces.delete(np.uint64(place.word))
        if (number := self._numbers.pop(place.word, None)) is not None:
            self._forgotten[place.word] = number
        if not place.tags:
            self._tx_ports.delete(place.ifindex)

    def take_over(self, other: Ingress) -> None:
        """The numbers that another writer has given out: its interfaces and groups have been copied into our maps."""
        self._numbers, self._forgotten = other._numbers.copy(), other._forgotten.copy()

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

    def links_of(self, slots: npt.NDArray[Any], places: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The numbers, as bits, of the places that groups lead to: those of the adjacencies in their slots, the last
        axis of `slots`. `places` are words by adjacency, 0 is none."""
        named = np.unique(slots)
        bits = np.zeros(int(named[-1]) + 1, np.uint64)
        bits[named] = [1 << self.number_of(place) if place else 0 for place in places[named].tolist()]
        found: npt.NDArray[np.uint64] = np.bitwise_or.reduce(bits[slots], axis=-1)
        return found

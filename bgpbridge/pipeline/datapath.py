"""The datapath in this process: maps, program, and which interfaces it sits on as they come and go.

Owns nothing that packets need: maps and links are pinned and outlive us. On start what is pinned is adopted; the
program is compiled anew and replaced under the links by one update each, so a new bridge brings its own program
and no packet meets an interface without one.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine
from bgpbridge.datapath.attach import Attached, Wanted, attach, attached, detach
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.features import takes_redirects
from bgpbridge.datapath.links import Mode
from bgpbridge.datapath.loader import Loader, Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.pins import other_layouts
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.twin import Twin
from bgpbridge.errors import BridgeError, DatapathError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.observed import Link

__all__ = ["Datapath"]


@dataclass(slots=True)
class Datapath:
    """Maps and program, open. `attached` and `refused` are by ifindex."""

    settings: Settings
    events: EventLog
    maps: Maps
    adopted: bool
    program: Program | None = None
    attached: dict[int, Attached] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    _twin: Twin | None = None
    _twin_loads: asyncio.Lock = field(default_factory=asyncio.Lock)
    _accepted: dict[int, bytes] = field(default_factory=dict)
    _deaf: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, settings: Settings, events: EventLog) -> Datapath:
        """Make or adopt the maps. Raises DatapathError or CapacityError."""
        ensure_bpffs(settings.pin_path)
        for folder in other_layouts(settings.pin_path):
            text = "maps of another version are pinned there; `bgpbridge clear` of that version removes them"
            events.add("other-layout", str(folder), text, Severity.WARNING)
        wanted = Sizes(settings.max_ipv4, settings.max_ipv6, settings.engine is not Engine.LPM, settings.group_slots)
        maps, adopted = Maps.open(settings.pin_path, wanted)
        for what in _kept(maps, wanted):
            text = f"{what}, which stay; mend: `bgpbridge datapath upgrade`"
            events.add("maps-kept", "xdp", text, Severity.WARNING)
        return cls(settings, events, maps, adopted)

    @property
    def pin_path(self) -> Path:
        """Where maps and links are pinned."""
        return self.settings.pin_path

    async def load(self) -> Program:
        """Compile and verify the program in a worker thread. Raises DatapathError."""
        loader = Loader(self.settings.loader.value)
        self.program = await asyncio.to_thread(load, self.maps.fds, loader)
        note = f" ({self.program.note})" if self.program.note else ""
        text = f"by {self.program.loader.value} in {self.program.load_s:.2f} s{note}"
        self.events.add("datapath-loaded", "xdp", text)
        return self.program

    async def twin(self) -> Twin:
        """The program's second instance, which `packet` asks; loaded when somebody asks for the first time. Raises
        DatapathError where the sources on disk are not those of the program that runs."""
        async with self._twin_loads:
            program = self.program
            assert program is not None, "load first"
            if self._twin is not None and not (self._twin.live is self.maps and self._twin.is_of(program)):
                self._twin.close()
                self._twin = None
            if self._twin is None:
                made = await asyncio.to_thread(Twin.load, self.maps, program)
                if not made.is_of(program):
                    made.close()
                    what = "the BPF sources on disk are not those of the program that runs"
                    raise DatapathError(what, mend="start bgpbridge again, or put the sources back")
                self._twin = made
            return self._twin

    def wanted(self, name: str) -> bool:
        """True for an interface that the configuration names."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.settings.interfaces)

    def follow_link(self, link: Link, present: bool) -> None:
        """A link came, changed or went: accept its packets, attach, or forget it."""
        if not present:
            self._forget(link)
        elif len(link.mac) == 6 and not link.loopback:
            self._accept(link)
            if self.wanted(link.name) and link.ifindex not in self.attached and link.admin_up:
                self._attach(link)

    def _accept(self, link: Link) -> None:
        """Let packets in and out by this link; its MAC is the one that frames to us carry."""
        if self._accepted.get(link.ifindex) == link.mac:
            return
        try:
            self.maps.accept_interface(link.ifindex, link.mac)
            self._accepted[link.ifindex] = link.mac
            self._deaf.discard(link.ifindex)
            self._check_redirect(link.ifindex, link.name)
        except BridgeError as error:
            self._refuse(link, error)

    def check_redirects(self, links: Mapping[int, Link]) -> None:
        """Whether each interface still takes redirected frames: a veth's peer may get or lose GRO at any time,
        and nobody is told. Called now and then."""
        for ifindex in list(self._accepted):
            if ifindex in links:
                self._check_redirect(ifindex, links[ifindex].name)

    def _check_redirect(self, ifindex: int, name: str) -> None:
        """Keep an interface that would lose redirected frames out of `tx_ports`: its packets are passed."""
        takes = takes_redirects(ifindex) or not self.any_native
        if takes == (ifindex not in self._deaf):
            return
        if takes:
            self._deaf.discard(ifindex)
            self.maps.tx_ports.update(ifindex, ifindex)
            self.events.add("egress-ready", name, "takes redirected frames now", Severity.NOTICE)
        else:
            self._deaf.add(ifindex)
            self.maps.tx_ports.delete(ifindex)
            text = "does not take redirected frames: packets out of it go through the kernel; mend: for a veth, "
            self.events.add("egress-deaf", name, text + "`ethtool -K PEER gro on` while it is up", Severity.WARNING)

    @property
    def any_native(self) -> bool:
        """True when XDP runs in a driver somewhere: generic XDP can send by any interface."""
        return any(seat.mode is Mode.NATIVE for seat in self.attached.values()) or not self.attached

    def _attach(self, link: Link) -> None:
        assert self.program is not None, "load first"
        try:
            seat = attach(self.program.fd, link.ifindex, self.pin_path, Wanted(self.settings.mode.value))
        except BridgeError as error:
            self._refuse(link, error)
            return
        self.attached[link.ifindex] = seat
        self.refused.pop(link.ifindex, None)
        if seat.warning:
            self.events.add("xdp-warning", link.name, seat.warning, Severity.WARNING)
        severity = Severity.WARNING if seat.note else Severity.INFO
        text = f"{seat.mode.label}{f' ({seat.note})' if seat.note else ''}{', adopted' if seat.adopted else ''}"
        self.events.add("xdp-attached", link.name, text, severity)

    def _refuse(self, link: Link, error: BridgeError) -> None:
        if self.refused.get(link.ifindex) != error.what:
            self.refused[link.ifindex] = error.what
            self.events.add("xdp-refused", link.name, str(error), Severity.ERROR)

    def _forget(self, link: Link) -> None:
        """The interface is gone, and with it the kernel's end of the attachment."""
        self._deaf.discard(link.ifindex)
        if self._accepted.pop(link.ifindex, None) is not None:
            self.maps.forget_interface(link.ifindex)
        self.refused.pop(link.ifindex, None)
        if self.attached.pop(link.ifindex, None) is not None:
            detach(link.ifindex, self.pin_path)
            self.events.add("xdp-detached", link.name, "the interface is gone", Severity.WARNING)

    def leave_unwanted(self) -> None:
        """Come off interfaces that an earlier configuration named and this one does not."""
        for seat in attached(self.pin_path):
            if not self.wanted(seat.name):
                detach(seat.ifindex, self.pin_path)
                self.attached.pop(seat.ifindex, None)
                self.events.add("xdp-detached", seat.name, "no longer in datapath.interfaces", Severity.NOTICE)

    def close(self) -> None:
        """Let go of our handles; the datapath goes on forwarding."""
        if self._twin is not None:
            self._twin.close()
        if self.program is not None:
            self.program.close()
        self.maps.close()


def _kept(maps: Maps, wanted: Sizes) -> Iterator[str]:
    """What of pinned maps is otherwise than the configuration has it by now."""
    if wanted.indexed and not maps.indexed:
        yield "the pinned maps were made for the engine `lpm`"
    if (slots := maps.slots.shape[1]) != wanted.group_slots:
        yield f"the pinned maps have groups of {slots} slots, not {wanted.group_slots}"

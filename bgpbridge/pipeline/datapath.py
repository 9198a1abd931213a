"""The datapath in this process: maps, program, and which interfaces it sits on as they come and go.

Owns nothing that packets need: maps and links are pinned and outlive us. On start what is pinned is adopted; the
program is compiled anew and replaced under the links by one update each, so a new bridge brings its own program
and no packet meets an interface without one.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bgpbridge.config import LIVE_DATAPATH
from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine, ReversePath
from bgpbridge.datapath import pins
from bgpbridge.datapath.abi import Place
from bgpbridge.datapath.attach import Attached, Wanted, attach, attached, detach, is_here
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.features import takes_redirects
from bgpbridge.datapath.links import Mode
from bgpbridge.datapath.loader import Loader, Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.twin import Twin, held
from bgpbridge.errors import BridgeError, DatapathError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.observed import Link
from bgpbridge.fib.places import place_of, vlans_over
from bgpbridge.fib.selftest import prove
from bgpbridge.pipeline.datapath_left import grown, made_from, opened, remember, running

__all__ = ["Datapath", "sizes_of"]


@dataclass(slots=True)
class Datapath:
    """Maps and program, open. `attached` and `refused` are by ifindex; `all_links` is the kernel's state; `begins`
    until new maps forward (`begin`); `memory` is the file that knows what the program was made from."""

    settings: Settings
    events: EventLog
    maps: Maps
    adopted: bool
    begins: bool = False
    memory: Path | None = None
    program: Program | None = None
    attached: dict[int, Attached] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    all_links: Mapping[int, Link] = field(default_factory=dict)
    _twin: Twin | None = None
    _twin_loads: asyncio.Lock = field(default_factory=asyncio.Lock)
    main_table: bool = True  # our routes are in it, and not in a VRF's
    _accepted: dict[int, tuple[bytes, tuple[Place, ...]]] = field(default_factory=dict)
    _deaf: set[int] = field(default_factory=set)
    _in_vrf: dict[int, str] = field(default_factory=dict)
    _has_options: bool = False
    _sources: str = ""  # the hash of those that `program` was made from, where that is known

    @classmethod
    def open(cls, settings: Settings, events: EventLog, memory: Path | None = None) -> Datapath:
        """Make or adopt the maps. Raises DatapathError or CapacityError."""
        ensure_bpffs(settings.pin_path)
        wanted = sizes_of(settings)
        if settings.grow:
            wanted = grown(settings.pin_path, wanted)
        found = opened(settings.pin_path, wanted, events)
        for what in _kept(found.maps, wanted):
            events.add("maps-kept", "xdp", what, Severity.WARNING)
        return cls(settings, events, found.maps, found.adopted, found.begins, memory)

    @property
    def pin_path(self) -> Path:
        """Where maps and links are pinned."""
        return self.settings.pin_path

    async def load(self) -> Program:
        """Compile and verify the program in a worker thread, unless the one on the interfaces is the same; one that is
        another has to prove itself. Where that fails the former goes on. Raises DatapathError where there is none."""
        earlier = running(self.pin_path, self.maps)
        try:
            self._sources = Sources.ours().source_hash
            if earlier is not None and (same := self._same(earlier)) is not None:
                self.program = same
                text = f"by {same.loader.value} for an earlier bridge, from the sources that are here"
                self.events.add("datapath-loaded", "xdp", text)
                return same
            self.program = await asyncio.to_thread(self._compiled, earlier.info.tag if earlier is not None else "")
        except DatapathError as error:
            if earlier is None:
                raise
            self.program, self._sources = earlier, ""
            self.events.add("program-kept", "xdp", f"the earlier program goes on: {error}", Severity.ERROR)
            return earlier
        if earlier is not None:
            earlier.close()
        note = f" ({self.program.note})" if self.program.note else ""
        text = f"by {self.program.loader.value} in {self.program.load_s:.2f} s{note}"
        self.events.add("datapath-loaded", "xdp", text)
        return self.program

    def _same(self, earlier: Program) -> Program | None:
        """The program on the interfaces, where it is known to be what would be compiled."""
        if self.memory is None:
            return None
        return made_from(self.memory, earlier, Loader(self.settings.loader.value), self._sources)

    def _compiled(self, tag: str) -> Program:
        program = load(self.maps.fds, Loader(self.settings.loader.value))
        if tag not in ("", program.info.tag):
            try:
                prove(program, indexed=self.maps.indexed)
            except DatapathError:
                program.close()
                raise
        return program

    async def twin(self) -> Twin:
        """The program's second instance, which `packet` asks; loaded when somebody asks for the first time. Raises
        DatapathError where the sources on disk are not those of the program that runs."""
        async with self._twin_loads:
            while not self._has_twin():
                maps, program = self.maps, self.program
                assert program is not None, "load first"
                made = await asyncio.to_thread(Twin.load, maps, program, held(maps))
                if made.is_of(program):
                    self._twin = made  # an upgrade meanwhile is looked for again
                    continue
                made.close()
                if self.program is program:
                    what = "the BPF sources on disk are not those of the program that runs"
                    raise DatapathError(what, mend="start bgpbridge again, or put the sources back")
            assert self._twin is not None
            return self._twin

    def _has_twin(self) -> bool:
        """Whether there is one, of the program and the maps in force; one of others goes."""
        twin, program = self._twin, self.program
        if twin is None or program is None or (twin.live is self.maps and twin.is_of(program)):
            return twin is not None
        twin.close()
        self._twin = None
        return False

    def apply_options(self) -> None:
        """What the configuration asks of the program beyond forwarding. Groups and adjacencies stand already."""
        self._has_options = True
        check = self.settings.reverse_path
        self.maps.check_sources(loose=check is ReversePath.LOOSE, strict=check is ReversePath.STRICT)
        self.maps.use_flow_label(self.settings.flow_label)
        self.maps.limit_punts(self.settings.punt_rate)

    def take_options(self, wanted: Settings) -> None:
        """Those of another configuration from now on, while packets pass."""
        options = {name: getattr(wanted, name) for name in LIVE_DATAPATH}
        if any(getattr(self.settings, name) != value for name, value in options.items()):
            self.settings = self.settings.model_copy(update=options)
            self.apply_options()

    def wanted(self, name: str) -> bool:
        """True for an interface that the configuration names."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.settings.interfaces)

    def follow_link(self, link: Link, present: bool) -> None:
        """A link came, changed or went: accept its packets, attach, or forget it; and so for the VLAN interfaces on
        it, whose frames come in by it."""
        if not present:
            self._forget(link)
        else:
            self._follow_one(link)
        for vlan in tuple(vlans_over(self.all_links, link.ifindex)):
            self._follow_one(vlan)

    def _follow_one(self, link: Link) -> None:
        if len(link.mac) != 6 or link.loopback:
            return
        if self._other_table(link):
            self._leave_to_vrf(link)
            return
        place = place_of(self.all_links, link.ifindex)
        wanted = self.wanted(link.name) and not self._seen_below(place)
        if place.tags and not link.admin_up:
            self._unaccept(link.ifindex)
        else:
            self._accept(link, (place, Place(link.ifindex)) if place.tags and wanted else (place,))
        self._renamed(link)
        if wanted and link.ifindex not in self.attached and link.admin_up:
            self._attach(link)

    def _seen_below(self, place: Place) -> bool:
        """XDP on the port sees a VLAN interface's frames before the interface does: once is enough. It is not on a
        port that is a VRF's; a VLAN interface does not follow its port into that."""
        port = self.all_links.get(place.ifindex) if place.tags else None
        return port is not None and self.wanted(port.name) and not self._other_table(port)

    def _other_table(self, link: Link) -> bool:
        """A VRF has a table of its own, which knows nothing of our routes unless it is the one that we write to."""
        master = self.all_links.get(link.master)
        return master is not None and master.kind == "vrf" and self.main_table

    def _leave_to_vrf(self, link: Link) -> None:
        """Its packets are another table's: neither in nor out by it, the kernel forwards them."""
        vrf = self.all_links[link.master].name
        if self._in_vrf.get(link.ifindex) == vrf:
            return
        self._in_vrf[link.ifindex] = vrf
        self._unaccept(link.ifindex)
        self._deaf.discard(link.ifindex)
        self.attached.pop(link.ifindex, None)
        left = {Place(link.ifindex), place_of(self.all_links, link.ifindex)}
        self.maps.forget_interface(link.ifindex, *left)  # by an earlier run
        detach(link.ifindex, self.pin_path)
        text = f"is in VRF {vrf}: its packets are that table's, the kernel forwards them"
        if self.wanted(link.name):
            self.refused[link.ifindex] = text
        self.events.add("xdp-refused", link.name, text, Severity.WARNING)

    def _renamed(self, link: Link) -> None:
        """Another name: one that the configuration means as well, or not."""
        seat = self.attached.get(link.ifindex)
        if seat is None or seat.name == link.name:
            return
        if self.wanted(link.name):
            self.attached[link.ifindex] = replace(seat, name=link.name)
        else:
            detach(link.ifindex, self.pin_path)
            del self.attached[link.ifindex]
            text = f"was {seat.name}; its name is not in datapath.interfaces, packets go by the kernel"
            self.events.add("xdp-detached", link.name, text, Severity.WARNING)

    def _accept(self, link: Link, places: tuple[Place, ...]) -> None:
        """Let packets in and out by this link; its MAC is the one that frames to us carry."""
        before, there = self._accepted.get(link.ifindex, (link.mac, places))
        if link.ifindex in self._accepted and (before, there) == (link.mac, places):
            return
        if there != places:
            self._unaccept(link.ifindex)
        try:
            self.maps.accept_interface(link.ifindex, link.mac, *places)
            if before != link.mac:
                text = f"MAC {before.hex(':')} -> {link.mac.hex(':')}: packets to the new one are taken"
                self.events.add("mac-changed", link.name, text, Severity.NOTICE)
            self._accepted[link.ifindex] = link.mac, places
            if self._in_vrf.pop(link.ifindex, None) is not None:
                self.refused.pop(link.ifindex, None)
            self._deaf.discard(link.ifindex)
            self._check_redirect(link.ifindex, link.name)
        except BridgeError as error:
            self._refuse(link, error)

    def _unaccept(self, ifindex: int) -> None:
        if (known := self._accepted.pop(ifindex, None)) is not None:
            self.maps.forget_interface(ifindex, *known[1])

    def check_redirects(self, links: Mapping[int, Link]) -> None:
        """Whether each interface still takes redirected frames: a veth's peer may get or lose GRO at any time,
        and nobody is told. Called now and then."""
        for ifindex in list(self._accepted):
            if ifindex in links:
                self._check_redirect(ifindex, links[ifindex].name)

    def _check_redirect(self, ifindex: int, name: str) -> None:
        """Keep an interface that would lose redirected frames out of `tx_ports`: its packets are passed."""
        if self._accepted[ifindex][1][0].tags:
            return  # packets leave by the port below
        takes = takes_redirects(ifindex) or not self.any_native
        if takes == (ifindex not in self._deaf):
            return
        if takes:
            self._deaf.discard(ifindex)
            self.maps.ingress.let_out(ifindex, on=True)
            self.events.add("egress-ready", name, "takes redirected frames now", Severity.NOTICE)
        else:
            self._deaf.add(ifindex)
            self.maps.ingress.let_out(ifindex, on=False)
            text = "does not take redirected frames: packets out of it go through the kernel; mend: for a veth, "
            self.events.add("egress-deaf", name, text + "`ethtool -K PEER gro on` while it is up", Severity.WARNING)

    @property
    def any_native(self) -> bool:
        """True when XDP runs in a driver somewhere: generic XDP can send by any interface."""
        return any(seat.mode is Mode.NATIVE for seat in self.attached.values()) or not self.attached

    def _attach(self, link: Link) -> None:
        assert self.program is not None, "load first"
        if not self._has_options:  # first, in maps made anew: a source that is to be dropped never gets through
            self.apply_options()
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
        self._in_vrf.pop(link.ifindex, None)
        self._unaccept(link.ifindex)
        self.refused.pop(link.ifindex, None)
        if self.attached.pop(link.ifindex, None) is not None:
            detach(link.ifindex, self.pin_path)
            self.events.add("xdp-detached", link.name, "the interface is gone", Severity.WARNING)

    def put(self, program: Program, maps: Maps) -> None:
        """Another program under every link, one update each; it reads `maps`. Raises DatapathError with the interface
        that would not have it, and then none has."""
        before = self.program
        moved: list[Attached] = []
        assert before is not None, "load first"
        mode = Wanted(self.settings.mode.value)
        for seat in self.attached.values():
            try:
                attach(program.fd, seat.ifindex, self.pin_path, mode)
                moved.append(seat)
            except BridgeError as error:
                if not is_here(seat.ifindex):
                    continue  # the watcher is about to tell
                for done in moved:
                    attach(before.fd, done.ifindex, self.pin_path, mode)
                what = f"{seat.name} does not take the new program: {error.what}"
                raise DatapathError(what, mend=error.mend) from error
        for seat in moved:
            self.attached[seat.ifindex] = replace(seat, program_id=program.info.program_id)
        self.program, self.maps = program, maps

    def begin(self) -> None:
        """Let new maps forward: all routes that are known are in them, or none is known. Not where an operator has
        switched it off."""
        if self.begins:
            self.begins = False
            self.maps.enable(True)

    def leave_earlier(self) -> None:
        """After a start: an interface that would not take our program may still have one of an earlier bridge, over
        maps that nobody keeps true. Its packets become the kernel's. Pins of other versions go."""
        assert self.program is not None, "load first"
        for seat in attached(self.pin_path):
            if seat.program_id != self.program.info.program_id:
                detach(seat.ifindex, self.pin_path)
                text = "an earlier program was left there: taken off, packets go by the kernel"
                self.events.add("xdp-detached", seat.name, text, Severity.WARNING)
        for folder in pins.other_layouts(self.pin_path):
            text = "unpinned: no program reads these maps any more"
            self.events.add("other-layout", str(folder), text, Severity.NOTICE)
        pins.remove_other_layouts(self.pin_path)
        pins.pin_program(self.pin_path, self.program.fd)
        if self.memory is not None and self._sources:
            remember(self.memory, self.program, self._sources)

    def leave_unwanted(self) -> None:
        """Come off interfaces that an earlier configuration named and this one does not; take no packets where an
        earlier run knew an interface that is gone."""
        self.maps.ingress.keep_only(place for _, places in self._accepted.values() for place in places)
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


def sizes_of(settings: Settings) -> Sizes:
    """The maps that a configuration asks for."""
    return Sizes(settings.max_ipv4, settings.max_ipv6, settings.engine is not Engine.LPM, settings.group_slots)


def _kept(maps: Maps, wanted: Sizes) -> Iterator[str]:
    """What of pinned maps is otherwise than the configuration has it by now."""
    mend = "which stay; mend: `bgpbridge datapath upgrade`"
    if not maps.mapped:
        yield "this kernel maps no arrays (Linux 5.5): the tries answer alone, a change is a system call"
    elif wanted.indexed and not maps.indexed:
        yield f"the pinned maps were made for the engine `lpm`, {mend}"
    if (slots := maps.slots.shape[1]) != wanted.group_slots:
        yield f"the pinned maps have groups of {slots} slots, not {wanted.group_slots}, {mend}"

"""What an earlier bridge left for the datapath to go on with: its maps, and the program on its interfaces.

Maps are adopted as they are pinned. Where they are of other sizes, or of another version, new ones get what stands in
them: no program reads the new ones yet, so packets see nothing of it until each interface gets its program.

A program that was made from the very sources that we have need not be compiled again: a file says which that is.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bgpbridge.datapath import pins
from bgpbridge.datapath.attach import attached
from bgpbridge.datapath.carry import remake, switched_off
from bgpbridge.datapath.loader import Loader, Program
from bgpbridge.datapath.maps import Maps, pinned_room
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import map_info, object_get, program_info, program_map_ids
from bgpbridge.errors import LayoutError
from bgpbridge.events import EventLog, Severity

__all__ = ["Opened", "grown", "made_from", "opened", "remember", "running"]


@dataclass(frozen=True, slots=True)
class Opened:
    """Maps to go on with. `adopted`: an earlier run's routes are in them. `begins`: they are to forward once there are
    routes; otherwise they do already, or an operator has switched it off."""

    maps: Maps
    adopted: bool
    begins: bool


def running(pin_path: Path, maps: Maps) -> Program | None:
    """The program that an earlier bridge put on the interfaces, where it reads these very maps."""
    pin = pins.program_pin(pin_path)
    if not pin.exists():
        return None
    fd = object_get(pin)
    info, everywhere = program_info(fd), {seat.program_id for seat in attached(pin_path)}
    if everywhere == {info.program_id} and map_info(maps.lpm4.fd).map_id in program_map_ids(fd):
        return Program(fd, Loader.AUTO, info, 0.0, "loaded by an earlier bridge")
    os.close(fd)
    return None


def grown(pin_path: Path, sizes: Sizes) -> Sizes:
    """No less room than an earlier run had made, or its routes might not fit. `bgpbridge datapath upgrade` takes back
    what is not needed any more."""
    pins.recover(pin_path)
    four, six = pinned_room(pins.layout_folder(pin_path))
    return replace(sizes, max_ipv4=max(sizes.max_ipv4, four), max_ipv6=max(sizes.max_ipv6, six))


def remember(path: Path, program: Program, sources: str) -> None:
    """Replace the file in one step: `program`, which is on the interfaces, was made from `sources` (their hash)."""
    known = {
        "version": 1,
        "id": program.info.program_id,
        "tag": program.info.tag,
        "loader": program.loader.value,
        "sources": sources,
    }
    beside = path.with_suffix(".new")
    with suppress(OSError):  # then the next start compiles
        beside.write_text(json.dumps(known), encoding="utf-8")
        os.replace(beside, path)  # noqa: PTH105 - rename over, atomically


def made_from(path: Path, program: Program, loader: Loader, sources: str) -> Program | None:
    """The program on the interfaces when it is what `loader` would make of these sources; None when that is not known.
    Ids are not given out twice before a reboot, and no program outlives that."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        by = Loader(known["loader"])
        same = (known["id"], known["tag"]) == (program.info.program_id, program.info.tag)
        if known["version"] != 1 or known["sources"] != sources or not same or loader not in (Loader.AUTO, by):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return replace(program, loader=by)


def opened(pin_path: Path, sizes: Sizes, events: EventLog) -> Opened:
    """Maps that are adopted, carried over from maps of other sizes or of another version, or new. Raises DatapathError
    or CapacityError."""
    pins.recover(pin_path)
    mine, others = pins.layout_folder(pin_path), pins.other_layouts(pin_path)
    if not mine.is_dir() and others:
        return _carried(pin_path, sizes, others[-1], events)
    try:
        maps, adopted = Maps.open(pin_path, sizes)
    except LayoutError as error:
        return _remade(pin_path, sizes, mine, events, error)
    return _with(maps, adopted)


def _remade(pin_path: Path, sizes: Sizes, folder: Path, events: EventLog, error: LayoutError) -> Opened:
    try:
        maps = remake(pin_path, sizes, folder)
    except LayoutError:
        raise error from None
    text = f"made anew with all that stood in them: {error.what}"
    events.add("maps-remade", str(folder), text, Severity.NOTICE)
    return _with(maps, True)


def _carried(pin_path: Path, sizes: Sizes, folder: Path, events: EventLog) -> Opened:
    try:
        maps = remake(pin_path, sizes, folder)
    except LayoutError as error:
        off = switched_off(folder)
        until = "for forwarding is switched off" if off else "until the peers have sent their tables"
        text = f"ours cannot be filled from these maps ({error.what}): packets go by the kernel {until}"
        events.add("other-layout", str(folder), text, Severity.WARNING)
        return Opened(Maps.open(pin_path, sizes)[0], False, not off)
    text = "maps of another version: routes, groups and neighbours are carried over"
    events.add("other-layout", str(folder), text, Severity.NOTICE)
    return _with(maps, True)


def _with(maps: Maps, adopted: bool) -> Opened:
    return Opened(maps, adopted, not maps.enabled and not maps.switched_off)

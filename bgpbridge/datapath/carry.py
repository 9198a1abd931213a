"""What one set of maps hands over to another: everything but the routes, which the FIB writes itself.

    at once, by `carry_state`    groups and the links that they lead to, adjacencies, interfaces with their numbers,
                                 egress ports, the switch, options, the hash seed (so that no flow moves), counters
    never                        handshakes that are being measured, how much of `punt_rate` is used up; the index
                                 flags, which say what the new maps hold

`carry_layout` does the same from pins that are ours but for their sizes, or another version's whose routes, groups and
adjacencies mean what ours do (`ALIKE`), routes included. From others nothing is taken but whether an operator had
switched forwarding off (`switched_off`): the Loc-RIB fills the maps, and until then packets pass to the kernel.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes, possible_cpus
from bgpbridge.datapath.syscalls import MapType, map_info, object_get
from bgpbridge.errors import LayoutError

__all__ = ["carry_layout", "carry_state", "remake", "switched_off"]

COPIED = ("interfaces", "counters", "adjacency_counters", "group_counters")
NEEDED = ("lpm4", "lpm6", "groups", "group_slots", "adjacencies", "control")
ROUTES = ("lpm4", "lpm6")
ARRAYS = ("groups", "adjacencies", "control")
ALIKE = frozenset({abi.LAYOUT})
SETTINGS = ("enabled", "hash_seed", "rtt_mask", "punt_cost_ns", "punt_burst_ns")
INDEXES = sum(flag.value for flag in abi.ControlFlag if str(flag.name).startswith("INDEX"))


def carry_state(old: Maps, new: Maps) -> None:
    """Make the new maps say what the old ones say, routes left out. Some ten milliseconds; `new` is in no program
    that sees packets yet, or has been out of use."""
    new.store_all("adjacencies", old.adjacencies)
    new.store_slots(old.slots)
    new.store_sources(old.kept_sources)
    new.store_all("groups", old.groups)
    new.strict = old.strict
    kept = int(new.control["flags"][0]) & INDEXES
    settings = {name: int(old.control[name][0]) for name in SETTINGS}
    new.store_settings(**settings, flags=kept | int(old.control["flags"][0]) & ~INDEXES)
    for name in COPIED:
        _copy_all(old.by_name[name], new.by_name[name])
    _copy_ports(old.tx_ports, new.tx_ports)
    new.ingress.take_over(old.ingress)


def _copy_all(old: BpfMap, new: BpfMap) -> None:
    keys, values = old.dump()
    standing = set(new.dump()[0].tolist()) if old.name == "interfaces" else set()
    for key in standing - set(keys.tolist()):
        new.delete(key)
    batch = new.update_batch(keys, values)
    if batch.error is not None:
        raise batch.error


def _copy_ports(old: BpfMap, new: BpfMap) -> None:
    """A devmap knows no batches, and a value is read as it was written: the ifindex itself."""
    there, wanted = set(new.keys().tolist()), set(old.keys().tolist())
    for ifindex in there - wanted:
        new.delete(ifindex)
    for ifindex in wanted:
        new.update(ifindex, ifindex)


def remake(pin_path: Path, sizes: Sizes, folder: Path) -> Maps:
    """New maps with what is pinned in `folder`, maps of other sizes or of another version's layout; pinned in their
    place, the latter beside them. Raises LayoutError when they have too little in common."""
    maps = Maps.create(sizes)
    try:
        carry_layout(folder, maps)
        maps.pin(pin_path, replacing=True)
    except BaseException:
        maps.close()
        raise
    return maps


def carry_layout(folder: Path, new: Maps) -> None:
    """Fill new maps from the pins of another layout. Raises LayoutError, nothing written, when its routes, groups or
    adjacencies have another shape than ours."""
    if int(folder.name[1:]) not in ALIKE:
        raise LayoutError(f"{folder}: what stands there may mean other things than ours")
    with ExitStack() as opened:
        old = {name: _opened(folder / name, new.by_name[name], opened) for name in NEEDED}
        room = {name: new.by_name[name].max_entries for name in ROUTES}
        routes = {name: old[name].dump() for name in ROUTES}
        if small := [name for name in ROUTES if len(routes[name][0]) > room[name]]:
            raise LayoutError(f"{folder}: more routes in {', '.join(small)} than there is room for")
        for name, (keys, values) in routes.items():
            batch = new.by_name[name].update_batch(keys, values)
            if batch.error is not None:
                raise batch.error
        _carry_arrays(old, new)


def _opened(path: Path, like: BpfMap, opened: ExitStack) -> BpfMap:
    """A pinned map whose elements are those of one of ours."""
    if not path.exists():
        raise LayoutError(f"{path} is missing")
    fd = object_get(path)
    opened.callback(os.close, fd)
    info = map_info(fd)
    if (info.key_size, info.value_size) != (like.key.itemsize, like.value.itemsize):
        raise LayoutError(f"{path} holds values of {info.value_size} octets, ours are {like.value.itemsize}")
    if like.name in ARRAYS and info.max_entries != like.max_entries:
        raise LayoutError(f"{path} has {info.max_entries} elements, ours {like.max_entries}")
    per_cpu = possible_cpus() if info.type == MapType.PERCPU_ARRAY else 0
    return BpfMap(fd, like.name, like.key, like.value, info.max_entries, per_cpu)


def _carry_arrays(old: dict[str, BpfMap], new: Maps) -> None:
    new.store_all("adjacencies", old["adjacencies"].array())
    new.store_slots(old["group_slots"].array().view(np.uint16).reshape(len(new.groups), -1))
    new.store_all("groups", old["groups"].array())
    control = old["control"].array()  # in every layout these two stand where they stand in ours
    off = int(control["flags"][0]) & abi.ControlFlag.OFF
    new.store_settings(enabled=int(control["enabled"][0]), hash_seed=int(control["hash_seed"][0]), flags=int(off))


def switched_off(folder: Path) -> bool:
    """Whether the maps of any version say that nothing is to be forwarded: `control` begins with that word."""
    if not (folder / "control").exists():
        return False
    fd = object_get(folder / "control")
    try:
        value = np.dtype(f"V{map_info(fd).value_size}")
        word = BpfMap(fd, "control", np.dtype("<u4"), value, 1).lookup(np.zeros(1, np.uint32))
        return word is not None and not int.from_bytes(word.tobytes()[:4], "little")
    finally:
        os.close(fd)

"""The maps behind the datapath: made by bpf(2), pinned, adopted on restart, written by plain stores.

User space owns every map and hands the fds to whichever loader compiles the program, so a program can come
and go without a route being lost. Pins live under `<pin_path>/v<LAYOUT>/`; the folder appears whole (made
beside, then renamed), and adoption checks type, sizes and flags of every map before one octet is believed.

`groups`, `adjacencies` and `control` are mmapped: `store_group` and its friends are single stores, in an
order that never shows a reader something half written (DESIGN section 7). bpf/abi.h holds the layouts. Where
the kernel maps no arrays (before 5.5) the arrays are copies, and each store is followed by a system call for
the element; who stores into `adjacencies` calls `stored_adjacency` then.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi, pins
from bgpbridge.datapath.control_word import ControlWord
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.growing import ROOMY, Part, Room
from bgpbridge.datapath.ingress import Ingress
from bgpbridge.datapath.specs import MapSpec, Sizes, check_memory, possible, possible_cpus, specs
from bgpbridge.datapath.syscalls import MapFlag, MapType, map_create, map_info, object_get, object_pin
from bgpbridge.errors import LayoutError
from bgpbridge.types import Family

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Maps", "Sizes", "open_map", "pinned_room"]

GROUP_SIZES = (64, 128, 256, 512)
PUNT_BURST_NS = 100_000_000
GROUPS_AT_ONCE = 2048
INDEX_FLAGS = {Family.IPV4: abi.ControlFlag.INDEX4, Family.IPV6: abi.ControlFlag.INDEX6}
ARRAYS = ("groups", "adjacencies", "control", "rtt_rings")


def open_map(fd: int, spec: MapSpec) -> BpfMap:
    """The map of this layout that an fd stands for."""
    per_cpu = possible_cpus() if spec.type is MapType.PERCPU_ARRAY else 0
    return BpfMap(fd, spec.name, spec.key, spec.value, spec.entries, per_cpu)


def _array_of(bpf_map: BpfMap, *, mapped: bool, fresh: bool) -> npt.NDArray[Any]:
    if mapped:
        return bpf_map.mapped()
    return np.zeros(bpf_map.max_entries, bpf_map.value) if fresh else bpf_map.array()


@dataclass(slots=True)
class Maps:
    """All maps of one datapath, open. `by_name` holds every one; the attributes name those with callers."""

    by_name: Mapping[str, BpfMap]
    fresh: InitVar[bool] = False
    mapped: bool = field(init=False)
    groups: npt.NDArray[Any] = field(init=False, repr=False)
    slots: npt.NDArray[np.uint16] = field(init=False, repr=False)
    adjacencies: npt.NDArray[Any] = field(init=False, repr=False)
    control: npt.NDArray[Any] = field(init=False, repr=False)
    index4: npt.NDArray[np.uint16] | None = field(init=False, repr=False)
    index6_slots: npt.NDArray[np.uint32] | None = field(init=False, repr=False)
    index6_words: npt.NDArray[np.uint32] = field(init=False, repr=False)
    rtt_rings: npt.NDArray[Any] = field(init=False, repr=False)
    group_sources: npt.NDArray[np.uint64] = field(init=False, repr=False)
    kept_sources: npt.NDArray[np.uint64] = field(init=False, repr=False)
    index4_pages: Room = field(init=False, repr=False)  # of `index4`, pages that are used
    index6_lines: Room = field(init=False, repr=False)
    control_word: ControlWord = field(init=False, repr=False)
    trace_rings: npt.NDArray[Any] = field(init=False, repr=False)
    _flags_now: memoryview = field(init=False, repr=False)
    _slot_octets: memoryview = field(init=False, repr=False)
    _group_heads: memoryview = field(init=False, repr=False)
    _word0: npt.NDArray[np.uint64] = field(init=False, repr=False)
    _word1: npt.NDArray[np.uint64] = field(init=False, repr=False)
    _places: npt.NDArray[np.uint64] = field(init=False, repr=False)
    ingress: Ingress = field(init=False, repr=False)
    strict: bool = field(init=False)

    def __post_init__(self, fresh: bool) -> None:
        self.mapped = bool(map_info(self.by_name["groups"].fd).flags & MapFlag.MMAPABLE)

        def array(name: str) -> npt.NDArray[Any]:
            return _array_of(self.by_name[name], mapped=self.mapped, fresh=fresh)

        self.groups, self.adjacencies, self.control, self.rtt_rings = (array(name) for name in ARRAYS)
        self.control_word = ControlWord(self.control)
        self._flags_now = self.control["flags"].data  # asked for each single route
        self.trace_rings = array("trace_rings")
        self._open_indexes(array("index6_dir"), fresh=fresh)
        self.slots = array("group_slots").view(np.uint16).reshape(len(self.groups), -1)
        # so that a store under traffic is one indexing and no more; one of a view is quicker than one of an array
        self._slot_octets, self._group_heads = self.slots.data.cast("B"), self.groups.view(np.uint64).data
        self._word0, self._word1 = self.adjacencies["word0"], self.adjacencies["word1"]
        self._places = self.adjacencies.view(np.uint64).reshape(len(self.adjacencies), -1)[:, 2]
        self.group_sources = array("group_sources")
        self.kept_sources = self.group_sources.copy()  # as ControlWord does: what we stored
        self.ingress = Ingress(self.interfaces, self.tx_ports)
        self.strict = bool(int(self.control["flags"][0]) & abi.ControlFlag.STRICT)

    def _open_indexes(self, pairs: npt.NDArray[Any], *, fresh: bool) -> None:
        """What grows in them is mapped as far as it is used; of maps that are adopted all, until their writers know."""
        self.index4 = self.index6_slots = None
        self.index6_words = np.zeros(0, np.uint32)
        self.index4_pages = self.index6_lines = ROOMY
        if not self.mapped or self.by_name["index4"].max_entries != abi.INDEX4_LINES:
            return
        slots, lines = (self.by_name[name].growing(whole=not fresh) for name in ("index4", "index6_lines"))
        slots.reach(abi.INDEX4_SLOTS // 4)
        self.index4, self.index6_words = slots.values.view(np.uint16), lines.values.view(np.uint32)
        self.index6_slots = pairs.view(np.uint32)
        self.index4_pages = Part(slots, abi.INDEX4_SLOTS // 4, abi.INDEX4_PAGE // 4)
        self.index6_lines = Part(lines)

    @classmethod
    def create(cls, sizes: Sizes) -> Self:
        """New maps, unpinned: empty tries, reserved groups filled, forwarding off, a fresh hash seed.
        Raises CapacityError before anything is made when full tables would not fit into memory."""
        sizes = possible(sizes)
        check_memory(sizes)
        made: dict[str, BpfMap] = {}
        try:
            for spec in specs(sizes):
                fd = map_create(spec.type, spec.key.itemsize, spec.value.itemsize, spec.entries, spec.flags, spec.name)
                made[spec.name] = open_map(fd, spec)
        except BaseException:
            for bpf_map in made.values():
                bpf_map.close()
            raise
        maps = cls(made, fresh=True)
        maps.control_word.set("hash_seed", secrets.randbits(64))
        maps.control_word.set("layout", abi.LAYOUT)
        maps.control_word.set("slot_bits", sizes.group_slots.bit_length() - 1)
        maps._store_control()
        maps.store_group(abi.GROUP_PUNT, flags=abi.GroupFlag.VALID | abi.GroupFlag.PUNT)
        maps.store_group(abi.GROUP_BLACKHOLE, flags=abi.GroupFlag.VALID | abi.GroupFlag.BLACKHOLE)
        return maps

    @classmethod
    def adopt(cls, pin_path: Path, sizes: Sizes) -> Self:
        """The maps that are pinned. Raises LayoutError when one is missing or is not laid out as ours."""
        folder, sizes = pins.layout_folder(pin_path), possible(sizes)
        found: dict[str, BpfMap] = {}
        try:
            for spec in specs(sizes):
                found[spec.name] = open_map(_adopt_one(folder / spec.name, spec), spec)
            maps = cls(found)
            maps.check_layout(pin_path)
        except BaseException:
            for bpf_map in found.values():
                bpf_map.close()
            raise
        return maps

    @classmethod
    def open(cls, pin_path: Path, sizes: Sizes) -> tuple[Self, bool]:
        """Adopt what is pinned, else create and pin. The flag says whether it was adopted."""
        pins.recover(pin_path)
        folder = pins.layout_folder(pin_path)
        if folder.is_dir():
            return cls.adopt(pin_path, _as_made(sizes, folder)), True
        maps = cls.create(sizes)
        maps.pin(pin_path)
        return maps, False

    def check_layout(self, pin_path: Path) -> None:
        """Raise LayoutError when the control map does not carry our layout number."""
        if (layout := int(self.control["layout"][0])) != abi.LAYOUT:
            raise LayoutError(f"{pin_path}: control says layout {layout}, not {abi.LAYOUT}", mend=_clear(pin_path))

    def pin(self, pin_path: Path, *, replacing: bool = False) -> None:
        """Pin all maps; the folder appears whole or not at all. `replacing` those that are pinned."""
        with pins.new_layout_folder(pin_path, replacing=replacing) as folder:
            for name, bpf_map in self.by_name.items():
                object_pin(bpf_map.fd, folder / name)

    def fit(self, sizes: Sizes) -> bool:
        """Whether maps of these sizes would be the same as ours."""
        return all(spec.entries == self.by_name[spec.name].max_entries for spec in specs(possible(sizes)))

    def store_slots(self, slots: npt.NDArray[np.uint16]) -> None:
        """All groups' slots, of groups that may have more slots than ours or fewer: a flow's upper hash bits choose, so
        that slot n of so many is the slot at the same part of the way."""
        mine, theirs = self.slots.shape[1], slots.shape[1]
        same = slots if mine == theirs else slots[:, np.arange(mine) * theirs // mine]
        other = np.flatnonzero((self.slots != same).any(axis=1))
        self.slots[other] = same[other]
        for group in other.tolist() if not self.mapped else ():
            self._stored_slots(group)

    def store_all(self, name: str, values: npt.NDArray[Any]) -> None:
        """Make a whole array (`groups`, `group_sources`, `adjacencies`) what these values say."""
        array: npt.NDArray[Any] = getattr(self, name)
        pair = (rows.view(np.uint8).reshape(len(array), -1) for rows in (array, values))
        other = np.flatnonzero(np.not_equal(*pair).any(axis=1))
        array[other] = values[other]
        if not self.mapped:
            batch = self.by_name[name].update_batch(other, array[other])
            if batch.error is not None:
                raise batch.error

    def store_settings(self, **settings: int) -> None:
        """Fields of the control map."""
        for name, value in settings.items():
            self.control_word.set(name, value)
        self._store_control()

    def stored_adjacency(self, index: int) -> None:
        """Words of an adjacency were stored in the array."""
        if not self.mapped:
            self.by_name["adjacencies"].update(index, self.adjacencies[index : index + 1])

    def _store_control(self) -> None:
        if not self.mapped:
            self.by_name["control"].update(0, self.control)

    def _stored_slots(self, group: int) -> None:
        if not self.mapped:
            lines = self.slots[group].view(abi.SLOT_LINE)
            keys = np.arange(group * len(lines), (group + 1) * len(lines), dtype=np.uint32)
            self.by_name["group_slots"].update_batch(keys, lines)

    def _stored_group(self, group: int) -> None:
        if not self.mapped:
            self.by_name["groups"].update(group, self.groups[group : group + 1])

    def _store_sources(self, group: int, bits: np.uint64) -> None:
        self.group_sources[group] = self.kept_sources[group] = bits
        if not self.mapped:
            self.by_name["group_sources"].update(group, bits)

    @property
    def fds(self) -> dict[str, int]:
        """Map fds by name, as the loaders want them."""
        return {name: bpf_map.fd for name, bpf_map in self.by_name.items()}

    @property
    def indexed(self) -> bool:
        """Whether there are indexes in front of the tries."""
        return self.index4 is not None

    @property
    def lpm4(self) -> BpfMap:
        """IPv4 prefix -> group id; keys by abi.lpm4_keys."""
        return self.by_name["lpm4"]

    @property
    def lpm6(self) -> BpfMap:
        """IPv6 prefix -> group id; keys by abi.lpm6_keys."""
        return self.by_name["lpm6"]

    @property
    def interfaces(self) -> BpfMap:
        """Ingress abi.Place.word -> abi.INTERFACE: where packets are taken, and to which MAC. `ingress` writes it."""
        return self.by_name["interfaces"]

    @property
    def tx_ports(self) -> BpfMap:
        """Egress ifindex -> ifindex. Fill it from the router's own network namespace."""
        return self.by_name["tx_ports"]

    @property
    def enabled(self) -> bool:
        """Whether the program forwards at all."""
        return bool(self.control["enabled"][0])

    @property
    def switched_off(self) -> bool:
        """Whether somebody has said that nothing is to be forwarded."""
        return bool(int(self.control["flags"][0]) & abi.ControlFlag.OFF)

    def enable(self, on: bool) -> None:
        """`bgpbridge on` and `off`: one store, and every packet is the kernel's. That somebody said so is kept beside
        it, for new maps forward nothing either."""
        self.control_word.set_flag(abi.ControlFlag.OFF, on=not on)
        self.control_word.set("enabled", int(on))
        self._store_control()

    def measure_handshakes(self, one_in: int) -> None:
        """Note the round-trip times of TCP handshakes (`datapath.rtt`) for one in so many flows, a power of two;
        0 for none. None where the arrays are copies: what the program notes is not seen in them."""
        one_in = one_in if self.mapped else 0
        self.control_word.set("rtt_mask", max(one_in - 1, 0))
        self.control_word.set_flag(abi.ControlFlag.RTT, on=bool(one_in))
        self._store_control()

    def trace(self, on: bool) -> None:
        """Note the packets that `trace_filter` wants in `trace_rings`, or none."""
        self.control_word.set_flag(abi.ControlFlag.TRACE, on=on and self.mapped)
        self._store_control()

    def use_index(self, family: Family, on: bool) -> None:
        """Let the index answer for a family, or the trie alone: one store. The index must be in line already."""
        self.control_word.set_flag(INDEX_FLAGS.get(family, 0), on=on)
        self._store_control()

    def uses_index(self, family: Family) -> bool:
        """Whether packets ask the index of a family."""
        return bool(self._flags_now[0] & INDEX_FLAGS.get(family, 0))

    def store_group(
        self, group: int, slots: int | npt.ArrayLike = 0, *, flags: abi.GroupFlag = abi.GroupFlag.VALID
    ) -> None:
        """Fill a group or change it under traffic: slots first (each packet sees a slot old or new), then
        generation and flags in one store. Adjacencies that the slots name must stand already."""
        size = self.slots.shape[1]
        if isinstance(slots, int):
            octets = slots.to_bytes(2, sys.byteorder) * size
        else:
            octets = np.broadcast_to(np.asarray(slots, np.uint16), size).tobytes()
        self.store_slots_of(group, octets, int(flags) << 32)

    def store_slots_of(self, group: int, slots: bytes, flags: int) -> None:
        """The same in short: all slots as octets, flags where they stand in the group's head."""
        bits = self._source_bits(np.frombuffer(slots, np.uint16)) if self.strict else None
        if bits is not None:  # no packet by a new link meets a check that does not know it
            self._store_sources(group, self.kept_sources[group] | bits)
        heads, first = self._group_heads, group * len(slots)
        self._slot_octets[first : first + len(slots)] = slots
        if not self.mapped:
            self._stored_slots(group)
        heads[group] = (heads[group] + 1 & 0xFFFFFFFF) | flags
        if not self.mapped:
            self._stored_group(group)
        if bits is not None:
            self._store_sources(group, bits)

    def clear_group(self, group: int) -> None:
        """Make a group invalid: its packets pass. Only then may its id be used for something else."""
        self._group_heads[group] = self._group_heads[group] + 1 & 0xFFFFFFFF
        self._stored_group(group)
        self.slots[group] = 0
        self._stored_slots(group)
        counts = self.by_name["group_counters"]
        counts.update(group, np.zeros(counts.per_cpu, abi.COUNTER))  # who gets the id next begins at nothing

    def _source_bits(self, slots: npt.NDArray[np.uint16]) -> np.uint64:
        """The links that a group with these slots leads to."""
        named = set(slots.tolist())
        return np.uint64(self.ingress.bits_of(int(self._places[number]) for number in named))

    def _store_sources_of(self, groups: npt.NDArray[np.intp]) -> None:
        """The links that these groups lead to, by their slots as they stand."""
        known = self.kept_sources.copy()
        for part in np.array_split(groups, len(groups) // GROUPS_AT_ONCE + 1):
            known[part] = self.ingress.links_of(self.slots[part], self._places)
        self.store_sources(known)

    def store_sources(self, known: npt.NDArray[np.uint64]) -> None:
        """The links of all groups."""
        self.kept_sources[:] = known
        self.store_all("group_sources", known)

    def adjacency_moved(self, adjacency: int) -> None:
        """It stands at another place now, and is down: the groups that name it lead to another link."""
        if self.strict:
            used = np.flatnonzero(self.groups["flags"])
            self._store_sources_of(used[(self.slots[used] == adjacency).any(axis=1)])

    def check_sources(self, *, loose: bool = False, strict: bool = False) -> None:
        """The reverse-path check (RFC 3704). What the strict one needs to know of each group is kept only while it
        is on: it is written down first, then the check begins by one store."""
        self.strict = strict
        if strict:
            self._store_sources_of(np.flatnonzero(self.groups["flags"]))
        check = abi.ControlFlag.STRICT if strict else abi.ControlFlag.LOOSE if loose else 0
        self.control_word.set_flags(abi.ControlFlag.STRICT | abi.ControlFlag.LOOSE, check)
        self._store_control()

    def use_flow_label(self, on: bool) -> None:
        """Let the flow label (RFC 6437) be part of an IPv6 flow: flows with labels move to other slots, once."""
        self.control_word.set_flag(abi.ControlFlag.FLOW_LABEL, on=on)
        self._store_control()

    def limit_punts(self, rate: int) -> None:
        """At most `rate` packets a second and CPU pass for each reason that asks the kernel to answer; 0: no limit.
        A tenth of a second's worth may come at once."""
        cost_ns = 1_000_000_000 // rate if rate else 0
        self.store_settings(punt_burst_ns=PUNT_BURST_NS, punt_cost_ns=cost_ns)

    def store_adjacency(self, index: int, adjacency: abi.Adjacency) -> None:
        """Fill an adjacency: egress first, then the MACs, the word with the state last. One that is named
        by a slot may change MACs, MTU and state this way; its place must stay."""
        self._places[index] = abi.Place(adjacency.ifindex, adjacency.outer, adjacency.inner).word
        self._word0[index] = adjacency.word0
        self._word1[index] = adjacency.word1
        self.stored_adjacency(index)

    def set_adjacency_state(self, index: int, state: abi.AdjacencyState) -> None:
        """Up or down by one store; MACs stay."""
        self._word1[index] = np.uint64(int(self._word1[index]) & ((1 << 48) - 1) | int(state) << 48)
        self.stored_adjacency(index)

    def accept_interface(self, ifindex: int, mac: bytes, *places: abi.Place) -> None:
        """Take packets that come in by `ifindex` to this MAC, and let packets out by it; see Ingress.accept."""
        self.ingress.accept(ifindex, mac, *places)

    def forget_interface(self, ifindex: int, *places: abi.Place) -> None:
        """Neither in nor out by this interface any more."""
        for place in places or (abi.Place(ifindex),):
            self.ingress.forget(place)

    def close(self) -> None:
        """Give all fds back. The mappings go with the last array that looks at them."""
        for bpf_map in self.by_name.values():
            bpf_map.close()


def _clear(pin_path: Path) -> str:
    return f"stop bgpbridge and run `bgpbridge clear`, which removes {pin_path} and detaches; then start again"


def _as_made(sizes: Sizes, folder: Path) -> Sizes:
    """With the indexes and slots that the maps there have: the configuration of an earlier run chose them, and only
    other maps can change it."""
    index, slots = _entries(folder / "index4"), _entries(folder / "group_slots")
    indexed = sizes.indexed if index is None else index == abi.INDEX4_LINES
    each = (slots or 0) * 4 // abi.MAX_GROUPS
    return replace(sizes, indexed=indexed, group_slots=each if each in GROUP_SIZES else sizes.group_slots)


def pinned_room(folder: Path) -> tuple[int, int]:
    """How many IPv4 and IPv6 prefixes the maps that are pinned there have room for; 0 where there are none."""
    return _entries(folder / "lpm4") or 0, _entries(folder / "lpm6") or 0


def _entries(path: Path) -> int | None:
    if not path.exists():
        return None
    fd = object_get(path)
    try:
        return map_info(fd).max_entries
    finally:
        os.close(fd)


def _adopt_one(path: Path, spec: MapSpec) -> int:
    if not path.exists():
        raise LayoutError(f"{path} is missing beside its sisters", mend=_clear(path.parent.parent))
    fd = object_get(path)
    differences = spec.differences(map_info(fd))
    if not differences:
        return fd
    os.close(fd)
    mend = _clear(path.parent.parent)
    if spec.type is MapType.LPM_TRIE and [d.split()[0] for d in differences] == ["entries"]:
        mend = f"set datapath.max_ip{'v4' if spec.name == 'lpm4' else 'v6'} back, or {mend}"
    raise LayoutError(f"{path} is not laid out as ours: {'; '.join(differences)}", mend=mend)

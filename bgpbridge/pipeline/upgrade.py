"""`bgpbridge datapath upgrade`: another program, and where the configuration asks for it other maps, with no packet
lost; and back again when it does not do well.

    compile, verify         over the maps that are to be used                          ┐ packets notice
    prove                   the self-test's frames, over maps of its own               │ nothing: whatever
    fill                    new maps from what stands, changes mirrored (fib/mirror)   ┘ fails is undone
    hand over               state copied, then one link update for each interface: each packet meets the old
                            program or the new one, each over maps that are whole and true
    watch                   for some seconds (`upgrade_watch`); changes still go to both sets of maps
    settle, or go back      the old maps' pins give way to the new ones; or the same hand-over the other way round

The hand-over is one piece of the event loop's time, so that no route and no neighbour changes in the midst of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.datapath import abi, pins
from bgpbridge.datapath.carry import carry_state
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.loader import Loader, Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.specs import Sizes
from bgpbridge.errors import BridgeError, DatapathError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.mirror import Mirrors
from bgpbridge.fib.selftest import prove
from bgpbridge.fib.table import Table, tables
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.pipeline.datapath import Datapath, sizes_of
from bgpbridge.pipeline.upgrade_watch import Seen, received, wrong
from bgpbridge.types import Family

__all__ = ["Upgrade", "UpgradeReport"]

BEFORE_S = 1.0  # the counters before are those of so long at least
LOOK_EVERY_S = 0.25
FITS = 3 / 4  # of the room that is asked for: more than that, and it would have to grow again


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What an upgrade did. `stayed`: the new program forwards; else the one before does again. `steps` are sentences in
    their order."""

    stayed: bool
    text: str
    steps: tuple[str, ...]
    program: int
    maps_replaced: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """A program, its maps, and the tables over them."""

    program: Program
    maps: Maps
    tables: dict[Family, Table]
    engine: Engine

    def followed(self) -> None:
        """Wait for what the tries have still to follow: for a thread, so that the hand-over need not wait for it."""
        for table in self.tables.values():
            table.follower.flush()

    def close(self, *, maps: bool) -> None:
        self.program.close()
        if maps:
            self.maps.close()


@dataclass(slots=True)
class Upgrade:
    """Upgrades of one datapath, one at a time. `movers` are told of other maps, as everybody who holds arrays of them
    must be; `alone` keeps audits out, which read maps in a thread."""

    datapath: Datapath
    xdp: XdpFib
    movers: tuple[Callable[[Maps], None], ...]
    events: EventLog
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    _steps: list[str] = field(default_factory=list)

    async def run(self, settings: Settings, watch_s: float) -> UpgradeReport:
        """Go over to a program that is compiled now, and to maps as `settings` want them. Raises BridgeError; then
        everything is as before, and an event says so."""
        async with self.alone:
            self._steps = []
            try:
                return await self._run(settings, watch_s)
            except BridgeError as error:
                text = f"{error}; the program in force goes on"
                self.events.add("datapath-upgrade-refused", "xdp", text, Severity.ERROR)
                raise

    async def _run(self, settings: Settings, watch_s: float) -> UpgradeReport:
        began, start = asyncio.get_running_loop().time(), self._seen()
        old, mirrors = self._in_force(), None
        new = await self._prepared(settings, old)
        moved = new.maps is not old.maps
        try:
            if moved:
                mirrors = Mirrors(self.xdp, new.tables)
                await self._fill(mirrors)
            await asyncio.sleep(max(0.0, BEFORE_S - (asyncio.get_running_loop().time() - began)))
            await asyncio.to_thread(old.followed)
            if mirrors is not None:
                mirrors.check()
                mirrors.end()
            before = self._seen()
            self._hand_over(old, new)
        except BaseException:
            if mirrors is not None:
                mirrors.end()
            new.close(maps=moved)
            raise
        self._steps.append(self._handed_over(moved))
        back = Mirrors(self.xdp, old.tables) if moved else None
        try:
            fault = await self._watched(start, before, watch_s)
        except BaseException:  # the bridge is being stopped: what forwards now is what stays
            self._settled(old, new)
            raise
        finally:
            if back is not None:
                back.end()
        if not fault:
            return self._settled(old, new)
        return self._gone_back(old, new, fault, in_line=back is None or back.in_line)

    # -- steps --------------------------------------------------------------------------------------

    def _in_force(self) -> _Side:
        program = self.datapath.program
        assert program is not None, "the datapath is loaded"
        by_family = {family: trie.table for family, trie in self.xdp.tries.items()}
        return _Side(program, self.datapath.maps, by_family, self.xdp.engine)

    async def _prepared(self, settings: Settings, old: _Side) -> _Side:
        """A program that has proved itself, over maps as they are wanted. Raises BridgeError, nothing left behind."""
        sources = Sources.ours()
        _check_layout(sources)
        sizes = self._sizes(settings)
        maps = old.maps if old.maps.fit(sizes) else Maps.create(sizes)
        try:
            program = await asyncio.to_thread(load, maps.fds, Loader(settings.loader.value), sources)
        except BaseException:
            if maps is not old.maps:
                maps.close()
            raise
        by_family = old.tables if maps is old.maps else tables(maps)
        side = _Side(program, maps, by_family, Engine(settings.engine.value))
        how = f"by {program.loader.value} in {program.load_s:.2f} s{_because(program)}"
        self._steps.append(f"compiled and verified {how}")
        try:
            frames = await asyncio.to_thread(prove, program, sources, indexed=maps.indexed)
        except BaseException:
            side.close(maps=maps is not old.maps)
            raise
        self._steps.append(f"{frames} frames of the self-test leave as they should")
        return side

    def _sizes(self, settings: Settings) -> Sizes:
        """As the configuration has them; but not less room than there is for a family that has grown beyond that."""
        sizes, entries = sizes_of(settings), self.xdp.status().entries
        if not settings.grow:
            return sizes
        four, six = (
            table.max_entries if entries[family] > FITS * wanted else 0
            for family, table, wanted in (
                (Family.IPV4, self.datapath.maps.lpm4, sizes.max_ipv4),
                (Family.IPV6, self.datapath.maps.lpm6, sizes.max_ipv6),
            )
        )
        return replace(sizes, max_ipv4=max(sizes.max_ipv4, four), max_ipv6=max(sizes.max_ipv6, six))

    async def _fill(self, mirrors: Mirrors) -> None:
        routes = 0
        for count in mirrors.copy():
            routes += count
            await asyncio.sleep(0)
        self._steps.append(f"new maps filled beside the old ones: {routes:,} routes")

    def _hand_over(self, old: _Side, new: _Side) -> None:
        """All at once. Raises DatapathError when an interface does not take the program: then none has it."""
        moved = new.maps is not old.maps
        if moved:
            carry_state(old.maps, new.maps)
        self._move(new, moved)
        try:
            self.datapath.put(new.program, new.maps)
        except BridgeError:
            self._move(old, moved)
            raise

    def _move(self, side: _Side, moved: bool) -> None:
        """From now on changes go there, before a packet does."""
        self.xdp.move(side.maps, side.tables, side.engine)
        for move in self.movers if moved else ():
            move(side.maps)

    async def _watched(self, start: Seen, before: Seen, watch_s: float) -> str:
        """Why the new program should go; empty when it did well all the while."""
        loop = asyncio.get_running_loop()
        until, was = loop.time() + watch_s, before.since(start)
        first = self._seen()
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(LOOK_EVERY_S, left))
            if fault := wrong(was, self._seen().since(first)):
                return fault
        self._steps.append(f"counters watched for {watch_s:g} s: nothing wrong")
        return ""

    def _settled(self, old: _Side, new: _Side) -> UpgradeReport:
        replaced = new.maps is not old.maps
        if replaced:
            new.maps.pin(self.datapath.pin_path, replacing=True)
        pins.pin_program(self.datapath.pin_path, new.program.fd)
        old.close(maps=replaced)
        text = f"program {new.program.info.program_id} forwards in place of {old.program.info.program_id}"
        self.events.add("datapath-upgraded", "xdp", f"{text}; {'; '.join(self._steps)}", Severity.NOTICE)
        return UpgradeReport(True, text, tuple(self._steps), new.program.info.program_id, replaced)

    def _gone_back(self, old: _Side, new: _Side, fault: str, *, in_line: bool) -> UpgradeReport:
        if not in_line:  # a route came that the smaller old maps have no room for
            self._steps.append(f"{fault}; the old maps lack routes by now, so that the new program stays")
            return self._settled(old, new)
        self._hand_over(new, old)
        new.close(maps=new.maps is not old.maps)
        self._steps.append(fault)
        text = f"went back to program {old.program.info.program_id}: {fault}"
        self.events.add("datapath-went-back", "xdp", text, Severity.ERROR)
        return UpgradeReport(False, text, tuple(self._steps), old.program.info.program_id, False)

    # -- looking ------------------------------------------------------------------------------------

    def _seen(self) -> Seen:
        names = frozenset(seat.name for seat in self.datapath.attached.values())
        return Seen(read_reasons(self.datapath.maps), received(names))

    def _handed_over(self, moved: bool) -> str:
        names = ", ".join(sorted(seat.name for seat in self.datapath.attached.values())) or "no interface"
        return f"one link update each on {names}{'; the new maps answer' if moved else ''}"


def _because(program: Program) -> str:
    return f" ({program.note})" if program.note else ""


def _check_layout(sources: Sources) -> None:
    """Raise DatapathError when the sources on disk are another version's than this process."""
    found = re.search(r"^#define LAYOUT\s+(\d+)", (sources.folder / "abi.h").read_text(encoding="utf-8"), re.MULTILINE)
    layout = int(found[1]) if found is not None else 0
    if layout != abi.LAYOUT:
        raise DatapathError(
            f"the sources in {sources.folder} have layout {layout}; this process knows {abi.LAYOUT}",
            mend="restart bgpbridge: another version has been installed, and its bridge takes the maps over",
        )

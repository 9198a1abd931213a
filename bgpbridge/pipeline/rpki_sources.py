"""One source of VRPs as the bridge uses it: what of it counts now, and what is wrong with it.

A source is followed by a task of its own. What it tells is taken over whole, unless it lost more than a share of its
VRPs at once: then what was there goes on, with an alarm (`rpki.vrp_source`). RTR caches are the exception that RFC 8210
makes: what has expired (s6), or comes from a session that the cache has forgotten (s5.1), goes at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bgpbridge.config.rpki import RpkiFile, RpkiServer
from bgpbridge.rpki.rtr import RtrClient, RtrNews
from bgpbridge.rpki.rtr_data import RtrData, columns_of
from bgpbridge.rpki.vrp_child import offered_beside
from bgpbridge.rpki.vrp_source import VrpSource, shrink_alarm
from bgpbridge.rpki.vrps import VrpColumns
from bgpbridge.types import Family

__all__ = ["FileSource", "ServerSource", "Source", "Told"]

Told = Callable[["Source"], None]
AGAIN_S = 900.0  # a file that stays the same is read again: VRPs in it end by time


class FileSource:
    """A validator's file. `told` is called whenever it was looked at and something is other than before."""

    def __init__(self, settings: RpkiFile, max_shrink_percent: int, told: Told) -> None:
        self.settings = settings
        self.asked = False
        self._told = told
        self._source = VrpSource(settings.path, max_shrink_percent, read=offered_beside)
        self._wake = asyncio.Event()
        self._look_again = False
        self._looked_at = time.monotonic()

    @property
    def name(self) -> str:
        """As configured."""
        return self.settings.name

    @property
    def alarm(self) -> str:
        """What is wrong now; empty: nothing."""
        return self._source.alarm

    @property
    def trouble(self) -> str:
        """What an operator has to look at; empty: nothing."""
        return self.alarm

    @property
    def wrong(self) -> bool:
        """What it offers is not used."""
        return bool(self.alarm)

    @property
    def age_s(self) -> float:
        """Seconds since it was looked at."""
        return time.monotonic() - self._looked_at

    @property
    def counts(self) -> dict[Family, int]:
        """VRPs in use."""
        return {family: len(part) for family, part in self._source.table.columns.items()}

    def columns(self, family: Family) -> VrpColumns:
        """VRPs in use. For a thread."""
        return self._source.table.columns[family]

    def allow(self, max_shrink_percent: int) -> None:
        """Another share may vanish from now on; what was refused is looked at again."""
        self._source.max_shrink_percent = max_shrink_percent
        self._look_again = True
        self._wake.set()

    async def follow(self) -> None:
        """For ever."""
        read_at = time.monotonic()
        while True:
            again = self._look_again or time.monotonic() - read_at >= AGAIN_S
            self._wake.clear()
            self._look_again = False
            before = self._source.table, self._source.alarm
            await asyncio.to_thread(self._source.look, time.time(), again=again)
            read_at = time.monotonic() if again else read_at
            self._looked_at = time.monotonic()
            if not self.asked or (self._source.table, self._source.alarm) != before:
                self.asked = True
                self._told(self)
            try:
                async with asyncio.timeout(self.settings.interval_s):
                    await self._wake.wait()
            except TimeoutError:
                continue


class ServerSource:
    """An RTR cache. `told` is called when what counts of it, or its alarm, is other than before."""

    def __init__(
        self, settings: RpkiServer, max_shrink_percent: int, told: Told, news: Callable[[str, RtrNews, str], None]
    ) -> None:
        self.settings = settings
        self.asked = False
        self.alarm = ""
        self.counts = dict.fromkeys(Family, 0)
        self._percent = max_shrink_percent
        self._told = told
        self._news = news
        self._octets: dict[Family, bytes] = dict.fromkeys(Family, b"")
        timers = (settings.refresh_s, settings.retry_s, settings.expire_s)
        self.client = RtrClient(str(settings.address), settings.port, self._changed, timers_s=timers, news=self._heard)

    @property
    def name(self) -> str:
        """As configured."""
        return self.settings.name

    @property
    def trouble(self) -> str:
        """What an operator has to look at, a cache that does not answer or says nonsense too; empty: nothing."""
        error = self.client.status().error
        if self.alarm or not error:
            return self.alarm
        kept = f"its {sum(self.counts.values()):,} VRPs stay until they expire" if self.has_data else "it has no VRPs"
        return f"{self.name} ({self.settings.address} port {self.settings.port}): {error}; {kept}"

    @property
    def wrong(self) -> bool:
        """What it offers is not used."""
        return bool(self.alarm or self.client.nonsense)

    @property
    def has_data(self) -> bool:
        """It has VRPs that count still."""
        return any(self.counts.values())

    def columns(self, family: Family) -> VrpColumns:
        """VRPs in use. For a thread."""
        return columns_of(family, self._octets[family])

    def allow(self, max_shrink_percent: int) -> None:
        """Another share may vanish from now on; what was refused is looked at again."""
        self._percent = max_shrink_percent
        self._changed(self.client.data)

    async def follow(self) -> None:
        """For ever."""
        await self.client.run()

    def _heard(self, kind: RtrNews, text: str) -> None:
        self._news(self.name, kind, text)
        if not self.asked and kind in (RtrNews.UP, RtrNews.LOST):
            self.asked = True
            self._told(self)

    def _changed(self, data: RtrData) -> None:
        present = sum(self.counts.values())
        self.alarm = ""
        if data.key is not None and (why := shrink_alarm(present, len(data), self._percent)):
            mend = "see why the cache tells so few; if they are right, set rpki.max_shrink_percent to 100 and reload"
            self.alarm = f"{self.name} {why}\n  mend: {mend}" if present else f"{self.name} offers no VRP"
        else:
            self._octets = data.octets()
            self.counts = {family: len(rows) for family, rows in data.rows.items()}
        self._told(self)


Source = FileSource | ServerSource

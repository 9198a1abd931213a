"""Reloads, one after another, whoever asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bgpbridge.config import load_config
from bgpbridge.errors import BridgeError
from bgpbridge.events import Severity
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.plan import plan
from bgpbridge.pipeline.plan_report import Plan
from bgpbridge.pipeline.reload import ReloadReport, reload
from bgpbridge.pipeline.upgrade import Upgrade, UpgradeReport

__all__ = ["Reloading"]

UPGRADED = ("engine", "group_slots", "loader", "max_ipv4", "max_ipv6")
"""Keys of `datapath` that an upgrade takes over; the others wait for a restart."""


class Reloading:
    """Takes the file of the running configuration over."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._task: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self.after: list[Callable[[], None]] = []
        """Called after each: files that the configuration only names may have changed as well."""

    def soon(self) -> None:
        """SIGHUP: the same as `bgpbridge reload`."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._by_signal())

    async def _by_signal(self) -> None:
        with suppress(BridgeError):  # told already
            await self.take_over()

    async def take_over(self) -> ReloadReport:
        """Read in a thread, since policies may name thousands of prefixes and no UPDATE waits for that. Raises
        BridgeError with nothing changed; that is an event, and by that a log line, whoever asked."""
        async with self._one:
            try:
                new = await asyncio.to_thread(load_config, self._bridge.config.path)
                report = reload(self._bridge, new)
            except BridgeError as error:
                self._bridge.events.add("reload-refused", str(self._bridge.config.path), str(error), Severity.ERROR)
                raise
        for call in self.after:
            call()
        return report

    async def upgrade(self, upgrade: Upgrade, watch_s: float) -> UpgradeReport:
        """Upgrade the datapath by the file as it stands; no reload happens meanwhile, and who asked may leave. What the
        file says of other things waits for `reload`. Raises BridgeError with nothing changed."""
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._upgrade(upgrade, watch_s)))

    async def _upgrade(self, upgrade: Upgrade, watch_s: float) -> UpgradeReport:
        async with self._one:
            wanted = (await asyncio.to_thread(load_config, self._bridge.config.path)).datapath
            now = self._bridge.config.datapath
            merged = now.model_copy(update={key: getattr(wanted, key) for key in UPGRADED})
            report = await upgrade.run(merged, watch_s)
            if report.stayed:
                self._bridge.config = self._bridge.config.model_copy(update={"datapath": merged})
                upgrade.datapath.settings = merged
            return report

    async def foretell(self, file: Path | None) -> Plan:
        """What it would do with this file, None the configured one; no reload happens meanwhile. Raises BridgeError."""
        async with self._one:
            return await plan(self._bridge, file)

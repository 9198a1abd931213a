"""The control socket: the API for the command line and for scripts on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from bgpbridge.api.errors import errors
from bgpbridge.api.reloading import Reloading
from bgpbridge.api.serving import LARGEST, definitions
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["ControlApi"]

CLOSE_WITHIN_S = 1.0


class ControlApi:
    """Listens on the control socket for as long as the bridge runs."""

    def __init__(self, bridge: Bridge, socket_path: Path, reloading: Reloading | None = None) -> None:
        self._bridge, self._path = bridge, socket_path
        self._reloading = reloading or Reloading(bridge)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. The socket is for its owner alone (mode 0600)."""
        app = web.Application(middlewares=[errors], client_max_size=LARGEST)
        app.add_routes(definitions(self._bridge, self._reloading, "/v1"))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
        await self._runner.setup()
        with suppress(FileNotFoundError):
            self._path.unlink()
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Answer no more."""
        if self._runner is not None:
            await self._runner.cleanup()

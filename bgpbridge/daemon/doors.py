"""Where a bridge can be asked: the control socket, and HTTP where it is configured.

Nothing else may import this at once: what serves them takes a third of a second to import, and that goes on while a
bridge that starts waits for the kernel.
"""

from __future__ import annotations

from pathlib import Path

from bgpbridge.api.http import HttpServer
from bgpbridge.api.reloading import Reloading
from bgpbridge.api.server import ControlApi
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["Doors"]


class Doors:
    """Both, of a bridge that has started."""

    def __init__(self, bridge: Bridge, control_socket: Path, reloading: Reloading) -> None:
        self._api = ControlApi(bridge, control_socket, reloading)
        self._http = HttpServer(bridge, bridge.config.http, reloading)

    async def start(self) -> None:
        """Listen. Raises BridgeError; `stop` is to be called then as well."""
        await self._api.start()
        await self._http.start()

    async def stop(self) -> None:
        """Answer no more."""
        await self._http.stop()
        await self._api.stop()

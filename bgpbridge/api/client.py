"""The command line's end of the control socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from bgpbridge.errors import BridgeError, UnreachableError, UsageError

__all__ = ["DEFAULT_SOCKET", "Client"]

DEFAULT_SOCKET = Path("/run/bgpbridge/control.sock")
LONG_S = 120.0  # an audit of full tables, a reload


class Client:
    """Asks a running bridge. Every method raises UnreachableError when there is none behind the socket, and
    UsageError or BridgeError with the bridge's own words when it refuses."""

    def __init__(self, socket_path: Path = DEFAULT_SOCKET) -> None:
        self._path = socket_path
        transport = httpx.HTTPTransport(uds=str(socket_path))
        self._http = httpx.Client(transport=transport, base_url="http://bgpbridge", timeout=LONG_S)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask for a value."""
        return self._result(lambda: self._http.get(path, params=dict(query or {})))

    def post(self, path: str) -> Any:
        """Ask for something to be done."""
        return self._result(lambda: self._http.post(path))

    def follow(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        """Values as they come, until the caller stops or the bridge ends."""
        try:
            with self._http.stream("GET", path, params=dict(query), timeout=None) as response:
                for line in response.iter_lines():
                    if line:
                        yield json.loads(line)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _result(self, ask: Any) -> Any:
        try:
            response = ask()
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        value = response.json()
        if response.is_success:
            return value
        kind = UsageError if value.get("exit_code") == 2 else BridgeError
        raise kind(value.get("error", response.reason_phrase), mend=value.get("mend", ""))

    def _unreachable(self, error: Exception) -> UnreachableError:
        mend = "start it with `bgpbridge run -c FILE`, or name its socket with --socket"
        if isinstance(error, httpx.ConnectError) and "ermission" in str(error):
            mend = "the socket is root's: use sudo"
        return UnreachableError(f"no bgpbridge answers on {self._path}", mend=mend)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

"""The command line's end of the control socket: HTTP over a unix socket, by the standard library alone, so that
a command answers before larger clients are imported (0.3 s for httpx)."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bgpbridge.errors import BridgeError, UnreachableError, UsageError

__all__ = ["DEFAULT_SOCKET", "Client"]

DEFAULT_SOCKET = Path("/run/bgpbridge/control.sock")
PIECE = 1 << 18  # octets
LONG_S = 120.0  # an audit of full tables, a reload


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a socket in the file system. `timeout` None waits for ever."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """Asks a running bridge. Every method raises UnreachableError when there is none behind the socket, and
    UsageError or BridgeError with the bridge's own words when it refuses."""

    def __init__(self, socket_path: Path = DEFAULT_SOCKET, *, timeout_s: float = LONG_S) -> None:
        self._path, self._timeout_s = socket_path, timeout_s

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask for a value."""
        return self._ask("GET", _target(path, query or {}))

    def post(self, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """Ask for something to be done; `body` goes as JSON."""
        return self._ask("POST", _target(path, query or {}), json.dumps(body).encode() if body is not None else None)

    def delete(self, path: str) -> Any:
        """Ask for something to be removed."""
        return self._ask("DELETE", _target(path, {}))

    def follow(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        """Values as they come, until the caller stops. Raises UnreachableError when the bridge ends."""
        for line in self._streamed(path, query, http.client.HTTPResponse.readline):
            yield json.loads(line)

    def octets(self, path: str, query: Mapping[str, str]) -> Iterator[bytes]:
        """A stream as it comes, in pieces, until the caller stops. Raises UnreachableError when the bridge ends."""
        return self._streamed(path, query, lambda response: response.read1(PIECE))

    def _streamed(
        self, path: str, query: Mapping[str, str], read: Callable[[http.client.HTTPResponse], bytes]
    ) -> Iterator[bytes]:
        with closing(_UnixConnection(self._path, None)) as connection:
            try:
                connection.request("GET", _target(path, query))
                response = connection.getresponse()
                if response.status != http.client.OK:
                    raise self._refusal(response.read())
                while piece := read(response):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        raise UnreachableError("the bridge has ended", mend="`bgpbridge status` tells when it is back")

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Any:
        with closing(_UnixConnection(self._path, self._timeout_s)) as connection:
            try:
                headers = {"Content-Type": "application/json"} if body is not None else {}
                connection.request(method, target, body, headers)
                response = connection.getresponse()
                said = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        if response.status != http.client.OK:
            raise self._refusal(said)
        return self._value(said)

    def _value(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise BridgeError(
                f"what answers on {self._path} is no bgpbridge", mend="name the socket of one with --socket"
            ) from None

    def _refusal(self, body: bytes) -> BridgeError:
        value = self._value(body)
        kind = UsageError if value.get("exit_code") == UsageError.exit_code else BridgeError
        expected = f"; expected {value['expected']}" if value.get("expected") else ""
        return kind(value["error"] + expected, mend=value.get("mend", ""))

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, TimeoutError):
            return UnreachableError(
                f"the bridge on {self._path} has not answered within {self._timeout_s:.0f} s",
                mend="look at its log; `kill` of the bridge process is safe: packets go on, and it starts again",
            )
        mend = "start it with `bgpbridge run -c FILE`, or name its socket with --socket"
        if isinstance(error, PermissionError):
            mend = "the socket is root's: use sudo"
        return UnreachableError(f"no bgpbridge answers on {self._path}", mend=mend)


def _target(path: str, query: Mapping[str, str]) -> str:
    escaped = quote(path, safe="/:")
    return f"{escaped}?{urlencode(query)}" if query else escaped

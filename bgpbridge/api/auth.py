"""Who may do what over TCP: reading is for whoever reaches the port, writing for whoever holds the token, and nothing
is for another site's page in somebody's browser."""

from __future__ import annotations

import hmac
import socket
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from bgpbridge.api.errors import Handler, RequestError
from bgpbridge.api.table import Route
from bgpbridge.config.http import Http, read_token
from bgpbridge.errors import UsageError

__all__ = ["Auth"]

CHALLENGE = 'Bearer realm="bgpbridge"'
SENT_BY_OTHERS = frozenset({"cross-site", "same-site"})  # Fetch Metadata: not the page that we served


class Auth:
    """Looks at requests before they are answered."""

    def __init__(self, settings: Http) -> None:
        self._token_file = settings.token_file
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in settings.names)}
        self._loopback = settings.loopback

    async def guard(self, request: web.Request, route: Route) -> None:
        """A call that writes needs the token, and must not come from another site. Raises RequestError."""
        if not route.writes:
            return
        _same_site(request)
        if self._token_file is None:
            mend = "set http.token_file, or use the control socket (`bgpbridge` or `curl --unix-socket`)"
            raise RequestError("nothing can be changed over HTTP here", mend=mend, status=403)
        _bearer(request, self._token_file)

    @web.middleware
    async def hosts(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """On loopback, whoever asks must know us by an address or by a name of ours: a page that had its own name
        resolve to 127.0.0.1 (DNS rebinding) would be of the same origin as we. Raises RequestError."""
        host = _host_name(request.host)
        if self._loopback and host not in self._names and not _is_address(host):
            raise RequestError(
                f"`{host}` is no name of this bridge",
                expected="localhost or an address in the header Host",
                mend="add it to http.names when a proxy asks by it",
                status=421,
            )
        return await handler(request)


def _same_site(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    elsewhere = origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
    if elsewhere or request.headers.get("Sec-Fetch-Site", "") in SENT_BY_OTHERS:
        raise RequestError("a page of another site may not change anything here", mend="ask from ours", status=403)


def _bearer(request: web.Request, file: Path) -> None:
    """The token is read for each call that writes: a new one holds at once. Who has none is not told our paths."""
    kind, _, said = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if kind.lower() != "bearer" or not said:
        mend = "send `Authorization: Bearer` and the first line of the file that http.token_file names"
        expected = "`Authorization: Bearer TOKEN`"
        raise RequestError(
            "this takes a token", expected=expected, mend=mend, status=401, headers={hdrs.WWW_AUTHENTICATE: CHALLENGE}
        )
    try:
        token = read_token(file)
    except UsageError as error:
        raise RequestError(error.what, mend=error.mend, status=403) from None
    if not hmac.compare_digest(token, said.strip().encode("utf-8", "surrogateescape")):
        challenge = f'{CHALLENGE}, error="invalid_token"'
        mend = "it is the first line of the file that http.token_file names"
        raise RequestError(
            "wrong token",
            expected="the bridge's token",
            mend=mend,
            status=401,
            headers={hdrs.WWW_AUTHENTICATE: challenge},
        )


def _host_name(host: str) -> str:
    """The header Host without its port, and an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

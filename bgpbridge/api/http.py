"""HTTP over TCP: metrics, health, events, the page, and the same table as the control socket.

What comes over TCP is bounded: connections, listeners, octets of a body, seconds for a request, seconds for a reader
that takes nothing. Who may do what is `auth`.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from bgpbridge.api.auth import Auth
from bgpbridge.api.errors import Handler, errors
from bgpbridge.api.probes import DOCUMENT, PREFIX, PROBES
from bgpbridge.api.reloading import Reloading
from bgpbridge.api.routes import ROUTES
from bgpbridge.api.serving import LARGEST, definitions
from bgpbridge.api.streams import Streams
from bgpbridge.config.http import Http, load_certificate, tls_context
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.events import Severity
from bgpbridge.metrics import BridgeCollector, exposition
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["HttpServer"]

PAGE = Path(__file__).parent.parent / "page"
CLOSE_WITHIN_S = 1.0
CONNECTIONS = 128
FIRST_REQUEST_S = 20.0
IDLE_S = 30.0
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "bgpbridge",  # not the versions of Python and aiohttp, which it would be by itself
    "X-Content-Type-Options": "nosniff",
}


class HttpServer:
    """Serves where the configuration says; nothing when it says nothing."""

    def __init__(self, bridge: Bridge, settings: Http | None, reloading: Reloading) -> None:
        self._bridge, self._settings, self._reloading = bridge, settings, reloading
        self._registry = CollectorRegistry(auto_describe=False)
        self._context: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        """Listen. Raises BridgeError when the port is in use, or a file of TLS or the token cannot be used."""
        settings = self._settings
        if settings is None:
            return
        self._registry.register(BridgeCollector(self._bridge))
        if settings.tls is not None:
            self._context = tls_context(settings.tls)
            self._reloading.after.append(self._renew)
        self._runner = web.AppRunner(
            self._app(settings), access_log=None, shutdown_timeout=CLOSE_WITHIN_S, keepalive_timeout=IDLE_S
        )
        await self._runner.setup()
        host, port = settings.address, settings.port
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._connection, host, port, ssl=self._context)
        except OSError as error:
            raise BridgeError(
                f"HTTP cannot listen on {host} port {port}: {error.strerror}",
                mend="set another http.port, or `http: null`",
            ) from None

    async def stop(self) -> None:
        """Answer no more."""
        if self._listener is not None:
            self._listener.close()
        for timer in self._silent.values():
            timer.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    def _app(self, settings: Http) -> web.Application:
        auth = Auth(settings)
        app = web.Application(middlewares=[self._hear, errors, auth.hosts], client_max_size=LARGEST)
        app.on_response_prepare.append(_make_safe)
        app.add_routes([web.get("/metrics", self._metrics), web.get("/", _page)])
        streams = Streams()
        for prefix, rows in (("", PROBES), (PREFIX, (*ROUTES, DOCUMENT))):
            found = definitions(self._bridge, self._reloading, prefix, rows, guard=auth.guard, streams=streams)
            app.add_routes(found)
        app.router.add_static("/page", PAGE)
        return app

    def _connection(self) -> asyncio.BaseProtocol:
        """For a connection that comes in. One that asks nothing is closed, so that it does not keep others out."""
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= CONNECTIONS:
            return _Full()
        protocol = server()
        loop = asyncio.get_running_loop()
        self._silent[protocol] = loop.call_later(FIRST_REQUEST_S, self._close_silent, protocol)
        return protocol

    def _close_silent(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        protocol.force_close()

    @web.middleware
    async def _hear(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handler(request)

    def _renew(self) -> None:
        """Certificate and key are read again; the old ones hold when they cannot be used."""
        assert self._settings is not None
        tls, context = self._settings.tls, self._context
        assert tls is not None
        assert context is not None
        try:
            load_certificate(context, tls)
        except UsageError as error:
            self._bridge.events.add("certificate-refused", str(tls.certificate), str(error), Severity.ERROR)

    async def _metrics(self, request: web.Request) -> web.Response:
        octets, content_type = exposition(self._registry, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=octets, headers={hdrs.CONTENT_TYPE: content_type})


class _Full(asyncio.Protocol):
    """What a connection too many meets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and go."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(FULL)
        transport.close()


async def _make_safe(request: web.Request, response: web.StreamResponse) -> None:
    """Headers for browsers: nothing from elsewhere, nothing inline, no frames, no guessing of types."""
    del request
    response.headers.update(SAFE)
    if isinstance(response, web.FileResponse):  # asked for again after an upgrade; unchanged it is a 304
        response.headers[hdrs.CACHE_CONTROL] = "no-cache"


async def _page(request: web.Request) -> web.FileResponse:
    del request
    return web.FileResponse(PAGE / "index.html")

"""The server: one handler for each path, each a line or two over `view` and the bridge's own operations."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from bgpbridge.config import load_config
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.events import Severity
from bgpbridge.feed.capture import Tap
from bgpbridge.feed.frames import SessionUp
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.reload import ReloadReport, reload
from bgpbridge.types import Family, IPAddress, Prefix, parse_address
from bgpbridge.view.audit import audit
from bgpbridge.view.counters import counters
from bgpbridge.view.explain import explain
from bgpbridge.view.fib import fib
from bgpbridge.view.groups import adjacencies, groups
from bgpbridge.view.peers import peer, peers
from bgpbridge.view.plain import plain
from bgpbridge.view.routes import Filter, route, routes
from bgpbridge.view.status import status

__all__ = ["ControlApi"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CLOSE_WITHIN_S = 1.0
LISTENS_S = 2.0


class ControlApi:
    """Listens on the control socket for as long as the bridge runs."""

    def __init__(self, bridge: Bridge, socket_path: Path) -> None:
        self._bridge, self._path = bridge, socket_path
        self._runner: web.AppRunner | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._one_reload = asyncio.Lock()

    async def start(self) -> None:
        """Listen. The socket is for its owner alone (mode 0600)."""
        app = web.Application(middlewares=[_errors])
        app.add_routes(self._routes())
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

    def reload_soon(self) -> None:
        """SIGHUP: the same as `bgpbridge reload`; a refusal is an event, and by that a log line."""
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload_by_signal())

    async def _reload_by_signal(self) -> None:
        try:
            await self._take_over_file()
        except BridgeError as error:
            self._bridge.events.add("reload-refused", str(self._bridge.config.path), str(error), Severity.ERROR)

    async def _take_over_file(self) -> ReloadReport:
        """Read in a thread, since policies may name thousands of prefixes and no UPDATE waits for that; one reload
        after another."""
        async with self._one_reload:
            new = await asyncio.to_thread(load_config, self._bridge.config.path)
            return reload(self._bridge, new)

    def _routes(self) -> list[web.RouteDef]:
        bridge = self._bridge
        shows: dict[str, Callable[[web.Request], Any]] = {
            "/v1/status": lambda _: status(bridge),
            "/v1/peers": lambda _: peers(bridge),
            "/v1/peers/{name}": lambda request: peer(bridge, request.match_info["name"]),
            "/v1/route/{address:.+}": lambda request: route(bridge, _address(request.match_info["address"])),
            "/v1/explain/{target:.+}": lambda request: explain(bridge, *_target(request.match_info["target"])),
            "/v1/fib/{address:.+}": lambda request: fib(bridge, _address(request.match_info["address"])),
            "/v1/groups": lambda _: groups(bridge),
            "/v1/adjacencies": lambda _: adjacencies(bridge),
            "/v1/counters": lambda _: counters(bridge),
        }
        found = [web.get(path, _showing(show)) for path, show in shows.items()]
        return [
            *found,
            web.get("/v1/routes", self._list_routes),
            web.get("/v1/events", self._events),
            web.get("/v1/record", self._record),
            web.post("/v1/audit", self._audit),
            web.post("/v1/reload", self._reload),
            web.post("/v1/peers/{name}/clear-hold-off", self._clear_hold_off),
            web.post("/v1/on", self._switch(on=True)),
            web.post("/v1/off", self._switch(on=False)),
        ]

    async def _list_routes(self, request: web.Request) -> web.StreamResponse:
        """A JSON array, written in slices: a full table neither fills the memory nor holds up an UPDATE."""
        found = routes(self._bridge, _filter(request))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        separator = b"["
        for part in found:
            if part:
                await response.write(separator + b",\n".join(json.dumps(plain(view)).encode() for view in part))
                separator = b",\n"
            await asyncio.sleep(0)  # a write to a reader that keeps up gives nobody else a turn
        await response.write(b"]" if separator != b"[" else b"[]")
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The last `limit` events; with `follow=1` those to come as well, a JSON line each."""
        past = self._bridge.events.tail(_number(request, "limit", 100))
        if request.query.get("follow") != "1":
            return _json(past)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for event in past:
            await response.write(_line(event))
        async for event in self._bridge.events.follow():
            await response.write(_line(event))
        return response

    async def _record(self, request: web.Request) -> web.StreamResponse:
        """What comes in, of all peers or one, as frames (`feed.capture`): first the sessions that are up."""
        name = request.query.get("peer")
        tap = Tap(self._bridge.peers_by_name(name).index if name is not None else None)
        for state in self._bridge.peers:
            if state.session is not None:
                tap.offer(state.index, SessionUp(state.session, resync=True))
        taps = self._bridge.ingest.taps
        taps.append(tap)
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
            await response.prepare(request)
            while request.transport is not None:  # a listener that left is found out when nothing comes as well
                with suppress(TimeoutError):
                    await response.write(await asyncio.wait_for(tap.take(), LISTENS_S))
        finally:
            taps.remove(tap)
        return response

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        return _json(await audit(self._bridge, repair=request.query.get("repair") == "1"))

    async def _reload(self, _: web.Request) -> web.StreamResponse:
        return _json(await self._take_over_file())

    async def _clear_hold_off(self, request: web.Request) -> web.StreamResponse:
        state = self._bridge.peers_by_name(request.match_info["name"])
        ended = self._bridge.sessions.end_hold_off(state, "by an operator")
        text = f"{state.name} may connect again" if ended else f"{state.name} was not held off"
        return _json({"ended": ended, "text": text})

    def _switch(self, *, on: bool) -> Handler:
        async def handler(_: web.Request) -> web.StreamResponse:
            xdp = self._bridge.planes.xdp
            if xdp is None:
                raise UsageError("there is no XDP here to switch", mend="name interfaces in datapath.interfaces")
            xdp.enabled = on
            text = "packets are forwarded by XDP" if on else "all packets go to the kernel"
            self._bridge.events.add("switched-on" if on else "switched-off", "xdp", text, Severity.NOTICE)
            return _json({"forwarding": on, "text": text})

        return handler


def _showing(show: Callable[[web.Request], Any]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return _json(show(request))

    return handler


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal of ours becomes its text and mend, with a status that tells usage from failure."""
    try:
        return await handler(request)
    except BridgeError as error:
        body = {"error": error.what, "mend": error.mend, "exit_code": error.exit_code}
        return web.json_response(body, status=400 if error.exit_code == 2 else 500)
    except web.HTTPNotFound:
        body = {"error": f"no such path: {request.path}", "mend": "see docs/operations.md", "exit_code": 2}
        return web.json_response(body, status=404)


def _json(value: Any) -> web.Response:
    return web.json_response(plain(value))


def _line(value: Any) -> bytes:
    return json.dumps(plain(value)).encode() + b"\n"


def _address(text: str) -> IPAddress:
    try:
        return parse_address(text)
    except ValueError:
        raise UsageError(f"`{text}` is not an IP address", mend="such as 192.0.2.1 or 2001:db8::1") from None


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is not a prefix: {error}", mend="such as 192.0.2.0/24") from None


def _target(text: str) -> tuple[IPAddress, Prefix | None]:
    """An address, or a prefix with its first address."""
    if "/" not in text:
        return _address(text), None
    prefix = _prefix(text)
    return prefix.address, prefix


def _number(request: web.Request, key: str, default: int) -> int:
    text = request.query.get(key, str(default))
    if not text.isdigit():
        raise UsageError(f"{key}={text} is not a number", mend=f"{key}={default}")
    return int(text)


def _filter(request: web.Request) -> Filter:
    query = request.query
    family = query.get("family")
    labels = {one.label: one for one in Family}
    if family is not None and family not in labels:
        raise UsageError(f"`{family}` is not an address family", mend="ipv4 or ipv6")
    return Filter(
        peer=query.get("peer"),
        prefix=_prefix(query["prefix"]) if "prefix" in query else None,
        family=labels[family] if family is not None else None,
        best=query.get("best") == "1",
        rejected=query.get("rejected") == "1",
        limit=_number(request, "limit", 100),
    )

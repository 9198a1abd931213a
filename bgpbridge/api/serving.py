"""The table as aiohttp serves it: each request is held against its row, then answered, then shown as JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import hdrs, web

from bgpbridge.api.errors import Handler, RequestError
from bgpbridge.api.reloading import Reloading
from bgpbridge.api.routes import ROUTES
from bgpbridge.api.streams import Stalled, Streams
from bgpbridge.api.table import JSON, Call, Route
from bgpbridge.documents import Problem, validate
from bgpbridge.documents.schema import dotted, shown
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.view.plain import plain

__all__ = ["LARGEST", "Guard", "definitions"]

Guard = Callable[[web.Request, Route], Awaitable[None]]
"""Looked at before a call is answered. Raises RequestError."""
DESCRIBED = "/api/v1/openapi.json over HTTP describes the body"
BODY_S = 10.0
LARGEST = 1 << 20  # octets of a body
ANSWER_S = 120.0  # an audit of full tables, a reload


async def _open(request: web.Request, route: Route) -> None:
    """No guard: who may open the socket may ask for everything."""
    del request, route


def definitions(
    bridge: Bridge,
    reloading: Reloading,
    prefix: str,
    rows: Iterable[Route] = ROUTES,
    *,
    guard: Guard = _open,
    streams: Streams | None = None,
) -> list[web.RouteDef]:
    """The rows under a prefix of their paths. `streams` bounds those that go on."""
    made, listeners = [], streams or Streams()
    for route in rows:
        handler, path = _handler(bridge, reloading, route, guard, listeners), prefix + route.pattern
        made.append(web.get(path, handler) if route.method == hdrs.METH_GET else web.route(route.method, path, handler))
    return made


def _handler(bridge: Bridge, reloading: Reloading, route: Route, guard: Guard, streams: Streams) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        await guard(request, route)
        values = _values(request, route)
        body = await _body(request, route)
        call = Call(bridge, reloading, request, values, body)
        if route.streams:
            if request.method == hdrs.METH_HEAD:
                return web.Response(headers={"Content-Type": route.media})
            with streams.one():
                return await _stream(route, call)
        try:
            async with asyncio.timeout(ANSWER_S):
                return _response(await route.value(call))
        except TimeoutError:
            what = f"{route.path} has not answered within {ANSWER_S:.0f} s"
            raise RequestError(what, mend="look at `bgpbridge status`", status=503) from None

    return handler


async def _stream(route: Route, call: Call) -> web.StreamResponse:
    """What goes on until the listener leaves, which is no failure."""
    try:
        return _response(await route.value(call))
    except Stalled as error:
        call.bridge.events.add("listener-cut", call.request.remote or "control socket", f"{route.path}: {error}")
        return web.Response(status=499, reason="the listener takes nothing")
    except ConnectionResetError:
        return web.Response(status=499, reason="the listener has left")


def _response(value: Any) -> web.StreamResponse:
    if isinstance(value, web.StreamResponse):
        return value
    return web.json_response(plain(value))


def _values(request: web.Request, route: Route) -> Mapping[str, Any]:
    """All parameters of the row, read. Raises RequestError for one that is unknown, there twice, or wrong."""
    known = {parameter.name: parameter for parameter in route.parameters}
    asked = [name for name in known if name not in route.in_path]
    for name in request.query:
        if name not in asked:
            takes = ", ".join(asked) or "no parameters"
            raise RequestError(f"unknown parameter `{name}`", expected=takes, mend=f"leave out {name}")
        if len(request.query.getall(name)) > 1:
            raise RequestError(f"{name} is there twice", mend=f"name {name} once")
    values = {}
    for name, parameter in known.items():
        text = request.match_info.get(name) if name in route.in_path else request.query.get(name)
        values[name] = parameter.parse(text) if text is not None else parameter.default
    return values


async def _read(request: web.Request) -> bytes:
    """The whole body, which is bounded in size and time. Raises RequestError."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        expected = f"at most {LARGEST:,} octets"
        what = "the body is too large"
        raise RequestError(what, expected=expected, mend=f"send less; {DESCRIBED}", status=413) from None
    except TimeoutError:
        what = f"the body has not come within {BODY_S:.0f} s"
        raise RequestError(what, mend="send it at once", status=408) from None


async def _body(request: web.Request, route: Route) -> Any:
    """The body as the row's model, None for a row without one. Raises RequestError."""
    if route.body is None:
        if request.can_read_body and await _read(request):
            raise RequestError(f"{route.path} takes no body", expected="an empty one", mend="leave the body out")
        return None
    if request.content_type != JSON:
        what, mend = f"a body of type {request.content_type}", f"send JSON with Content-Type: {JSON}"
        raise RequestError(what, expected=JSON, mend=mend, status=415)
    try:
        data = json.loads(await _read(request))
    except (ValueError, RecursionError) as error:
        mend = "is it cut short, and are quotes and brackets closed?"
        raise RequestError(f"the body is not JSON: {error}", expected="a JSON object", mend=mend) from None
    if not isinstance(data, dict):
        raise RequestError(f"the body is {shown(data)}", expected="a JSON object", mend=DESCRIBED)
    model, problems = validate(data, route.body)
    if model is None:
        described = DESCRIBED if request.path.startswith("/api/") or not problems[0].expected else ""
        raise _refused_body(problems, described)  # who types a command is helped by what was expected
    return model


def _refused_body(problems: Sequence[Problem], described: str) -> RequestError:
    """All that is wrong with a body; of several complaints each has what was expected beside it."""
    first = problems[0]
    if len(problems) == 1:
        return RequestError(_complaint(first), expected=first.expected, mend=first.mend or described)
    said = [_complaint(one) + (f" (expected {one.expected})" if one.expected else "") for one in problems]
    return RequestError("; ".join(said), mend=first.mend or described)


def _complaint(one: Problem) -> str:
    """With the key that it is about, where it does not name that itself."""
    where = dotted(one.path)
    if not where:
        return re.sub("^the file", "the body", one.problem)
    named = one.problem.startswith(where) or f"`{one.path[-1]}`" in one.problem
    return one.problem if named else f"{where}: {one.problem}"

"""What HTTP serves beside the API: is the bridge alive, is it ready, what happens, and the document of all that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import web

from bgpbridge.api import sse
from bgpbridge.api.errors import RequestError
from bgpbridge.api.openapi import document
from bgpbridge.api.parameters import optional
from bgpbridge.api.routes import ROUTES
from bgpbridge.api.table import Call, Route
from bgpbridge.view.plain import plain
from bgpbridge.view.ready import CHECKS, ReadyView, ready

__all__ = ["DOCUMENT", "PREFIX", "PROBES"]

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class HealthView:
    """`alive`: the process answers, so its event loop turns."""

    alive: bool


def _excluded(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in CHECKS:
            raise RequestError(f"there is no check `{name}`", expected=", ".join(CHECKS), mend="exclude=sessions")
    return names


EXCLUDE = optional("exclude", _excluded, "Checks to leave out, separated by commas", examples=["sessions"])


def _ready(call: Call) -> web.Response:
    """503 until all is as the configuration says, and then what is missing."""
    found = ready(call.bridge, call[EXCLUDE] or ())
    return web.json_response(plain(found), status=200 if found.ready else 503)


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of everything that HTTP serves as JSON."""
    return document([("", route) for route in PROBES] + [(PREFIX, route) for route in (*ROUTES, DOCUMENT)])


PROBES = (
    Route("GET", "/healthz", "Is the process alive", lambda _: HealthView(alive=True), HealthView),
    Route(
        "GET",
        "/readyz",
        "Is it as the configuration says; 503 with what is missing",
        _ready,
        ReadyView,
        (EXCLUDE,),
        unready=True,
    ),
    Route(
        "GET",
        "/events",
        "What happens, as server-sent events",
        sse.listen,
        bytes,
        sse.PARAMETERS,
        streams=True,
        media=sse.MEDIA,
    ),
)
DOCUMENT = Route("GET", "/openapi.json", "This document", lambda _: openapi(), dict[str, Any])

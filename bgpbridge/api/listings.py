"""Answers that are written as they are found: a full table neither fills the memory nor holds up an UPDATE, and a
reader that is slow makes its own answer wait, nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from bgpbridge.api.errors import RequestError
from bgpbridge.api.parameters import flag, number, optional, read_family, read_prefix
from bgpbridge.api.streams import hear, send
from bgpbridge.api.table import JSON, Call
from bgpbridge.feed.capture import Tap
from bgpbridge.feed.frames import SessionUp
from bgpbridge.view.groups import groups
from bgpbridge.view.plain import plain
from bgpbridge.view.routes import Filter, routes

__all__ = [
    "EVENTS_LIMIT",
    "FOLLOW",
    "MOST_USED",
    "PEER",
    "ROUTES_PARAMETERS",
    "list_events",
    "list_groups",
    "list_routes",
    "record",
]

LISTENS_S = 2.0
FIRST = "0"
PEER = optional("peer", str, "Of this peer alone")
WITHIN = optional("prefix", read_prefix, "Of this prefix and all inside", examples=["192.0.2.0/24"])
FAMILY = optional("family", read_family, "Of this address family", enum=["ipv4", "ipv6"])
BEST = flag("best", "Those that carry traffic")
REJECTED = flag("rejected", "Those that policy refused")
OVERRIDDEN = flag("overridden", "Those of prefixes that an override decides on")
MOST = 10_000  # routes in one answer over TCP
LIMIT = number("limit", 100, f"The most to list; 0 for all, on the control socket alone; else {MOST} at most")
AFTER = optional(
    "after",
    lambda text: text if text == FIRST else read_prefix(text),
    f"Page by page: {FIRST} for the first page, then the prefix of its last route. A page lists the prefix at which "
    "the limit is reached whole; an empty one is the last",
    examples=[FIRST, "192.0.2.0/24"],
)
ROUTES_PARAMETERS = (PEER, WITHIN, FAMILY, BEST, REJECTED, OVERRIDDEN, LIMIT, AFTER)
EVENTS_LIMIT = number("limit", 100, "The most past events to list")
MOST_USED = number("limit", 0, "So many of them, the most used first; 0 for all")
FOLLOW = flag("follow", "Go on with those to come, a JSON line each")


async def list_routes(call: Call) -> web.StreamResponse:
    """All that pass the filter, or a page of them."""
    if call.over_tcp and not 0 < call[LIMIT] <= MOST:
        mend = f"limit={MOST}&after={FIRST}, then after= the last prefix of each answer; or ask on the control socket"
        raise RequestError(f"limit={call[LIMIT]} is too much over HTTP", expected=f"1 to {MOST}", mend=mend)
    return await _array(call, routes(call.bridge, _filter(call)))


async def list_groups(call: Call) -> web.StreamResponse:
    """All groups, of which there may be 30,000, or the most used."""
    return await _array(call, groups(call.bridge, call[MOST_USED]))


async def _array(call: Call, slices: Iterator[list[Any]]) -> web.StreamResponse:
    """A JSON array, written in slices."""
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(call.request)
    separator = b"["
    for part in slices:
        if part:
            await send(
                call.request, response, separator + b",\n".join(json.dumps(plain(view)).encode() for view in part)
            )
            separator = b",\n"
        await asyncio.sleep(0)  # a write to a reader that keeps up gives nobody else a turn
    await send(call.request, response, b"]" if separator != b"[" else b"[]")
    return response


def _filter(call: Call) -> Filter:
    return Filter(
        peer=call[PEER],
        prefix=call[WITHIN],
        family=call[FAMILY],
        best=call[BEST],
        rejected=call[REJECTED],
        overridden=call[OVERRIDDEN],
        limit=call[LIMIT],
        pages=call[AFTER] is not None,
        after=call[AFTER] if call[AFTER] != FIRST else None,
    )


async def list_events(call: Call) -> Any:
    """The last `limit` events; with `follow=1` those to come as well, a JSON line each."""
    log = call.bridge.events
    past = log.tail(call[EVENTS_LIMIT])
    if not call[FOLLOW]:
        return past
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(call.request)
    last = past[-1].number if past else log.total
    while True:
        for event in past:
            await send(call.request, response, _line(event))
        past = log.after(last) if await hear(call.request, log, last) else []
        last = past[-1].number if past else last


async def record(call: Call) -> web.StreamResponse:
    """What comes in, of all peers or one, as frames (`feed.capture`): first the sessions that are up."""
    bridge, name = call.bridge, call[PEER]
    tap = Tap(bridge.peers_by_name(name).index if name is not None else None)
    for state in bridge.peers:
        if state.session is not None:
            tap.offer(state.index, SessionUp(state.session, resync=True))
    taps = bridge.ingest.taps
    taps.append(tap)
    try:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(call.request)
        while call.request.transport is not None:  # a listener that left is found out when nothing comes as well
            with suppress(TimeoutError):
                await send(call.request, response, await asyncio.wait_for(tap.take(), LISTENS_S))
    finally:
        taps.remove(tap)
    return response


def _line(value: Any) -> bytes:
    return json.dumps(plain(value)).encode() + b"\n"

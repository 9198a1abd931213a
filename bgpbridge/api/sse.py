"""`/events`: what happens, as server-sent events (WHATWG HTML s9.2).

The log's own ring is the queue of every listener: one that is slow waits alone and holds no memory, and what it missed
by that is told to it as a comment. An id is the start of the bridge and the event's number, so that a browser that
comes back after a restart of ours gets the new events from the first one.
"""

from __future__ import annotations

import json
import time

from aiohttp import hdrs, web

from bgpbridge.api.parameters import choice, number, optional
from bgpbridge.api.streams import hear, send
from bgpbridge.api.table import Call
from bgpbridge.events import Event, EventLog, Severity
from bgpbridge.view.plain import plain

__all__ = ["MEDIA", "PARAMETERS", "listen"]

MEDIA = "text/event-stream"
HEARTBEAT_S = 15.0
RETRY_MS = 2000
RANKS = {severity: rank for rank, severity in enumerate(Severity)}
SUBJECT = optional("subject", str, "Only about this peer, link or file")
SEVERITY = choice("severity", tuple(severity.value for severity in Severity), "Only these and worse")
LIMIT = number("limit", 0, "The most past events to begin with", most=4096)
PARAMETERS = (SUBJECT, SEVERITY, LIMIT)


async def listen(call: Call) -> web.StreamResponse:
    """Past events (those after `Last-Event-ID`, or the last `limit`), then each that happens."""
    log, run = call.bridge.events, f"{int(call.bridge.started_at):x}"
    last = _begin(log, run, call.request.headers.get("Last-Event-ID", ""), call[LIMIT])
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: MEDIA, hdrs.CACHE_CONTROL: "no-store"})
    await response.prepare(call.request)
    await send(call.request, response, f"retry: {RETRY_MS}\n\n".encode())
    quiet_since = time.monotonic()
    while True:
        new = log.after(last)
        if new:
            text = f": {new[0].number - last - 1} missed\n\n" if new[0].number > last + 1 else ""
            text += "".join(_told(event, run) for event in new if _wanted(event, call))
            last = new[-1].number
            await send(call.request, response, text.encode())
            quiet_since = time.monotonic()
        elif not await hear(call.request, log, last) and time.monotonic() - quiet_since > HEARTBEAT_S:
            await send(call.request, response, b": alive\n\n")
            quiet_since = time.monotonic()


def _begin(log: EventLog, run: str, last_id: str, limit: int) -> int:
    """The number after which the listener wants to hear."""
    before, _, text = last_id.partition("-")
    if before == run and text.isascii() and text.isdigit() and len(text) < 20:
        return min(int(text), log.total)
    kept = log.tail(4096 if last_id else limit)
    return kept[0].number - 1 if kept else log.total


def _wanted(event: Event, call: Call) -> bool:
    subject, least = call[SUBJECT], call[SEVERITY]
    return subject in {None, event.subject} and (least is None or RANKS[event.severity] >= RANKS[Severity(least)])


def _told(event: Event, run: str) -> str:
    return f"id: {run}-{event.number}\ndata: {json.dumps(plain(event))}\n\n"

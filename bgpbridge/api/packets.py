"""Packets by the API: what would happen to one, what happens to those that pass, and where most of them go.

`packet` changes nothing that packets or operators see, so it is a reader's. Who traces reads other people's packets and
has the datapath work for it: over TCP that takes the token.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from bgpbridge.api.errors import RequestError
from bgpbridge.api.parameters import number, optional, read_address, read_prefix
from bgpbridge.api.streams import send
from bgpbridge.api.table import Call, Parameter, Route
from bgpbridge.datapath.frames import UDP
from bgpbridge.datapath.packets import PROTOCOLS
from bgpbridge.datapath.trace import TraceFilter
from bgpbridge.documents import Strict
from bgpbridge.errors import AbsentError
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.types import IPAddress, Prefix
from bgpbridge.view.packet import Asked, PacketView, packet, packets
from bgpbridge.view.plain import plain
from bgpbridge.view.trace import TalkersView, TracedView, follow, talkers

__all__ = ["LINES", "PACKETS"]

LINES = "application/x-ndjson"
MOST_FRAMES = 64
MOST_S, MOST_COUNT, MOST_TALKERS = 3600, 100_000, 1000
SAMPLE_S = 60
NUMBERS = {name.lower(): protocol for protocol, name in PROTOCOLS.items() if " " not in name}
INTERFACE: Parameter[str | None] = optional("in", str, "The interface that it comes in by", examples=["eth0"])
TO: Parameter[IPAddress | None] = optional("to", read_address, "Its destination", examples=["192.0.2.1"])
FROM: Parameter[IPAddress | None] = optional("from", read_address, "Its source; a neighbour where it does not stand")


def _protocol(text: str) -> int:
    if text.lower() in NUMBERS:
        return NUMBERS[text.lower()]
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255:
        return int(text)
    raise RequestError(f"`{text}` is not a protocol", expected="udp, tcp, icmp, or 0 to 255", mend="proto=udp")


def _maybe(name: str, text: str, most: int) -> Parameter[int | None]:
    read = number(name, most, text, most=most).parse
    return Parameter(name, read, text, {"type": "integer", "minimum": 0, "maximum": most})


PROTOCOL: Parameter[int | None] = optional("proto", _protocol, "Its protocol, a name or a number", examples=["tcp"])
SPORT = number("sport", 40_000, "Its source port", most=65_535)
DPORT = number("dport", 33_434, "Its destination port", most=65_535)
LENGTH = _maybe("len", "Octets of the IP packet; as few as may be where it does not stand", 65_535)
TTL = number("ttl", 64, "Its TTL or hop limit", most=255)
VLAN = _maybe("vlan", "The VLAN whose 802.1Q tag it bears", 4094)
TO_PREFIX: Parameter[Prefix | None] = optional("to", read_prefix, "Packets to this prefix", examples=["192.0.2.0/24"])
FROM_PREFIX: Parameter[Prefix | None] = optional("from", read_prefix, "Packets from this prefix")
COUNT = number("count", 100, "End after so many packets", most=MOST_COUNT)
SECONDS = number("seconds", 60, "End after so long", most=MOST_S)
SAMPLE_SECONDS = number("seconds", 5, "Sample for so long", most=SAMPLE_S)
LIMIT = number("limit", 20, "The most prefixes to list", most=MOST_TALKERS)

Octets = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2})+$", max_length=8192)]


class FramesText(Strict):
    """Frames as they were captured, to be tried as if they came in by an interface."""

    interface: str = Field(min_length=1, examples=["eth0"])
    """The interface that they come in by."""
    frames: list[Octets] = Field(min_length=1, max_length=MOST_FRAMES, examples=[["00005e005302"]])
    """Each in hexadecimal, from its Ethernet header on, without FCS."""


# -- packet -----------------------------------------------------------------------------------------------


async def _packet(call: Call) -> PacketView:
    interface, to = call[INTERFACE], call[TO]
    if interface is None or to is None:
        raise RequestError("a packet comes in by an interface and goes to an address", mend="in=eth0&to=192.0.2.1")
    protocol = call[PROTOCOL]
    asked = Asked(
        interface=interface,
        to=to,
        source=call[FROM],
        protocol=UDP if protocol is None else protocol,
        sport=call[SPORT],
        dport=call[DPORT],
        octets=call[LENGTH],
        ttl=call[TTL],
        vlan=call[VLAN],
    )
    return await packet(call.bridge, asked)


async def _frames(call: Call) -> list[PacketView]:
    body: FramesText = call.body
    return await packets(call.bridge, body.interface, [bytes.fromhex(text) for text in body.frames])


# -- trace ------------------------------------------------------------------------------------------------


async def _trace(call: Call) -> web.StreamResponse:
    """A JSON line for each packet that passes, and one for the end."""
    wanted = _wanted(call)
    with call.bridge.tracing.one(wanted, f"`trace{_words(call)}`") as tracer:
        response = web.StreamResponse(headers={"Content-Type": LINES})
        await response.prepare(call.request)
        async with aclosing(follow(call.bridge, tracer, call[COUNT], call[SECONDS])) as turns:
            async for views in turns:
                if call.request.transport is None:
                    raise ConnectionResetError("the listener has left")
                if views:
                    await send(call.request, response, "".join(map(_line, views)).encode())
    return response


def _wanted(call: Call) -> TraceFilter:
    to, source, interface = call[TO_PREFIX], call[FROM_PREFIX], call[INTERFACE]
    if to is None and source is None and interface is None:
        raise RequestError("trace which packets?", expected="to, from or in", mend="to=192.0.2.0/24")
    if to is not None and source is not None and to.family is not source.family:
        raise RequestError(f"no packet goes from {source} to {to}", mend="name prefixes of one family")
    return TraceFilter(to, source, _ifindex(call.bridge, interface) if interface is not None else 0)


def _ifindex(bridge: Bridge, name: str) -> int:
    links = bridge.watcher.state.links.values()
    for link in links:
        if link.name == name:
            return link.ifindex
    names = ", ".join(sorted(link.name for link in links if not link.loopback))
    raise AbsentError(f"there is no interface {name}", mend=f"there are: {names}")


def _words(call: Call) -> str:
    given = (("--to", call[TO_PREFIX]), ("--from", call[FROM_PREFIX]), ("--in", call[INTERFACE]))
    return "".join(f" {option} {value}" for option, value in given if value is not None)


def _line(value: Any) -> str:
    return json.dumps(plain(value)) + "\n"


async def _talkers(call: Call) -> TalkersView:
    return await talkers(call.bridge, call[SAMPLE_SECONDS], call[LIMIT])


PACKETS = (
    Route(
        "GET",
        "/packet",
        "What would happen to a packet: the program itself on the live maps, nothing is sent or counted",
        _packet,
        PacketView,
        (INTERFACE, TO, FROM, PROTOCOL, SPORT, DPORT, LENGTH, TTL, VLAN),
    ),
    Route(
        "POST",
        "/packet/frames",
        "What would happen to captured frames; nothing is sent, changed or counted",
        _frames,
        list[PacketView],
        body=FramesText,
    ),
    Route(
        "GET",
        "/trace",
        "Packets as they pass, a JSON line each, the end last; one trace at a time",
        _trace,
        TracedView,
        (TO_PREFIX, FROM_PREFIX, INTERFACE, COUNT, SECONDS),
        writes=True,
        streams=True,
        media=LINES,
    ),
    Route(
        "GET",
        "/counters/prefixes",
        "The prefixes that most octets go to, sampled while you wait; not beside a trace",
        _talkers,
        TalkersView,
        (SAMPLE_SECONDS, LIMIT),
        writes=True,
    ),
)

"""`packet` and `trace`: the way of a packet that somebody thinks of, and of those that pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from bgpbridge.cli.commands import JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.text.packet import packet_text, packets_text, trace_end_text, traced_text
from bgpbridge.datapath.capture import Captured, read_capture
from bgpbridge.errors import UsageError

__all__ = ["packet", "trace"]

FRAMES = 32  # of one request
TRIED = (14, 3498)  # octets of a frame that a test run takes: datapath.twin


@click.command(cls=Command)
@click.option("--in", "interface", required=True, metavar="IFACE", help="The interface that it comes in by.")
@click.option("--to", metavar="ADDRESS", help="Its destination.")
@click.option("--from", metavar="ADDRESS", help="Its source.  [default: a neighbour on IFACE]")
@click.option("--proto", metavar="NAME", help="udp, tcp, icmp, another protocol's name or number.  [default: udp]")
@click.option("--sport", type=click.IntRange(0, 65535), help="Its source port.  [default: 40000]")
@click.option("--dport", type=click.IntRange(0, 65535), help="Its destination port.  [default: 33434]")
@click.option("--len", type=click.IntRange(0, 65535), help="Octets of the IP packet.  [default: as few as may be]")
@click.option("--ttl", type=click.IntRange(0, 255), help="Its TTL or hop limit.  [default: 64]")
@click.option("--vlan", type=click.IntRange(0, 4094), help="The VLAN whose tag it bears.")
@click.option("--pcap", type=click.Path(path_type=Path), help="The frames of a capture instead, as they are.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="With --pcap: the most frames."
)
@JSON
@pass_asking
def packet(asking: Asking, /, interface: str, to: str | None, pcap: Path | None, as_json: bool, **given: Any) -> None:
    """What would happen to this packet? The program itself answers, on the live maps.

    Nothing is sent, and no counter moves. Frames of a capture have to bear the MAC address of IFACE, as those that it
    received itself do; what the capture cut off is filled up with zeros.
    """
    limit, described = given.pop("limit"), {key: str(value) for key, value in given.items() if value is not None}
    if (to is None) == (pcap is None):
        raise click.UsageError("name the packet's destination with --to, or a capture with --pcap")
    if pcap is not None:
        if described:
            raise click.UsageError(f"the frames of --pcap are as they are: leave out --{next(iter(described))}")
        _capture(asking, interface, islice(read_capture(pcap), limit), as_json)
    else:
        asking.show("/v1/packet", {"in": interface, "to": str(to), **described}, as_json, packet_text)


def _capture(asking: Asking, interface: str, captured: Iterator[Captured], as_json: bool) -> None:
    """Some frames at a time; a file that is torn is told before anything is shown of it."""
    found: list[Any] = []
    for some in _sliced(list(filter(_can_be_tried, list(captured)))):
        body = {"interface": interface, "frames": [one.frame.hex() for one in some]}
        answers = asking.client.post("/v1/packet/frames", body=body)
        found += [{**answer, "number": one.number} for answer, one in zip(answers, some, strict=True)]
    if not found:
        raise UsageError("there is no frame to be tried", mend="name another capture")
    say(found, as_json, packets_text)


def _sliced(frames: list[Captured]) -> Iterator[list[Captured]]:
    for first in range(0, len(frames), FRAMES):
        yield frames[first : first + FRAMES]


def _can_be_tried(one: Captured) -> bool:
    least, most = TRIED
    if least <= len(one.frame) <= most:
        return True
    click.echo(
        f"frame {one.number} has {len(one.frame)} octets, and {least} to {most} can be tried: left out", err=True
    )
    return False


@click.command(cls=Command)
@click.option("--to", metavar="PREFIX", help="Packets to this prefix or address.")
@click.option("--from", metavar="PREFIX", help="Packets from this prefix or address.")
@click.option("--in", metavar="IFACE", help="Packets that come in by this interface.")
@click.option("--count", type=click.IntRange(1, 100_000), default=100, show_default=True, help="End after so many.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=60, show_default=True, help="End after so long.")
@JSON
@pass_asking
def trace(asking: Asking, /, as_json: bool, **given: Any) -> None:
    """Packets as they pass, each with what XDP does with it and why; until interrupted.

    At most some hundred a second and CPU are shown, whatever passes; the last line says how many matched. One trace at
    a time. With --json one object a line.
    """
    if not any(given[key] for key in ("to", "from", "in")):
        raise click.UsageError("name packets with --to, --from or --in")
    query = {key: str(value) for key, value in given.items() if value is not None}
    for seen in asking.client.follow("/v1/trace", query):
        ended = "ended" in seen
        if as_json:
            click.echo(json.dumps(seen))
        elif ended:
            click.echo(trace_end_text(seen), err=True)
        else:
            click.echo(traced_text(seen))
        if ended:
            return

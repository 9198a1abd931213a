"""`top`: a live view of a running bridge, read-only, by the control socket. It waits for a bridge that is away."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bgpbridge.api.client import Client
from bgpbridge.cli.commands import Asking, Command, pass_asking
from bgpbridge.cli.text.top import SORTS, Sample, frame
from bgpbridge.cli.text.words import warn
from bgpbridge.errors import UnreachableError, UsageError

__all__ = ["top"]

EVENTS = 20
ONCE_LINES = 60
KEYS = "q quit; sort by u updates/s, r routes, n name"


@click.command(cls=Command)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two frames.",
)
@click.option("--sort", type=click.Choice(sorted(SORTS.values())), default="name", show_default=True, help="Of peers.")
@click.option("--once", is_flag=True, help="Print one frame, with the rates of one interval, and end: for pipes.")
@pass_asking
def top(asking: Asking, interval_s: float, sort: str, once: bool) -> None:
    """Peers, rates, groups and events as they are now, again and again; q or Ctrl-C ends it.

    Keys: u sorts peers by UPDATEs a second, r by routes, n by name. A bridge that ends is waited for.
    """
    key = next(key for key, name in SORTS.items() if name == sort)
    if once:
        before = _sample(asking.client)
        time.sleep(interval_s)
        click.echo("\n".join(frame(_sample(asking.client), before, key, ONCE_LINES)))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal", mend="`bgpbridge top --once` prints one frame")
    _sample(asking.client)  # without a bridge at the start it ends with the reason
    with _keys_at_once(), Live(console=Console(), screen=True, auto_refresh=False) as live:
        _watch(asking.client, live, interval_s, key)


def _watch(client: Client, live: Live, interval_s: float, sort: str) -> None:
    """Frame by frame until q."""
    before: Sample | None = None
    while True:
        height = live.console.size.height - 1
        try:
            sample = _sample(client)
            lines, before = frame(sample, before, sort, height - 1), sample
        except UnreachableError as error:
            lines, before = [warn(f"{error.what}: waiting for it")], None
        text = Text.from_ansi("\n".join([*lines, KEYS]), no_wrap=True, overflow="ellipsis")
        live.update(text, refresh=True)
        pressed = _key(interval_s)
        if pressed == "q":
            return
        sort = pressed if pressed in SORTS else sort


def _sample(client: Client) -> Sample:
    return Sample(
        time.monotonic(),
        client.get("/v1/status"),
        client.get("/v1/peers"),
        client.get("/v1/groups"),
        client.get("/v1/counters"),
        client.get("/v1/events", {"limit": str(EVENTS)}),
    )


def _key(within_s: float) -> str:
    """A key that is pressed within so many seconds, empty for none; a terminal that is gone counts as q."""
    ready, _, _ = select.select([sys.stdin], [], [], within_s)
    if not ready:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") or "q"


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys come without Enter and are not shown; as it was before when the block ends, however it ends."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

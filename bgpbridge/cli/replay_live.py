"""`replay --live FILE`: the records of a file into the running bridge, by its socket for feeds."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import Any

import click

from bgpbridge.cli.commands import Asking, say
from bgpbridge.cli.replay_file import read_through
from bgpbridge.cli.text.words import Json, bad, columns, duration, facts
from bgpbridge.feed.replaying import Replaying
from bgpbridge.feed.sending import Sending
from bgpbridge.types import IPAddress
from bgpbridge.wire.mrt import Record

__all__ = ["run_live"]

HEADS = ("peer", "updates", "left out", "")


def run_live(
    asking: Asking, file: Path, pace: float | None, name: str | None, feed: Path, *, keep: bool, as_json: bool
) -> int:
    """The exit code: 1 where the file is damaged or a peer of it was not taken."""
    stands = _configured(asking, name) if name is not None else None
    replaying, sending = Replaying(stands), Sending(feed, keep=keep)
    records = 0

    def take(record: Record) -> None:
        nonlocal records
        records += 1
        for source, said in replaying.take(record):
            sending.say(source.number, said)

    try:
        began = time.monotonic()
        damage = read_through(file, pace, take, sending.flush)
        if damage:
            sending.damaged(damage)
        sending.finish()
        answer = _answer(file, replaying, sending, records, time.monotonic() - began, damage)
        say(answer, as_json, _text)
        if not keep and len(sending.refused) < len(replaying.sources):
            click.echo("bgpbridge: the routes stay until this is interrupted (Ctrl-C)", err=True)
            _stay(sending)
    finally:
        sending.close()
    return 1 if damage or sending.refused or not replaying.sources else 0


def _stay(sending: Sending) -> None:
    try:
        sending.stay()
    except KeyboardInterrupt:
        click.echo("bgpbridge: interrupted; the bridge takes the routes back", err=True)


def _configured(asking: Asking, name: str) -> tuple[IPAddress, int]:
    """Address and AS number of the peer of that name. Raises UsageError for one that no replay feeds."""
    peer: Any = asking.client.get(f"/v1/peers/{name}")
    return ipaddress.ip_address(peer["address"]), int(peer["asn"])


def _answer(
    file: Path, replaying: Replaying, sending: Sending, records: int, took_s: float, damage: str | None
) -> dict[str, Any]:
    peers = [
        {
            "address": str(source.session.peer_address),
            "asn": source.session.peer_as,
            "updates": source.updates,
            "left_out": source.left_out,
            "refused": sending.refused.get(source.number),
        }
        for source in replaying.sources.values()
    ]
    return {"file": str(file), "records": records, "took_s": took_s, "peers": peers, "damage": damage}


def _text(answer: Json) -> list[str]:
    """What went in."""
    lines = facts(
        [
            ("file", answer["file"]),
            ("records", f"{answer['records']:,}"),
            ("took", f"{duration(answer['took_s'])}, until the bridge had taken in everything"),
        ]
    )
    rows = [
        (f"AS{peer['asn']} {peer['address']}", f"{peer['updates']:,}", f"{peer['left_out']:,}", peer["refused"] or "")
        for peer in answer["peers"]
    ]
    if rows:
        lines += ["", *columns(HEADS, rows, right=("updates", "left out"))]
    return [*lines, "", f"{bad('damaged')}: {answer['damage']}"] if answer["damage"] else lines

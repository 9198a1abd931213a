"""One frame of `top`: the whole, peers with their rates, groups with their share, the latest events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bgpbridge.cli.text.words import Json, bad, columns, duration, good, warn

__all__ = ["SORTS", "Sample", "frame"]

SORTS = {"u": "updates/s", "r": "routes", "n": "name"}
VERDICTS = ("redirect", "pass", "drop")
COLOURS = {"established": good, "down": bad}
EVENT_COLOURS = {"warning": warn, "error": bad}
FIXED = 9  # lines that are no row of a peer, a group or an event


@dataclass(frozen=True, slots=True)
class Sample:
    """Answers of the control API at one moment. `at` is time.monotonic()."""

    at: float
    status: Json
    peers: Sequence[Json]
    groups: Sequence[Json]
    counters: Sequence[Json]
    events: Sequence[Json]


def frame(now: Sample, before: Sample | None, sort: str, lines: int) -> list[str]:
    """As many lines as there is room for. Rates are since `before`; without one, or with that of a process that has
    ended since, there are none."""
    if before is not None and before.status["process"] != now.status["process"]:
        before = None
    room = max(lines - FIXED, 6)
    groups, events = room // 4, room // 4
    shown = [
        *_head(now, before),
        "",
        *_peers(now, before, sort, room - groups - events),
        "",
        *_groups(now, groups),
        "",
        *_events(now, events),
    ]
    return shown[:lines]


def _head(now: Sample, before: Sample | None) -> list[str]:
    status = now.status
    planes = "XDP forwards" if status["forwarding"] else "XDP does not forward"
    routes = ", ".join(f"{count:,} {family}" for family, count in status["routes"].items())
    up = duration(status["uptime_s"])
    old = before or now
    ends = [_rate(_packets(now, verdict), _packets(old, verdict), now, before) for verdict in VERDICTS]
    packets = ", ".join(f"{rate or '-'} {verdict}" for rate, verdict in zip(ends, VERDICTS, strict=True))
    commits = _rate(status["commits"], old.status["commits"], now, before) or "-"
    return [
        f"{status['name']}: AS {status['asn']}, up {up}; {planes}; routes {routes}",
        f"packets/s {packets}; commits/s {commits}, {status['commits']:,} in all; jobs {status['work']}",
    ]


def _packets(sample: Sample, verdict: str) -> int:
    return sum(counter["packets"] for counter in sample.counters if counter["verdict"] == verdict)


def _rate(value: float, earlier: float | None, now: Sample, before: Sample | None) -> str:
    """Per second; empty where there is nothing to compare with."""
    if before is None or earlier is None:
        return ""
    return f"{max(value - earlier, 0) / max(now.at - before.at, 0.001):,.1f}"


def _peers(now: Sample, before: Sample | None, sort: str, room: int) -> list[str]:
    old = {peer["name"]: peer["updates"] for peer in before.peers} if before is not None else {}
    rows: list[tuple[tuple[float, str], tuple[str, ...]]] = []
    for peer in now.peers:
        counts = peer["routes"].values()
        received, best = (sum(count[key] for count in counts) for key in ("received", "best"))
        new = peer["updates"] - old.get(peer["name"], peer["updates"])
        first = {"u": new, "r": received}.get(sort, 0)
        state = COLOURS.get(peer["state"], warn)(peer["state"])
        rate = _rate(peer["updates"], old.get(peer["name"]), now, before)
        cells = (peer["name"], str(peer["asn"]), state, f"{received:,}", f"{best:,}", f"{peer['updates']:,}", rate)
        rows.append(((-first, peer["name"]), cells))
    table = [cells for _, cells in sorted(rows)]
    heads = ("peer", "AS", "state", "routes", "best", "updates", "updates/s")
    return [*columns(heads, table[:room], right=(*heads[3:], "AS")), *_more(len(table) - room, "peers")]


def _more(count: int, noun: str) -> list[str]:
    return [f"  and {count:,} more {noun}"] if count > 0 else []


def _groups(now: Sample, room: int) -> list[str]:
    total = sum(group["prefixes"] for group in now.groups) or 1
    rows = []
    for group in now.groups[:room]:
        carrying = [f"{m['peer']} via {m['next_hop']}" for m in group["members"] if m["carries"]]
        rows.append(
            (
                str(group["id"]),
                f"{group['prefixes']:,}",
                f"{group['prefixes'] / total:.1%}",
                " + ".join(carrying) or "-",
            )
        )
    heads = ("group", "prefixes", "share", "carried by")
    return [*columns(heads, rows, right=("group", "prefixes", "share")), *_more(len(now.groups) - room, "groups")]


def _events(now: Sample, room: int) -> list[str]:
    lines = []
    for event in now.events[-room:]:
        clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
        words = EVENT_COLOURS.get(event["severity"], str)(event["kind"])
        lines.append(f"{clock}  {words} {event['subject']}: {event['text'].splitlines()[0]}")
    return lines or ["no events"]

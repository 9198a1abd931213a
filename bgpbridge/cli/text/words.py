"""Figures as people read them, and aligned columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import click

__all__ = [
    "Json",
    "ago",
    "bad",
    "columns",
    "counted",
    "duration",
    "facts",
    "good",
    "labelled",
    "octets",
    "waits",
    "warn",
]

Json = Mapping[str, Any]
"""One object of the control API. Keys are the fields of the dataclasses in `bgpbridge.view`."""

LABEL = 12
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def duration(seconds: float) -> str:
    """`31ms`, `4.2s`, `12s`, `3m12s`, `4h07m`, `3d04h`."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def ago(at: float, now: float) -> str:
    """How long since a Unix time; `never` for 0."""
    return f"{duration(now - at)} ago" if at else "never"


def octets(count: float) -> str:
    """`512 B`, `97.7 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in UNITS:
        count /= 1024
        if count < 1024 or unit == UNITS[-1]:
            break
    return f"{count:.1f} {unit}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 route`, `2,000 routes`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def waits(key: str) -> str:
    """What a changed key waits for that `reload` does not take over."""
    upgraded = key.removeprefix("datapath.") in ("engine", "group_slots", "loader", "max_ipv4", "max_ipv6")
    return f"{key} has changed and waits for {'`bgpbridge datapath upgrade` or ' if upgraded else ''}a restart"


def good(text: str) -> str:
    """Green."""
    return click.style(text, fg="green")


def warn(text: str) -> str:
    """Yellow."""
    return click.style(text, fg="yellow")


def bad(text: str) -> str:
    """Red."""
    return click.style(text, fg="red")


def labelled(label: str, lines: Iterable[str]) -> list[str]:
    """Lines behind one label; nothing when there are none."""
    return [f"{label if not number else '':<{LABEL}} {line}".rstrip() for number, line in enumerate(lines)]


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each label that has something to say."""
    return [line for label, text in pairs if text for line in labelled(label, [text])]


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Rows under heads, two spaces apart, as wide as they must be; `right` names heads of figures. A column whose
    cells are all empty is left out."""
    kept = [index for index in range(len(heads)) if not rows or any(row[index] for row in rows)]
    table = [[heads[index] for index in kept], *([row[index] for index in kept] for row in rows)]
    widths = [max(_width(row[at]) for row in table) for at in range(len(kept))]
    to_the_right = [heads[index] in right for index in kept]
    lines = ["  ".join(map(_padded, row, widths, to_the_right)).rstrip() for row in table]
    return [click.style(lines[0], bold=True), *lines[1:]] if any(heads) else lines[1:]


def _width(cell: str) -> int:
    return len(click.unstyle(cell))


def _padded(cell: str, width: int, right: bool) -> str:
    room = " " * (width - _width(cell))
    return room + cell if right else cell + room

"""`packet`, `trace` and the talkers of `counters`: the way of packets, by the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from bgpbridge.cli.text.counters import MEANINGS
from bgpbridge.cli.text.explain import policy_line
from bgpbridge.cli.text.planes import kernel_line
from bgpbridge.cli.text.routes import path_name
from bgpbridge.cli.text.words import Json, bad, columns, counted, duration, facts, good, labelled, octets, warn

__all__ = ["packet_text", "packets_text", "talkers_text", "trace_end_text", "traced_text"]


def packet_text(seen: Json) -> list[str]:
    """The answer of /v1/packet."""
    way = seen["way"]
    return [
        f"{click.style(_named(way), bold=True)}: {_outcome(way)}",
        *([warn(f"  {seen['note']}")] if seen["note"] else []),
        "",
        *facts([("reason", f"{way['reason']}, {MEANINGS.get(way['reason'], '')}"), ("prefix", way["prefix"])]),
        *facts([("group", _group(way)), ("path", _path(seen["route"])), ("decision", _decision(seen["decided"]))]),
        *facts([("policy", policy_line(seen["policy"]))]),
        *labelled("changes", seen["changes"]),
        *facts([("kernel", kernel_line(seen["kernel"]))]),
    ]


def packets_text(seen: Sequence[Json]) -> list[str]:
    """The answer of /v1/packet/frames, each with its number."""
    lines: list[str] = []
    for one in seen:
        first, *others = packet_text(one)
        lines += [*([""] if lines else []), f"frame {one['number']}: {first}", *others]
    return lines


def _named(way: Json) -> str:
    return f"{way['packet']}, {counted(way['octets'], 'octet')}, in by {way['interface']}"


def _outcome(way: Json) -> str:
    """One sentence about the verdict."""
    if way["verdict"] == "redirect":
        peer = f" (from {way['peer']})" if way["peer"] else ""
        return good(f"forwarded to {way['gateway'] or 'an adjacency that has gone'} by {way['link'] or '?'}{peer}")
    meaning = MEANINGS.get(way["reason"], way["reason"])
    return bad(f"dropped: {meaning}") if way["verdict"] == "drop" else warn(f"passed to the kernel: {meaning}")


def _group(way: Json) -> str:
    if not way["group"]:
        return ""
    slot = f", slot {way['slot']} of {way['slots']}" if way["slot"] is not None else ""
    adjacency = f", adjacency {way['adjacency']}" if way["adjacency"] else ""
    return f"{way['group']}{slot}{adjacency}"


def _path(route: Json | None) -> str:
    if route is None:
        return ""
    attributes = route["attributes"]
    from_ = path_name(route["peer"], route["path_id"])
    path = attributes.get("as_path") or "(empty)"
    return f"{route['status']}, from {from_}, next hop {route['next_hop']}, AS path {path}"


def _decision(loss: Json | None) -> str:
    if loss is None:
        return ""
    other = path_name(loss["peer"], loss["path_id"])
    if loss["step"] < 0:
        return f"by an override, before {other}"
    return f"step {loss['step']}, {loss['text']} ({loss['rfc']}), before {other}"


# -- trace ------------------------------------------------------------------------------------------------


def traced_text(seen: Json) -> str:
    """One line of /v1/trace."""
    way, at = seen["way"], datetime.fromtimestamp(seen["at"], UTC).astimezone()
    where = ", ".join(words for words in (way["prefix"], f"group {_group(way)}" if way["group"] else "") if words)
    return f"{at:%H:%M:%S.%f} {_named(way)}: {_outcome(way)}" + (f" [{where}]" if where else "")


def trace_end_text(end: Json) -> str:
    """The last line of /v1/trace."""
    told, took = counted(end["told"], "packet"), duration(end["took_s"])
    return f"{told} of {end['matched']:,} that matched in {took}: {end['ended']}"


# -- talkers ----------------------------------------------------------------------------------------------


def talkers_text(seen: Json) -> list[str]:
    """The answer of /v1/counters/prefixes."""
    return list(_talkers(seen))


def _talkers(seen: Json) -> Iterator[str]:
    seconds = seen["seconds"]
    yield (
        f"{counted(seen['packets'], 'packet')}, {octets(seen['octets'])} in {duration(seconds)}; "
        f"{counted(seen['sampled'], 'packet')} looked at"
    )
    if not seen["talkers"]:
        return
    rows = [
        (
            one["prefix"] or "no prefix",
            one["peer"],
            f"{one['packets'] / seconds:,.1f}",
            f"{8 * one['octets'] / seconds / 1e6:,.3f}",
            f"{100 * one['share']:.1f}%",
        )
        for one in seen["talkers"]
    ]
    yield ""
    heads = ("prefix", "peer", "packets/s", "Mbit/s", "share")
    yield from columns(heads, rows, right=("packets/s", "Mbit/s", "share"))

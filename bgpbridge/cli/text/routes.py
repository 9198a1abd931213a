"""`routes` and `route ADDRESS`."""

from __future__ import annotations

from collections.abc import Sequence

from bgpbridge.cli.text.words import Json, bad, columns, duration, good, warn

__all__ = ["ROLE_COLOURS", "attributes_text", "path_name", "routes_text"]

ROLE_COLOURS = {"best": good, "multipath": good, "rejected": bad, "unreachable": bad}
HEADS = ("prefix", "status", "peer", "next hop", "AS path", "origin", "changed", "note")
SHOWN_APART = ("as_path", "next_hop", "link_local", "origin")
NAMES = {"med": "MED", "local_pref": "local preference", "otc": "OTC", "aigp": "AIGP", "unknown": "unknown attributes"}


def routes_text(routes: Sequence[Json], now: float) -> list[str]:
    """The answer of /v1/routes or /v1/route: a line for each path."""
    if not routes:
        return ["no routes"]
    rows = [
        (
            route["prefix"],
            ROLE_COLOURS.get(route["status"], str)(route["status"]) + (warn(" stale") if route["stale"] else ""),
            path_name(route["peer"], route["path_id"]),
            route["next_hop"],
            route["attributes"].get("as_path", ""),
            route["attributes"].get("origin", ""),
            duration(now - route["changed"]),
            route["reason"],
        )
        for route in routes
    ]
    return columns(HEADS, rows, right=("changed",))


def path_name(peer: str, path_id: int) -> str:
    """The peer, with the path identifier (RFC 7911) where there is one."""
    return f"{peer} path {path_id}" if path_id else peer


def attributes_text(attributes: Json) -> str:
    """The attributes that have no column of their own."""
    words = []
    for key, value in attributes.items():
        if key in SHOWN_APART:
            continue
        name = NAMES.get(key, key.replace("_", " "))
        words.append(name if value is True else f"{name} {_value(value)}")
    return ", ".join(words)


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(item["type"]) if isinstance(item, dict) else str(item) for item in value)
    return str(value)

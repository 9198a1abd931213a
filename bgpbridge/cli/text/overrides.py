"""`override list`, and the override that `explain` shows first."""

from __future__ import annotations

from collections.abc import Sequence

from bgpbridge.cli.text.words import Json, columns, duration, good, warn

__all__ = ["override_lines", "overrides_text"]

HEADS = ("name", "prefix", "what", "state", "prefixes", "owner", "ends", "by")


def overrides_text(found: Sequence[Json], now: float) -> list[str]:
    """The answer of /v1/overrides: a line each, and under it why one is not in force."""
    if not found:
        return ["no overrides"]
    rows = [
        (
            one["name"],
            one["scope"],
            one["what"],
            _state(one),
            _count(one),
            one["owner"],
            f"in {duration(one['expires'] - now)}" if one["expires"] is not None and one["expires"] > now else "",
            one["source"],
        )
        for one in found
    ]
    head, *lines = columns(HEADS, rows, {"prefixes"})
    out = [head]
    for one, line in zip(found, lines, strict=True):
        out += [line, f"  {one['reason']}"]
        if one["why"]:
            out.append(f"  {warn(one['why'])}")
    return out


def _state(one: Json) -> str:
    return (good if one["state"] == "in force" else warn)(one["state"])


def _count(one: Json) -> str:
    if one["prefixes"] is None:
        return ""
    return f"{one['pinned']:,} of {one['prefixes']:,}" if one["kind"] == "pin" else f"{one['prefixes']:,}"


def override_lines(one: Json, now: float) -> list[str]:
    """For `explain`: who, what, why, until when, and whether it holds here."""
    until = f", ends in {duration(one['expires'] - now)}" if one["expires"] is not None else ""
    why = f": {one['why']}" if one["why"] else ""
    return [
        f"{_state(one)}{why}",
        f"{one['what']}, for {one['scope']}",
        f"by {one['owner']}: {one['reason']}{until} ({one['name']}, {one['source']})",
    ]

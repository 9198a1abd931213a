"""`explain`: the whole way of a packet, from the policy's line to the MAC address."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from bgpbridge.cli.text.overrides import override_lines
from bgpbridge.cli.text.planes import fib_facts
from bgpbridge.cli.text.routes import ROLE_COLOURS, attributes_text, path_name
from bgpbridge.cli.text.words import Json, bad, columns, duration, facts, good, labelled, warn

__all__ = ["explain_text", "policy_line"]

INDENT = "  "


def explain_text(seen: Json) -> list[str]:
    """The answer of /v1/explain."""
    colour = good if seen["verdict"].startswith("forwarded") else warn
    return [
        f"{click.style(seen['target'], bold=True)}: {colour(seen['verdict'])}",
        *([warn(f"{INDENT}{seen['note']}")] if seen["note"] else []),
        "",
        *(labelled("override", override_lines(seen["override"], time.time())) if seen.get("override") else []),
        *facts([("prefix", seen["prefix"]), ("policy", policy_line(seen["policy"])), ("RPKI", _rpki(seen["rpki"]))]),
        *_paths(seen),
        *fib_facts(seen["fib"]),
        *labelled("beside it", seen["foreign"]),
        *labelled("history", [_change(entry) for entry in seen["history"]]),
    ]


def policy_line(policy: Json | None) -> str:
    """What import policy said of a path, and where that stands."""
    if policy is None:
        return ""
    verb = "accepts" if policy["accepted"] else "refuses"
    term = f", term {policy['term']}" if policy["term"] else ""
    place = f", {policy['place']}" if policy["place"] else ""
    reason = f": {policy['reason']}" if policy["reason"] else ""
    name = policy["policy"] or "import"
    return f"{name}{term}{place} {verb} the path from {policy['peer']}{reason}"


def _rpki(seen: Json | None) -> str:
    if seen is None:
        return ""
    origin = f"AS {seen['origin']}" if seen["origin"] else "no AS"
    covering = f"covered by {'; '.join(seen['covering'])}" if seen["covering"] else "no VRP covers it"
    return f"{seen['state']}: {origin} by {seen['peer']}, {covering}"


def _paths(seen: Json) -> list[str]:
    """Each path, and under it why it lost."""
    losses = {(loss["peer"], loss["path_id"]): loss for loss in seen["losses"]}
    shown = [
        (
            ROLE_COLOURS.get(path["status"], str)(path["status"]) + (warn(" stale") if path["stale"] else ""),
            f"from {path_name(path['peer'], path['path_id'])}",
            f"next hop {path['next_hop']}",
            f"AS path {path['attributes'].get('as_path') or '(empty)'}",
            f"origin {path['attributes'].get('origin', '?')}",
        )
        for path in seen["paths"]
    ]
    lines: list[str] = []
    for path, line in zip(seen["paths"], columns(("",) * 5, shown), strict=True):
        why = _why(path, losses.get((path["peer"], path["path_id"])))
        lines += [line, *(INDENT + words for words in (*why, attributes_text(path["attributes"])) if words)]
    return labelled("paths", lines)


def _why(path: Json, loss: Json | None) -> Iterator[str]:
    if loss is not None and not loss["step"]:
        yield bad(f"left out at step 0, next hop not reachable ({loss['rfc']}): {path['reason']}")
        return
    if path["reason"]:
        yield bad(f"{path['status']}: {path['reason']}")
    if loss is not None:
        winner = f", to {loss['winner']}" if loss["winner"] else ""
        if loss["step"] < 0:
            yield "left out by the override" if not loss["winner"] else f"the override put {loss['winner']} first"
            return
        yield f"lost at step {loss['step']}, {loss['text']} ({loss['rfc']}){winner}"


def _change(entry: Json) -> str:
    what = f"group {entry['old_group'] or 'none'} to {entry['new_group'] or 'none'}"
    return f"{duration(entry['ago_s'])} ago, commit {entry['commit']}: {what}, by {entry['cause']}"

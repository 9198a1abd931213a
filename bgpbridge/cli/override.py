"""`override`: pin a prefix, lift the pin, see what is pinned and how it stands."""

from __future__ import annotations

import getpass
import os
import re
import time
from datetime import UTC, datetime
from typing import Any

import click

from bgpbridge.cli.commands import JSON, Asking, Command, Commands, pass_asking, say
from bgpbridge.cli.text.overrides import overrides_text

__all__ = ["override"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
KINDS = ("pin", "prefer", "weight", "blackhole", "reject")
VALUES = {"prefer": "local_pref", "weight": "weight"}


@click.group(cls=Commands)
def override() -> None:
    """Decide on a prefix whatever BGP says, for as long as BGP has a path for it."""


@override.command(name="add", cls=Command)
@click.argument("prefix")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--or-longer", is_flag=True, help="Everything under PREFIX as well.")
@click.option("--peer", help="Paths of this peer.")
@click.option("--next-hop", help="Paths by this next hop; a pin may name one that BGP does not have.")
@click.option("--group", help="A group of `sets.next_hop_groups` in a policy file.")
@click.option("--value", type=int, help="With prefer: LOCAL_PREF; with weight: the weight.")
@click.option("--reason", required=True, help="Why it is there.")
@click.option("--owner", help="Who answers for it.  [default: who asks]")
@click.option("--for", "lasting", metavar="TIME", help="How long it lasts: 30m, 2h, 7d.")
@click.option("--until", metavar="TIME", help="When it ends, with its zone: 2026-12-01T08:00:00Z.")
@JSON
@pass_asking
def add(asking: Asking, /, prefix: str, kind: str, as_json: bool, **given: Any) -> None:
    """Override PREFIX: pin, prefer, weight, blackhole or reject.

    It is kept over a restart until it is removed or its time is over.
    """
    body: dict[str, Any] = {
        "prefix": f"{prefix} or-longer" if given["or_longer"] else prefix,
        kind: _intent(kind, given),
        "owner": given["owner"] or _user(),
        "reason": given["reason"],
    }
    if (expires := _expires(given["lasting"], given["until"])) is not None:
        body["expires"] = expires
    answer = asking.client.post("/v1/overrides", {"by": _user()}, body)
    say(answer, as_json, lambda one: overrides_text([one], time.time()))


def _intent(kind: str, given: dict[str, Any]) -> Any:
    """What stands behind the kind in a policy file."""
    target = {key: given[key] for key in ("peer", "next_hop", "group") if given[key] is not None}
    if kind in VALUES:
        if given["value"] is None:
            raise click.UsageError(f"{kind} needs --value")
        return {**target, VALUES[kind]: given["value"]}
    if given["value"] is not None:
        raise click.UsageError(f"{kind} has no --value")
    if kind == "blackhole" and target:
        raise click.UsageError("blackhole drops what goes to PREFIX, whoever sent the path: it has no target")
    return True if kind == "blackhole" or (kind == "reject" and not target) else target


def _expires(lasting: str | None, until: str | None) -> str | None:
    if lasting is not None and until is not None:
        raise click.UsageError("--for and --until exclude each other")
    if lasting is None:
        return until
    found = re.fullmatch(r"(\d{1,6})([smhdw])", lasting)
    if found is None:
        raise click.UsageError(f"`{lasting}` is no duration: write 30m, 2h or 7d")
    return datetime.fromtimestamp(time.time() + int(found[1]) * UNITS[found[2]], UTC).isoformat(timespec="seconds")


def _user() -> str:
    """Who asks: behind sudo the one who called it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@override.command(name="remove", cls=Command)
@click.argument("name", metavar="ID|PREFIX")
@JSON
@pass_asking
def remove(asking: Asking, name: str, as_json: bool) -> None:
    """Lift an override that was given at run time; those of files go with their lines."""
    say(asking.client.delete(f"/v1/overrides/{name}"), as_json, lambda answer: [answer["text"]])


@override.command(name="list", cls=Command)
@JSON
@pass_asking
def list_(asking: Asking, as_json: bool) -> None:
    """All overrides, of files and given at run time, and how each stands."""
    asking.show("/v1/overrides", {}, as_json, lambda answer: overrides_text(answer, time.time()))

"""`clear`: everything that outlives the daemon goes."""

from __future__ import annotations

from pathlib import Path

import click

from bgpbridge.cli.commands import CONFIG, JSON, Command, say
from bgpbridge.cli.text.words import facts, labelled
from bgpbridge.config import load_config
from bgpbridge.daemon.clear import Leftovers, find
from bgpbridge.daemon.clear import clear as clear_all
from bgpbridge.view.plain import plain

__all__ = ["clear"]


@click.command(cls=Command)
@CONFIG
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@JSON
def clear(config: Path, dry_run: bool, as_json: bool) -> None:
    """Remove all that outlives a stopped daemon: XDP, pins, our kernel routes and nexthops, runtime files."""
    loaded = load_config(config)
    found = find(loaded) if dry_run else clear_all(loaded)
    verb = "would remove" if dry_run else "removed"
    say(plain(found), as_json, lambda _: _leftovers_text(found, verb))


def _leftovers_text(found: Leftovers, verb: str) -> list[str]:
    if not found.any:
        return ["nothing of ours is here"]
    routes = ", ".join(f"{count:,} {family.label}" for family, count in found.routes.items() if count)
    return [
        f"{verb}:",
        *facts([("XDP from", ", ".join(found.interfaces)), ("pins", str(found.pins or ""))]),
        *facts([("routes", routes), ("nexthops", f"{found.nexthops:,}" if found.nexthops else "")]),
        *labelled("files", map(str, found.files)),
    ]

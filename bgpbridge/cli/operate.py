"""The commands that ask a running daemon to do something, and the shell's completion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from bgpbridge.cli.commands import EXIT_CODES, JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.text.counters import audit_text
from bgpbridge.cli.text.plan import plan_text
from bgpbridge.cli.text.words import Json, waits, warn

__all__ = ["COMMANDS", "completion"]

WOULD_CHANGE = 4
SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@JSON
@pass_asking
def reload(asking: Asking, as_json: bool) -> None:
    """Take the changed configuration over: what is the same goes on untouched. See `check` first."""
    say(asking.client.post("/v1/reload"), as_json, _reload_text)


def _reload_text(report: Json) -> Iterator[str]:
    yield from report["done"] or ["nothing to change"]
    for key in report["restart"]:
        yield warn(waits(key))


PLAN_CODES = f"{EXIT_CODES} 4 the file would change something."


@click.command(cls=Command, epilog=PLAN_CODES)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True), required=False)
@JSON
@pass_asking
@click.pass_context
def plan(context: click.Context, asking: Asking, file: Path | None, as_json: bool) -> None:
    """Show what `reload` would do to the live table: peers, routes, groups; nothing is changed.

    Without FILE: the configuration and its policies as they stand on disk now. FILE is another configuration, or a
    policy file that is taken in place of the one of the same name (or beside the others). The daemon reads it. Exit
    code 4 when something would change.
    """
    report = asking.client.post("/v1/plan", {"file": str(file)} if file is not None else {})
    say(report, as_json, plan_text)
    context.exit(WOULD_CHANGE if report["changes"] else 0)


@click.command(cls=Command)
@JSON
@pass_asking
def on(asking: Asking, as_json: bool) -> None:
    """Let XDP forward (again)."""
    say(asking.client.post("/v1/on"), as_json, lambda answer: [answer["text"]])


@click.command(cls=Command)
@JSON
@pass_asking
def off(asking: Asking, as_json: bool) -> None:
    """Give all traffic to the kernel at once; routes stay, sessions stay."""
    say(asking.client.post("/v1/off"), as_json, lambda answer: [answer["text"]])


@click.command(cls=Command)
@click.option("--repair", is_flag=True, help="Bring in line what differs, then compare again.")
@JSON
@pass_asking
@click.pass_context
def audit(context: click.Context, asking: Asking, repair: bool, as_json: bool) -> None:
    """Compare Loc-RIB, XDP and kernel for every address; exit code 1 on a difference.

    All prefixes, all slots of the indexes, groups, adjacencies, control word, interfaces and ports are read back.
    With --repair it is one that is left when what differed was brought in line.
    """
    report = asking.client.post("/v1/audit", {"repair": "1"} if repair else {})
    say(report, as_json, audit_text)
    context.exit(0 if report["clean"] else 1)


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and names of peers.

    For bash: `bgpbridge completion bash > /etc/bash_completion.d/bgpbridge`. For zsh into a file _bgpbridge on its
    fpath, for fish into ~/.config/fish/completions/bgpbridge.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "bgpbridge", "_BGPBRIDGE_COMPLETE").source())


COMMANDS = (on, off, reload, plan, audit)

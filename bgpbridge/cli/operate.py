"""The commands that ask a running daemon to do something, and the shell's completion."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import get_completion_class

from bgpbridge.cli.commands import JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.text.counters import audit_text
from bgpbridge.cli.text.words import Json, warn

__all__ = ["COMMANDS", "completion"]

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
        yield warn(f"{key} has changed and waits for a restart")


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
    """Compare Loc-RIB, XDP and kernel over all prefixes; exit code 1 on a difference.

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


COMMANDS = (on, off, reload, audit)

"""`datapath`: the program on the interfaces."""

from __future__ import annotations

from collections.abc import Iterator

import click

from bgpbridge.cli.commands import JSON, Asking, Command, Commands, pass_asking, say
from bgpbridge.cli.text.words import Json, bad, good

__all__ = ["datapath"]


@click.group(cls=Commands)
def datapath() -> None:
    """The XDP program on the interfaces: put another one in its place."""


@datapath.command(name="upgrade", cls=Command)
@click.option(
    "--watch",
    type=click.IntRange(0, 60),
    default=3,
    show_default=True,
    metavar="SECONDS",
    help="How long the counters are watched before the program stays.",
)
@click.option("--verbose", is_flag=True, help="All that the verifier says, where it refuses.")
@JSON
@pass_asking
@click.pass_context
def upgrade(context: click.Context, asking: Asking, watch: int, verbose: bool, as_json: bool) -> None:
    """Put a program that is compiled now in place of the one that runs; no packet is lost.

    It is verified and proves itself on frames with known answers, then it gets the interfaces by one link update each.
    When its counters look wrong in the first seconds, the program before comes back by itself: exit code 1. Where
    datapath.engine, group_slots, loader, max_ipv4 or max_ipv6 have changed in the configuration, they are taken over:
    new maps are filled beside the old ones first.
    """
    query = {"watch": str(watch), **({"verbose": "1"} if verbose else {})}
    report = asking.client.post("/v1/datapath/upgrade", query)
    say(report, as_json, _upgrade_text)
    context.exit(0 if report["stayed"] else 1)


def _upgrade_text(report: Json) -> Iterator[str]:
    yield from report["steps"]
    yield (good if report["stayed"] else bad)(report["text"])

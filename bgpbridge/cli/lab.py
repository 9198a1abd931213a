"""`bgpbridge lab`: topologies up and down on this machine, without Docker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bgpbridge.cli.commands import JSON, say
from bgpbridge.errors import LabError
from bgpbridge.lab import interrupts, runner, state, steps
from bgpbridge.lab import node as container
from bgpbridge.lab.steps import Outcome

__all__ = ["lab"]

Json = dict[str, Any]

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
NAME = click.option("--name", help="Another name than the file gives, to run it twice.")


@click.group()
def lab() -> None:
    """Topologies of containerlab in network namespaces, with this machine's FRR, BIRD and GoBGP."""


@lab.command()
@FILE
@NAME
@JSON
def up(file: Path, name: str | None, as_json: bool) -> None:
    """Bring the topology FILE up; it stays until `lab down`. Needs root."""
    with interrupts.interruptible(), interrupts.held():
        made = runner.up(file, name, say=_silent if as_json else _tell)
        say(_as_json(made), as_json, _up_text)
        interrupts.too_late()  # it is up and that was said


@lab.command()
@click.argument("name")
@JSON
def down(name: str, as_json: bool) -> None:
    """Take the lab NAME down, whole or what is left of it. A topology's file will do for its name."""
    name = runner.name_of(name)
    runner.down(name)
    say({"name": name, "up": False}, as_json, lambda answer: [f"lab {answer['name']} is down"])


@lab.command("list")
@JSON
def list_(as_json: bool) -> None:
    """The labs on this machine and their nodes."""
    say([_as_json(item) for item in runner.labs()], as_json, _list_text)


@lab.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name")
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def exec_(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in a NODE of the lab NAME; a shell without one. `bgpbridge`, `vtysh`, `birdc` and `gobgp` talk
    to that node's daemon."""
    if os.geteuid() != 0:
        raise LabError("lab exec needs root", mend="it enters the node's namespace: run it with sudo")
    words = command[1:] if command[:1] == ("--",) else command
    argv = runner.command(runner.find(name), node, words)
    os.execvp(argv[0], argv)  # noqa: S606 -- we become the command: its terminal, its exit code


@lab.command()
@FILE
@click.option("--expect", type=click.Path(path_type=Path, dir_okay=False), help="Another expect file than FILE's own.")
@NAME
@JSON
@click.pass_context
def test(ctx: click.Context, file: Path, expect: Path | None, name: str | None, as_json: bool) -> None:
    """Bring FILE up, hold it against its expect file, take it down. Exit code 1 when something is not as expected."""
    with interrupts.interruptible():
        heard = _hear_json if as_json else _hear
        fine = steps.check(file, expect, name, say=_silent if as_json else _tell, heard=heard)
    ctx.exit(0 if fine else 1)


@lab.command(hidden=True)
@click.pass_context
def node(ctx: click.Context) -> None:
    """The entry point of the lab's container image (lab/Containerfile)."""
    ctx.exit(container.run())


def _tell(text: str) -> None:
    click.echo(f"  {text}")


def _silent(text: str) -> None:
    del text


def _hear(outcome: Outcome) -> None:
    mark = click.style("ok  ", fg="green") if not outcome.wrong else click.style("FAIL", fg="red")
    click.echo(f"  {mark} {outcome.step.title} ({outcome.took_s:.1f} s)")
    if outcome.report:
        lost = outcome.report
        click.echo(f"         {lost.received} of {lost.sent} packets, {lost.lost} lost, by {dict(lost.ways)}")
    if outcome.wrong:
        click.echo(f"         {outcome.wrong}")


def _hear_json(outcome: Outcome) -> None:
    click.echo(json.dumps({"step": outcome.step.title, "took_s": round(outcome.took_s, 3), "wrong": outcome.wrong}))


def _as_json(item: state.Lab) -> Json:
    nodes = {
        node: {
            "namespace": namespace,
            "programs": {p.name: {"pid": p.pid, "alive": p.alive} for p in item.processes if p.node == node},
        }
        for node, namespace in item.namespaces.items()
    }
    return {"name": item.name, "file": item.file, "up": item.alive, "nodes": nodes}


def _up_text(made: Json) -> Iterator[str]:
    yield f"lab {made['name']} is up: {', '.join(made['nodes'])}"
    yield f"  bgpbridge lab exec {made['name']} NODE COMMAND...    bgpbridge lab down {made['name']}"


def _list_text(found: list[Json]) -> Iterator[str]:
    if not found:
        yield "no lab is up"
    for item in found:
        yield f"{item['name']}  {'up' if item['up'] else 'left-overs: lab down clears them'}  {item['file']}"
        for node, what in item["nodes"].items():
            programs = [f"{name}{'' if p['alive'] else ' (ended)'}" for name, p in what["programs"].items()]
            yield f"  {node:<12} {what['namespace']:<28} {', '.join(programs)}".rstrip()

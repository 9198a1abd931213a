"""`bgpbridge`: the command line's door. Errors of ours go to stderr as text with their mend, never as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

import bgpbridge
from bgpbridge.api.client import DEFAULT_SOCKET
from bgpbridge.cli import operate, show
from bgpbridge.cli.commands import Asking, Commands
from bgpbridge.errors import BridgeError

__all__ = ["cli", "main"]

INTERRUPTED = 130
LAZY = {
    "run": ("bgpbridge.cli.run:run", "Run the bridge and its speaker in the foreground, until SIGTERM."),
    "check": ("bgpbridge.cli.check:check", "Check a FILE before it is used; exit code 2 with all errors."),
    "schema": (
        "bgpbridge.cli.check:schema",
        "Print the JSON schema of our files, for editors that complete and check YAML.",
    ),
    "doctor": ("bgpbridge.cli.doctor:doctor", "Is this machine fit to run bgpbridge? Each finding with its mend."),
    "replay": (
        "bgpbridge.cli.replay:replay",
        "Put an MRT FILE through decoder, policies and decision; no daemon is needed.",
    ),
    "packet": ("bgpbridge.cli.packet:packet", "What would happen to this packet? The program itself answers."),
    "trace": ("bgpbridge.cli.packet:trace", "Packets as they pass, each with what XDP does with it and why."),
    "top": ("bgpbridge.cli.top:top", "Peers, rates, groups and events as they are now, again and again."),
    "pipe": ("bgpbridge.cli.pipe:pipe", "Take routes from an ExaBGP that runs already; ExaBGP starts this itself."),
    "record": ("bgpbridge.cli.record:record", "Write what comes in as MRT to FILE, until interrupted."),
    "override": (
        "bgpbridge.cli.override:override",
        "Decide on a prefix whatever BGP says, for as long as BGP has a path for it.",
    ),
    "datapath": (
        "bgpbridge.cli.datapath:datapath",
        "The XDP program on the interfaces: put another one in its place.",
    ),
    "clear": (
        "bgpbridge.cli.clear:clear",
        "Remove all that outlives a stopped daemon: XDP, pins, our kernel routes and nexthops, runtime files.",
    ),
    "completion": (
        "bgpbridge.cli.operate:completion",
        "Print what makes SHELL complete commands, options and names of peers.",
    ),
    "lab": ("bgpbridge.cli.lab:lab", "Topologies of containerlab in network namespaces."),
}


SECTIONS = {
    "To set up": ("doctor", "check", "schema", "run", "pipe", "clear", "completion"),
    "To look": ("status", "top", "peers", "events", "counters", "health", "paths", "rpki"),
    "To find out why": ("explain", "packet", "trace", "route", "routes", "fib", "groups", "adjacencies", "audit"),
    "To change": ("plan", "reload", "override", "off", "on", "datapath"),
    "To try out": ("record", "replay", "lab"),
}


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"bgpbridge, version {bgpbridge.__version__}")
        context.exit()


@click.group(
    cls=Commands,
    lazy=LAZY,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "-s",
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path, readable=False),  # connecting tells better why not
    default=DEFAULT_SOCKET,
    show_default=True,
    envvar="BGPBRIDGE_SOCKET",
    help="The control socket of the daemon to ask.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as behind the command.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
@click.pass_context
def cli(context: click.Context, socket_path: Path, as_json: bool) -> None:
    """BGP in, XDP and the kernel's routes out."""
    del as_json  # read by the commands
    context.obj = Asking(socket_path)


for command in (*show.COMMANDS, *operate.COMMANDS):
    cli.add_command(command)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (the process's own when none is given) and end with its exit code."""
    sys.exit(_run(words))


def _run(words: Sequence[str] | None) -> int:
    try:
        code = cli.main(words, prog_name="bgpbridge", standalone_mode=False)
        sys.stdout.flush()
    except BridgeError as error:
        click.echo(f"bgpbridge: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # click's word for KeyboardInterrupt
        return INTERRUPTED
    except BrokenPipeError:  # `bgpbridge routes | head`: nobody reads on, and nobody wants to hear of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0

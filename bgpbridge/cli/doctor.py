"""`doctor`: is this machine fit."""

from __future__ import annotations

import fnmatch
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bgpbridge.cli.commands import JSON, Command, say
from bgpbridge.cli.text.words import Json, bad, columns, counted, good, warn
from bgpbridge.config import Config, load_config
from bgpbridge.doctor import Level, examine
from bgpbridge.view.plain import plain

__all__ = ["doctor"]

LEVELS = {"ok": good, "warn": warn, "fail": bad}


@click.command(cls=Command)
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="Also hold the machine against this configuration."
)
@JSON
@click.pass_context
def doctor(context: click.Context, config: Path | None, as_json: bool) -> None:
    """Is this machine fit to run bgpbridge? Each finding with its mend; exit code 1 when one is a `fail`."""
    findings = examine(**_wanted(load_config(config))) if config is not None else examine()
    say(plain(findings), as_json, _doctor_text)
    context.exit(1 if any(finding.level is Level.FAIL for finding in findings) else 0)


def _wanted(config: Config) -> dict[str, Any]:
    """What the configuration asks of the machine."""
    datapath = config.datapath
    return {
        "interfaces": _interfaces(datapath.interfaces),
        "pin_path": datapath.pin_path,
        "max_routes": datapath.max_ipv4 + datapath.max_ipv6,
        "allow_netfilter_bypass": datapath.allow_netfilter_bypass,
    }


def _interfaces(patterns: Sequence[str]) -> list[str]:
    """Names, and the interfaces that globs find here."""
    here = [name for _, name in socket.if_nameindex()]
    globs = [pattern for pattern in patterns if set(pattern) & set("*?[")]
    found = [name for name in here if any(fnmatch.fnmatchcase(name, glob) for glob in globs)]
    return list(dict.fromkeys([*(pattern for pattern in patterns if pattern not in globs), *found]))


def _doctor_text(findings: Sequence[Json]) -> list[str]:
    rows = [
        (LEVELS[finding["level"]](finding["level"]), finding["check"], finding["seen"], finding["mend"])
        for finding in findings
    ]
    count = sum(finding["level"] == "fail" for finding in findings)
    verdict = bad(f"{counted(count, 'finding')} must be mended first") if count else good("fit to run")
    return [*columns(("", "check", "seen", "mend"), rows), "", verdict]

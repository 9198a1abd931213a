"""`check FILE`: is a file of ours right. `schema`: what an editor needs to tell while it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bgpbridge.cli.commands import JSON, Command, say
from bgpbridge.cli.text.words import Json, bad, counted, good, warn
from bgpbridge.config import advise, config_schema, load_config, missing_passwords, policy_schema, unusable_http_files
from bgpbridge.documents import parse, raise_errors, read_text
from bgpbridge.errors import DocumentError, DocumentErrors, Place
from bgpbridge.lab.expect import read as read_expect
from bgpbridge.lab.topology import load as load_topology
from bgpbridge.policy.lint import lint
from bgpbridge.policy.parse import load_policies

__all__ = ["check", "kind_of", "schema"]

KINDS = ("config", "policy", "topology", "expect")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), help="What the file is; found out from its keys otherwise.")
@JSON
@click.pass_context
def check(context: click.Context, file: Path, kind: str | None, as_json: bool) -> None:
    """Check a FILE before it is used; exit code 2 with all errors.

    A configuration is checked with its policies and passwords. Policy files, lab topologies and expect files are
    known by their keys. Advice alone leaves the exit code at 0.
    """
    errors: Sequence[DocumentError] = ()
    about = ""
    advice: list[Json] = []
    try:
        kind = kind or kind_of(file)
        about, advice = CHECKS[kind](file)
    except DocumentErrors as error:
        errors = error.errors
    except DocumentError as error:
        errors = (error,)
    answer = {
        "file": str(file),
        "kind": kind,
        "about": about,
        "errors": [_as_json(error.place, error.problem, error.expected, error.mend) for error in errors],
        "advice": advice,
    }
    say(answer, as_json, _check_text)
    context.exit(DocumentError.exit_code if errors else 0)


def kind_of(file: Path) -> str:
    """What a file is, by its keys. Raises DocumentError when it is no YAML."""
    data = parse(read_text(file), str(file)).data
    keys = set(data) if isinstance(data, dict) else set()
    if "topology" in keys:
        return "topology"
    if "steps" in keys:
        return "expect"
    if keys & {"sets", "overrides"} or (isinstance(data, dict) and isinstance(data.get("policies"), dict)):
        return "policy"
    return "config"


def _config(file: Path) -> tuple[str, list[Json]]:
    config = load_config(file)
    raise_errors([*missing_passwords(config), *unusable_http_files(config)])
    policies = counted(len(config.policy_set.policies), "policy", "policies")
    advice = [_as_json(oddity.place, oddity.text, "", oddity.mend) for oddity in advise(config)]
    return f"configuration, {counted(len(config.peers), 'peer')}, {policies}", advice


def _policy(file: Path) -> tuple[str, list[Json]]:
    found = load_policies([file])
    advice = [_as_json(oddity.place, oddity.text, "", oddity.mend) for oddity in lint(found)]
    about = f"policy file, {counted(len(found.policies), 'policy', 'policies')}"
    return about + (f", {counted(len(found.overrides), 'override')}" if found.overrides else ""), advice


def _topology(file: Path) -> tuple[str, list[Json]]:
    found = load_topology(file)
    return f"lab topology, {counted(len(found.nodes), 'node')}, {counted(len(found.links), 'link')}", []


def _expect(file: Path) -> tuple[str, list[Json]]:
    return f"expect file, {counted(len(read_expect(file).steps), 'step')}", []


CHECKS: dict[str, Callable[[Path], tuple[str, list[Json]]]] = {
    "config": _config,
    "policy": _policy,
    "topology": _topology,
    "expect": _expect,
}


def _as_json(place: Place, problem: str, expected: str, mend: str) -> Json:
    where = {"file": place.file, "line": place.line, "column": place.column}
    return {**where, "problem": problem, "expected": expected, "mend": mend}


def _check_text(answer: Json) -> list[str]:
    lines = [line for error in answer["errors"] for line in _problem(error, bad("error"))]
    lines += [line for item in answer["advice"] for line in _problem(item, warn("advice"))]
    count = len(answer["errors"])
    last = bad(counted(count, "error")) if count else f"{good('fine')}: {answer['about']}"
    return [*lines, f"{answer['file']}: {last}"]


def _problem(item: Json, word: str) -> list[str]:
    place = ":".join(str(part) for part in (item["file"], item["line"], item["column"]) if part)
    more = [f"  {key}: {item[key]}" for key in ("expected", "mend") if item[key]]
    return [f"{place}: {word}: {item['problem']}", *more]


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(["config", "policy"]))
def schema(kind: str) -> None:
    """Print the JSON schema of our files, for editors that complete and check YAML.

    Write it to a file and name that in the first line of yours: `# yaml-language-server: $schema=FILE`.
    """
    click.echo(json.dumps(config_schema() if kind == "config" else policy_schema(), indent=2))

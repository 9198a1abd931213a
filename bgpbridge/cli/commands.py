"""What all commands have in common: exit codes in every --help, groups that import a command when it is asked for,
and where an answer of the daemon becomes text or JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from bgpbridge.api.client import DEFAULT_SOCKET, Client

__all__ = ["CONFIG", "EXIT_CODES", "JSON", "Asking", "Command", "Commands", "pass_asking", "say"]

EXIT_CODES = (
    "Exit codes: 0 fine, 1 a finding or a failure, 2 wrong usage or a wrong file, 3 no daemon, 4 `plan` would change "
    "something, 130 interrupted."
)
DEFAULT_CONFIG = Path("/etc/bgpbridge/bgpbridge.yaml")
F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help ends with the exit codes."""

    def __init__(self, name: str | None, **kwargs: Any) -> None:
        super().__init__(name, **{"epilog": EXIT_CODES, **kwargs})


class Commands(click.Group):
    """A group in the order of definition. `lazy` names commands as `module:attribute`, each with the line that the
    list of commands shows: their modules import much that other commands do not need. `sections` puts the list under
    headings; what none of them names stands in the last one."""

    command_class = Command

    def __init__(
        self,
        name: str | None,
        *,
        lazy: dict[str, tuple[str, str]] | None = None,
        sections: dict[str, tuple[str, ...]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **{"epilog": EXIT_CODES, **kwargs})
        self._lazy, self._sections = lazy or {}, sections or {"Commands": ()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were defined, the lazy ones behind."""
        del ctx
        return [*(name for name in self.commands if name not in self._lazy), *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imported now, if it was not."""
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, attribute = self._lazy[cmd_name][0].split(":")
            self.add_command(_with_epilog(getattr(importlib.import_module(module), attribute)), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing what is lazy."""
        own = {name: command.get_short_help_str(100) for name, command in self.commands.items()}
        lines = {**own, **{name: line for name, (_, line) in self._lazy.items()}}
        named = {name for names in self._sections.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in named]
        width, last = max(map(len, lines), default=0), list(self._sections)[-1]
        for heading, names in self._sections.items():
            rows = [(name.ljust(width), lines[name]) for name in (*names, *(others if heading == last else ()))]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _with_epilog(command: click.Command) -> click.Command:
    """Exit codes in the help of a command of another room, and of those inside it."""
    command.epilog = command.epilog or EXIT_CODES
    for inner in getattr(command, "commands", {}).values():
        _with_epilog(inner)
    return command


class Asking:
    """Who the commands ask, on the socket that the command line names."""

    def __init__(self, socket_path: Path = DEFAULT_SOCKET) -> None:
        self.client = Client(socket_path)

    def show(self, path: str, query: dict[str, str], as_json: bool, text: Callable[[Any], Iterable[str]]) -> Any:
        """Ask and print; gives the answer."""
        answer = self.client.get(path, query)
        say(answer, as_json, text)
        return answer


def say(answer: Any, as_json: bool, text: Callable[[Any], Iterable[str]]) -> None:
    """As JSON, or as text for people."""
    click.echo(json.dumps(answer, indent=2) if as_json else "\n".join(text(answer)))


pass_asking = click.make_pass_decorator(Asking)


def _json_wanted(context: click.Context, parameter: click.Parameter, here: bool) -> bool:
    """Before the command's name or behind it: `bgpbridge --json status` is `bgpbridge status --json`."""
    del parameter
    return here or bool(context.find_root().params.get("as_json"))


def JSON(function: F) -> F:  # noqa: N802 - reads as the option that it is
    """The option that every showing command has."""
    option = click.option("--json", "as_json", is_flag=True, callback=_json_wanted, help="As JSON, for programs.")
    return option(function)


def CONFIG(function: F) -> F:  # noqa: N802
    """The option that names the configuration file."""
    option = click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        default=DEFAULT_CONFIG,
        show_default=True,
        envvar="BGPBRIDGE_CONFIG",
        help="The configuration file.",
    )
    return option(function)

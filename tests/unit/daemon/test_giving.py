"""What a supervisor gives a bridge that asks: judged by the file, over the real socket, with the real process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.daemon.giving import Giver, listen, pair
from bgpbridge.health.commands import Commands

TEXT = """
router: {asn: 65000, router_id: 192.0.2.250}
peers:
  - {name: a, address: 192.0.2.1, asn: 65001, import: accept, announce: [{prefix: 192.0.2.80/32, next_hop: 192.0.2.2}]}
health:
  checks: [{name: web, kind: KIND}]
  services: [{prefix: 192.0.2.80/32, checks: [web]}]
"""


class Asker:
    """Stands for the bridge's health: what it was told."""

    def __init__(self) -> None:
        self.ask: Callable[[], None] = lambda: None
        self.taken: Commands | None = None
        self.refused = ""

    def take_commands(self, commands: Commands) -> None:
        self.taken = commands

    def commands_refused(self, why: str) -> None:
        self.refused = why


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def ask(path: Path, and_then: Callable[[Giver, Asker], Any]) -> Asker:
    """One question, its answer, and the end of the bridge and of the supervisor."""
    asker = Asker()

    async def scenario() -> None:
        giver = Giver(path)
        hearing, asking = pair()
        giver.hear(hearing)
        listen(asking, asker)  # type: ignore[arg-type]
        asker.ask()
        await until(lambda: asker.taken or asker.refused)
        await and_then(giver, asker)
        asyncio.get_running_loop().remove_reader(asking)
        asking.close()
        await until(lambda: hearing.fileno() < 0)
        await giver.stop()
        assert not giver._processes

    asyncio.run(scenario())
    return asker


async def nothing(giver: Giver, asker: Asker) -> None:
    assert asker.taken is None
    assert not giver._processes


def test_a_file_with_a_command_check_gets_the_process_which_ends_with_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "bgpbridge.yaml"
    path.write_text(TEXT.replace("KIND", "command, command: [/bin/true]"))

    async def use(giver: Giver, asker: Asker) -> None:
        assert asker.taken is not None
        assert len(giver._processes) == 1
        await asker.taken.stop()
        await until(lambda: not giver._processes)

    assert ask(path, use).refused == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT.replace("KIND", "icmp, target: 192.0.2.9"), "no check of kind command is in the file any more"),
        ("router: {asn: 65000}", "router_id"),
    ],
)
def test_the_file_decides_and_not_the_bridge(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bgpbridge.yaml"
    path.write_text(text)
    assert why in ask(path, nothing).refused


def test_a_supervisor_that_has_gone_gives_nothing() -> None:
    asker = Asker()

    async def scenario() -> None:
        hearing, asking = pair()
        hearing.close()
        listen(asking, asker)  # type: ignore[arg-type]
        asker.ask()
        asyncio.get_running_loop().remove_reader(asking)
        asking.close()

    asyncio.run(scenario())
    assert "the supervisor does not hear" in asker.refused

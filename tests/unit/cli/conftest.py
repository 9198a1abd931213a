"""The whole command line against a server on a unix socket that answers with recorded JSON (tests/golden/api)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

GOLDEN = Path(__file__).parents[2] / "golden"
NOW = 1795413762.7654886  # when the answers were recorded


@dataclass
class Recorded:
    """A server whose answers are the files of one scene."""

    socket: Path
    scene: str = "fine"
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        name = request.path.removeprefix("/v1/").replace(":", "-").replace("/", "_")
        file = GOLDEN / "api" / self.scene / f"{name}.json"
        if not file.exists():
            body = {"error": f"there is no {name}", "mend": "ask for another", "exit_code": 2}
            if name.startswith("peers_"):  # the bridge's own words: docs/operations.md shows them
                names = [one["name"] for one in json.loads((file.parent / "peers.json").read_text())]
                mend = f"peers are: {', '.join(names)}"
                body = {"error": f"there is no peer {name.removeprefix('peers_')}", "mend": mend, "exit_code": 2}
            return web.json_response(body, status=400)
        value = json.loads(file.read_text())
        if request.query.get("follow") == "1" or name == "trace":
            return web.Response(text="".join(f"{json.dumps(event)}\n" for event in value))
        return web.json_response(value)


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """The server, in a thread with a loop of its own."""
    recorded = Recorded(tmp_path_factory.mktemp("api") / "control.sock")
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", recorded.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(recorded.socket)).start()
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    yield recorded
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def bgpbridge(
    server: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run a command line in this process, at the time of the recording."""
    from bgpbridge.cli.main import main

    monkeypatch.setattr("bgpbridge.cli.show.time.time", lambda: NOW)
    monkeypatch.setenv("BGPBRIDGE_SOCKET", str(server.socket))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("BGPBRIDGE_CONFIG", raising=False)
    time.tzset()
    server.asked.clear()

    def run(*words: str, scene: str = "fine") -> Ran:
        server.scene = scene
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), re.sub(r"\x1b\[[0-9;]*m", "", captured.out), captured.err)

    return run


def hold_to(name: str, text: str) -> None:
    """Compare with a golden file, whole. BGPBRIDGE_GOLDEN=write makes it what is said now: look at the diff."""
    file = GOLDEN / "cli" / f"{name}.txt"
    if os.environ.get("BGPBRIDGE_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """The comparison with tests/golden/cli."""
    return hold_to

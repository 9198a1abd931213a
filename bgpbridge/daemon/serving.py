"""What the bridge process does from its start to its end.

It says `ready` on the descriptor that it is given once packets are forwarded and the control socket listens. Exit
codes: 0 stopped, 1 or 2 a BridgeError whose text went to stderr, anything else a crash that the supervisor answers with
a new start.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgpbridge.api.reloading import Reloading
from bgpbridge.config import Config, load_config
from bgpbridge.daemon.giving import listen
from bgpbridge.daemon.privileges import drop
from bgpbridge.daemon.runtime import RuntimeFolder
from bgpbridge.doctor.checks import forward_rules
from bgpbridge.errors import BridgeError, DatapathError, SpeakerError
from bgpbridge.events import Event, EventLog, Severity
from bgpbridge.fib.early_dump import EarlyDump
from bgpbridge.fib.trie_dump import TrieDump
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.files import Files
from bgpbridge.pipeline.loop_lag import LoopLag
from bgpbridge.rib.tables import tune_malloc
from bgpbridge.scheduling import ask_short_slice, ask_usual_slice
from bgpbridge.speaker.launch import Handles

if TYPE_CHECKING:
    from bgpbridge.daemon.doors import Doors

__all__ = ["refuse_netfilter", "run"]

log = logging.getLogger("bgpbridge.bridge")
DOORS: Final = "bgpbridge.daemon.doors"
LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


def refuse_netfilter(config: Config) -> None:
    """XDP bypasses netfilter: refuse to attach where FORWARD rules exist, unless told otherwise."""
    if not config.datapath.interfaces or config.datapath.allow_netfilter_bypass:
        return
    rules = forward_rules()
    if rules:
        raise DatapathError(
            f"{len(rules)} netfilter rules on FORWARD would be bypassed by XDP, such as: {rules[0]}",
            mend="remove them, or set datapath.allow_netfilter_bypass: true when you mean it",
        )


async def serve(
    config: Config,
    handles: Handles,
    ready: int,
    asks: int | None,
    lag: LoopLag,
    tries: TrieDump | None,
    early: EarlyDump | None,
) -> None:
    """Run a bridge until SIGTERM. `ready`, `asks`: descriptors of the supervisor's, where it is told and asked; `lag`
    is of the loop that runs this; `tries` are what an earlier run left, `early` is what the kernel had to say."""
    folder = RuntimeFolder(config.runtime.directory)
    bridge = Bridge(config, handles, Files(folder.state, folder.speaker_config))
    bridge.loop_lag = lag
    reloading = Reloading(bridge)
    doors: Doors | None = None
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="bgpbridge-aside", initializer=ask_usual_slice))
    importing = asyncio.create_task(asyncio.to_thread(importlib.import_module, DOORS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, reloading.soon)
    telling = asyncio.create_task(_log_events(bridge.events))
    try:
        await bridge.start(tries, early)
        doors = (await importing).Doors(bridge, folder.control_socket, reloading)
        await doors.start()
        drop()
        if asks is not None:
            listen(socket.socket(fileno=asks), bridge.health)
        if _say_ready(ready):
            await _until(stopping, bridge)
    finally:
        if doors is not None:
            await doors.stop()
        await bridge.stop()
        telling.cancel()


async def _log_events(events: EventLog) -> None:
    """Events in the log as well, where they outlive this process. In a flood some are left out: the numbers tell."""
    for event in events.tail():
        _log_event(event)
    async for event in events.follow():
        _log_event(event)


def _log_event(event: Event) -> None:
    text = "; ".join(line.strip() for line in event.text.splitlines())
    log.log(LEVELS.get(event.severity, logging.INFO), "%d %s %s: %s", event.number, event.kind, event.subject, text)


def _say_ready(ready: int) -> bool:
    """Tell the supervisor; False when there is none any more (it died before we followed it)."""
    try:
        os.write(ready, b"ready\n")
    except BrokenPipeError:
        return False
    finally:
        os.close(ready)
    return True


async def _until(stopping: asyncio.Event, bridge: Bridge) -> None:
    """Run the bridge; end when told to, or with the error of the room that failed. Raises BridgeError."""
    running = asyncio.create_task(bridge.run())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        raise _first_of(running.exception())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _first_of(error: BaseException | None) -> BaseException:
    """The error behind a task group's: one of ours where there is one, for a sentence instead of a traceback."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(BridgeError)
        error = (ours or error).exceptions[0]
    return error or BridgeError("the bridge ended without being told to")


def run(path: Path, ready: int, asks: int | None, tries: TrieDump | None, early: EarlyDump | None) -> int:
    """All of it, by the configuration file; the exit code."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr, level=logging.INFO)
    tune_malloc()
    ask_short_slice()
    try:
        config = load_config(path)
        logging.getLogger("bgpbridge").setLevel(config.log.level.upper())
        handles = Handles.from_environment()
        if handles is None:
            raise SpeakerError("the bridge process has no lanes", mend="start it by `bgpbridge run -c FILE`")
        refuse_netfilter(config)
        lag = LoopLag()
        with asyncio.Runner(loop_factory=lag.loop) as runner:
            runner.run(serve(config, handles, ready, asks, lag, tries, early))
    except BridgeError as error:
        sys.stderr.write(f"bgpbridge: {error}\n")
        return error.exit_code
    return 0

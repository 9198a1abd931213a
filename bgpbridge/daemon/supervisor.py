"""`bgpbridge run`: starts speaker and bridge, and starts again whichever of them ends.

The supervisor holds what must outlive both: the lanes' memory, the doorbells, the control pair, the lock. It does
nothing else, so there is little in it to fail and little that it takes (`needs`); when it ends, its children end, and
packets go on being forwarded by what is pinned in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge import resources
from bgpbridge.daemon.children import FIRST_WAIT_S, LONGEST_WAIT_S, STEADY_S, Child, ended_because
from bgpbridge.daemon.giving import Giver, pair
from bgpbridge.daemon.needs import Needs, read_needs
from bgpbridge.daemon.runtime import RuntimeFolder, hold_pins, hold_protocol
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.errors import BridgeError
from bgpbridge.feed.lane import Layout
from bgpbridge.speaker.launch import SpeakerProcess

__all__ = ["Supervisor", "run"]

BRIDGE = "bgpbridge.daemon.bridge"
NOT_AGAIN = frozenset({0, 1, 2})

log = logging.getLogger("bgpbridge.supervisor")


def run(path: Path) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises BridgeError when it cannot begin."""
    needs = read_needs(path)
    if os.geteuid() != 0:
        raise BridgeError("bgpbridge run needs root", mend="it programs XDP and the kernel's routes: use sudo")
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr, level=logging.INFO)
    logging.getLogger("bgpbridge").setLevel(needs.log_level.upper())
    folder = RuntimeFolder(needs.directory)
    locks = _hold(needs, folder)
    try:
        code = asyncio.run(Supervisor(needs, path, folder).run())
        if code == 0:
            log.info("stopped; XDP and the kernel's routes go on forwarding until `bgpbridge clear`")
        return code
    finally:
        for lock in locks:
            os.close(lock)


def _hold(needs: Needs, folder: RuntimeFolder) -> list[int]:
    """Everything that only one daemon may have, before a speaker of ours meets another's sessions."""
    locks = [folder.hold()]
    try:
        if needs.protocol is not None:
            locks.append(hold_protocol(needs.protocol))
        if needs.pin_path is not None:
            ensure_bpffs(needs.pin_path)
            locks.append(hold_pins(needs.pin_path))
    except BridgeError:
        for lock in locks:
            os.close(lock)
        raise
    return locks


@dataclass(slots=True)
class Supervisor:
    """The two children and the loop that watches them."""

    needs: Needs
    path: Path
    folder: RuntimeFolder
    speaker: SpeakerProcess = field(init=False)
    bridge: Child = field(init=False)
    giver: Giver = field(init=False)
    _ready: bool = False
    _was_ready: bool = False
    _reload_due: bool = False
    _speaker_wait: float = FIRST_WAIT_S
    _speaker_began: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Start both, keep both, until told to stop."""
        self._prepare()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self.giver = Giver(self.path.absolute())
        self.bridge = Child("bridge", self._start_bridge, self._bridge_ended)
        keeping = asyncio.create_task(self.bridge.run())
        stopping = asyncio.create_task(self._stopping.wait())
        self._start_speaker()
        try:
            await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            code = await self._stop(keeping)
            stopping.cancel()
        return code

    def _prepare(self) -> None:
        """Lanes for every peer and some more, ExaBGP's configuration, numbers of the peers."""
        needs = self.needs
        level = needs.log_level if needs.log_level != "info" else "warning"
        layout = Layout(needs.lanes, needs.lane_octets)
        self.speaker = SpeakerProcess(self.folder.speaker_config, user=needs.user, layout=layout, log_level=level)
        try:
            self.speaker.memory.write_peers(needs.numbers)
            self.speaker.configure(needs.speaker_text)
        except BridgeError:
            self.speaker.close()
            raise

    # -- the bridge ---------------------------------------------------------------------------------------

    async def _start_bridge(self) -> asyncio.subprocess.Process:
        handles = self.speaker.handles
        self._ready = False
        reading, writing = os.pipe2(os.O_CLOEXEC)
        hearing, asking = pair()
        environment = {**os.environ, **handles.environment(), "PYTHONPATH": resources.search_path()}
        words = ["-m", BRIDGE, "--config", str(self.path.absolute()), "--ready", str(writing)]
        words += [] if self.needs.pin_path is None else ["--pins", str(self.needs.pin_path)]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                *("--asks", str(asking.fileno())),
                pass_fds=(*handles.descriptors, writing, asking.fileno()),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            os.close(reading)
            hearing.close()
            raise
        finally:
            os.close(writing)
            asking.close()
        self.giver.hear(hearing)
        os.set_blocking(reading, False)
        asyncio.get_running_loop().add_reader(reading, self._bridge_said, reading)
        return process

    def _bridge_said(self, reading: int) -> None:
        """Ready, or gone before it was."""
        said = os.read(reading, 64)
        asyncio.get_running_loop().remove_reader(reading)
        os.close(reading)
        if said.startswith(b"ready"):
            log.info("forwarding; control socket %s", self.folder.control_socket)
            self._ready = self._was_ready = True
            _notify_systemd(b"READY=1")
            if self._reload_due:
                self._reload()

    async def _bridge_ended(self, code: int) -> bool:
        """Start it again, unless it never came up and said why."""
        self._ready = False
        if not self._was_ready and code in NOT_AGAIN:
            return False
        return not self._stopping.is_set()

    # -- the speaker --------------------------------------------------------------------------------------

    def _start_speaker(self) -> None:
        if self._stopping.is_set():
            return
        loop = asyncio.get_running_loop()
        try:
            self.speaker.start()
        except BridgeError as error:
            log.error("%s", error)  # noqa: TRY400 - the text says it all
            loop.call_later(LONGEST_WAIT_S, self._start_speaker)
            return
        self._speaker_began = loop.time()
        log.info("speaker started as process %d", self.speaker.pid)
        loop.add_reader(self.speaker.pidfd, self._speaker_ended)

    def _speaker_ended(self) -> None:
        """Close its lanes at once, so that the bridge hears of it; start another after a while."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.speaker.pidfd)
        code = self.speaker.poll()
        log.warning("speaker ended: %s", ended_because(code if code is not None else 0))
        self.speaker.ended()
        steady = loop.time() - self._speaker_began > STEADY_S
        self._speaker_wait = FIRST_WAIT_S if steady else min(self._speaker_wait * 2, LONGEST_WAIT_S)
        loop.call_later(self._speaker_wait, self._start_speaker)

    # -- ends ---------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """SIGHUP is the bridge's: it knows what changed. One that is only starting would die of it, and hears of it
        when it is ready."""
        self._reload_due = not self._ready
        if self._ready:
            self.bridge.signal(signal.SIGHUP)

    async def _stop(self, keeping: asyncio.Task[int]) -> int:
        """Speaker first, so that peers hear of it while the bridge still forwards; then the bridge."""
        failed = keeping.done()
        _notify_systemd(b"STOPPING=1")
        self._stopping.set()
        if self.speaker.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.speaker.pidfd)
        await asyncio.to_thread(self.speaker.stop)
        await self.bridge.stop()
        code = await keeping
        await self.giver.stop()
        self.speaker.close()
        with suppress(FileNotFoundError):
            self.folder.control_socket.unlink()
        return code if failed else 0


def _notify_systemd(state: bytes) -> None:
    """sd_notify(3), where systemd asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, suppress(OSError):
        sender.sendto(state, "\0" + address[1:] if address.startswith("@") else address)

"""BFD for the bridge's event loop: starts the process that has the sessions, hands it orders, hears of changes.

    bfd = Bfd(on_change)
    await bfd.start()
    await bfd.add(BfdPeer("eth0", local, peer, BfdTimers(50_000, 50_000, 3)))

`on_change` is called in the loop with a `BfdStatus`. When the process dies it is started again with all that it had;
until a session is up again its status has `known` false, which is no failure of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bgpbridge.errors import BridgeError, CapacityError, UsageError
from bgpbridge.health.bfd_engine import BfdPeer, Key
from bgpbridge.health.bfd_timers import BfdTimers
from bgpbridge.health.bfd_words import ROOM, BfdStatus, pack, peer_words, timers_words, unpack
from bgpbridge.health.child import ended, launch, receive

__all__ = ["Bfd"]

ANSWER_S = 5.0
AGAIN_S = 1.0  # between two starts of a process that dies
_ERRORS: dict[str, type[BridgeError]] = {"UsageError": UsageError, "CapacityError": CapacityError}


class Bfd:
    """The sessions, as the bridge's loop has them. Not for use from several threads."""

    def __init__(self, on_change: Callable[[BfdStatus], None]) -> None:
        self._on_change = on_change
        self._peers: dict[Key, BfdPeer] = {}
        self._held: set[Key] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the process that has the sessions; 0 when there is none."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process. Raises BridgeError."""
        self._launch()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def _launch(self) -> None:
        self._process, self._control = launch("bgpbridge.health.bfd_child", "BFD: its process")
        self.starts += 1
        asyncio.get_running_loop().add_reader(self._control, self._readable)

    async def stop(self) -> None:
        """End all sessions; the peers hear AdminDown."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        self._peers.clear()
        await self._gone()

    async def add(self, peer: BfdPeer) -> None:
        """Begin a session. Raises UsageError, CapacityError, BridgeError."""
        await self._order("add", peer=peer_words(peer))
        self._peers[peer.key] = peer

    async def remove(self, key: Key) -> None:
        """End a session. Raises UsageError."""
        await self._order("remove", key=key)
        self._peers.pop(key, None)
        self._held.discard(key)

    async def change(self, key: Key, timers: BfdTimers) -> None:
        """Other timers; the session goes on. Raises UsageError."""
        await self._order("change", key=key, timers=timers_words(timers))
        self._peers[key] = replace(self._peers[key], timers=timers)

    async def hold(self, key: Key, *, down: bool) -> None:
        """AdminDown, or no longer. Raises UsageError."""
        await self._order("hold", key=key, down=down)
        (self._held.add if down else self._held.discard)(key)

    async def sessions(self) -> list[BfdStatus]:
        """Every session now."""
        shown = [await self._order("show", key=key) for key in list(self._peers)]
        return [BfdStatus(**words) for words in shown if words is not None]

    async def refused(self) -> dict[str, int]:
        """Packets that were discarded, by reason, since the process began."""
        counts: dict[str, int] = await self._order("refused")
        return counts

    async def _order(self, what: str, **more: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self._control is None:
            raise BridgeError("BFD: its process does not run", mend="it is started again within a second")
        number = next(self._numbers)
        answer = self._waiting[number] = loop.create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_sendall(self._control, pack({"id": number, "do": what, **more}))
                return await answer
        except (TimeoutError, OSError) as error:
            raise BridgeError(f"BFD: its process does not answer: {error or 'timeout'}") from None
        finally:
            self._waiting.pop(number, None)

    def _readable(self) -> None:
        assert self._control is not None
        octets = receive(self._control, ROOM)
        if octets is None:
            return
        if octets:
            self._hear(unpack(octets))
        else:
            asyncio.get_running_loop().remove_reader(self._control)
            self._lost.set()

    def _hear(self, message: dict[str, Any]) -> None:
        if "status" in message:
            self._on_change(BfdStatus(**message["status"]))
            return
        answer = self._waiting.get(message["id"])
        if answer is None or answer.done():
            return
        if "error" in message:
            what, mend, kind = message["error"]
            answer.set_exception(_ERRORS.get(kind, BridgeError)(what, mend=mend))
        else:
            answer.set_result(message["value"])

    async def _gone(self) -> None:
        """The process is to end, or has."""
        self._lost.clear()
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BridgeError("BFD: its process has gone"))
        if process is not None:
            await ended(process, ANSWER_S)

    async def _keep(self) -> None:
        """When the process has died nothing is known of its sessions, until another one has them."""
        while True:
            await self._lost.wait()
            for interface, address in self._peers:
                self._on_change(BfdStatus(interface, address, known=False))
            lacking: dict[Key, None] = {}
            while self._lost.is_set() or self._control is None or lacking:
                if self._lost.is_set() or self._control is None:
                    lacking = dict.fromkeys(self._peers)
                    await self._gone()
                    await self._pause()
                    with contextlib.suppress(BridgeError):
                        self._launch()
                await self._bring_back(lacking)
                if lacking:
                    await self._pause()

    @staticmethod
    async def _pause() -> None:
        await asyncio.sleep(AGAIN_S)

    async def _bring_back(self, lacking: dict[Key, None]) -> None:
        """Add what is lacking, as far as it can be: an interface may have gone as well."""
        for key in list(lacking):
            peer = self._peers.get(key)
            try:
                if peer is not None:
                    await self._order("add", peer=peer_words(peer))
                if peer is not None and key in self._held:
                    await self._order("hold", key=key, down=True)
            except UsageError:
                pass  # added by somebody meanwhile
            except BridgeError:
                continue
            lacking.pop(key)

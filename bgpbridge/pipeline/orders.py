"""What the bridge orders of the speaker: commands, and the configuration that it is to run by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bgpbridge.config import Config, passwords_of
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.feed.control import Command, ControlSender, Reload
from bgpbridge.pipeline.feeders import Feeders
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.subjects import announcing
from bgpbridge.speaker.launch import replace_file
from bgpbridge.speaker.render import render

__all__ = ["Orders"]


class Orders:
    """`in_force` gives the configuration that holds, `withdrawn` the prefixes that health does not let out. `sender`
    is there from the start of the bridge on."""

    def __init__(
        self,
        path: Path,
        peers: PeerTable,
        feeders: Feeders,
        events: EventLog,
        in_force: Callable[[], Config],
        withdrawn: Callable[[], frozenset[str]],
    ) -> None:
        self.sender: ControlSender | None = None
        self._path, self._peers, self._feeders, self._events = path, peers, feeders, events
        self._in_force, self._withdrawn = in_force, withdrawn

    def send(self, command: Command) -> None:
        """A command for the speaker; one that it does not take is an event, not an end."""
        assert self.sender is not None
        if self._feeders.order(command):
            return
        try:
            self.sender.send(command)
        except BridgeError as error:
            self._events.add("speaker-command-lost", "speaker", str(error), Severity.ERROR)

    def put_in_step(self) -> None:
        """A bridge that was started again has read the configuration anew; the speaker may still run by the one
        before. Both have to mean the same peers by the same lanes, and nothing is announced that health withdraws."""
        config = self._in_force()
        text = self.text(config, {peer.name: peer.index for peer in self._peers})
        if not self._path.exists() or self._path.read_text(encoding="ascii") != text:
            self.write(text)
            self.send(Reload())

    def text(self, config: Config, numbers: dict[str, int]) -> str:
        """The speaker's configuration. Raises DocumentError when a password cannot be read."""
        return render(announcing(config, self._withdrawn()), numbers, passwords_of(config))

    def write(self, text: str) -> None:
        """Put the speaker's configuration in its place. Raises SpeakerError."""
        replace_file(self._path, text, self._in_force().speaker.user)

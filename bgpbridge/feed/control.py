"""Commands from the bridge to the speaker: one JSON datagram each on a SEQPACKET socket pair.

Whole or absent, in order. The pair lives with the supervisor, so a command sent while the speaker is being
restarted waits in the socket (the launcher empties it before a new speaker starts: an order was meant for
the sessions of its day). The socket's buffer is the bound; when it is full the speaker has not read for
hundreds of commands and `ControlSender.send` raises CapacityError: nothing is queued in the bridge, nothing
blocks, and the caller decides. Answers come as NOTICE records with the command's token on lane 0.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, replace

from bgpbridge.errors import CapacityError, SpeakerError, WireError
from bgpbridge.types import Family

__all__ = [
    "Command",
    "ControlReceiver",
    "ControlSender",
    "Hold",
    "Reload",
    "RequestRefresh",
    "Resync",
    "Teardown",
    "control_pair",
]

_LARGEST = 16 << 10


@dataclass(frozen=True, slots=True)
class RequestRefresh:
    """Send ROUTE-REFRESH for a family (RFC 2918) to an established peer."""

    peer: int
    family: Family
    token: int = 0


@dataclass(frozen=True, slots=True)
class Teardown:
    """End a session with this NOTIFICATION. `text` goes with Cease 2 and 4 as a shutdown communication
    (RFC 9003); `data` is the data field of other codes, e.g. the malformed attribute of RFC 4271 s6.3. For `hold_s`
    seconds after it no session begins (IdleHoldTime of RFC 4271 s8.1.1)."""

    peer: int
    code: int
    subcode: int
    text: str = ""
    data: bytes = b""
    hold_s: int = 0
    token: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Let no session with a peer begin for so many seconds; 0 ends it. One that is up stays up."""

    peer: int
    seconds: int
    token: int = 0


@dataclass(frozen=True, slots=True)
class Resync:
    """SESSION_UP(resync) into the lane of every established peer, then ROUTE-REFRESH for every family.
    A peer that cannot refresh has its session reset (Cease, Administrative Reset), its table being lost."""

    token: int = 0


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration file again; the answer is a notice, reloaded or refused."""

    token: int = 0


Command = RequestRefresh | Teardown | Hold | Resync | Reload
_KINDS: dict[str, type[Command]] = {kind.__name__: kind for kind in (RequestRefresh, Teardown, Hold, Resync, Reload)}


def encode_command(command: Command) -> bytes:
    """One datagram."""
    fields = asdict(command)
    if isinstance(command, Teardown):
        fields["data"] = command.data.hex()
    return json.dumps({"command": type(command).__name__, **fields}).encode()


def decode_command(datagram: bytes) -> Command:
    """A command from its datagram. Raises WireError on anything else."""
    try:
        fields = json.loads(datagram)
        kind = _KINDS[fields.pop("command")]
        if "family" in fields:
            fields["family"] = Family(fields["family"])
        if "data" in fields:
            fields["data"] = bytes.fromhex(fields["data"])
        return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"a control datagram of {len(datagram)} octets is no command: {error!r}") from None


def control_pair() -> tuple[socket.socket, socket.socket]:
    """(bridge's end, speaker's end), both non-blocking and close-on-exec."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


class ControlSender:
    """The bridge's end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._token = 0

    def send(self, command: Command) -> int:
        """Send, with a fresh token if the command has none; returns the token. Raises CapacityError when
        the speaker does not take commands, SpeakerError when nobody holds the other end."""
        if not command.token:
            self._token += 1
            command = replace(command, token=self._token)
        try:
            self._end.send(encode_command(command))
        except BlockingIOError:
            raise CapacityError(
                f"the speaker has left hundreds of commands unread; {type(command).__name__} was not sent",
                mend="the speaker hangs or is being restarted: try again, or restart it",
            ) from None
        except OSError as error:
            raise SpeakerError(
                f"{type(command).__name__} was not sent: {error.strerror}", mend="start the speaker again"
            ) from None
        return command.token

    def close(self) -> None:
        """Close this end."""
        self._end.close()


class ControlReceiver:
    """The speaker's end. `closed` once the other side is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.closed = False

    def fileno(self) -> int:
        """For a poll; -1 when closed."""
        return -1 if self.closed else self._end.fileno()

    def receive(self) -> bytes | None:
        """The next datagram, None when none waits. Never blocks."""
        if self.closed:
            return None
        try:
            datagram = self._end.recv(_LARGEST)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            datagram = b""
        if not datagram:
            self.closed = True
            self._end.close()
            return None
        return datagram

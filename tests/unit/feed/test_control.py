"""Commands: whole, in order, bounded, and an answer in words when they can't be sent."""

from __future__ import annotations

import pytest

from bgpbridge.errors import CapacityError, SpeakerError, WireError
from bgpbridge.feed.control import (
    Command,
    ControlReceiver,
    ControlSender,
    Reload,
    RequestRefresh,
    Resync,
    Teardown,
    control_pair,
    decode_command,
    encode_command,
)
from bgpbridge.types import Family


@pytest.mark.parametrize(
    "command",
    [Reload(3), Resync(4), RequestRefresh(1, Family.IPV6, 5), Teardown(2, 3, 5, "text", b"\x00\xff", 6)],
)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


def test_commands_arrive_in_order_with_a_token_of_their_own() -> None:
    bridge, speaker = control_pair()
    sender, receiver = ControlSender(bridge), ControlReceiver(speaker)
    tokens = [sender.send(Resync()), sender.send(Reload()), sender.send(Reload(77))]
    assert tokens == [1, 2, 77]
    found = [decode_command(datagram) for datagram in iter(receiver.receive, None)]
    assert found == [Resync(1), Reload(2), Reload(77)]
    sender.close()
    assert receiver.receive() is None
    assert receiver.closed
    assert receiver.fileno() == -1


def test_a_speaker_that_does_not_read_costs_an_error_and_no_memory() -> None:
    bridge, speaker = control_pair()
    sender = ControlSender(bridge)

    def flood() -> None:
        for _ in range(100_000):
            sender.send(Resync())

    with pytest.raises(CapacityError, match="unread"):
        flood()
    speaker.close()
    with pytest.raises(SpeakerError, match="was not sent"):
        sender.send(Resync())
    sender.close()


@pytest.mark.parametrize(
    "datagram",
    [b"", b"[]", b"{}", b'{"command": "Reload", "colour": 1}', b'{"command": "exec"}', b'{"command": []}', b"\xff"],
)
def test_nonsense_is_a_wire_error(datagram: bytes) -> None:
    with pytest.raises(WireError, match="is no command"):
        decode_command(datagram)

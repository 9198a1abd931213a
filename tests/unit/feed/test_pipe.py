"""`bgpbridge pipe` between two real pipes and a real socket: ExaBGP never waits, whatever the bridge does."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpbridge.feed.exabgp_json import ExabgpLines, LineError
from bgpbridge.feed.frames import Record, SessionDown, SessionUp, Updates
from bgpbridge.feed.pipe import LONGEST_LINE, Pipe, why_no_bridge
from bgpbridge.feed.ways import COMPLAINT, HEADER, Hello, answer, complaint_of, record_of
from tests.unit.feed.test_exabgp_json import ANNOUNCE, NEGOTIATED, line

UP = [line("negotiated", negotiated=NEGOTIATED), line("state", state="up")]
UPDATE = line("update", message={"update": ANNOUNCE})


class Ends:
    """What ExaBGP and the bridge hold."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "feed.sock"
        self.told: list[str] = []
        source, self.into = os.pipe()
        self.out, sink = os.pipe()
        os.set_blocking(self.out, False)
        self.ours = (source, sink)
        self.pipe = Pipe(self.path, self.told.append, source, sink)
        self.thread = threading.Thread(target=self.pipe.run)
        self.listening: socket.socket | None = None

    def listen(self) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen()
        self.listening.settimeout(10)

    def accept(self) -> Bridge:
        assert self.listening is not None
        end, _ = self.listening.accept()
        return Bridge(end)

    def write(self, *lines: str) -> None:
        os.write(self.into, "".join(one + "\n" for one in lines).encode())

    def commands(self, containing: str) -> str:
        deadline, said = time.monotonic() + 10, b""
        while containing.encode() not in said:
            assert time.monotonic() < deadline, said
            try:
                said += os.read(self.out, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
        return said.decode()

    def close(self) -> None:
        os.close(self.into)
        if self.thread.ident is not None:
            self.thread.join(10)
        assert not self.thread.is_alive()
        if self.listening is not None:
            self.listening.close()
        for fd in (self.out, *self.ours):
            os.close(fd)


class Bridge:
    """The bridge's end of one connection."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(10)
        self.end, self.file = end, end.makefile("rb")
        assert Hello.read(self.file.readline()) == Hello("pipe")

    def record(self) -> tuple[int, Record]:
        length, kind, number = HEADER.unpack(self.file.read(HEADER.size))
        return number, record_of(kind, self.file.read(length))

    def complaint(self) -> str:
        length, kind, _ = HEADER.unpack(self.file.read(HEADER.size))
        assert kind == COMPLAINT
        return complaint_of(self.file.read(length))

    def close(self) -> None:
        self.file.close()
        self.end.close()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path)
    yield made
    made.close()


def test_what_exabgp_says_reaches_the_bridge_in_order(ends: Ends) -> None:
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write(*UP, UPDATE[:50] + UPDATE[50:], "done", UPDATE, line("state", state="down", reason="peer reset"))
    kinds = [type(bridge.record()[1]) for _ in range(4)]
    assert kinds == [SessionUp, SessionUp, Updates, SessionDown]  # the second for AS numbers as JSON has them
    bridge.close()


def test_without_a_bridge_it_reads_on_and_asks_for_the_routes_later(ends: Ends) -> None:
    ends.thread.start()
    ends.write(*UP)
    for _ in range(2000):  # more than any pipe holds
        ends.write(UPDATE)
    assert "announce route-refresh ipv4 unicast" in ends.commands("ipv6 unicast")
    ends.listen()
    bridge = ends.accept()
    number, up = bridge.record()
    assert isinstance(up, SessionUp)
    assert (number, up.resync, str(up.session.peer_address)) == (1, True, "127.0.0.1")
    ends.commands("neighbor 127.0.0.1 announce route-refresh ipv4 unicast")
    bridge.close()
    assert [text for text in ends.told if "no bridge" in text]


def test_a_bridge_that_goes_as_lines_come_does_not_end_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look finds both ready: writing what the lines say finds the bridge gone, whose own turn comes after."""
    connect = ends.pipe._connect

    def connect_and_lose() -> None:
        if not ends.told:
            connect()
            ends.accept().close()

    monkeypatch.setattr(ends.pipe, "_connect", connect_and_lose)
    ends.listen()
    ends.write(*UP, UPDATE)
    os.close(ends.into)
    ends.into = os.dup(ends.out)  # for the fixture to close
    ends.pipe.run()
    assert ends.told == ["the bridge has ended"]


def test_the_bridge_can_ask_for_one_neighbour_again(ends: Ends) -> None:
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write(*UP)
    bridge.record()
    bridge.end.sendall(answer(resync=[1]) + answer(refused="AS 65001: no peer"))
    number, up = bridge.record()
    assert isinstance(up, SessionUp)
    assert (number, up.resync) == (1, True)
    bridge.close()


def test_a_bridge_that_does_not_read_does_not_stop_exabgp(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgpbridge.feed.pipe.ROOM", 1 << 16)
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write(*UP)
    for _ in range(20_000):
        ends.write(UPDATE)
    bridge.close()
    again = ends.accept()
    assert isinstance(again.record()[1], SessionUp)
    again.close()


def test_nobody_who_reads_commands_does_not_stop_it(ends: Ends) -> None:
    """The 13,107 routes, the other way round: our end of the pipe to ExaBGP is full."""
    os.set_blocking(ends.ours[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ends.ours[1], b"x" * 4096)
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write(*UP, UPDATE)
    for _ in range(1000):
        bridge.end.sendall(answer(resync=None))
    bridge.record()
    bridge.close()


def test_its_end_is_the_end_of_all_sessions(ends: Ends) -> None:
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write(*UP)
    bridge.record()
    os.close(ends.into)
    _, down = bridge.record()
    assert isinstance(down, SessionDown)
    assert down.graceful
    bridge.close()
    ends.into = os.dup(ends.out)  # for the fixture to close


def test_lines_that_cannot_be_are_told_and_those_behind_are_read(ends: Ends) -> None:
    ends.listen()
    ends.thread.start()
    bridge = ends.accept()
    ends.write("neighbor 127.0.0.1 up", "neighbor 127.0.0.1 down", line("state", "6.0.0", state="up"))
    for _ in range(LONGEST_LINE // (1 << 20) + 1):
        os.write(ends.into, b"x" * (1 << 20))
    ends.write("", *UP)
    first, other, long = (bridge.complaint() for _ in range(3))
    assert isinstance(bridge.record()[1], SessionUp)
    assert "127.0.0.1 up" in first
    assert "expected: an object with the key `exabgp`\n  mend: `encoder json`" in first
    assert "a line of ExaBGP's text encoder" in first
    assert "version 6.0.0" in other
    assert "mend: run ExaBGP 4.2 or 5.0" in other
    assert "16 MiB is left out (line: 'xxx" in long
    assert [text.partition(":")[0] for text in ends.told] == [f"refused ({number})" for number in range(1, 5)]
    bridge.close()


def test_a_socket_that_another_user_may_open_is_told_with_the_key_to_set(tmp_path: Path) -> None:
    told = why_no_bridge(tmp_path / "feed.sock", PermissionError(errno.EACCES, "Permission denied"))
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"Permission denied for user {user}" in told
    assert f"mend: `runtime: {{feed_user: {user}}}`" in told


def test_what_is_wrong_with_a_line_is_said_without_the_words_of_python() -> None:
    said = '{"exabgp": "5.0.0", "type": "update", "neighbor": {}}'
    with pytest.raises(LineError, match="that cannot be read: it has no key `address`"):
        list(ExabgpLines().read(said))

"""Sessions with peers that do what real routers do rarely: beginnings, ends and refusals, each with its reason."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.feed.control import Hold, Reload, Teardown
from bgpbridge.feed.frames import DownReason, NoticeKind, Refresh, SessionDown, SessionUp
from bgpbridge.lab import namespaces

pytestmark = pytest.mark.root

GRACEFUL = bytes.fromhex("4006" + "0078" + "00010180")


def peer(n: int, **options: Any) -> dict[str, Any]:
    return {"name": f"p{n}", "address": f"10.9.{n}.2", "asn": 65001, "passive": True, **options}


def capabilities(asn: int, more: bytes = b"") -> bytes:
    return bytes.fromhex("010400010001") + bytes.fromhex("02004600") + b"\x41\x04" + struct.pack("!I", asn) + more


@pytest.fixture
def session(rig: Any) -> Any:
    """A session that is up: the rig, the router's end, the namespace and the number."""
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, capabilities=capabilities(65001, GRACEFUL))
    rig.up(f"p{n}")
    return rig, router, name, n


@pytest.mark.alone
def test_closing_tcp_is_told_at_once_and_lets_routes_be_kept(session: Any) -> None:
    rig, router, _, n = session
    started = time.monotonic()
    router.close()
    down = rig.down(f"p{n}")
    assert time.monotonic() - started < 0.1
    assert (down.reason, down.graceful) == (DownReason.TCP_CLOSED, True)


def test_a_notification_with_a_long_shutdown_communication_is_read(session: Any) -> None:
    rig, router, _, n = session
    text = "maintenance until " + "9" * 180  # longer than RFC 8203 allowed, fine by RFC 9003
    router.send(3, b"\x06\x02" + bytes([len(text)]) + text.encode())
    down = rig.down(f"p{n}")
    assert (down.reason, down.code, down.subcode, down.graceful) == (DownReason.NOTIFICATION_RECEIVED, 6, 2, False)
    assert text in down.text


def test_teardown_sends_the_text_that_the_bridge_gives(session: Any) -> None:
    rig, router, _, n = session
    rig.sender.send(Teardown(n, 6, 2, "sch\u00f6nen Feierabend"))
    text = "sch\u00f6nen Feierabend".encode()
    assert router.expect(3) == b"\x06\x02" + bytes([len(text)]) + text
    down = rig.down(f"p{n}")
    assert (down.reason, down.code, down.subcode, down.graceful) == (DownReason.NOTIFICATION_SENT, 6, 2, False)


def test_teardown_sends_the_malformed_attribute_with_an_update_error(session: Any) -> None:
    rig, router, _, n = session
    rig.sender.send(Teardown(n, 3, 5, data=bytes.fromhex("c00801ff")))
    assert router.expect(3) == bytes.fromhex("0305c00801ff")
    assert rig.down(f"p{n}").code == 3


def test_no_session_begins_while_a_peer_is_held_off(session: Any) -> None:
    rig, router, name, n = session
    rig.sender.send(Teardown(n, 6, 8, "full", hold_s=600))
    assert router.expect(3)[:2] == b"\x06\x08"
    rig.down(f"p{n}")
    again = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    assert again.expect(3)[:2] == b"\x06\x05"
    rig.sender.send(Hold(n, 0))
    token = rig.sender.send(Teardown(9, 6, 2))  # its refusal tells that the order before it was heard
    rig.until(lambda: [x for x in rig.notices() if x.token == token])
    third = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    third.open(65001)
    rig.up(f"p{n}")
    rig.sender.send(Hold(n, 600))  # one that is up stays up
    rig.sender.send(Teardown(n, 6, 4))
    assert third.expect(3)[:2] == b"\x06\x04"


def test_another_as_number_is_no_removal(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    rig.process.configure(rig.render({"peers": [peer(n, asn=64999)]}))
    rig.sender.send(Reload())
    assert router.expect(3)[:2] == b"\x06\x06"
    down = rig.down(f"p{n}")
    assert (down.reason, down.text) == (DownReason.CONFIGURATION, "its AS number 65001 is now 64999")


def test_a_command_about_a_session_that_is_not_up_is_refused_by_a_notice(session: Any) -> None:
    rig, _, _, _ = session
    token = rig.sender.send(Teardown(9, 6, 2))
    notice = rig.until(lambda: [x for x in rig.notices() if x.token == token])[0]
    assert notice.kind is NoticeKind.COMMAND_REFUSED


def test_silence_beyond_the_hold_time_ends_the_session(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, 3)
    rig.up(f"p{n}")
    assert router.expect(3)[:1] == b"\x04"
    down = rig.down(f"p{n}")
    assert (down.reason, down.graceful) == (DownReason.HOLD_TIMER, False)


def test_borr_and_eorr_stand_among_the_updates_where_they_came(session: Any) -> None:
    rig, router, _, n = session
    end_of_rib = router.message(2, b"\0\0\0\0")
    update = router.message(2, b"\0\x04" + bytes.fromhex("18c63301") + b"\0\0")
    borr, eorr, odd = (router.message(5, bytes([0, 1, kind, 1])) for kind in (1, 2, 9))
    other_family = router.message(5, bytes([0, 2, 1, 1]))
    stream = end_of_rib + borr + update + odd + update + other_family + eorr + end_of_rib
    for offset in range(len(stream)):  # octet by octet: no message may come to harm by how TCP cuts
        router.sock.send(stream[offset : offset + 1])
    rig.until(lambda: rig.octets(f"p{n}").endswith(update + update + end_of_rib))
    told = [getattr(x, "data", getattr(x, "message", b"")) for x in rig.told[n] if not isinstance(x, SessionUp)]
    assert b"".join(told) == end_of_rib + borr + update + update + eorr + end_of_rib
    assert [x.message for x in rig.events(f"p{n}", Refresh)] == [borr, eorr]


def test_an_open_in_an_established_session_is_a_state_machine_error(session: Any) -> None:
    rig, router, _, n = session
    router.send(1, struct.pack("!BHH4sB", 4, 65001, 90, b"\x0a\x09\xff\x01", 0))
    assert router.expect(3)[:2] == b"\x05\x03"
    assert rig.down(f"p{n}").reason is DownReason.NOTIFICATION_SENT


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\xfe" * 16 + b"\x00\x17\x02" + b"\0" * 4, b"\x01\x01"),
        (b"\xff" * 16 + b"\x00\x12\x02", b"\x01\x02"),
        (b"\xff" * 16 + b"\x00\x16\x02" + b"\0" * 3, b"\x01\x02"),
        (b"\xff" * 16 + b"\x00\x13\x77", b"\x01\x03"),
    ],
)
def test_a_damaged_header_ends_the_session_with_the_code_of_the_rfc(session: Any, octets: bytes, code: bytes) -> None:
    rig, router, _, n = session
    router.sock.sendall(octets)
    assert router.expect(3)[:2] == code
    assert rig.down(f"p{n}").code == 1


def test_an_extended_message_goes_through_whole(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, capabilities=capabilities(65001, b"\x06\x00"))
    assert rig.up(f"p{n}").session.extended_message
    withdrawn = b"\x20\x0b\0\0\0" * 13_000
    message = router.message(2, struct.pack("!H", len(withdrawn)) + withdrawn + b"\0\0")
    router.sock.sendall(message * 3)
    rig.until(lambda: rig.octets(f"p{n}") == message * 3)


def test_the_wrong_as_is_refused_and_told(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    with pytest.raises(AssertionError, match="before a message of kind 4"):
        router.open(64999)
    notice = rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.OPEN_REFUSED])[0]
    assert "its AS is 64999, configured is 65001" in notice.text
    assert notice.peer == n
    assert rig.events(f"p{n}", SessionUp) == rig.events(f"p{n}", SessionDown) == []


def test_a_stranger_is_refused_and_told(rig: Any) -> None:
    name, n = rig.router()
    rig.sh(f"ip -n {name} addr add 10.9.{n}.77/24 dev r0")
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.77", f"10.9.{n}.1")
    assert router.expect(3)[:2] == b"\x06\x05"
    notice = rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.CONNECTION_REFUSED])[0]
    assert f"10.9.{n}.77" in notice.text


def test_gtsm_of_one_peer_is_not_imposed_on_the_other(rig: Any) -> None:
    near, a = rig.router()
    far, b = rig.router()
    rig.speaker({"peers": [peer(a, ttl_security=1), peer(b, multihop=5)]})
    router = rig.raw(far, f"10.9.{b}.2", f"10.9.{b}.1")  # TTL 64
    router.open(65001)
    rig.up(f"p{b}")

    router = rig.raw(near, f"10.9.{a}.2", f"10.9.{a}.1")  # the shared socket takes its SYN, we do not
    with pytest.raises((ConnectionError, AssertionError)):
        router.open(65001)
    notice = rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.CONNECTION_REFUSED])[0]
    assert "TTL 64, ttl_security wants 255" in notice.text
    assert rig.events(f"p{a}", SessionUp) == []


def test_a_router_that_comes_back_without_closing_is_taken_at_once(session: Any) -> None:
    rig, _old, name, n = session
    time.sleep(10.2)  # a second connection sooner than that is taken for a collision
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, capabilities=capabilities(65001, GRACEFUL))
    rig.until(lambda: len(rig.events(f"p{n}", SessionUp)) == 2)
    (down,) = rig.events(f"p{n}", SessionDown)
    assert (down.reason, down.graceful) == (DownReason.REPLACED, True)


def test_a_second_connection_soon_after_the_first_is_refused(session: Any) -> None:
    rig, _, name, n = session
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    assert router.expect(3)[:2] == b"\x06\x07"
    assert rig.events(f"p{n}", SessionDown) == []


def test_a_changed_peer_gets_a_new_session_and_the_reason(session: Any) -> None:
    rig, _, name, n = session
    rig.process.configure(rig.render({"peers": [peer(n, hold_time_s=30, add_path=["ipv4"])]}))
    rig.sender.send(Reload())
    down = rig.down(f"p{n}")
    assert (down.reason, down.graceful) == (DownReason.CONFIGURATION, True)
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, capabilities=capabilities(65001, bytes.fromhex("450400010102")))
    session_up = rig.up(f"p{n}").session
    assert session_up.hold_time_s == 30
    assert session_up.add_path


def test_a_flapping_peer_is_told_and_another_stays(rig: Any) -> None:
    first, a = rig.router()
    second, b = rig.router()
    rig.speaker({"peers": [peer(a), peer(b)]})
    steady = rig.raw(second, f"10.9.{b}.2", f"10.9.{b}.1")
    steady.open(65001)
    rig.up(f"p{b}")
    for count in range(1, 6):
        router = rig.raw(first, f"10.9.{a}.2", f"10.9.{a}.1")
        router.open(65001)
        router.close()
        rig.until(lambda count=count: len(rig.events(f"p{a}", SessionDown)) == count)
    rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.FLAPPING])
    assert rig.events(f"p{b}", SessionDown) == []


def test_a_taken_port_is_told_and_tried_again_and_active_sessions_come_up(rig: Any) -> None:
    name, n = rig.router()

    def occupy() -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", 179))
        sock.listen()
        return sock

    other = namespaces.inside(rig.here, occupy)
    rig.speaker({"peers": [peer(n)]})
    notice = rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.LISTEN_FAILED])[0]
    assert "Address already in use" in notice.text
    other.close()
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")


def test_a_configuration_without_peers_waits_for_the_first(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": []})
    rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.RELOADED])
    rig.process.configure(rig.render({"peers": [peer(n)]}))
    rig.sender.send(Reload())
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    rig.process.configure(rig.render({"peers": []}))
    rig.sender.send(Reload())
    assert router.expect(3)[:2] == b"\x06\x03"
    rig.until(lambda: [x for x in rig.told[n] if isinstance(x, SessionDown)])


def test_sigusr1_reloads_as_the_command_does(session: Any) -> None:
    rig, _, _, n = session
    before = len([x for x in rig.notices() if x.kind is NoticeKind.RELOADED])
    os.kill(rig.process.pid, signal.SIGUSR1)
    rig.until(lambda: len([x for x in rig.notices() if x.kind is NoticeKind.RELOADED]) > before)
    assert rig.events(f"p{n}", SessionDown) == []


def test_stopping_tells_a_router_without_graceful_restart(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker({"peers": [peer(n)]})
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    rig.process.stop()
    assert router.expect(3)[:2] == b"\x06\x02"
    assert rig.down(f"p{n}").reason is DownReason.SHUTDOWN


def test_the_speaker_has_given_up_everything_but_low_ports(session: Any) -> None:
    rig, _, _, _ = session
    pid = rig.process.pid
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == ["65534"] * 4
    assert {status[key].strip() for key in ("CapPrm", "CapEff", "CapBnd")} == {"0000000000000400"}
    assert status["NoNewPrivs"].strip() == "1"
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        if int(entry.name) > 2:
            flags = int(entry.read_text().split("flags:")[1].split()[0], 8)
            assert flags & os.O_CLOEXEC, entry.name


def test_the_file_with_the_passwords_is_for_the_speaker_alone(rig: Any) -> None:
    _, n = rig.router()
    rig.speaker({"peers": [peer(n)]}, {f"p{n}": "hush"})
    rig.until(lambda: [x for x in rig.notices() if x.kind is NoticeKind.RELOADED])
    state = (rig.folder / "run" / "speaker.conf").stat()
    assert (state.st_mode & 0o777, state.st_uid) == (0o600, 65534)
    assert "hush" not in Path(f"/proc/{rig.process.pid}/cmdline").read_text()
    assert [entry.name for entry in (rig.folder / "run").iterdir()] == ["speaker.conf"]

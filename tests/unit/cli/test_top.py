"""`top`: one frame of recorded answers, and the live view on a terminal that is put back as it was."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios

import pytest

from bgpbridge.cli.text.top import Sample, frame


def test_once_prints_one_frame(bgpbridge, golden):
    for scene in ("fine", "trouble"):
        ran = bgpbridge("top", "--once", "--interval", "0.1", scene=scene)
        assert ran.code == 0
        golden(f"{scene}-top", f"$ bgpbridge top --once\n{ran.out}")


def test_without_a_terminal_it_names_the_way_out(bgpbridge):
    ran = bgpbridge("top")
    assert (ran.code, "--once" in ran.err) == (2, True)


def _sample(at, *, process=1, updates=0, packets=0, commits=0, peers=2):
    status = {"name": "r", "asn": 1, "uptime_s": 1, "forwarding": True, "routes": {}, "commits": commits, "work": 0}
    some = [
        {"name": f"p{n}", "asn": n, "state": "established", "updates": updates * n, "routes": {}} for n in range(peers)
    ]
    counters = [{"verdict": "redirect", "packets": packets}]
    return Sample(at, status | {"process": process}, some, [], counters, [])


def test_rates_are_differences_by_time():
    text = "\n".join(frame(_sample(12.0, updates=50, packets=400, commits=3), _sample(10.0), "u", 40))
    assert "200.0 redirect" in text
    assert "commits/s 1.5" in text
    assert text.index("p1") < text.index("p0")
    assert "25.0" in text


def test_a_bridge_that_was_started_again_has_no_rates_yet():
    text = "\n".join(frame(_sample(12.0, process=2), _sample(10.0, updates=50, packets=400), "n", 40))
    assert "packets/s - redirect" in text


def test_a_frame_fits_its_terminal():
    lines = frame(_sample(1.0, peers=100), None, "n", 20)
    assert len(lines) <= 20
    assert any("more peers" in line for line in lines)


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)])
def test_it_draws_and_puts_the_terminal_back(server, key, code):
    server.scene = "fine"
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    # the terminal becomes the process's own, so that Ctrl-C reaches it as it does at a desk
    own = (
        "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from bgpbridge.cli.main import main; main()"
    )
    words = [sys.executable, "-c", own, "-s", str(server.socket), "top", "--interval", "0.2"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    try:
        seen = b""
        while b"q quit" not in seen:
            assert select.select([ours], [], [], 30)[0], seen
            seen += os.read(ours, 65536)
        os.write(ours, key)
        while process.poll() is None:
            if select.select([ours], [], [], 0.05)[0]:
                seen += os.read(ours, 65536)
        while select.select([ours], [], [], 0)[0]:
            seen += os.read(ours, 65536)
        assert process.returncode == code
        assert b"isp-a" in seen
        assert seen.count(b"\x1b[?1049h") == seen.count(b"\x1b[?1049l") == 1
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)

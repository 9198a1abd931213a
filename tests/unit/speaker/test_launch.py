"""Launching: the file, the handles, and a speaker that cannot start says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgpbridge.errors import LaneError, SpeakerError
from bgpbridge.feed.lane import Layout
from bgpbridge.speaker import launch, main
from bgpbridge.speaker.launch import HANDLES_VARIABLE, Handles, SpeakerProcess, replace_file


def test_the_file_is_private_and_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "run" / "speaker.conf"
    replace_file(path, "one", None)
    before = path.stat().st_ino
    replace_file(path, "two", None)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_ino != before
    assert [entry.name for entry in path.parent.iterdir()] == ["speaker.conf"]


def test_a_text_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "speaker.conf"
    replace_file(path, "one", None)
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "zw\u00f6lf", None)
    assert path.read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 1


def test_handles_pass_through_an_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    process = SpeakerProcess(tmp_path / "speaker.conf", user="nobody", layout=Layout(3, 1 << 20))
    monkeypatch.delenv(HANDLES_VARIABLE, raising=False)
    assert Handles.from_environment() is None
    for name, value in process.handles.environment().items():
        monkeypatch.setenv(name, value)
    handles = Handles.from_environment()
    assert handles == process.handles
    reader = handles.reader()
    assert len(reader.lanes) == 3
    assert not any(os.get_inheritable(number) for number in handles.descriptors)
    reader.close()
    process.close()


@pytest.mark.parametrize("text", ["{", "[]", '{"layout": "{}"}', '{"layout": 1}'])
def test_handles_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(HANDLES_VARIABLE, text)
    with pytest.raises((SpeakerError, LaneError)):
        Handles.from_environment()


def test_starting_and_ending_twice_does_no_harm(tmp_path: Path) -> None:
    process = SpeakerProcess(tmp_path / "speaker.conf", user="nobody", layout=Layout(3, 1 << 20))
    assert (process.pid, process.pidfd, process.poll()) == (0, -1, None)
    process.ended()
    process.ended()
    process.stop()
    assert process.memory.epoch == 3
    process.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
@pytest.mark.parametrize("user", ["nobody-of-this-name", "root"])
def test_a_user_that_will_not_do_is_refused_in_words(tmp_path: Path, user: str) -> None:
    process = SpeakerProcess(tmp_path / "speaker.conf", user=user, layout=Layout(3, 1 << 20))
    if user == "root":
        arguments = [*process._arguments()[1:]]
        inherited = (process.handles.lanes, process._speaker_end.fileno())
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, pass_fds=inherited, timeout=30, check=False
        )
        assert done.returncode == 1
        assert "does not run as root" in done.stderr
        assert "Traceback" not in done.stderr
    else:
        with pytest.raises(SpeakerError, match="no user"):
            process.start()
    process.close()


def test_an_exabgp_that_does_not_fit_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "changes", lambda: ["ExaBGP is 6.0.1, the tap knows 5.0.x"])
    monkeypatch.setattr(main, "_set_environment", lambda options: None)
    words = ["--config", "x", "--layout", Layout(1).to_json(), "--user", "nobody"]
    words += [word for name in ("lanes", "bell", "space", "control") for word in (f"--{name}", "99")]
    assert main.main(words) == 1
    said = capsys.readouterr().err
    assert "does not fit: ExaBGP is 6.0.1" in said
    assert "pip install" in said


def test_the_speaker_hears_nothing_of_passwords_in_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSIT_PASSWORD", "s3cret")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    passed_on = launch._environment()
    assert "s3cret" not in passed_on.values()
    assert passed_on["PYTHONUNBUFFERED"] == "1"
    assert passed_on["PATH"] == os.environ["PATH"]

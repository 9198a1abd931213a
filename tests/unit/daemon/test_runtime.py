"""The runtime folder: one daemon at a time, and a lock that no child keeps alive."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bgpbridge.daemon.runtime import RuntimeFolder, hold_pins, hold_protocol
from bgpbridge.errors import BridgeError, UsageError


def test_the_second_holder_is_told_who_the_first_is(tmp_path):
    folder = RuntimeFolder(tmp_path / "run")
    lock = folder.hold()
    try:
        with pytest.raises(UsageError, match=rf"another bgpbridge \(process {os.getpid()}\) already runs") as told:
            folder.hold()
        assert "runtime.directory" in told.value.mend
    finally:
        os.close(lock)


def test_another_process_is_kept_out_and_let_in_afterwards(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from bgpbridge.daemon.runtime import RuntimeFolder\n"
        "from bgpbridge.errors import UsageError\n"
        "try:\n    RuntimeFolder(Path(sys.argv[1])).hold(); print('held')\n"
        "except UsageError as error:\n    print(error.what)\n"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout

    lock = RuntimeFolder(tmp_path).hold()
    assert f"process {os.getpid()}" in other()
    os.close(lock)
    assert other() == "held\n"


def test_a_child_does_not_inherit_the_lock(tmp_path):
    folder = RuntimeFolder(tmp_path)
    lock = folder.hold()
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        os.close(lock)
        again = folder.hold()  # would raise if the child held it
        os.close(again)
        child.kill()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BridgeError, match="runtime folder") as told:
        RuntimeFolder(tmp_path / "file" / "run").hold()
    assert "runtime.directory" in told.value.mend


def test_two_runtime_folders_do_not_share_pins(tmp_path):
    lock = hold_pins(tmp_path / "pins")
    with pytest.raises(UsageError, match="another bgpbridge forwards by the pins") as told:
        hold_pins(tmp_path / "pins")
    assert "datapath.pin_path" in told.value.mend
    os.close(hold_pins(tmp_path / "others"))
    os.close(lock)
    os.close(hold_pins(tmp_path / "pins"))


def test_pins_that_cannot_be_held(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BridgeError, match="Not a directory"):
        hold_pins(tmp_path / "file" / "pins")


def test_a_protocol_number_has_one_holder_in_a_network_namespace():
    lock = hold_protocol(251)
    with pytest.raises(UsageError, match=rf"another bgpbridge \(process {os.getpid()}\) holds .* protocol 251") as told:
        hold_protocol(251)
    assert "kernel.protocol" in told.value.mend
    os.close(hold_protocol(252))
    os.close(lock)
    os.close(hold_protocol(251))


def test_where_things_are(tmp_path):
    folder = RuntimeFolder(tmp_path)
    assert folder.control_socket == tmp_path / "control.sock"
    assert folder.speaker_config.parent == tmp_path / "speaker"

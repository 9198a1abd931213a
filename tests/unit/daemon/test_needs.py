"""What the supervisor asks of the configuration file without loading what reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bgpbridge.daemon.needs import gives_commands, read_needs
from bgpbridge.errors import BridgeError, DocumentError

TEXT = """
router: {asn: 65000, router_id: 192.0.2.250}
runtime: {directory: DIRECTORY}
peers:
  - {name: a, address: 192.0.2.1, asn: 65001, import: accept}
  - {name: b, address: 192.0.2.2, asn: 65002, import: accept, password: {file: FILE}}
datapath: {interfaces: [eth1], pin_path: /sys/fs/bpf/other}
kernel: {enabled: false}
speaker: {lane_mib: 8}
"""
LIGHT = "import sys, bgpbridge.cli.run; print(sorted({'numpy', 'pydantic', 'yaml', 'pyroute2'} & set(sys.modules)))"


def written(folder: Path, text: str = TEXT) -> Path:
    secret = folder / "secret"
    secret.write_text("word\n")
    secret.chmod(0o600)
    path = folder / "bgpbridge.yaml"
    path.write_text(text.replace("DIRECTORY", str(folder / "run")).replace("FILE", str(secret)))
    return path


def test_all_that_the_supervisor_needs_is_said(tmp_path: Path) -> None:
    needs = read_needs(written(tmp_path))
    assert (needs.directory, needs.log_level) == (tmp_path / "run", "info")
    assert (needs.protocol, needs.pin_path) == (None, Path("/sys/fs/bpf/other"))
    assert (needs.lanes > 2, needs.lane_octets, needs.numbers) == (True, 8 << 20, {"a": 1, "b": 2})
    assert needs.speaker_text.count("neighbor 192.0.2.") == 2
    assert "md5-password" in needs.speaker_text


def test_without_interfaces_there_are_no_pins_and_the_kernel_has_a_protocol(tmp_path: Path) -> None:
    text = TEXT.replace("interfaces: [eth1]", "interfaces: []").replace("enabled: false", "protocol: 77")
    needs = read_needs(written(tmp_path, text))
    assert (needs.protocol, needs.pin_path) == (77, None)


def test_a_wrong_file_is_told_as_ever(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("asn: 65001", "asn: many"))
    with pytest.raises(DocumentError, match=r"bgpbridge.yaml:5:.*asn"):
        read_needs(path)
    with pytest.raises(DocumentError):
        gives_commands(path)


def test_a_password_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(BridgeError, match="secret"):
        read_needs(path)
    assert gives_commands(path) is False


def test_the_supervisor_has_none_of_the_tables() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""Errors of bpf(2) as an operator reads them. The calls themselves are made in tests/bpf."""

from __future__ import annotations

import errno

import pytest

from bgpbridge.datapath import syscalls
from bgpbridge.datapath.syscalls import Command, error_of


def test_a_refusal_for_lack_of_rights_names_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "missing_capabilities", lambda: ("CAP_BPF", "CAP_PERFMON"))
    error = error_of(Command.PROG_TEST_RUN, errno.EPERM)
    assert "this process lacks CAP_BPF and CAP_PERFMON" in str(error)
    assert "AmbientCapabilities=" in error.mend


def test_a_refusal_for_another_reason_is_not_blamed_on_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "missing_capabilities", lambda: ())
    assert str(error_of(Command.OBJ_PIN, errno.EPERM)) == "bpf(OBJ_PIN): Operation not permitted"


def test_a_full_map_is_called_full() -> None:
    error = error_of(Command.MAP_UPDATE_BATCH, errno.ENOSPC)
    assert (error.command, error.errno) == ("MAP_UPDATE_BATCH", errno.ENOSPC)
    assert str(error).endswith("the map is full")


def test_an_unknown_machine_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "NR_BPF", None)
    with pytest.raises(syscalls.DatapathError, match="no bpf"):
        syscalls.bpf(Command.MAP_CREATE, b"")

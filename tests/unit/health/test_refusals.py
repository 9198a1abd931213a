"""What checks that could not be made say: the same cause is told once, and each with how to mend it."""

from __future__ import annotations

import errno
import os

import pytest

from bgpbridge.config.health import Check, CheckKind
from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.targets import How, Outcome
from bgpbridge.health.checks import judge_command, judge_probe
from bgpbridge.health.commands import CommandResult
from bgpbridge.health.results import Said

CHECK = Check(name="one", kind=CheckKind.COMMAND, command=("/bin/one",))


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.ENOENT, "the whole path"), (errno.EACCES, "chmod"), (errno.ENOEXEC, "#!/bin/sh")]
)
def test_a_command_that_is_not_started_is_told_with_its_own_mend(number: int, mend: str) -> None:
    result = judge_command(CommandResult(trouble=f"/bin/one: {os.strerror(number)}"), CHECK)
    assert result.said is Said.UNKNOWN
    assert mend in result.mend


def test_commands_that_hang_have_one_cause_whatever_they_print() -> None:
    one, other = (judge_command(CommandResult(code=-9, killed=True, output=text), CHECK) for text in ("12:00", "12:01"))
    assert one.text != other.text
    assert one.cause == other.cause != ""


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        ("exit eth1: Operation not permitted", "nft list ruleset"),
        ("exit eth1 has no IPv6 address to probe from", "an address of that family"),
        ("exit eth1: Network is down", "is the link up"),
    ],
)
def test_a_probe_that_cannot_be_sent_is_told_with_its_own_mend(words: str, mend: str) -> None:
    result = judge_probe(Outcome(Way("peer isp-a", "one"), 0.0, How.UNSENT, words=words))
    assert result.said is Said.UNKNOWN
    assert mend in result.mend

"""A veth whose far end would lose redirected frames is seen, at once when its GRO is switched."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from bgpbridge.datapath.features import takes_redirects
from bgpbridge.lab import namespaces

pytestmark = pytest.mark.root

NUMBERS = itertools.count()


@pytest.fixture
def cable() -> Iterator[str]:
    name = f"bb{os.getpid()}rf{next(NUMBERS)}"
    try:
        namespaces.create(name)
        commands = "link add a0 type veth peer name b0\nlink set a0 up\nlink set b0 up\n"
        subprocess.run(["ip", "-n", name, "-batch", "-"], input=commands, text=True, check=True)
        yield name
    finally:
        namespaces.delete(name)


def test_a_veth_takes_redirects_while_its_peer_has_gro(cable: str) -> None:
    def story() -> list[bool]:
        seen = []
        for word in ("off", "on", "off"):
            subprocess.run(["ethtool", "-K", "b0", "gro", word], check=True)
            seen.append(takes_redirects(socket.if_nametoindex("a0")))
        return seen

    assert namespaces.inside(cable, story) == [False, True, False]


def test_loopback_takes_none_and_a_stranger_is_not_judged() -> None:
    assert not takes_redirects(socket.if_nametoindex("lo"))
    assert takes_redirects(999_999)

"""What is forbidden is read from words, and the answers are those of a kernel without it."""

from __future__ import annotations

import errno
import struct

import pytest

from bgpbridge.datapath import forbid
from bgpbridge.datapath.forbid import Feature
from bgpbridge.datapath.syscalls import Command, MapFlag, MapType


def test_words_name_features_and_kernels() -> None:
    assert forbid.read("") == frozenset()
    assert forbid.read("links, bcc") == {Feature.LINKS, Feature.BCC}
    assert forbid.read("linux-4.19") > forbid.read("linux-5.4") > {Feature.MMAPABLE}
    with pytest.raises(ValueError, match="nonsense"):
        forbid.read("nonsense")


def create(kind: MapType, flags: int) -> bytes:
    return struct.pack("=5I", kind, 4, 8, 1, flags)


@pytest.mark.parametrize(
    ("words", "command", "attr", "said"),
    [
        ("links", Command.LINK_CREATE, bytes(16), errno.EINVAL),
        ("native", Command.LINK_CREATE, struct.pack("=4I", 0, 0, 0, 4), errno.EOPNOTSUPP),
        ("native", Command.LINK_CREATE, struct.pack("=4I", 0, 0, 0, 2), 0),
        ("batch", Command.MAP_UPDATE_BATCH, b"", errno.EINVAL),
        ("batch", Command.MAP_UPDATE_ELEM, b"", 0),
        ("mmapable", Command.MAP_CREATE, create(MapType.ARRAY, MapFlag.MMAPABLE), errno.EINVAL),
        ("mmapable", Command.MAP_CREATE, create(MapType.ARRAY, 0), 0),
        ("devmap-hash", Command.MAP_CREATE, create(MapType.DEVMAP_HASH, 0), errno.EINVAL),
        ("devmap-hash", Command.MAP_CREATE, create(MapType.HASH, 0), 0),
    ],
)
def test_a_request_is_answered_as_by_a_kernel_without(monkeypatch, words, command, attr, said) -> None:
    monkeypatch.setattr(forbid, "active", forbid.read(words))
    assert forbid.answer(command, attr) == said

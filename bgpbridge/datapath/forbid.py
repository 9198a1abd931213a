"""For tests: this machine as if it were older or poorer. `BGPBRIDGE_FORBID=links,mmapable` takes features away.

    native        native XDP: drivers say that they have none            -> generic XDP
    links         XDP links (Linux 5.9)                                  -> attached by netlink
    mmapable      arrays that user space maps (5.5)                      -> the tries alone, stores by system calls
    batch         many elements in one call (5.6)                        -> one by one
    devmap-hash   egress ports in a hash (5.4)                           -> refused: too old to forward
    btf           /sys/kernel/btf/vmlinux                                -> nothing: we use none
    bcc           python3-bpfcc                                          -> libbpf
    libbpf        libbpf.so.1                                            -> BCC
    linux-5.4     links, mmapable, batch, btf at once                    -> all of these ways down
    linux-4.19    linux-5.4 and devmap-hash                              -> refused

bpf(2) answers as a kernel without the feature does, so what is tested is the code that meets such a kernel.
"""

from __future__ import annotations

import enum
import errno
import os
import struct

__all__ = ["Feature", "active", "answer", "forbidden", "read"]

MAP_CREATE, LINK_CREATE, LINK_UPDATE, BATCHES = 0, 28, 29, range(24, 28)
DEVMAP_HASH, MMAPABLE, NATIVE = 25, 1 << 10, 1 << 2


class Feature(enum.StrEnum):
    """What can be forbidden."""

    NATIVE = "native"
    LINKS = "links"
    MMAPABLE = "mmapable"
    BATCH = "batch"
    DEVMAP_HASH = "devmap-hash"
    BTF = "btf"
    BCC = "bcc"
    LIBBPF = "libbpf"


OLD = frozenset({Feature.LINKS, Feature.MMAPABLE, Feature.BATCH, Feature.BTF})
TOGETHER = {"linux-5.4": OLD, "linux-4.19": OLD | {Feature.DEVMAP_HASH}}


def read(words: str) -> frozenset[Feature]:
    """The features that these words, with commas between them, name. ValueError for one that is none."""
    found: set[Feature] = set()
    for word in filter(None, words.replace(" ", "").split(",")):
        found |= TOGETHER[word] if word in TOGETHER else {Feature(word)}
    return frozenset(found)


active = read(os.environ.get("BGPBRIDGE_FORBID", ""))


def forbidden(feature: Feature) -> bool:
    """Whether to do without."""
    return feature in active


def answer(command: int, attr: bytes | bytearray) -> int:
    """The errno of a kernel without the forbidden features, 0 for a request that needs none of them."""
    if command in BATCHES and Feature.BATCH in active:
        return errno.EINVAL
    if command in (LINK_CREATE, LINK_UPDATE) and Feature.LINKS in active:
        return errno.EINVAL
    if command == LINK_CREATE and Feature.NATIVE in active and struct.unpack_from("=I", attr, 12)[0] & NATIVE:
        return errno.EOPNOTSUPP
    if command == MAP_CREATE:
        kind, flags = struct.unpack_from("=I12xI", attr)
        old = (Feature.DEVMAP_HASH in active and kind == DEVMAP_HASH) or (
            Feature.MMAPABLE in active and flags & MMAPABLE
        )
        return errno.EINVAL if old else 0
    return 0

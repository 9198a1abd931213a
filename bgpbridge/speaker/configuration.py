"""ExaBGP's configuration reader, which takes a file of ours whole or not at all.

ExaBGP accepts an empty or truncated file and then crashes; and what it queues for announcement while it
parses stays queued when the file is refused later. So the file is judged before it is parsed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exabgp.configuration.configuration import Configuration
from exabgp.protocol.family import AFI, SAFI
from exabgp.protocol.ip.netmask import NetMask

from bgpbridge.errors import SpeakerError
from bgpbridge.speaker.words import PeerWords, whole

__all__ = ["TapConfiguration"]


class TapConfiguration(Configuration):  # type: ignore[misc]  # exabgp is untyped
    """The rendered file."""

    def __init__(self, path: Path) -> None:
        super().__init__([str(path)])
        NetMask.__new__ = _own_netmask
        self._path = path

    def _reload(self) -> Any:
        try:
            count = whole(self._path.read_text("ascii"))
        except (OSError, UnicodeDecodeError) as problem:
            return self.error.set(f"{self._path}: {problem}")
        if count is None:
            return self.error.set(f"{self._path} is empty, truncated or not written by bgpbridge: nothing is changed")
        if count == 0:  # ExaBGP takes a file without sections for a damaged one
            self._clear()
            return True
        if super()._reload() is not True:
            return False
        try:
            for neighbor in self.neighbors.values():
                _complete(neighbor)
        except SpeakerError as problem:
            return self.error.set(str(problem))
        return True


def _own_netmask(cls: type, *args: Any) -> Any:
    """ExaBGP keeps one mask per length for both families and marks it with the family that came last: with
    an IPv6 /32 among its routes, an IPv4 peer's address becomes a range."""
    return int.__new__(cls, *args)


def _complete(neighbor: Any) -> None:
    """What ExaBGP's own keywords cannot say. RFC 8950 next hops need no IPv6 family (ExaBGP wants one), and
    a change of either list must reset the session: neighbors are compared by `capability`, so the words
    are put there as well."""
    words = PeerWords.from_text(neighbor["description"])
    if words.extended_next_hop:
        neighbor.add_nexthop(AFI.ipv4, SAFI.unicast, AFI.ipv6)
    neighbor["capability"]["bgpbridge"] = (words.add_path, words.extended_next_hop, words.role, words.strict)

"""What the renderer tells the tap past ExaBGP: words in a neighbor's description, and the file's last line.

Both sides use this module, so the two cannot drift apart. It imports nothing heavy: the speaker's process
carries it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from bgpbridge.errors import SpeakerError
from bgpbridge.types import Family, Role

__all__ = ["PeerWords", "changed", "last_line", "whole"]

_LAST_LINE: Final = re.compile(r"# end of bgpbridge's configuration: (\d+) peers?\n*\Z")


@dataclass(frozen=True, slots=True)
class PeerWords:
    """What ExaBGP must carry for us: `peer=3 listen=179 add-path=ipv4,ipv6 next-hop=ipv6 role=customer
    name=transit-a`; a role with `,strict` wants the other side to say its own."""

    number: int
    listen: int = 179
    add_path: tuple[Family, ...] = ()
    extended_next_hop: bool = False
    name: str = ""
    role: Role | None = None
    strict: bool = False

    def to_text(self) -> str:
        """The description."""
        words = [f"peer={self.number}", f"listen={self.listen}"]
        if self.add_path:
            words.append("add-path=" + ",".join(family.label for family in self.add_path))
        if self.extended_next_hop:
            words.append("next-hop=ipv6")
        if self.role is not None:
            words.append(f"role={self.role}{',strict' if self.strict else ''}")
        if self.name:
            words.append(f"name={self.name}")
        return " ".join(words)

    @classmethod
    def from_text(cls, text: str) -> PeerWords:
        """Read the description again. Raises SpeakerError when it is not one of ours."""
        words = dict(word.partition("=")[::2] for word in text.split())
        try:
            add_path = tuple(Family[label.upper()] for label in words.get("add-path", "").split(",") if label)
            role, _, strict = words.get("role", "").partition(",")
            return cls(
                number=int(words["peer"]),
                listen=int(words["listen"]),
                add_path=add_path,
                extended_next_hop=words.get("next-hop") == "ipv6",
                name=words.get("name", ""),
                role=Role(role) if role else None,
                strict=bool(strict),
            )
        except (KeyError, ValueError):
            raise SpeakerError(
                f"the description {text!r} of a neighbor was not written by bgpbridge",
                mend="do not edit the speaker's file; change bgpbridge's own configuration and reload",
            ) from None


def last_line(peers: int) -> str:
    """What a whole file ends with."""
    return f"# end of bgpbridge's configuration: {peers} peer{'' if peers == 1 else 's'}"


def whole(text: str) -> int | None:
    """The number of peers in a whole file, None for one that is empty, truncated or somebody else's."""
    found = _LAST_LINE.search(text)
    return int(found[1]) if found else None


_SHOWN: Final = {
    "peer-as": "its AS number",
    "peer-address": "its address",
    "connect": "its port",
    "local-as": "our AS number",
    "local-address": "our address",
    "router-id": "our router id",
    "hold-time": "hold time",
    "passive": "passive",
}
_NAMED: Final = {
    "md5-password": "password",
    "incoming-ttl": "TTL security",
    "outgoing-ttl": "TTL",
    "capability": "capabilities",
}


def changed(old: Any, new: Any) -> str:
    """What is different between two of ExaBGP's neighbors, for people. Never a password."""
    both = {key: (str(old[key]), str(new[key])) for key in _SHOWN if old[key] is not None and new[key] is not None}
    shown = [f"{_SHOWN[key]} {before} is now {after}" for key, (before, after) in both.items() if before != after]
    named = [word for key, word in _NAMED.items() if str(old[key]) != str(new[key])]
    families = ["families"] if sorted(map(str, old.families())) != sorted(map(str, new.families())) else []
    return ", ".join([*shown, *(f"another {word}" for word in named), *families])

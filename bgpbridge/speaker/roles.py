"""The BGP Role Capability (RFC 9234 s4), which ExaBGP does not have: into our OPEN, and out of the peer's."""

from __future__ import annotations

from typing import Any, Final

from exabgp.bgp.message.open.capability import Capabilities, Capability

from bgpbridge.speaker.words import PeerWords
from bgpbridge.types import Role

__all__ = ["RoleCapability", "TapCapabilities", "mismatch", "role_of"]

ROLE: Final = 9
_BY_VALUE: Final = {bytes([role.code]): role for role in Role}


@Capability.register()
class RoleCapability(Capability):  # type: ignore[misc]  # exabgp is untyped
    """One side's role, or what a peer sent in its place: `values` are as they came, each once."""

    ID = ROLE

    def __init__(self, *values: bytes) -> None:
        self.values = list(values)

    def __str__(self) -> str:
        return f"Role({', '.join(str(_BY_VALUE.get(value, value.hex())) for value in self.values)})"

    def json(self) -> str:
        """As ExaBGP's API would print it."""
        return f'{{ "name": "role", "values": "{[value.hex() for value in self.values]}" }}'

    def extract(self) -> list[bytes]:
        """What goes into OPEN."""
        return self.values

    @staticmethod
    def unpack_capability(instance: RoleCapability, data: bytes, _code: int) -> RoleCapability:
        """Another one of the same OPEN; equal ones count once (RFC 9234 s4.2)."""
        if bytes(data) not in instance.values:
            instance.values.append(bytes(data))
        return instance


class TapCapabilities(Capabilities):  # type: ignore[misc]  # exabgp is untyped
    """ExaBGP's, and our role where there is one."""

    def new(self, neighbor: Any, restarted: bool, local_as: Any = None) -> TapCapabilities:
        """What we offer to a neighbor."""
        super().new(neighbor, restarted, local_as)
        role = PeerWords.from_text(neighbor["description"]).role
        if role is not None:
            self[ROLE] = RoleCapability(bytes([role.code]))
        return self


def role_of(received: Any) -> Role | None:
    """The one role that an OPEN names, None when it names none, or not one that there is."""
    values = received[ROLE].values if ROLE in received else []
    return _BY_VALUE.get(values[0]) if len(values) == 1 else None


def mismatch(ours: Role | None, received: Any, *, strict: bool) -> str:
    """Why the roles of both sides do not go together, empty when they do (RFC 9234 s4.2). Without a role of ours the
    peer's means nothing; a peer that says none is taken unless `strict`."""
    if ours is None:
        return ""
    values, wanted = (
        (received[ROLE].values if ROLE in received else []),
        f"we are {ours}, so it must be {ours.opposite}",
    )
    if not values:
        return f"it says no role; {wanted} (`role_strict`)" if strict else ""
    if len(values) > 1:
        return f"it says several roles; {wanted}"
    theirs = _BY_VALUE.get(values[0])
    if theirs is ours.opposite:
        return ""
    return f"it says that it is {theirs or f'0x{values[0].hex()}, which is no role'}; {wanted}"

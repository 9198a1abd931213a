"""One BGP peer in the configuration: what we say in OPEN, how TCP is made, what may come in and go out."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from bgpbridge.config.health import Bfd
from bgpbridge.config.limits import MaxPrefix
from bgpbridge.config.values import Address, Asn, Families, FilePath, Name, Port, PrefixText
from bgpbridge.documents import Strict, refuse
from bgpbridge.errors import Place
from bgpbridge.policy.communities import AnyCommunity, CommunityKind, parse_value
from bgpbridge.policy.model import ACCEPT
from bgpbridge.types import Family, Role
from bgpbridge.wire.communities import Large

__all__ = ["ACCEPT", "Announcement", "Password", "Peer", "PeerDefaults", "PeerOptions"]


class Password(Strict):
    """Where the MD5 password (RFC 2385) is kept: exactly one of the two. It never stands here itself."""

    file: FilePath | None = None
    """A file whose first line is the password; keep it readable by root only."""
    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The name of an environment variable that holds it."""

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return data
        raise refuse(
            "the password itself must not stand in this file",
            "a mapping with `file` or `env`",
            "put it in a file that only root can read, and write `password: {file: PATH}`",
        )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise refuse("needs exactly one of `file` and `env`", "{file: PATH} or {env: NAME}")
        return self


def _parse_community(value: Any) -> tuple[CommunityKind, AnyCommunity]:
    try:
        return parse_value(str(value))
    except ValueError as error:
        mend = "wildcards cannot be announced" if "*" in str(value) else ""
        raise refuse(str(error), "one community, such as 65000:100, 65000:1:2 or no-export", mend) from None


CommunityValue = Annotated[
    tuple[CommunityKind, AnyCommunity],
    PlainValidator(_parse_community),
    WithJsonSchema({"type": "string", "examples": ["65000:100", "65000:1:2", "no-export"]}),
]


class Announcement(Strict):
    """One prefix of our own that this peer is told about. Nothing else is ever announced."""

    prefix: PrefixText = Field(examples=["192.0.2.0/24"])
    """The prefix, host bits zero."""
    next_hop: Address | None = None
    """The next hop that the peer is told; without it our own address of the session."""
    med: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    """MULTI_EXIT_DISC (RFC 4271 s5.1.4)."""
    communities: tuple[CommunityValue, ...] = ()
    """Communities of any kind to attach."""
    prepend: int = Field(default=0, ge=0, le=16)
    """How many more times our AS number stands in the path."""

    @property
    def standard(self) -> tuple[int, ...]:
        """The standard communities (RFC 1997)."""
        return tuple(value for _, value in self.communities if isinstance(value, int))

    @property
    def extended(self) -> tuple[bytes, ...]:
        """The extended communities (RFC 4360), 8 octets each."""
        return tuple(value for _, value in self.communities if isinstance(value, bytes))

    @property
    def large(self) -> tuple[Large, ...]:
        """The large communities (RFC 8092)."""
        return tuple(value for _, value in self.communities if isinstance(value, tuple))


def _none_is_empty(value: Any) -> Any:
    return () if value == "none" or value is None else value


Announcements = Annotated[
    tuple[Announcement, ...],
    BeforeValidator(_none_is_empty, json_schema_input_type=Literal["none"] | tuple[Announcement, ...]),
]


class PeerOptions(Strict):
    """The keys that `peers[]` and `peer_defaults` share."""

    synonyms: ClassVar[dict[str, str]] = {
        "remote_as": "asn",
        "peer_as": "asn",
        "as": "asn",
        "remote_asn": "asn",
        "neighbor": "address",
        "neighbour": "address",
        "ip": "address",
        "peer_address": "address",
        "update_source": "local_address",
        "local_as": "local_asn",
        "hold_time": "hold_time_s",
        "holdtime": "hold_time_s",
        "timers": "hold_time_s",
        "md5": "password",
        "md5_password": "password",
        "secret": "password",
        "gtsm": "ttl_security",
        "ebgp_multihop": "multihop",
        "afi": "families",
        "policy": "import",
        "import_policy": "import",
        "filter": "import",
        "max_prefixes": "max_prefix",
        "maximum_prefix": "max_prefix",
        "prefix_limit": "max_prefix",
        "import_limit": "max_prefix",
        "export": "announce",
        "graceful_restart": "graceful_restart_s",
        "local_role": "role",
        "require_roles": "role_strict",
        "strict_mode": "role_strict",
    }

    source: Literal["session", "pipe", "replay"] = "session"
    """Where the peer's routes come from: a session of our own, or the JSON of an ExaBGP that runs already
    (`bgpbridge pipe`)."""
    local_address: Address | None = None
    """Our address of the session; without it the kernel chooses."""
    local_asn: Asn | None = None
    """Our AS number towards this peer, where it differs from `router.asn`."""
    port: Port = 179
    """The peer's TCP port."""
    listen_port: Port = 179
    """Our TCP port for connections that the peer opens."""
    passive: bool = False
    """Wait for the peer to connect; never connect ourselves."""
    hold_time_s: int = Field(default=90, ge=0, le=65535)
    """Seconds of silence after which the session is closed (RFC 4271 s4.2): 0 (never) or 3 to 65535."""
    password: Password | None = None
    """TCP MD5 (RFC 2385): where the password is kept, `{file: PATH}` or `{env: NAME}`."""
    ttl_security: int | None = Field(default=None, ge=1, le=254)
    """GTSM (RFC 5082): the most hops that the peer is away; 1 for a neighbour on the wire."""
    multihop: int | None = Field(default=None, ge=1, le=255)
    """TTL of our packets to an external peer that is not on the wire."""
    families: Families = (Family.IPV4,)
    """Address families to exchange, unicast: ipv4, ipv6 or both."""
    add_path: Families = ()
    """Families in which the peer may send several paths for a prefix (RFC 7911)."""
    add_path_limit: int = Field(default=16, ge=1, le=64)
    """The most paths per prefix that are kept from this peer."""
    max_prefix: MaxPrefix | None = None
    """The most prefixes that the peer may send, by family, and what happens beyond."""
    extended_message: bool = True
    """Offer messages of up to 65,535 octets (RFC 8654)."""
    extended_next_hop: bool = False
    """Offer IPv4 routes with IPv6 next hops (RFC 8950)."""
    graceful_restart_s: int | None = Field(default=120, ge=1, le=4095)
    """Restart time that we offer (RFC 4724), in seconds; null turns graceful restart off."""
    route_refresh: bool = True
    """Offer route refresh (RFC 2918, RFC 7313)."""
    import_policy: Name | None = Field(default=None, alias="import")
    """The policy that judges what the peer sends, or `accept`. An external peer without one is refused every
    route (RFC 8212)."""
    announce: Announcements = ()
    """`none`, or the prefixes of our own that this peer is told, one by one."""
    weight: int = Field(default=0, ge=0, le=65535)
    """Preference of this peer's routes on this router, before everything else; the higher one wins."""
    bfd: Bfd = None
    """BFD with the peer: `true`, or its timers."""
    health: tuple[Name, ...] = ()
    """Names of checks (under `health.checks`); the peer's routes are avoided while one is not fine."""
    enforce_first_as: bool = True
    """Refuse paths of an external peer that do not begin with its own AS number (RFC 4271 s6.3)."""
    role: Role | None = None
    """What we are to an external peer (RFC 9234): provider, customer, peer, rs-server or rs-client. The peer must be
    the opposite; leaks are refused, and what we announce is marked."""
    role_strict: bool = False
    """Refuse a peer that does not say its own role."""
    description: str | None = Field(default=None, max_length=200)
    """Free text, shown in `bgpbridge peers`."""

    @model_validator(mode="after")
    def _one_ttl_rule(self) -> Self:
        if self.ttl_security is not None and self.multihop is not None:
            raise refuse(
                "`ttl_security` and `multihop` contradict each other",
                "one of the two",
                "keep ttl_security (RFC 5082) where the peer speaks it",
            )
        if self.hold_time_s in (1, 2):
            raise refuse("`hold_time_s` cannot be 1 or 2 (RFC 4271 s4.2)", "0 (never) or 3 to 65535", "90 is usual")
        return self


class PeerDefaults(PeerOptions):
    """What every peer has unless it says otherwise."""

    asn: Asn | None = None
    """The AS number of peers that name none."""


class Peer(PeerOptions):
    """One peer: a name of our own, its address and AS number, and any of the options."""

    name: Name = Field(examples=["transit1"])
    """Our name for the peer: it stands in commands, logs and metrics."""
    address: Address = Field(examples=["192.0.2.1"])
    """The peer's address."""
    asn: Asn = Field(examples=[65001])
    """The peer's AS number."""

    _place: Place = PrivateAttr(default_factory=lambda: Place(""))

    @property
    def place(self) -> Place:
        """Where the peer stands in the file."""
        return self._place

    def set_place(self, place: Place) -> None:
        """Called once, by the loader."""
        self._place = place

    def __eq__(self, other: object) -> bool:
        """By content: the same peer on another line is the same peer."""
        return isinstance(other, Peer) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # unhashable: names are the keys of peers

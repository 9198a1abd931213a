"""`health:` and `peers[].bfd`: what is asked whether it is well, how patiently, and what hangs on the answer."""

from __future__ import annotations

import enum
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from bgpbridge.config.values import Address, FilePath, Name, Port, PrefixText
from bgpbridge.documents import Strict, refuse

__all__ = [
    "Bfd",
    "BfdOptions",
    "Check",
    "CheckKind",
    "DampingRule",
    "HealthSection",
    "NextHopHealth",
    "OnTimeout",
    "Patience",
    "Service",
]


class CheckKind(enum.StrEnum):
    """How it is asked."""

    ICMP = "icmp"
    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"


class OnTimeout(enum.StrEnum):
    """What a command that is killed at its time limit says."""

    UNKNOWN = "unknown"
    FAIL = "fail"


def _true_is_default(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class DampingRule(Strict):
    """Flap damping (RFC 2439): each failure adds 1000 to a penalty that halves every `half_life_s`."""

    half_life_s: int = Field(default=60, ge=1, le=3600)
    """Seconds in which the penalty halves."""
    suppress: int = Field(default=3000, ge=1001, le=20_000)
    """Above this penalty a recovery does not count."""
    reuse: int = Field(default=1000, ge=10, le=20_000)
    """Below this penalty it does again."""
    most_s: int = Field(default=600, ge=1, le=86_400)
    """Never suppressed for longer than this many seconds after the last failure."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.reuse >= self.suppress:
            raise refuse("`reuse` is not below `suppress`: what is suppressed would never be", "reuse below suppress")
        return self


OptionalDamping = Annotated[
    DampingRule | None, BeforeValidator(_true_is_default, json_schema_input_type=bool | DampingRule | None)
]


class Patience(Strict):
    """What checks and BFD share: how long a recovery waits."""

    hold_down_s: int = Field(default=10, ge=0, le=86_400)
    """Seconds between a recovery and the return of traffic."""
    damping: OptionalDamping = None
    """Flap damping: `true`, or its thresholds."""


class Check(Patience):
    """One check, by name. Where it is applied stands at the peer, the next hop or the service."""

    synonyms: ClassVar[dict[str, str]] = {
        "type": "kind",
        "interval": "interval_ms",
        "timeout": "timeout_ms",
        "address": "target",
        "host": "target",
        "cmd": "command",
        "exec": "command",
        "hold_down": "hold_down_s",
        "expect": "body",
        "flap_damping": "damping",
    }

    name: Name = Field(examples=["ping"])
    """Our name for it."""
    kind: CheckKind = Field(examples=["icmp"])
    """icmp (echo), tcp (connect), http (GET, https as well) or command."""
    target: Address | None = None
    """The address to ask, through the peer or next hop; without it that one itself (http: the host of `url`)."""
    port: Port | None = None
    """The port of `kind: tcp`."""
    url: str | None = Field(default=None, max_length=2000, examples=["https://192.0.2.80/health"])
    """What `kind: http` asks for."""
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    """HTTP status codes that are fine; none: 200 to 299."""
    body: str | None = Field(default=None, min_length=1, max_length=1000)
    """A text that must stand in the first 64 KiB of the answer."""
    tls_verify: bool = True
    """Whether the certificate of an https server is verified."""
    tls_ca: FilePath | None = None
    """A file of certificates to verify it by, in place of the system's."""
    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """The words of `kind: command`: a program by its whole path and its arguments; no shell. Exit code 0 is fine."""
    user: str = Field(default="nobody", min_length=1)
    """The user that the command runs as, without privileges."""
    processes: int = Field(default=64, ge=4, le=4096)
    """The most processes of that user while it runs."""
    memory_mib: int = Field(default=512, ge=16, le=65_536)
    """MiB of address space for each of its processes."""
    on_timeout: OnTimeout = OnTimeout.UNKNOWN
    """What a command says that is killed at `timeout_ms`: unknown (what was known goes on), or fail."""
    interval_ms: int = Field(default=1000, ge=50, le=3_600_000)
    """Milliseconds between two checks."""
    timeout_ms: int = Field(default=1000, ge=20, le=600_000)
    """Milliseconds after which no answer is a failure."""
    rise: int = Field(default=2, ge=1, le=100)
    """So many passes in a row make it healthy."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row make it unhealthy."""

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Self:
        for key, kind, example in (
            ("port", CheckKind.TCP, "`port: 179`"),
            ("url", CheckKind.HTTP, "`url: http://192.0.2.80/health`"),
            ("command", CheckKind.COMMAND, "`command: [/usr/local/bin/check, --quick]`"),
        ):
            given = bool(getattr(self, key))
            if self.kind is kind and not given:
                raise refuse(f"a check of kind {kind} needs `{key}`", example)
            if self.kind is not kind and given:
                raise refuse(f"`{key}` says nothing to a check of kind {self.kind}", mend=f"remove `{key}`")
        if self.url is not None:
            _look_at_url(self.url)
        if self.kind is CheckKind.COMMAND and not self.command[0].startswith("/"):
            raise refuse(f"`{self.command[0]}` is no whole path", "such as /usr/local/bin/check")
        return self


def _look_at_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not parts.username
    except ValueError:
        fine = False
    if not fine:
        raise refuse(f"`{url}` is no URL that can be asked", "such as http://192.0.2.80/health or https://name:8443/")


class NextHopHealth(Strict):
    """Checks of a BGP next hop, whoever announces it."""

    address: Address = Field(examples=["192.0.2.9"])
    """The next hop as it stands in routes."""
    checks: tuple[Name, ...] = Field(examples=[["ping"]])
    """Names of checks; all have to be fine."""


class Service(Strict):
    """A service of ours: its announcement is withdrawn from all peers while a check of it says that it is not well."""

    prefix: PrefixText = Field(examples=["192.0.2.80/32"])
    """The prefix, which stands under `announce` of some peer."""
    checks: tuple[Name, ...] = Field(examples=[["web"]])
    """Names of checks; all have to be fine."""


class HealthSection(Strict):
    """Checks, and what besides peers they are applied to (`peers[].health` applies them to a peer)."""

    synonyms: ClassVar[dict[str, str]] = {"nexthops": "next_hops", "anycast": "services"}

    checks: tuple[Check, ...] = Field(default=(), max_length=256)
    """The checks, by name."""
    next_hops: tuple[NextHopHealth, ...] = ()
    """Next hops that are checked."""
    services: tuple[Service, ...] = ()
    """Announced prefixes that are checked."""

    def check(self, name: str) -> Check | None:
        """The check of that name, None when there is none."""
        return next((check for check in self.checks if check.name == name), None)


class BfdOptions(Patience):
    """A BFD session with a peer on the link (RFC 5880, RFC 5881: asynchronous mode, no echo)."""

    synonyms: ClassVar[dict[str, str]] = {"interval": "interval_ms", "detect_multiplier": "multiplier"}

    interval_ms: int = Field(default=300, ge=10, le=60_000)
    """Milliseconds between packets that we send at the quickest, and that we take."""
    multiplier: int = Field(default=3, ge=1, le=255)
    """So many intervals without a packet, and the peer is down."""
    passive: bool = False
    """Wait to be spoken to."""
    hold_down_s: int = Field(default=2, ge=0, le=86_400)
    """Seconds between a recovery and the return of traffic."""


Bfd = Annotated[BfdOptions | None, BeforeValidator(_true_is_default, json_schema_input_type=bool | BfdOptions | None)]

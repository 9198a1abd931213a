"""`max_prefix`: how many prefixes a peer may send in a family, and what becomes of more."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from bgpbridge.documents import Strict, refuse
from bgpbridge.types import Family

__all__ = ["Counting", "FamilyLimit", "LimitAction", "MaxPrefix"]


class LimitAction(enum.StrEnum):
    """What happens beyond the limit."""

    WARN = "warn"
    BLOCK = "block"
    DISCONNECT = "disconnect"


class Counting(enum.StrEnum):
    """What is counted: all that the peer sent, or what import policy left of it."""

    RECEIVED = "received"
    ACCEPTED = "accepted"


class FamilyLimit(Strict):
    """The limit of one family."""

    synonyms: ClassVar[dict[str, str]] = {
        "max": "limit",
        "maximum": "limit",
        "threshold": "warn_at",
        "restart": "restart_s",
        "idle_timeout": "restart_s",
    }

    limit: int = Field(ge=1, le=0xFFFFFFFF, examples=[1_200_000])
    """The most prefixes that the peer may send; with ADD-PATH each path counts."""
    warn_at: int = Field(default=75, ge=1, le=100)
    """Per cent of the limit at which an event warns."""
    action: LimitAction = LimitAction.DISCONNECT
    """What happens beyond the limit: warn (an event only), block (what is beyond is not taken in) or disconnect."""
    restart_s: int | None = Field(default=None, ge=1, le=86_400)
    """Seconds after a disconnect until one new try; null: none before an operator clears it."""
    count: Counting = Counting.RECEIVED
    """What is counted: received (before import policy) or accepted (after it)."""

    @model_validator(mode="after")
    def _restart_after_disconnect(self) -> Self:
        if self.restart_s is not None and self.action is not LimitAction.DISCONNECT:
            raise refuse(
                f"`restart_s` says when a session is tried again, which `action: {self.action}` never ends",
                "`restart_s` with `action: disconnect` only",
                "remove `restart_s`",
            )
        return self

    @property
    def threshold(self) -> int:
        """The number of prefixes at which the warning comes."""
        return -(-self.limit * self.warn_at // 100)

    @property
    def capped(self) -> bool:
        """True when nothing beyond the limit is taken in."""
        return self.action is not LimitAction.WARN


class MaxPrefix(Strict):
    """The limits of one peer, by family."""

    ipv4: FamilyLimit | None = None
    """The limit for IPv4."""
    ipv6: FamilyLimit | None = None
    """The limit for IPv6."""

    def items(self) -> Iterator[tuple[Family, FamilyLimit]]:
        """The families that have a limit."""
        for family, limit in ((Family.IPV4, self.ipv4), (Family.IPV6, self.ipv6)):
            if limit is not None:
                yield family, limit

    def of(self, family: Family) -> FamilyLimit | None:
        """The limit of a family, None when it has none."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

"""An override as it is written, in a policy file and in the body of an HTTP request: one mapping, one schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from bgpbridge.documents import refuse
from bgpbridge.policy.written import AddressText, NameText, Number, Written
from bgpbridge.types import OverrideKind, Prefix

__all__ = ["OverrideText", "TargetText", "read_scope"]

EXPECTED_SCOPE = "such as 192.0.2.0/24, or `192.0.2.0/24 or-longer` for everything under it"
EXPECTED_TIME = "a time with its zone, such as 2026-12-01T08:00:00Z or 2026-12-01T09:00:00+01:00"


def read_scope(value: Any) -> tuple[Prefix, bool]:
    """`P`, `P exact` or `P or-longer`: the prefix, and whether all under it is meant."""
    words = str(value).split()
    if len(words) not in (1, 2) or words[1:] not in ([], ["exact"], ["or-longer"]):
        raise refuse(f"`{value}` is not a prefix with `or-longer` or without", EXPECTED_SCOPE)
    try:
        return Prefix.parse(words[0]), words[1:] == ["or-longer"]
    except ValueError as error:
        raise refuse(f"`{value}`: {error}", EXPECTED_SCOPE) from None


def _time(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise refuse(f"`{value}` is not a time", EXPECTED_TIME) from None
    if at.tzinfo is None:
        raise refuse(f"`{value}` has no zone: it would mean another moment on another machine", EXPECTED_TIME)
    return at.astimezone(UTC)


Scope = Annotated[tuple[Prefix, bool], PlainValidator(read_scope), WithJsonSchema({"type": "string"})]
Time = Annotated[datetime, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class TargetText(Written):
    """Whose paths are meant: those of a peer, by a next hop, or of a group of both."""

    synonyms: ClassVar[dict[str, str]] = {"nexthop": "next_hop", "via": "next_hop", "neighbor": "peer"}

    peer: Annotated[str, Field(min_length=1)] | None = None
    """A peer, by our name for it."""
    next_hop: AddressText | None = None
    """A next hop."""
    group: NameText | None = None
    """A group of `sets.next_hop_groups`, whose members share the traffic."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.peer, self.next_hop, self.group)) != 1:
            raise refuse("has to name one target", "one of `peer`, `next_hop` and `group`")
        hop = self.next_hop
        if hop is not None and (hop.is_link_local or hop.is_multicast or hop.is_unspecified):
            raise refuse(f"{hop} cannot be a next hop here", "the global address of a router")
        return self


class PreferText(TargetText):
    """Another LOCAL_PREF for paths of the target."""

    synonyms: ClassVar[dict[str, str]] = {**TargetText.synonyms, "localpref": "local_pref", "value": "local_pref"}

    local_pref: Number = Field(examples=[300])
    """The higher one wins, behind the weight."""


class WeightText(TargetText):
    """Another weight for paths of the target."""

    synonyms: ClassVar[dict[str, str]] = {**TargetText.synonyms, "value": "weight"}

    weight: Annotated[int, Field(ge=0, le=65535, examples=[200])]
    """The higher one wins, before all else that BGP compares."""


def _all_or_target(value: Any) -> Any:
    return TargetText.model_validate(value) if isinstance(value, dict) else _true(value)


def _true(value: Any) -> bool:
    if value is not True:
        raise refuse(f"`{value}` says nothing here", "true", "remove the override if it is not meant")
    return True


TrueText = Annotated[Literal[True], BeforeValidator(_true)]


class OverrideText(Written):
    """What an operator wants for a prefix, whatever BGP says, for as long as BGP has a path for it."""

    synonyms: ClassVar[dict[str, str]] = {
        "until": "expires",
        "expiry": "expires",
        "via": "pin",
        "discard": "blackhole",
        "drop": "blackhole",
        "local_pref": "prefer",
        "who": "owner",
        "why": "reason",
    }

    prefix: Scope = Field(examples=["192.0.2.0/24 or-longer"])
    """The prefix, `or-longer` behind it for everything under it; the longest override that holds a prefix decides."""
    pin: TargetText | None = None
    """Traffic goes to the target; what BGP prefers is the backup."""
    prefer: PreferText | None = None
    """Paths of the target get another LOCAL_PREF."""
    weight: WeightText | None = None
    """Paths of the target get another weight."""
    blackhole: TrueText | None = None
    """Packets are dropped."""
    reject: Annotated[
        Literal[True] | TargetText | None,
        PlainValidator(_all_or_target, json_schema_input_type=Literal[True] | TargetText),
    ] = None
    """Paths of the target are not used; with `true` no path is."""
    owner: Annotated[str, Field(min_length=1, max_length=60)]
    """Who answers for it."""
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    """Why it is there."""
    expires: Time | None = None
    """When it ends: a time with its zone."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        found = [kind for kind in OverrideKind if getattr(self, kind.value) is not None]
        if len(found) != 1:
            names = ", ".join(f"`{kind}`" for kind in OverrideKind)
            raise refuse(
                f"does {'several things' if found else 'nothing'}: {', '.join(found) or 'no kind is given'}",
                f"one of {names}",
            )
        target = getattr(self, found[0])
        hop = target.next_hop if isinstance(target, TargetText) else None
        prefix = self.prefix[0]
        if hop is not None and hop.version == 4 and prefix.family.bits == 128:
            raise refuse(f"{prefix} cannot have the next hop {hop}", "an IPv6 address")
        return self

    @property
    def kind(self) -> OverrideKind:
        """The one thing that it does."""
        return next(kind for kind in OverrideKind if getattr(self, kind.value) is not None)

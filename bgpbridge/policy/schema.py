"""The policy file as it is written: pydantic models, one per mapping, with the meaning of every key.

Texts (prefixes, AS numbers, communities) stay texts here; `parse` reads them, because names of sets may stand
wherever they may. One value may be written for a list of one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from bgpbridge.documents import refuse
from bgpbridge.policy.override_schema import OverrideText
from bgpbridge.policy.written import AddressText, NameText, Number, Written

__all__ = [
    "BoundsText",
    "FileText",
    "IncludeText",
    "MatchText",
    "PolicyFile",
    "PolicyText",
    "PrependText",
    "SetText",
    "SetsText",
    "TermText",
]


def _listed(value: Any) -> Any:
    """One value for a list of one."""
    return [value] if isinstance(value, str | int | dict) and not isinstance(value, bool) else value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refuse("this is not a text", "a name, a number or a text in quotes")
    return str(value)


Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
Texts = Annotated[
    tuple[Text, ...], BeforeValidator(_listed, json_schema_input_type=Text | tuple[Text, ...]), Field(min_length=1)
]
AnyTexts = Annotated[tuple[Text, ...], BeforeValidator(_listed, json_schema_input_type=Text | tuple[Text, ...])]
OptionalTexts = Annotated[
    tuple[Text, ...] | None, BeforeValidator(_listed, json_schema_input_type=Text | tuple[Text, ...])
]
FamilyText = Literal["ipv4", "ipv6"]
OriginText = Literal["igp", "egp", "incomplete"]
RpkiText = Literal["valid", "invalid", "not-found"]


def _qualifier(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"exact|or-longer|ge \d{1,3}( le \d{1,3})?|le \d{1,3}", value):
        raise refuse(f"`{value}` is no way to match", "exact, or-longer, `ge N`, `le N` or `ge N le N`")
    return value


class BoundsText(Written):
    """A number between two bounds, both included; a number alone means exactly that."""

    synonyms: ClassVar[dict[str, str]] = {"min": "ge", "max": "le", "from": "ge", "to": "le", "gt": "ge", "lt": "le"}

    ge: Number | None = None
    """The lowest."""
    le: Number | None = None
    """The highest."""

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.ge is None and self.le is None:
            raise refuse("has neither `ge` nor `le`", "{ge: N}, {le: N}, both, or a number")
        if self.ge is not None and self.le is not None and self.ge > self.le:
            raise refuse(f"nothing is at least {self.ge} and at most {self.le}", "ge <= le")
        return self


def _exactly(value: Any) -> Any:
    return {"ge": value, "le": value} if isinstance(value, int) and not isinstance(value, bool) else value


Bounds = Annotated[BoundsText, BeforeValidator(_exactly, json_schema_input_type=Number | BoundsText)]


class FileText(Written):
    """Prefixes out of a text file, one a line, `#` begins a comment."""

    file: Annotated[Path, Field(examples=["customers.txt"])]
    """The file, relative to this one."""
    match: Annotated[str, BeforeValidator(_qualifier)] = "exact"
    """How its lines match that say nothing themselves: exact, or-longer, `ge N`, `le N`, `ge N le N`."""


def _prefix_item(value: Any) -> Any:
    return FileText.model_validate(value) if isinstance(value, dict) else _text(value)


PrefixItem = Annotated[str | FileText, PlainValidator(_prefix_item, json_schema_input_type=str | FileText)]


PrefixItems = Annotated[
    tuple[PrefixItem, ...],
    BeforeValidator(_listed, json_schema_input_type=str | FileText | tuple[str | FileText, ...]),
    Field(min_length=1),
]


class SetsText(Written):
    """Named sets; a name is known to all policy files."""

    synonyms: ClassVar[dict[str, str]] = {
        "prefix": "prefixes",
        "as_sets": "asns",
        "as": "asns",
        "as_path": "as_paths",
        "community": "communities",
        "groups": "peers",
        "peer_groups": "peers",
    }

    prefixes: dict[NameText, PrefixItems] = Field(default_factory=dict)
    """Prefix patterns, inline or from files."""
    asns: dict[NameText, Texts] = Field(default_factory=dict)
    """AS numbers and ranges."""
    as_paths: dict[NameText, Texts] = Field(default_factory=dict)
    """Anchored patterns of whole AS paths."""
    communities: dict[NameText, Texts] = Field(default_factory=dict)
    """Community patterns of any kind."""
    peers: dict[NameText, Texts] = Field(default_factory=dict)
    """Groups of peers, by our names for them."""
    next_hop_groups: dict[NameText, Texts] = Field(default_factory=dict)
    """Peers and next hops that share the traffic of an override; an address is a next hop, all else a peer's name."""


class MatchText(Written):
    """Conditions that must all hold; of several values under one key, one is enough."""

    synonyms: ClassVar[dict[str, str]] = {
        "prefixes": "prefix",
        "length": "prefix_length",
        "as_path_length": "path_length",
        "communities": "community",
        "any_community": "community",
        "all_communities": "every_community",
        "neighbor": "neighbor_as",
        "as_path_contains": "path_contains",
        "contains": "path_contains",
        "asn": "path_contains",
        "nexthop": "next_hop",
        "only_to_customer": "otc",
        "rov": "rpki",
        "roa": "rpki",
        "validity": "rpki",
        "peers": "peer",
        "afi": "family",
        "localpref": "local_pref",
        "metric": "med",
    }

    prefix: Texts | None = None
    """Names of prefix sets, or prefix patterns."""
    prefix_length: Bounds | None = None
    """The prefix length."""
    family: Annotated[
        tuple[FamilyText, ...] | None,
        BeforeValidator(_listed, json_schema_input_type=FamilyText | tuple[FamilyText, ...]),
        Field(min_length=1),
    ] = None
    """The address family: ipv4 or ipv6."""
    rpki: Annotated[
        tuple[RpkiText, ...] | None,
        BeforeValidator(_listed, json_schema_input_type=RpkiText | tuple[RpkiText, ...]),
        Field(min_length=1),
    ] = None
    """What RPKI says of prefix and origin AS (RFC 6811): valid, invalid or not-found."""
    peer: Texts | None = None
    """Peers that the route may have come from, by our names for them, or names of peer sets."""
    as_path: Texts | None = None
    """Anchored patterns of the whole path, `64500 * (65001|@customers)`, or names of AS path sets."""
    path_length: Bounds | None = None
    """The AS path's length as the decision counts it."""
    path_contains: Texts | None = None
    """AS numbers, ranges or sets of which one stands anywhere in the path."""
    neighbor_as: Texts | None = None
    """AS numbers, ranges or sets: the first AS of the path."""
    origin_as: Texts | None = None
    """AS numbers, ranges or sets: the AS that originated the route (0: none)."""
    origin: Annotated[
        tuple[OriginText, ...] | None,
        BeforeValidator(_listed, json_schema_input_type=OriginText | tuple[OriginText, ...]),
        Field(min_length=1),
    ] = None
    """ORIGIN: igp, egp or incomplete."""
    community: Texts | None = None
    """Communities or sets of which the route has at least one."""
    every_community: Texts | None = None
    """Communities or sets, from each of which the route has one."""
    next_hop: Texts | None = None
    """Names of prefix sets, or prefixes, that hold the next hop."""
    otc: Texts | None = None
    """ONLY_TO_CUSTOMER (RFC 9234): absent, present, neighbor (the first AS of the path), AS numbers, ranges or sets."""
    med: Bounds | None = None
    """MED; 0 when the route has none."""
    local_pref: Bounds | None = None
    """LOCAL_PREF; 100 when the route has none."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise refuse("asks for nothing", "at least one condition", "leave `match` out to match every route")
        return self


class PrependText(Written):
    """AS numbers in front of the path."""

    asn: Annotated[int, Field(ge=1, le=0xFFFFFFFE, examples=[65000])]
    """The AS number."""
    times: Annotated[int, Field(ge=1, le=16)] = 1
    """How often."""


class CommunityEditsText(Written):
    """First set, then remove, then add."""

    synonyms: ClassVar[dict[str, str]] = {"replace": "set", "delete": "remove", "del": "remove", "append": "add"}

    assign: OptionalTexts = Field(default=None, alias="set")
    """Replaces all communities of the kinds that it names; [] clears all three kinds."""
    remove: AnyTexts = ()
    """Patterns or names of sets; wildcards allowed."""
    add: AnyTexts = ()
    """Values to add."""


class SetText(Written):
    """Attributes to change."""

    synonyms: ClassVar[dict[str, str]] = {
        "localpref": "local_pref",
        "metric": "med",
        "community": "communities",
        "nexthop": "next_hop",
        "as_path_prepend": "prepend",
    }

    local_pref: Number | None = None
    """LOCAL_PREF; the higher one wins."""
    med: Number | None = None
    """MULTI_EXIT_DISC; the lower one wins."""
    weight: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Preference on this router only, before everything else."""
    next_hop: AddressText | None = None
    """Another next hop."""
    prepend: PrependText | None = None
    """AS numbers in front of the path."""
    communities: CommunityEditsText | None = None
    """Communities to set, remove, add."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise refuse("changes nothing", "at least one attribute", "leave `set` out")
        return self


Matches = Annotated[
    tuple[MatchText, ...],
    BeforeValidator(_listed, json_schema_input_type=MatchText | tuple[MatchText, ...]),
    Field(min_length=1),
]


class TermText(Written):
    """One term: which routes, and what becomes of them."""

    synonyms: ClassVar[dict[str, str]] = {"name": "term", "action": "then", "except": "unless", "if": "match"}

    term: NameText = Field(examples=["bogons"])
    """Its name, shown in verdicts."""
    match: Matches | None = None
    """Conditions, or a list of such mappings of which one must hold; without it every route matches."""
    unless: Matches | None = None
    """The same form: a route for which one holds is left to the next term."""
    set: SetText | None = None
    """Attributes to change."""
    then: Literal["accept", "reject", "next"] = Field(examples=["accept"])
    """accept and reject decide; next goes on with the next term, keeping what was set."""
    reason: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    """Why a route is rejected, shown in `routes --rejected`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.then == "reject" and self.set is not None:
            raise refuse("rejects routes and changes them as well", "`set` with accept or next", "remove `set`")
        if self.then != "reject" and self.reason is not None:
            raise refuse("has a reason but does not reject", "`reason` with `then: reject` only", "remove `reason`")
        if self.then == "next" and self.set is None:
            raise refuse("does nothing: `next` without `set`", "`set`, or accept or reject", "remove the term")
        return self


class IncludeText(Written):
    """Terms from elsewhere, put in at this place."""

    include: NameText = Field(examples=["bogons"])
    """The name of a policy, whose terms they are, or of a term under `terms` of any file."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and set(value) != {"include"}:
            raise refuse(
                "says more than what to include", "`include: NAME` alone", "move the rest into a term of its own"
            )
        return value


def _kind_of_item(value: Any) -> str:
    included = "include" in value if isinstance(value, dict) else isinstance(value, IncludeText)
    return "[include]" if included else "[term]"  # in brackets: pydantic's remark, not a key of the file


TermItem = Annotated[
    Annotated[TermText, Tag("[term]")] | Annotated[IncludeText, Tag("[include]")], Discriminator(_kind_of_item)
]


class PolicyText(Written):
    """A policy: terms in order. A route that no term accepts or rejects is refused."""

    synonyms: ClassVar[dict[str, str]] = {"rules": "terms", "statements": "terms", "default": "terms"}

    terms: Annotated[tuple[TermItem, ...], Field(min_length=1)]
    """The terms, and includes of others."""
    description: Annotated[str, Field(max_length=200)] | None = None
    """Free text."""


class PolicyFile(Written):
    """A file of sets, terms, policies and overrides."""

    synonyms: ClassVar[dict[str, str]] = {
        "policy": "policies",
        "filters": "policies",
        "lists": "sets",
        "override": "overrides",
        "pins": "overrides",
    }

    sets: SetsText = SetsText()
    """Named sets."""
    terms: tuple[TermText, ...] = ()
    """Terms for policies to include by name."""
    policies: dict[NameText, PolicyText] = Field(default_factory=dict)
    """Policies by name; a peer names one with `import`."""
    overrides: tuple[OverrideText, ...] = ()
    """What an operator wants for single prefixes, whatever BGP says; see docs/policy.md."""

"""What the models of policy files stand on: their base, names, addresses and numbers."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator

from bgpbridge.documents import Strict, refuse
from bgpbridge.types import IPAddress, parse_address

__all__ = ["AddressText", "NameText", "Number", "Written"]

_NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$"


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.match(_NAME, value):
        raise refuse("this is not a name", "a letter, then letters, digits, `-`, `_` or `.`, at most 63 in all")
    return value


def _address(value: Any) -> IPAddress:
    try:
        return parse_address(str(value))
    except ValueError:
        raise refuse(f"`{value}` is not an IP address", "such as 192.0.2.1 or 2001:db8::1") from None


NameText = Annotated[str, PlainValidator(_name), WithJsonSchema({"type": "string", "pattern": _NAME})]
AddressText = Annotated[IPAddress, PlainValidator(_address), WithJsonSchema({"type": "string"})]
Number = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]


class Written(Strict):
    """The base here: `null` is no value. A condition that is null would match everything."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:
            raise refuse("null is no value here", "a value", "remove the key, or give it a value")
        return value

"""Values to what JSON can carry: one rule for every kind, so that no command spells a thing its own way."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bgpbridge.types import Family, Prefix

__all__ = ["plain"]

# The first row whose types fit decides: enums before the integers and strings that they are as well.
RULES: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((Family,), lambda value: value.label),
    ((enum.StrEnum,), lambda value: value.value),
    ((enum.Enum,), lambda value: value.name.lower()),
    ((type(None), bool, str, int, float), lambda value: value),
    ((np.integer, np.floating, np.bool_), lambda value: value.item()),
    ((bytes,), lambda value: value.hex(":")),
    ((Prefix, ipaddress.IPv4Address, ipaddress.IPv6Address, Path), str),
    ((Mapping,), lambda value: {str(plain(key)): plain(item) for key, item in value.items()}),
    ((set, frozenset), lambda value: sorted(plain(item) for item in value)),
)


def plain(value: Any) -> Any:
    """Dataclasses as objects, families and enums as their words, addresses and prefixes as text, sets sorted.
    Raises TypeError for what has no JSON form."""
    for types, rule in RULES:
        if isinstance(value, types):
            return rule(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")

"""Overrides given at run time, kept over a restart: a file beside the memory of groups, replaced in one step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgpbridge.policy.overrides import Override, Target
from bgpbridge.types import OverrideKind, Prefix, parse_address

__all__ = ["Kept", "read_overrides", "write_overrides"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds. `next_number` is never given out twice. `refused` are entries that make no sense, in words;
    `unreadable` says why the file as a whole does not, empty where it does or is not there."""

    overrides: tuple[Override, ...] = ()
    next_number: int = 1
    refused: tuple[str, ...] = ()
    unreadable: str = ""


def write_overrides(path: Path, overrides: Iterable[Override], next_number: int) -> None:
    """Replace the file; it is on the disk when this returns. Raises OSError."""
    data = {"version": VERSION, "next": next_number, "overrides": [_to_json(one) for one in overrides]}
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)  # noqa: PTH105 - rename over, atomically


def read_overrides(path: Path) -> Kept:
    """What was kept. An entry that makes no sense is left out and told; a file that makes none is set aside."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return Kept(unreadable=f"version {data['version']} instead of {VERSION}")
        items, number = list(data["overrides"]), int(data["next"])
    except FileNotFoundError:
        return Kept()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Kept(unreadable=f"{type(error).__name__}: {error}")
    found, refused = [], []
    for item in items:
        try:
            found.append(_from_json(item))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            refused.append(f"{str(item)[:200]}: {error}")
    return Kept(tuple(found), number, tuple(refused))


def _to_json(one: Override) -> dict[str, Any]:
    target = one.target
    return {
        "name": one.name,
        "prefix": str(one.prefix),
        "or_longer": one.or_longer,
        "kind": one.kind.value,
        "target": target
        and {"peer": target.peer, "next_hop": target.next_hop and str(target.next_hop), "group": target.group},
        "value": one.value,
        "owner": one.owner,
        "reason": one.reason,
        "expires": one.expires,
        "source": one.source,
    }


def _from_json(item: Any) -> Override:
    target = None
    if item["target"] is not None:
        hop = item["target"]["next_hop"]
        target = Target(str(item["target"]["peer"]), parse_address(hop) if hop else None, str(item["target"]["group"]))
    return Override(
        name=str(item["name"]),
        prefix=Prefix.parse(item["prefix"]),
        or_longer=bool(item["or_longer"]),
        kind=OverrideKind(item["kind"]),
        target=target,
        value=int(item["value"]) if item["value"] is not None else None,
        owner=str(item["owner"]),
        reason=str(item["reason"]),
        expires=float(item["expires"]) if item["expires"] is not None else None,
        source=str(item["source"]),
    )

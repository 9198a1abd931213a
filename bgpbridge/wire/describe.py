"""Path attributes as people and JSON read them: standard spellings, absent ones left out."""

from __future__ import annotations

from typing import Any

from bgpbridge.wire.communities import format_community, format_extended, format_large
from bgpbridge.wire.path_attributes import ORIGIN_NAMES, PathAttributes
from bgpbridge.wire.segments import as_path_text

__all__ = ["describe"]


def describe(attributes: PathAttributes) -> dict[str, Any]:
    """`origin` and `as_path` always; the others where present. Values are JSON's; `link_bandwidth` is in
    octets per second, unknown attributes are `{type, flags, value}` in hex."""
    out: dict[str, Any] = {
        "origin": ORIGIN_NAMES[attributes.origin],
        "as_path": as_path_text(attributes.as_path),
    }
    for name in ("next_hop", "link_local", "originator_id"):
        address = getattr(attributes, name)
        if address is not None:
            out[name] = str(address)
    for name in ("med", "local_pref", "aigp", "otc", "link_bandwidth"):
        number = getattr(attributes, name)
        if number is not None:
            out[name] = number
    if attributes.atomic_aggregate:
        out["atomic_aggregate"] = True
    if attributes.aggregator:
        out["aggregator"] = f"{attributes.aggregator.asn} {attributes.aggregator.address}"
    lists = {
        "communities": [format_community(value) for value in attributes.communities],
        "extended_communities": [format_extended(value) for value in attributes.extended],
        "large_communities": [format_large(value) for value in attributes.large],
        "cluster_list": [str(address) for address in attributes.cluster_list],
        "unknown": [
            {"type": raw.code, "flags": f"0x{raw.flags:02x}", "value": raw.value.hex()} for raw in attributes.unknown
        ],
    }
    return out | {name: values for name, values in lists.items() if values}

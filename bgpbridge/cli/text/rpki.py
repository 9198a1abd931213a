"""`rpki`: sources of VRPs and counts; and one prefix with its origin."""

from __future__ import annotations

from bgpbridge.cli.text.words import Json, bad, columns, duration, good, labelled, warn

__all__ = ["rpki_text", "validity_text"]

COLOURS = {"valid": good, "invalid": bad}
WELL = {"read", "synchronised"}


def rpki_text(seen: Json) -> list[str]:
    """The answer of /v1/rpki."""
    if not seen["sources"]:
        return ["no sources: name `rpki.files` or `rpki.servers` in the configuration; every route is not-found"]
    families = list(seen["vrps"])
    rows = [_row(source, families) for source in seen["sources"]]
    heads = ("source", "state", "in use", *(f"{family} VRPs" for family in families), "fresh", "serial", "where")
    return [
        *columns(heads, rows, right=[heads[3], heads[4]]),
        "",
        *columns(("in all", *families), _counts(seen, families), right=families),
        *_complaints(seen),
    ]


def _row(source: Json, families: list[str]) -> tuple[str, ...]:
    state = source["state"]
    return (
        source["name"],
        good(state) if state in WELL else warn(state),
        "yes" if source["in_use"] else "no",
        *(f"{source['vrps'][family]:,}" for family in families),
        f"{duration(source['age_s'])} ago" if source["age_s"] is not None else "never",
        str(source["serial"]) if source["serial"] is not None else "",
        source["where"],
    )


def _counts(seen: Json, families: list[str]) -> list[tuple[str, ...]]:
    rows = {"VRPs": seen["vrps"], **{f"{state} routes": counts for state, counts in seen["routes"].items()}}
    return [(name, *(f"{counts[family]:,}" for family in families)) for name, counts in rows.items()]


def _complaints(seen: Json) -> list[str]:
    lines = [
        warn(f"! {source['name']}: {line.strip()}")
        for source in seen["sources"]
        for text in (source["alarm"], source["error"])
        for line in text.splitlines()
    ]
    return ["", *lines] if lines else []


def validity_text(seen: Json) -> list[str]:
    """The answer of /v1/rpki/ASN/PREFIX."""
    origin = f"AS {seen['asn']}" if seen["asn"] else "no AS"
    return [
        f"{seen['prefix']} from {origin}: {COLOURS.get(seen['state'], warn)(seen['state'])}",
        *labelled("covered by", seen["covering"] or ["no VRP"]),
    ]

"""`replay`: what a recorded file came to."""

from __future__ import annotations

from collections.abc import Mapping

from bgpbridge.cli.text.words import Json, bad, columns, counted, duration, facts, octets, warn

__all__ = ["replay_text"]

HEADS = ("peer", "updates", "lost", "ipv4", "accepted", "best", "ipv6", "accepted", "best")


def replay_text(answer: Json) -> list[str]:
    """The answer of `replay`."""
    records = sum(answer["records"].values())
    took = f"{duration(answer['took_s'])}, {answer['records_per_s']:,.0f} records/s"
    lines = facts(
        [
            ("file", answer["file"]),
            ("records", f"{records:,} over {duration(answer['recorded_s'])}"),
            ("updates", f"{answer['updates']:,}, {octets(answer['update_octets'])}"),
            ("took", took),
            ("routes", _by_family(answer["routes"], "prefix", "prefixes")),
            ("paths", _by_family(answer["paths"], "path", "paths")),
            ("attributes", counted(answer["attribute_blocks"], "block")),
        ]
    )
    if answer["peers"]:
        lines += ["", *columns(HEADS, [_peer(peer) for peer in answer["peers"]], right=HEADS[1:])]
    if answer["findings"]:
        rows = [(f["reason"], f["verdict"].replace("_", " "), f"{f['times']:,}") for f in answer["findings"]]
        lines += ["", *columns(("finding", "verdict", "times"), rows, right=("times",))]
    if answer["damage"]:
        lines += ["", f"{bad('damaged')}: {answer['damage']}", warn("all figures are of what came before")]
    return lines


def _by_family(counts: Mapping[str, int], one: str, many: str) -> str:
    return ", ".join(f"{label} {counted(count, one, many)}" for label, count in counts.items())


def _peer(peer: Json) -> tuple[str, ...]:
    routes = [peer[key][label] for label in ("ipv4", "ipv6") for key in ("received", "accepted", "best")]
    return (peer["name"], *(f"{count:,}" for count in (peer["updates"], peer["sessions_lost"], *routes)))

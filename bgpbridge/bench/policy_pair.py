"""One import policy in two languages, ours and BIRD's: 50 terms and a set of 10,000 prefixes, made for a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bgpbridge.bench.feeds import Feed

__all__ = ["ENTRIES", "TERMS", "Pair", "pair"]

ENTRIES: Final = 10_000
TERMS: Final = 50
SUFFIXES: Final = 12  # terms of each of four kinds; beside them `listed` and `rest`


@dataclass(frozen=True, slots=True)
class Pair:
    """The same policy `p` for both; `ours` is a policy file, `birds` a filter."""

    ours: str
    birds: str


def pair(feed: Feed, last_asn: int, *, rpki: bool = False) -> Pair:
    """`last_asn` ends the range of AS numbers that the first term refuses: the one thing that a reload changes. With
    `rpki` the second term refuses what is invalid, in ours only."""
    listed = [str(feed.prefix(row)) for row in range(0, len(feed), max(1, len(feed) // ENTRIES))][:ENTRIES]
    terms = [(f"path_contains: 1000-{last_asn}", f"bgp_path ~ [1000..{last_asn}]")]
    for n in range(SUFFIXES):
        a, b = 2000 + 997 * n, 3000 + 1999 * n
        terms.append((f"path_contains: [{a}, {b}-{b + 5}]", f"bgp_path ~ [{a}, {b}..{b + 5}]"))
        terms.append((f'as_path: "* {a} * {b} *"', f"bgp_path ~ [= * {a} * {b} * =]"))
        terms.append((f"origin_as: {b + 9}-{b + 19}", f"bgp_path.last ~ [{b + 9}..{b + 19}]"))
        terms.append((f'community: "{a}:{n}"', f"bgp_community ~ [({a},{n})]"))
    terms = terms[: TERMS - 2]
    first = ["{ term: invalid, match: { rpki: invalid }, then: reject }"] * rpki
    ours = [f"{{ term: t{n}, match: {{ {condition} }}, then: reject }}" for n, (condition, _) in enumerate(terms)]
    lines = [
        "{ term: listed, match: { prefix: listed }, then: reject }",
        *first,
        *ours,
        "{ term: rest, set: { local_pref: 200 }, then: accept }",
    ]
    text = f"sets: {{ prefixes: {{ listed: [{', '.join(f'{p} or-longer' for p in listed)}] }} }}\n"
    text += "policies:\n  p:\n    terms:\n" + "".join(f"      - {line}\n" for line in lines)
    birds = "".join(f"  if {condition} then reject;\n" for _, condition in terms)
    whole = f"filter p {{\n  if net ~ [ {', '.join(f'{p}+' for p in listed)} ] then reject;\n{birds}"
    return Pair(text, whole + "  bgp_local_pref = 200;\n  accept;\n}\n")

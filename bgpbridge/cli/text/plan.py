"""`plan`: what a reload would do, from peers over routes to groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpbridge.cli.text.words import Json, bad, columns, counted, facts, good, labelled, waits, warn

__all__ = ["plan_text"]

SIGNS = {"accepted": "+", "rejected": "-", "changed": "~", "gained": "+", "lost": "-", "moved": "~"}
SHADES = {"+": good, "-": bad, "~": warn}


def plan_text(plan: Json) -> list[str]:
    """The answer of /v1/plan."""
    if not plan["changes"]:
        return [good(f"{plan['file']}: nothing would change")]
    parts = [
        [f"{plan['file']} would, by `bgpbridge reload`:", ""],
        list(_peers(plan)),
        list(_overrides(plan["overrides"])),
        [line for routes in plan["routes"] for line in _routes(routes)],
        [line for table in plan["tables"] for line in _table(table)],
        _groups(plan["groups"]),
        [warn(f"! {waits(key)}") for key in plan["restart"]],
        [warn(f"! {text}") for text in plan["warnings"]],
        _as_of(plan),
    ]
    return [line for part in parts for line in part]


def _peers(plan: Json) -> Iterator[str]:
    for peer in plan["peers"]:
        sign = {"added": "+", "removed": "-"}.get(peer["change"], "~")
        yield SHADES[sign](f"{sign} peer {peer['name']}") + _what(peer)
    if plan["decision"]:
        yield warn("~ decision") + ": the whole table is decided again"
    for key in plan["live"]:
        yield warn(f"~ {key}")
    if plan["peers"] or plan["decision"] or plan["live"]:
        yield ""


def _what(peer: Json) -> str:
    """What becomes of one peer."""
    words = [", ".join(peer["keys"])] if peer["keys"] else []
    if peer["reset"]:
        words.append("its session is reset")
    if peer["rejudged"]:
        words.append("its routes are judged again")
    if peer["change"] != "changed":
        words.append({"added": "what it will send is not known", "removed": "its routes go"}[peer["change"]])
    return f": {'; '.join(words)}"


def _overrides(overrides: Json) -> Iterator[str]:
    """What comes or is another, and what goes."""
    if not (overrides["come"] or overrides["go"]):
        return
    for key, sign in (("come", "+"), ("go", "-")):
        for text in overrides[f"{key}_examples"]:
            yield SHADES[sign](f"{sign} override {text}")
        more = overrides[key] - len(overrides[f"{key}_examples"])
        if more:
            yield SHADES[sign](f"{sign} {counted(more, 'more override')}")
    yield ""


def _routes(routes: Json) -> Iterator[str]:
    """One peer and family."""
    yield f"{routes['peer']} {routes['family']}: of {counted(routes['routes'], 'route')}"
    for kind in ("accepted", "rejected", "changed"):
        if routes[kind]:
            noun = "would have other attributes" if kind == "changed" else f"newly {kind}"
            yield from _kind(kind, f"{routes[kind]:,} {noun}", routes[f"{kind}_examples"])
            if kind == "changed":
                by = ", ".join(f"{name} {count:,}" for name, count in routes["attributes"].items())
                yield f"      by attribute: {by}"
            else:
                yield from map(_term, routes[f"{kind}_by"])
    if not (routes["accepted"] or routes["rejected"] or routes["changed"]):
        yield "  all stay as they are"
    yield ""


def _term(term: Json) -> str:
    reason = f": {term['reason']}" if term["reason"] else ""
    return f"      {term['count']:,} by {term['policy']} term {term['term']} ({term['place']}){reason}"


def _kind(kind: str, text: str, examples: Sequence[Json]) -> Iterator[str]:
    sign = SIGNS[kind]
    yield f"  {SHADES[sign](sign)} {text}"
    rows = [(f"      {example['prefix']}", example["text"]) for example in examples]
    yield from columns(("", ""), rows) if rows else []


def _table(table: Json) -> Iterator[str]:
    """The Loc-RIB of one family."""
    if not any(table[kind] for kind in ("gained", "lost", "moved", "backups")):
        return
    after = counted(table["routes_after"], "prefix", "prefixes")
    yield f"Loc-RIB {table['family']}: {table['routes_before']:,} -> {after}"
    words = {"gained": "would get a route", "lost": "would lose their route", "moved": "would go another way"}
    for kind, text in words.items():
        if table[kind]:
            yield from _kind(kind, f"{counted(table[kind], 'prefix', 'prefixes')} {text}", table[f"{kind}_examples"])
    if table["backups"]:
        yield f"  {warn('~')} {counted(table['backups'], 'prefix', 'prefixes')} would have other backups only"
    rows = [(f"  {move['before'] or '-'}", move["after"] or "-", f"{move['count']:,}") for move in table["moves"]]
    yield from columns(("  best path now", "then", "prefixes"), rows, right=("prefixes",)) if rows else []
    yield ""


def _groups(groups: Json) -> list[str]:
    if not (groups["come"] or groups["go"]):
        return []
    text = f"{groups['before']:,} -> {groups['after']:,}, {groups['come']:,} come, {groups['go']:,} go"
    come = [good(f"+ {example}") for example in groups["come_examples"]]
    go = [bad(f"- {example}") for example in groups["go_examples"]]
    return [*facts([("groups", text)]), *labelled("", [*come, *go]), ""]


def _as_of(plan: Json) -> list[str]:
    text = f"as of commit {plan['commit']:,}, in {plan['took_s']:.1f} s; nothing was changed"
    lines = [text]
    if plan["commits_meanwhile"]:
        lines.append(warn(f"the table changed meanwhile ({counted(plan['commits_meanwhile'], 'commit')})"))
    if plan["jobs"]:
        lines.append(warn(f"{counted(plan['jobs'], 'earlier change')} still under way when it began"))
    return lines

"""`health`: checks and BFD, what they say and since when."""

from __future__ import annotations

from bgpbridge.cli.text.words import Json, ago, bad, columns, counted, duration, good, warn

__all__ = ["health_text"]

BFD = ("BFD with", "link", "verdict", "since", "session", "peer says", "diagnostic", "sends", "detects", "downs")
FIGURES = ("sends", "detects", "downs")
COLOURS = {"healthy": good, "unhealthy": bad, "recovering": warn, "suppressed": warn}


def health_text(seen: Json, now: float) -> list[str]:
    """The answer of /v1/health."""
    lines: list[str] = []
    if seen["checks"]:
        heads = ("subject", "check", "kind", "state", "since", "failures", "last", "latency")
        rows = [_check(one, now) for one in seen["checks"]]
        lines += columns(heads, rows, right=("failures", "latency"))
        lines += [f"{one['check']} of {one['subject']}: {one['mend']}" for one in seen["checks"] if one["mend"]]
    if seen["bfd"]:
        lines += [*([""] if lines else []), *columns(BFD, [_bfd(one, now) for one in seen["bfd"]], right=FIGURES)]
        lines += [f"{one['peer']}: {one['trouble']}" for one in seen["bfd"] if one["trouble"]]
    if seen["withdrawn"]:
        lines += ["", warn(f"{counted(len(seen['withdrawn']), 'service')} withdrawn: {', '.join(seen['withdrawn'])}")]
    return lines or ["nothing is checked: docs/configuration.md tells of `health` and `bfd`"]


def _state(word: str, suppressed_s: float) -> str:
    text = f"{word} {duration(suppressed_s)} more" if suppressed_s and word == "suppressed" else word
    return COLOURS.get(word, str)(text)


def _check(one: Json, now: float) -> tuple[str, ...]:
    latency = "" if one["latency_ms"] is None else f"{one['latency_ms']:.1f}ms"
    last = f"{one['last']}: {one['text']}" if one["last"] else "nothing yet"
    state = _state(one["state"], one["suppressed_s"])
    since = ago(one["since"], now)
    return one["subject"], one["check"], one["kind"], state, since, str(one["failures"]), last, latency


def _bfd(one: Json, now: float) -> tuple[str, ...]:
    paces = [f"{one[key]:g}ms" if one[key] else "" for key in ("transmit_ms", "detect_ms")]
    said = "" if one["diagnostic"] == "none" else one["diagnostic"]
    verdict = _state(one["verdict"], one["suppressed_s"])
    first = (one["peer"], one["interface"], verdict, ago(one["since"], now), one["state"])
    return (*first, one["remote_state"], said, *paces, str(one["downs"]))

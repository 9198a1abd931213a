"""`peers` and `peers NAME`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpbridge.cli.text.events import clock_time
from bgpbridge.cli.text.words import Json, ago, bad, columns, counted, duration, facts, good, labelled, octets, warn

__all__ = ["peer_text", "peers_text"]

HEADS = (
    "peer",
    "address",
    "AS",
    "state",
    "for",
    "family",
    "received",
    "accepted",
    "rejected",
    "best",
    "stale",
    "wrong",
    "note",
)
FIGURES = ("AS", "for", "received", "accepted", "rejected", "best", "stale", "wrong")
COUNTS = ("received", "accepted", "rejected", "best", "stale")
CAPABILITIES = {
    "asn4": "4-octet AS",
    "extended_message": "extended messages",
    "extended_next_hop": "extended next hop",
    "route_refresh": "route refresh",
    "enhanced_refresh": "enhanced refresh",
}
NOTE = 60
LIMITS = ("max-prefix", "limit", "warns at", "now", "counted", "not taken in", "level", "beyond it")
LEVELS = {"fine": good, "near": warn, "beyond": bad}
COLOURS = {"established": good, "down": bad}


def peers_text(peers: Sequence[Json], now: float) -> list[str]:
    """The answer of /v1/peers: a line for each peer and family."""
    if not peers:
        return ["no peers are configured"]
    return columns(HEADS, [row for peer in peers for row in _rows(peer, now)], right=FIGURES)


def _rows(peer: Json, now: float) -> Iterator[tuple[str, ...]]:
    wrong = sum(finding["count"] for finding in peer["findings"])
    first = (peer["name"], peer["address"], str(peer["asn"]), _state(peer), _since(peer, now))
    last = warn(f"{wrong:,}") if wrong else "", _note(peer)
    for family in _families(peer):
        counts = peer["routes"][family]
        yield (*first, family, *(f"{counts[key]:,}" for key in COUNTS), *last)
        first, last = ("",) * 5, ("", "")


def _note(peer: Json) -> str:
    """How long it is still held off, or what keeps it from coming up, as far as a line takes it."""
    hold_off, error = peer["hold_off"], peer["last_error"]
    if hold_off is not None:
        return _short(f"{_held(hold_off)}: {hold_off['why']}")
    if error is not None and not error["past"]:
        return _short(error["text"])
    if peer["unhealthy"]:
        return _short(f"unhealthy: {peer['unhealthy']}")
    return _short("; ".join(f"{family} {seen['level']} its limit" for family, seen in _alarming(peer)))


def _alarming(peer: Json) -> list[tuple[str, Json]]:
    return [(family, seen) for family, seen in peer["limits"].items() if seen["level"] != "fine"]


def _held(hold_off: Json) -> str:
    left_s = hold_off["left_s"]
    return "until you clear it" if left_s is None else f"for {duration(left_s)} more"


def _short(text: str) -> str:
    return text if len(text) <= NOTE else f"{text[: NOTE - 3]}..."


def _families(peer: Json) -> list[str]:
    """Those that are configured, and those that routes are there from."""
    return [family for family, counts in peer["routes"].items() if family in peer["families"] or counts["received"]]


def _state(peer: Json) -> str:
    return COLOURS.get(peer["state"], warn)(peer["state"])


def _since(peer: Json, now: float) -> str:
    return duration(now - peer["since"]) if peer["since"] else ""


def peer_text(peer: Json, now: float) -> list[str]:
    """The answer of /v1/peers/NAME."""
    kind = "external" if peer["ebgp"] else "internal"
    local = f", towards our AS {peer['local_asn']}"
    about = f" ({peer['description']})" if peer["description"] else ""
    lines = [
        f"{peer['name']}{about}: AS {peer['asn']} at {peer['address']}, {kind}{local}",
        "",
        *facts(_facts(peer, now)),
    ]
    families = [family for family in _families(peer) if any(peer["routes"][family].values())]
    if families:
        rows = [
            (family, *(f"{peer['routes'][family][key]:,}" for key in COUNTS), _beyond(peer, family))
            for family in families
        ]
        figures = (*COUNTS, "beyond ADD-PATH limit")
        lines += ["", *columns(("routes", *figures), rows, right=figures)]
    if peer["limits"]:
        limits = [_limit(family, seen) for family, seen in peer["limits"].items()]
        lines += ["", *columns(LIMITS, limits, right=("limit", "warns at", "now", "not taken in"))]
    if peer["findings"]:
        heads = ("wrong in UPDATEs", "attribute", "verdict", "times")
        found = [(f["reason"], str(f["attribute"] or ""), f["verdict"], f"{f['count']:,}") for f in peer["findings"]]
        lines += ["", *columns(heads, found, right=("attribute", "times"))]
    present = [notice for notice in peer["notices"] if not notice["past"] and notice != peer["last_error"]]
    notices = [f"{clock_time(notice['at'])}  {notice['kind']}: {notice['text']}" for notice in present]
    return [*lines, *([""] if notices else []), *labelled("noticed", notices)]


def _limit(family: str, seen: Json) -> tuple[str, ...]:
    action = seen["action"] + (f", again after {duration(seen['restart_s'])}" if seen["restart_s"] else "")
    figures = (f"{seen[key]:,}" for key in ("limit", "threshold", "used"))
    return family, *figures, seen["count"], f"{seen['blocked'] or ''}", LEVELS[seen["level"]](seen["level"]), action


def _beyond(peer: Json, family: str) -> str:
    return f"{peer['routes'][family]['refused_paths'] or ''}"


def _facts(peer: Json, now: float) -> Iterator[tuple[str, str]]:
    since = f" for {_since(peer, now)}" if peer["since"] else ""
    times = f", {counted(peer['established'], 'session')} since the bridge started" if peer["established"] > 1 else ""
    yield "state", f"{_state(peer)}{since}{times}"
    if peer["hold_off"] is not None:
        held, why = _held(peer["hold_off"]), peer["hold_off"]["why"]
        yield "held off", f"{held} after a reset: {why} (`--clear-hold-off` ends it)"
    if peer["last_down"]:
        yield "last down", f"{clock_time(peer['last_down_at'])}  {peer['last_down']}"
    if peer["last_error"] is not None:
        yield "last error", _error(peer["last_error"])
    yield "import", peer["import_policy"]
    yield "announced", counted(peer["announced"], "prefix", "prefixes") if peer["announced"] else "nothing"
    session = peer["session"]
    if session is not None:
        yield (
            "session",
            f"{session['local_address']} to router id {session['router_id']}, hold time {session['hold_time_s']} s",
        )
        yield "families", _agreed(peer)
        yield "agreed", ", ".join(_capabilities(session))
        if session["role"]:
            yield "role", f"we are {session['role']}, the peer says {session['peer_role'] or 'nothing of it'}"
    received = (
        f"{counted(peer['updates'], 'UPDATE')}, {octets(peer['octets'])}, the last {ago(peer['last_update'], now)}"
    )
    yield "received", received if peer["updates"] else "no UPDATE"


def _error(error: Json) -> str:
    over = " (over: a session came up after it)" if error["past"] else ""
    return f"{clock_time(error['at'])}  {error['text']}{over}"


def _agreed(peer: Json) -> str:
    session = peer["session"]
    words = []
    for family in session["families"]:
        notes = [note for note, key in (("several paths", "add_path"),) if family in session[key]]
        notes += ["switched off by a malformed UPDATE"] if family in peer["disabled"] else []
        notes += ["table complete"] if family in peer["end_of_rib"] else ["no End-of-RIB yet"]
        words.append(f"{family} ({', '.join(notes)})")
    return ", ".join(words)


def _capabilities(session: Json) -> Iterator[str]:
    yield from (text for key, text in CAPABILITIES.items() if session[key])
    if session["graceful_restart_s"] is not None:
        yield f"graceful restart {session['graceful_restart_s']} s"

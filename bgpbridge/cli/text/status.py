"""`status`: the state in figures, and what needs attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpbridge.cli.text.words import Json, columns, counted, duration, facts, good, octets, warn

__all__ = ["status_text"]

PEERS = 5


def status_text(seen: Json) -> list[str]:
    """The answer of /v1/status."""
    who = f"{seen['name']}: AS {seen['asn']}, router id {seen['router_id']}"
    process = f"bgpbridge {seen['version']}, process {seen['process']}, up {duration(seen['uptime_s'])}"
    attention = list(_attention(seen))
    return [
        f"{who}; {process}",
        "",
        *facts(_facts(seen)),
        "",
        *_planes(seen),
        "",
        *([warn(f"! {line}") for line in attention] or [good("nothing needs attention")]),
    ]


def _facts(seen: Json) -> Iterator[tuple[str, str]]:
    planes = [name for name, there in (("XDP", seen["forwarding"]), ("kernel", seen["kernel"])) if there]
    yield "forwarding", " and ".join(planes) or "nothing"
    yield "interfaces", _interfaces(seen)
    yield "peers", ", ".join(f"{count} {state}" for state, count in seen["peers"].items() if count) or "none"
    tables = (("group", "groups"), ("next hop", "next_hops"), ("attribute block", "attributes"), ("commit", "commits"))
    yield "tables", ", ".join(counted(seen[key], noun) for noun, key in tables)
    memory = seen["memory"]
    full = f", maps {octets(memory['maps_full'])} when full" if memory["maps_full"] else ""
    yield "memory", f"{octets(memory['resident'])}{full}"


def _interfaces(seen: Json) -> str:
    modes: dict[str, list[str]] = {}
    for interface in seen["interfaces"]:
        modes.setdefault(interface["mode"], []).append(interface["name"])
    listed = "; ".join(f"{', '.join(names)} {mode}" for mode, names in modes.items() if mode != "none")
    return f"{listed} (program by {seen['loader']})" if listed else ""


def _planes(seen: Json) -> list[str]:
    """Routes by plane and family."""
    families = list(seen["routes"])
    xdp, kernel = seen["xdp"], seen["kernel"]
    rows: list[tuple[str, Json]] = [("Loc-RIB", seen["routes"])]
    if xdp is not None:
        rows += [("XDP", xdp["entries"]), ("  of these punt", xdp["punted"]), ("  room for", xdp["capacity"])]
        rows.append(("  found by", xdp["engine"]))
    if kernel is not None:
        rows.append(("kernel", kernel["installed"]))
    cells = [(name, *(_cell(counts[family]) for family in families)) for name, counts in rows]
    return columns(("routes", *families), cells, right=families)


def _cell(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _attention(seen: Json) -> Iterator[str]:
    """What an operator should look at, in words."""
    xdp, kernel = seen["xdp"], seen["kernel"]
    if xdp is not None and not seen["forwarding"]:
        off = "XDP is switched off, all packets go to the kernel (`bgpbridge on`)"
        yield "XDP waits for the peers' tables, all packets go to the kernel until then" if seen["beginning"] else off
    for interface in seen["interfaces"]:
        if interface["note"]:
            yield f"{interface['name']} is in mode {interface['mode']}: {interface['note']}"
    if seen["loader_note"]:
        yield f"program by {seen['loader']}: {seen['loader_note']}"
    waiting = sum(count for state, count in seen["peers"].items() if state != "established")
    if waiting:
        yield from _waiting(seen["waiting"], waiting)
    yield from map(_limit, seen["limits"])
    for alarm in seen["rpki"]:
        yield f"{alarm.splitlines()[0]} (`bgpbridge rpki`)"
    yield from _unhealthy(seen["unhealthy"])
    yield from _troubles(seen["troubles"])
    if seen["next_hops_unreachable"]:
        yield f"{counted(seen['next_hops_unreachable'], 'next hop')} unreachable (`bgpbridge groups`)"
    if seen["adjacencies_down"]:
        yield f"{counted(seen['adjacencies_down'], 'adjacency', 'adjacencies')} down (`bgpbridge adjacencies`)"
    yield from _overrides(seen["overrides"])
    if seen["adopting"]:
        yield "what an earlier run left is kept until every peer has sent its table"
    yield from _indexes(xdp["index_trouble"] if xdp is not None else {})
    for name, plane in (("XDP", xdp), ("the kernel", kernel)):
        refused = sum(plane["refused"].values()) if plane is not None else 0
        if refused:
            yield f"{name} refuses {counted(refused, 'route')}, each tried again (`bgpbridge fib ADDRESS`)"
    if kernel is not None:
        yield from _kernel_attention(kernel)


def _indexes(trouble: Json) -> Iterator[str]:
    for family, why in trouble.items():
        if why:
            yield f"routes of {family} are found by the trie alone, which is slower: {why}"


def _overrides(by_state: Json) -> Iterator[str]:
    if fallen := by_state.get("fallen back", 0) + by_state.get("suspended", 0):
        yield f"{counted(fallen, 'override')} not in force (`bgpbridge override list`)"


def _waiting(peers: Sequence[Json], count: int) -> Iterator[str]:
    """The first few with their reasons."""
    for peer in peers[:PEERS]:
        why = f": {peer['why']}" if peer["why"] else ""
        yield f"{peer['name']} is {peer['state']}{why} (`bgpbridge peers {peer['name']}`)"
    if count > PEERS:
        yield f"{counted(count - PEERS, 'more peer')} not established (`bgpbridge peers`)"


def _unhealthy(lines: Sequence[str]) -> Iterator[str]:
    """The first few."""
    yield from (f"{line} (`bgpbridge health`)" for line in lines[:PEERS])
    if len(lines) > PEERS:
        yield f"{len(lines) - PEERS:,} more unhealthy (`bgpbridge health`)"


def _troubles(lines: Sequence[str]) -> Iterator[str]:
    """The first few things that cannot be asked or read."""
    yield from lines[:PEERS]
    if (more := len(lines) - PEERS) > 0:
        yield f"{more:,} more that can't be asked or read (`bgpbridge health`, `bgpbridge events`)"


def _limit(alarm: Json) -> str:
    blocked = f", {counted(alarm['blocked'], 'announcement')} not taken in" if alarm["blocked"] else ""
    where = f"{alarm['level']} its limit of {alarm['limit']:,} {alarm['family']} prefixes"
    return f"{alarm['peer']} is {where}: {alarm['used']:,} there{blocked} (`bgpbridge peers {alarm['peer']}`)"


def _kernel_attention(kernel: Json) -> Iterator[str]:
    if kernel["behind"]:
        yield f"{counted(kernel['behind'], 'route')} wait to be written into the kernel"
    for words, count in kernel["reasons"].items():
        yield f"the kernel says of {counted(count, 'route')}: {words}"
    for missing in kernel["missing_nexthops"]:
        yield f"the kernel takes no nexthop {missing}"
    if kernel["last_error"]:
        yield f"the kernel plane's last error: {kernel['last_error']}"

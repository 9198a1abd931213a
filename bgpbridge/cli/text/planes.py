"""`fib ADDRESS`, `groups`, `adjacencies`: what prefixes point at and where packets leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpbridge.cli.text.words import Json, bad, columns, counted, facts, good, labelled, octets, warn

__all__ = ["adjacencies_text", "adjacency_line", "fib_facts", "fib_text", "group_lines", "groups_text", "kernel_line"]

MEMBER_HEADS = ("peer", "next hop", "weight", "member")


def groups_text(groups: Sequence[Json]) -> list[str]:
    """The answer of /v1/groups: a line for each member."""
    if not groups:
        return ["no groups: no prefix has a route"]
    rows: list[tuple[str, ...]] = []
    for group in filter(_in_use, groups):
        slots = ", ".join(
            f"{count} to {number}" if number != "0" else f"{count} empty" for number, count in group["slots"].items()
        )
        flags = "" if group["flags"] == "valid" else group["flags"]
        sent = (f"{group['packets']:,}", octets(group["octets"])) if group["packets"] else ("", "")
        first = (str(group["id"]), f"{group['prefixes']:,}", *sent, flags, slots)
        for member in group["members"]:
            rows.append((*first, member["peer"], member["next_hop"], str(member["weight"]), _role(member)))
            first = ("",) * 6
        if group.get("latency"):
            rows.append((*("",) * 9, warn(f"latency: {group['latency']}")))
        if not group["members"]:
            rows.append((*first, "", "", "", ""))
    heads = ("group", "prefixes", "packets", "octets", "flags", "slots by adjacency", *MEMBER_HEADS)
    idle = len(groups) - sum(map(_in_use, groups))
    last = [f"{counted(idle, 'group')} that no prefix points to now"] if idle else []
    return [*columns(heads, rows, right=("group", "prefixes", "packets", "octets", "weight")), *last]


def _in_use(group: Json) -> bool:
    return bool(group["prefixes"])


def group_lines(group: Json) -> list[str]:
    """The members of one group."""
    said = [warn(f"latency: {group['latency']}")] if group.get("latency") else []
    return [f"{m['peer']} by {m['next_hop']}, weight {m['weight']}: {_role(m)}" for m in group["members"]] + said


def _role(member: Json) -> str:
    if member["why"]:
        return bad(f"{'backup, ' if member['backup'] else ''}dead: {member['why']}")
    if member["carries"]:
        return warn("backup, carries traffic") if member["backup"] else good("carries traffic")
    return "backup, ready" if member["backup"] else "ready"


def adjacencies_text(adjacencies: Sequence[Json]) -> list[str]:
    """The answer of /v1/adjacencies."""
    if not adjacencies:
        return ["no adjacencies"]
    heads = ("id", "gateway", "link", "MAC", "MTU", "state", "next hops", "packets", "octets")
    rows = [
        (
            str(a["id"]),
            a["gateway"],
            a["link"],
            a["mac"],
            str(a["mtu"]),
            _up(a),
            str(a["references"]),
            f"{a['packets']:,}",
            octets(a["octets"]),
        )
        for a in adjacencies
    ]
    return columns(heads, rows, right=("id", "MTU", "next hops", "packets", "octets"))


def _up(adjacency: Json) -> str:
    return good("up") if adjacency["up"] else bad(f"down: {adjacency['reason']}")


def adjacency_line(adjacency: Json, slots: Json) -> str:
    """One adjacency with its share of a group."""
    share = slots.get(str(adjacency["id"]), 0)
    where = f"{adjacency['gateway']}, MAC {adjacency['mac'] or 'unknown'}, out by {adjacency['link']}"
    return f"{share} of {sum(slots.values())} slots to {where}, MTU {adjacency['mtu']}, {_up(adjacency)}"


def fib_facts(fib: Json) -> list[str]:
    """What both planes hold: group, adjacencies, XDP, kernel."""
    lines = []
    group = fib["detail"]
    if group is not None:
        label = f"group {group['id']}"
        points = "points" if group["prefixes"] == 1 else "point"
        prefixes = f"{counted(group['prefixes'], 'prefix', 'prefixes')} {points} to it"
        lines += labelled(label, [prefixes, *group_lines(group)])
        lines += labelled("adjacency", [adjacency_line(one, group["slots"]) for one in fib["adjacencies"]])
        empty, all_of_them = group["slots"].get("0", 0), sum(group["slots"].values())
        words = warn(f"{empty} of {all_of_them} slots are empty: left to the kernel")
        lines += labelled("", [words] if empty else [])
    return [*lines, *facts(_planes(fib))]


def _planes(fib: Json) -> Iterator[tuple[str, str]]:
    differs = fib["group"] > 2 and fib["xdp_value"] > 2 and fib["group"] != fib["xdp_value"]
    yield "XDP", fib["xdp_says"] + (bad(f", but the Loc-RIB wants group {fib['group']}") if differs else "")
    yield "kernel", kernel_line(fib["kernel"])
    if fib["kernel_behind"]:
        yield "", warn(f"{counted(fib['kernel_behind'], 'route')} wait to be written into the kernel")
    for line in fib["refused"]:
        yield "refused", bad(line)


def kernel_line(route: Json | None) -> str:
    """What the kernel has for an address."""
    if route is None:
        return "no route"
    if not route["prefix"]:
        return f"{route['type']}: dropped"
    kind = "" if route["type"] == "unicast" else f"{route['type']} "
    owner = "ours" if route["ours"] else f"protocol {route['protocol']}"
    metric = f", metric {route['metric']}" if route["metric"] else ""
    via = f" via {route['gateway']}" if route["gateway"] else ""
    link = f" out by {route['link']}" if route["link"] else ""
    return f"{kind}{route['prefix']}{via}{link} ({owner}{metric})"


def fib_text(fib: Json) -> list[str]:
    """The answer of /v1/fib."""
    prefix = fib["prefix"] or "no BGP route"
    return [f"{fib['address']}: {prefix}", "", *fib_facts(fib)]

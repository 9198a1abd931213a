"""`counters` and `audit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

from bgpbridge.cli.text.words import Json, bad, columns, counted, duration, good, octets, warn

__all__ = ["MEANINGS", "audit_text", "counters_text", "rates_text"]

MANY = 10**10  # addresses; all of IPv4 are less
MEANINGS = {
    "forwarded": "sent out by XDP",
    "pass_disabled": "XDP is switched off",
    "pass_interface": "came in by an interface that is not ours",
    "pass_short": "ends inside a header",
    "pass_l2_group": "broadcast or multicast MAC",
    "pass_not_for_us": "another one's MAC",
    "pass_vlan": "in a VLAN that no interface is in",
    "pass_not_ip": "ARP and other ethertypes",
    "pass_bad_header": "header that contradicts itself",
    "pass_bad_checksum": "wrong IPv4 header checksum",
    "pass_options": "IPv4 options",
    "pass_extension_header": "IPv6 hop-by-hop options",
    "pass_ttl": "TTL or hop limit at its end",
    "pass_martian": "address that must not be routed",
    "pass_link_local": "link-local address",
    "pass_multicast": "multicast destination",
    "pass_no_route": "no BGP route",
    "pass_punt": "own address, or another one's route",
    "pass_group_invalid": "group without members",
    "pass_no_adjacency": "slot without adjacency",
    "pass_adjacency_down": "next hop unresolved, or its link down",
    "pass_mtu": "larger than the MTU out",
    "pass_tx_port": "out by an interface that takes no redirected frames",
    "pass_headroom": "no room for a VLAN tag",
    "pass_source": "reverse-path check left to the kernel",
    "drop_blackhole": "blackhole route",
    "drop_reverse_path": "source has no route back that way",
    "drop_punt_rate": "more for the kernel to answer than datapath.punt_rate",
}
COLOURS = {"redirect": good, "drop": bad}


def counters_text(counters: Sequence[Json], *, every: bool) -> list[str]:
    """The answer of /v1/counters; without `every` only what has happened."""
    shown = [counter for counter in counters if every or counter["packets"]]
    if not shown:
        return ["no packet has met XDP yet" if counters else "XDP is not configured: there is nothing to count"]
    rows = [
        (*_named(counter), f"{counter['packets']:,}", octets(counter["octets"]), _meaning(counter)) for counter in shown
    ]
    return columns(("reason", "verdict", "packets", "octets", "meaning"), rows, right=("packets", "octets"))


def rates_text(before: Sequence[Json], after: Sequence[Json], seconds: float) -> list[str]:
    """What came between two answers, per second."""
    old: Mapping[str, Json] = {counter["reason"]: counter for counter in before}
    rows = []
    for counter in after:
        packets = counter["packets"] - old.get(counter["reason"], counter)["packets"]
        bits = 8 * (counter["octets"] - old.get(counter["reason"], counter)["octets"])
        if packets:
            rows.append(
                (*_named(counter), f"{packets / seconds:,.1f}", f"{bits / seconds / 1e6:,.3f}", _meaning(counter))
            )
    heads = ("reason", "verdict", "packets/s", "Mbit/s", "meaning")
    return columns(heads, rows, right=("packets/s", "Mbit/s")) if rows else ["no packet"]


def _named(counter: Json) -> tuple[str, str]:
    return counter["reason"], COLOURS.get(counter["verdict"], str)(counter["verdict"])


def _meaning(counter: Json) -> str:
    return MEANINGS.get(counter["reason"], "")


def audit_text(report: Json) -> list[str]:
    """The answer of /v1/audit."""
    total = counted(sum(report["checked"].values()), "route")
    wrong = sum(report["divergent"].values())
    verdict = good("no difference") if report["clean"] else bad(f"{counted(wrong, 'difference')}")
    lines = [f"{verdict}: {total} and every address compared in {duration(report['took_s'])}", ""]
    checked = report["checked"].items()
    rows = [(*name.split(), f"{count:,}", _wrong(report, name), _clean(report, name)) for name, count in checked]
    heads = ("plane", "family", "compared", "wrong addresses", "last clean")
    lines += columns(heads, rows, right=("compared", "wrong addresses"))
    if stores := report["stores"]:
        kinds = (counted(stores["groups"], "group"), counted(stores["adjacencies"], "adjacency", "adjacencies"))
        clean = _clean(report, "xdp stores")
        lines += ["", f"{', '.join(kinds)} and the control word of xdp compared, last clean {clean}"]
    for key, head in (("repaired", "brought in line"), ("divergent", "difference")):
        if report[key]:
            lines += ["", *columns(("plane", head, "count"), _kinds(report[key]), right=("count",))]
    if report["examples"]:
        lines += ["", *(bad(example) for example in report["examples"])]
    for key, text in (("pending", "changed while we looked"), ("refused", "refused by a plane, tried again")):
        if report[key]:
            lines += [warn(f"{counted(report[key], 'route')} {text}")]
    return lines


def _wrong(report: Json, name: str) -> str:
    """`256`, and in IPv6 `2^80`: so many that a power says more."""
    count = report["addresses"].get(name, 0)
    return f"{count:,}" if count < MANY else f"2^{log2(count):.4g}"


def _clean(report: Json, name: str) -> str:
    """How long ago a sweep began that found nothing."""
    age = report["last_clean_s"].get(name)
    return "never" if age is None else f"{duration(age)} ago"


def _kinds(counts: Json) -> list[tuple[str, ...]]:
    return [(*name.split(" ", 1), f"{count:,}") for name, count in counts.items()]

"""How the demo puts into words and tables what it has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bgpbridge.lab.measure import Report

__all__ = [
    "Loss",
    "cable_back",
    "cable_out",
    "closing",
    "latency",
    "opening",
    "override",
    "packets",
    "peers",
    "tables",
    "verbatim",
]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a cable that was pulled did to a stream: packets lost, for how long, and the packets of the stream."""

    lost: int
    lasted_ms: float
    sent: int

    @classmethod
    def of(cls, report: Report, pulled_ns: int) -> Self:
        """From the moment when the cable was pulled (what was under way then is lost as well)."""
        lost, lasted_ms = report.lost_within(pulled_ns - 50_000_000, pulled_ns + 60_000_000_000)
        return cls(lost, lasted_ms, report.sent)


def opening(console: Console, topology: Path) -> None:
    """What is about to happen."""
    console.print(
        f"[bold]bgpbridge demo[/bold]: {topology.name} in network namespaces, with this machine's FRR and BIRD\n"
    )
    console.print(
        "                   ┌─ switch ── isp-a (FRR) ─┐\n"
        "  host ── [bold]edge[/bold] ────┤                         ├── internet (BIRD)\n"
        "      (bgpbridge)  └─────────── isp-b (BIRD) ─┘   2,500 prefixes"
    )


def peers(console: Console, found: Sequence[Mapping[str, Any]], took_s: float) -> None:
    """The sessions."""
    _scene(console, 1, f"Sessions are up and all routes are in, {took_s:.1f} s after nothing was there")
    table = _table("peer", "AS", "address", "state", "received", "accepted", "best")
    for peer in found:
        counts = list(peer["routes"].values())
        figures = [f"{sum(_count(item, key) for item in counts):,}" for key in ("received", "accepted", "best")]
        table.add_row(peer["name"], str(peer["asn"]), peer["address"], peer["state"], *figures)
    _show(console, table)


def tables(console: Console, status: Mapping[str, Any], audit: Mapping[str, Any]) -> None:
    """The tables of both planes."""
    _scene(console, 2, "The same routes stand in XDP's maps and in the kernel")
    table = _table("", "IPv4", "IPv6")
    for title, counts in (
        ("best routes (Loc-RIB)", status["routes"]),
        ("XDP entries, own addresses included", status["xdp"]["entries"]),
        ("kernel routes", status["kernel"]["installed"]),
    ):
        table.add_row(title, f"{counts['ipv4']:,}", f"{counts['ipv6']:,}")
    _show(console, table)
    modes = ", ".join(f"{item['name']} {item['mode']}" for item in status["interfaces"])
    console.print(
        f"  {status['groups']} next-hop groups serve all of them.\n  XDP runs on {modes}; {status['loader']} loaded it."
    )
    differences = sum(audit["divergent"].values())
    verdict = "[green]0 differences[/green]" if audit["clean"] else f"[red]{differences} differences[/red]"
    console.print(f"  Audit of {sum(audit['checked'].values()):,} entries in {audit['took_s']:.2f} s: {verdict}.")


def verbatim(console: Console, command: str, said: str) -> None:
    """A command and its own words."""
    _scene(console, 3, "Why a packet goes where it goes")
    _said(console, command, said)


def _said(console: Console, command: str, said: str) -> None:
    console.print(f"  [dim]$[/dim] {command}")
    for line in said.rstrip().splitlines():
        console.print(Text(f"  {line}"), soft_wrap=True)


def packets(
    console: Console, report: Report, *, by_xdp: int, by_kernel: int, counters: Sequence[Mapping[str, Any]]
) -> None:
    """Who forwarded what."""
    _scene(console, 4, "Packets leave through XDP")
    console.print(
        f"  {report.received:,} of {report.sent:,} packets arrived, {_by_way(report)};\n"
        f"  they take {report.delay_us_p50:.0f} us (p50), Python at both ends included."
    )
    console.print(f"  The edge forwarded [bold]{by_xdp:,}[/bold] packets in XDP and {by_kernel:,} in the kernel.")
    passed = [item for item in counters if item["packets"] and item["verdict"] != "redirect"]
    reasons = ", ".join(f"{item['reason']} {item['packets']:,}" for item in passed)
    console.print(f"  Left to the kernel since the start: {reasons or 'nothing'}.")


def cable_out(console: Console, out: Loss, back: Loss) -> None:
    """What the loss of an uplink cost the way out (bgpbridge's) and the way back (provider A's FRR)."""
    _scene(console, 5, "The cable of uplink A is pulled while packets flow in both directions")
    table = _table("", "traffic has moved after", "packets lost")
    table.add_row("the way out: bgpbridge", *_figures(out), style="bold green")
    table.add_row("the way back: provider A's FRR", *_figures(back))
    _show(console, table)
    console.print(
        "  A switch keeps provider A's own link up, so all it has is BGP's hold timer:\n"
        "  9 s here; most networks have 90 or 180."
    )


def _figures(loss: Loss) -> tuple[str, str]:
    return f"{loss.lasted_ms:,.1f} ms", f"{loss.lost:,} of {loss.sent:,}"


def cable_back(console: Console, report: Report, took_s: float) -> None:
    """The way back."""
    _scene(console, 6, "The cable is back")
    console.print(
        f"  Provider A's sessions and routes came back after {took_s:.1f} s;\n"
        f"  the last packets arrive by {_provider(report.last_way)}, "
        f"{report.lost:,} of {report.sent:,} were lost meanwhile."
    )


def latency(console: Console, seen: str, would: Mapping[str, Any], report: Report, took_s: float) -> None:
    """What 50 ms more on uplink A led to."""
    _scene(console, 7, "Uplink A gets 50 ms slower, and every link stays up")
    _said(console, "bgpbridge paths --peer isp-a", seen)
    ways = [", ".join(one["exit"] for one in would[who]) for who in ("bgp", "latency")]
    console.print(
        f"  In mode `observe` it says what it would do: {would['prefixes']:,} prefixes from {ways[0]} to {ways[1]}.\n"
        f"  With `act` it moved them [bold green]{took_s * 1e3:,.0f} ms[/bold green] after the order to reload: "
        f"{report.lost:,} of {report.sent:,} packets lost. BGP alone would never have."
    )


def override(console: Console, command: str, explained: str, pinned: Report, lifted: Report) -> None:
    """What an operator's word did."""
    _scene(console, 8, "An operator pins a prefix to provider B for ten minutes, and takes it back")
    _said(console, command, explained.partition("\nprefix ")[0])
    console.print(
        f"  Pinned: {pinned.lost:,} of {pinned.sent:,} packets lost, the last by {_provider(pinned.last_way)}. "
        f"Lifted: {lifted.lost:,} of {lifted.sent:,}, the last by {_provider(lifted.last_way)}."
    )


def closing(console: Console, took_s: float) -> None:
    """The end."""
    console.print(f"\nTaken down again: no namespace, process, pin or route is left. {took_s:.0f} s in all.")
    console.print("[dim]To look around in it:[/dim] .venv/bin/bgpbridge lab up lab/quickstart.clab.yml")


def _scene(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/bold]")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _show(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _count(counts: Any, key: str) -> int:
    return int(counts.get(key, 0))


def _provider(way: str) -> str:
    """The internet node's interfaces, by whom they lead to."""
    return {"eth1": "provider A", "eth2": "provider B"}.get(way, way)


def _by_way(report: Report) -> str:
    return ", ".join(f"{count:,} by {_provider(way)}" for way, count in sorted(report.ways.items()))

"""docs/benchmarks.md and the measured block of README.md, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bgpbridge.bench.records import OURS, Row, Suite
from bgpbridge.bench.terminal import TESTER, digits, subjects_of, tables_of
from bgpbridge.errors import LabError

__all__ = ["BEGIN", "CHOSEN", "END", "block", "page", "replaced", "write_pages"]

BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
# What README shows: how a metric's name begins, and what it is called there.
CHOSEN = (
    ("100,000 prefixes: wire to forwarding", "100,000 prefixes, wire to forwarding (ours: in XDP)"),
    ("100,000 prefixes: wire to kernel", "100,000 prefixes, wire to kernel"),
    ("one UPDATE, idle, p50", "one UPDATE, wire to first packet on the new path, p50"),
    ("one UPDATE at 1,000/s, p50", "the same at 1,000 UPDATE/s, p50"),
    ("session lost, 100,000 prefixes: last", "session lost, 100,000 prefixes: the last has moved"),
    ("uplink lost, 100,000 prefixes: last", "uplink lost, 100,000 prefixes: the last has moved"),
    ("silent blackhole, BFD: last", "silent blackhole behind a live link, BFD 3 x 50 ms"),
    ("silent blackhole, no BFD: last", "the same without BFD (ours: ICMP check; others: hold timer 9 s)"),
    ("latency +50 ms: last", "latency +50 ms on the better uplink (ours: probes)"),
    ("brown-out, 20% loss: last", "20% loss on the better uplink (ours: probes)"),
)
CHOSEN_TABLE = (
    ("load_v4_1m_xdp", "1,000,000 IPv4 prefixes, wire to forwarding in XDP"),
    ("load_v4_1m", "the same, wire to the last route in the kernel"),
    ("load_v6_220k", "220,000 IPv6 prefixes, wire to the last route in the kernel"),
    ("load_real_2015", "a real table of 2015, wire to the last route in the kernel"),
    ("update_p50", "one UPDATE at 1,000,000 prefixes, wire to first packet on the new path, p50"),
    ("update_p99", "the same, p99"),
    ("storm_p99_load", "the same while another neighbour loads 1,000,000 prefixes, p99"),
    ("memory_1m", "memory with one feed"),
    ("memory_1m_x2", "memory with two"),
    ("peer_loss_last_1m", "session lost: the last of 1,000,000 prefixes has moved"),
    ("link_loss_last_1m", "uplink lost: the last of 1,000,000 prefixes has moved"),
    ("withdraw_all_1m", "the only neighbour leaves: the last route is out"),
)
NAMES = {"bird": "BIRD", "frr": "FRR", "gobgp": "GoBGP", "exabgp-ip": "ExaBGP and ip"}
DATAPATH = {OURS: OURS, "fib_lookup": "XDP, bpf_fib_lookup", "kernel": "kernel"}
CHOSEN_DATAPATH = (
    ("forward_10_random", "forwarding, 10 routes"),
    ("forward_1m_random", "forwarding, 1,000,000 IPv4 routes, random destinations"),
    ("forward_1m_zipf", "the same, Zipf"),
    ("forward_v6_220k_random", "forwarding, 220,000 IPv6 routes, random destinations"),
    ("latency_p50", "a packet's way at half load, p50"),
    ("latency_p99", "the same, p99"),
)
TITLES = {
    "load": "A whole table",
    "update": "One UPDATE",
    "failover": "A lost path",
    "enrichment": "A way that fails or turns bad",
    "idle": "At rest",
    "decode": "Decode",
    "policy": "Import policy",
    "datapath": "The datapath",
    "table": "Whole tables of the Internet",
    "soak": "Soak",
}
INTRODUCTION = """# Benchmarks

Written by `make bench`, `make bench-table` and `make bench-datapath` (`python -m bgpbridge.bench page` writes it again
from the records in `build/bench`); no figure here was typed by hand. bgpbridge, BIRD and FRR take turns run by run:
the same namespaces, the same two BGP testers, the same octets, one clock (CLOCK_MONOTONIC). A router between a source
of packets and two uplinks learns a made table with the prefix lengths of a real one; whether it forwards is told by
packets that arrive. Each figure is the median of the runs, with the least and the most in parentheses; less is better
unless the section says otherwise. The last column says how many times as much the best of the peers took: under 1, the
peer was better.
"""


def page(suites: Sequence[Suite]) -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, _machine(suites[0], suites), *[_section(suite) for suite in suites]])


def _machine(one: Suite, suites: Sequence[Suite]) -> str:
    """The machine, and how much others used it."""
    lines = [f"| {name} | {value} |" for name, value in one.machine.items()]
    lines.append(f"| measured | {one.when} |")
    lines.append(f"| load average around the runs | up to {_busiest(suites)}, the runs' own included |")
    return "\n".join(["| machine | |", "|---|---|", *lines, ""])


def _section(suite: Suite) -> str:
    title = TITLES.get(suite.name, suite.name)
    parts = [f"## {title}", "", suite.note, ""]
    for head, lines in tables_of(suite):
        rule = ["---", "---", *["---:"] * (len(head) - 2)]
        parts += [*map(_line, [head, rule, *lines]), ""]
    return "\n".join(parts)


def _busiest(suites: Sequence[Suite]) -> str:
    """The highest load average before or after a suite."""
    return f"{max(max(suite.load) for suite in suites):.1f}"


def block(suites: Sequence[Suite]) -> str:
    """The chosen rows, medians only: ours beside other daemons, then our datapath beside the kernel's."""
    compared = [suite for suite in suites if not suite.grouped and suite.name != "table"]
    others = [_beside([suite], CHOSEN_TABLE, "bench-table") for suite in suites if suite.name == "table"]
    others += [_datapath(suite) for suite in suites if suite.grouped and suite.name != "soak"]
    where = f"{suites[0].machine.get('processors', '')}; load average up to {_busiest(suites)} while it was measured"
    last = f"({where}; more in [docs/benchmarks.md](docs/benchmarks.md))"
    return "\n\n".join([*([_beside(compared, CHOSEN, "bench")] if compared else []), *others, last])


def _datapath(suite: Suite) -> str:
    """Packets with a whole table."""
    known = {(row.metric, row.subject): row for row in suite.rows}
    lines = [
        _line([words, *[_cell(known[metric, subject]) if (metric, subject) in known else "" for subject in DATAPATH]])
        for metric, words in CHOSEN_DATAPATH
        if (metric, OURS) in known
    ]
    head = _line(["measured by `make bench-datapath`, one core", *DATAPATH.values()])
    return "\n".join([head, _line(["---", *["---:"] * len(DATAPATH)]), *lines])


def _beside(suites: Sequence[Suite], chosen: Sequence[tuple[str, str]], command: str) -> str:
    rows = [row for suite in suites for row in suite.rows if row.subject != TESTER]
    peers = [subject for subject in subjects_of(tuple(rows)) if subject != OURS]
    lines = []
    for metric, words in chosen:
        found = {row.subject: row for row in rows if row.metric == metric}
        if found:
            lines.append(_line([words, *[_cell(found.get(subject)) for subject in (OURS, *peers)]]))
    head = _line([f"measured by `make {command}`", OURS, *[NAMES.get(peer, peer) for peer in peers]])
    rule = _line(["---", *["---:"] * (len(peers) + 1)])
    return "\n".join([head, rule, *lines])


def _cell(row: Row | None) -> str:
    """A median with its unit; what did not end says for how long it was watched; nothing for what has no row."""
    if row is None:
        return ""
    if row.median is None:
        return f"not in {row.timeout_s:.0f} s" if row.timeout_s else "too late"
    return f"{digits(row.median)} {row.unit}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def replaced(text: str, new: str) -> str:
    """The text with `new` between its marks. Raises LabError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LabError(f"there is no {BEGIN} ... {END} to put the figures in", mend="put the two marks into README.md")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def write_pages(suites: Sequence[Suite], root: Path) -> None:
    """Both files."""
    (root / "docs" / "benchmarks.md").write_text(page(suites))
    readme = root / "README.md"
    readme.write_text(replaced(readme.read_text(), block(suites)))

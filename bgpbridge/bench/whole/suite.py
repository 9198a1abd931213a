"""`make bench-table`: a whole table of the Internet, ours beside BIRD, FRR, GoBGP and stock ExaBGP, in turn.

What a turn does not give in its time becomes a row that says for how long it was watched. Records are written after
each part, so that what was measured is kept whatever comes later. A divergent prefix after a turn of ours, or a turn
of ours that fails, makes the run a failed one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bgpbridge.bench.plan import Tell
from bgpbridge.bench.probe import Prober
from bgpbridge.bench.records import Row
from bgpbridge.bench.results import Figure, Results
from bgpbridge.bench.rig import ASN, Rig, rig
from bgpbridge.bench.terminal import TESTER
from bgpbridge.bench.whole import operations, parts
from bgpbridge.bench.whole.awake import awake
from bgpbridge.bench.whole.contenders import Who, contending
from bgpbridge.bench.whole.kernel import KernelTable
from bgpbridge.bench.whole.parts import Part
from bgpbridge.bench.whole.scale import Scale, words
from bgpbridge.bench.whole.tables import neighbour, table
from bgpbridge.bench.whole.turn import AUDIT, Late, Turn
from bgpbridge.errors import BridgeError, LabError
from bgpbridge.lab import namespaces, runner
from bgpbridge.types import Family

__all__ = ["NAMES", "Found", "chosen", "measure"]

NAMES = (*parts.STEPS, "v6", "real", "small-losses", "policy", "restart", "awake", "peers", "sizes")


@dataclass(slots=True)
class Found:
    """What there is so far; `failures` are words for what makes the run a failed one, `missing` for rows that are not
    there."""

    results: Results = field(default_factory=Results)
    failures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return self.results.rows()


def chosen(scale: Scale, names: Sequence[str]) -> list[Part]:
    """The parts that hold what is wanted, all where nothing is named; the whole table alone is for everybody."""
    wanted = frozenset(names or NAMES)
    found: list[Part | None] = []
    if steps := wanted & frozenset(parts.STEPS):
        found.append(parts.whole(scale, steps))
    found += [parts.ipv6(scale)] * ("v6" in wanted)
    found += [parts.real(scale)] * ("real" in wanted)
    found += parts.small_losses(scale) * ("small-losses" in wanted)
    found += [operations.policy(scale)] * ("policy" in wanted)
    found += [operations.restart(scale)] * ("restart" in wanted)
    found += [awake(scale)] * ("awake" in wanted)
    found += parts.many(scale) * ("peers" in wanted)
    found += parts.sizes(scale) * ("sizes" in wanted)
    more = [part for part in found if part is not None]
    return [part if part.name == "whole" else _without(part, scale.glanced) for part in more]


def _without(part: Part, who: frozenset[Who]) -> Part:
    return dataclasses.replace(part, who=tuple(one for one in part.who if one not in who))


def measure(scale: Scale, names: Sequence[str], tell: Tell, keep: Callable[[Found], None]) -> Found:
    """All that is wanted; `keep` is called after each part. Raises BridgeError where nothing can be measured at all."""
    found = Found()
    if scale.recorded and "real" in (names or NAMES) and parts.real(scale) is None:
        found.missing.append(f"load_real_2015: there is no {parts.RECORDED}")
    _tester(scale, found.results, tell)
    with rig() as place:
        _prepare(place)
        for part in chosen(scale, names):
            began = time.monotonic()
            part.prepare()
            tell(f"{part.name}: feeds made in {time.monotonic() - began:.0f} s")
            _part(place, part, scale, found, tell)
            keep(found)
    return found


def _part(place: Rig, part: Part, scale: Scale, found: Found, tell: Tell) -> None:
    for run, who in scale.turns(part.who):
        if run and part.once:
            continue
        began, given = time.monotonic(), dict[str, float | None]()
        late_s = scale.step_s(who, part.prefixes)
        try:
            for figure in _turn(place, part, scale, who):
                given[figure.metric] = figure.value
                found.results.add(who, figure)
                tell(f"{part.name}, run {run + 1}: {who} {figure} (after {time.monotonic() - began:.0f} s)")
            if given.get(AUDIT):
                found.failures.append(f"{part.name}: {given[AUDIT]:.0f} divergent prefixes")
        except Late as late:
            late_s = late.timeout_s
            tell(f"{part.name}, run {run + 1}: {who}: {late}")
        except BridgeError as error:
            tell(f"{part.name}, run {run + 1}: {who}: {error}")
            found.missing.append(f"{part.name}, {who}: {error}")
        for metric, unit in part.metrics(who).items():
            if metric not in given:
                found.results.add(who, Figure(metric, unit, None, late_s))
                if who is Who.OURS:
                    found.failures.append(f"{part.name}: no {metric}")
        tell(f"{part.name}, run {run + 1}: {who} took {time.monotonic() - began:.0f} s")


def _turn(place: Rig, part: Part, scale: Scale, who: Who) -> Iterator[Figure]:
    """The figures of one turn as they come."""
    peers = [neighbour(number, part.family) for number in part.neighbours]
    if part.internal:
        peers = [dataclasses.replace(up, asn=ASN) for up in peers]
    limit_s = scale.step_s(who, part.prefixes)
    text = part.text(who, peers, place.folder) if part.text else ""
    with (
        contending(place, who, peers, part.room or part.prefixes, text) as contender,
        Prober(place, part.family) as prober,
        KernelTable(place, part.family) as kernel,
        contextlib.ExitStack() as stack,
    ):
        ends_s = time.monotonic() + max(scale.turn_s, limit_s)
        turn = Turn(place, contender, prober, kernel, scale, part.family, limit_s, ends_s, stack, part.internal)
        yield from part.one(turn)


def _prepare(place: Rig) -> None:
    """Addresses for all neighbours, and links of the edge that may go down and come up."""
    namespaces.set_sysctls(place.inside("edge"), {"net.ipv6.conf.all.keep_addr_on_down": "1"})
    for number in range(2, 8):
        for family, width in ((Family.IPV4, 24), (Family.IPV6, 64)):
            up = neighbour(number, family)
            words_ = ["ip", "address", "add", f"{up.theirs}/{width}", "dev", up.interface]
            done = runner.exec_in(place.lab, "far", words_)
            if done.returncode:
                raise LabError(f"{' '.join(words_)}: {done.stderr.strip()}")


def _tester(scale: Scale, results: Results, tell: Tell) -> None:
    """What the tester needs by itself for the whole table, into a sink that throws it away: never the bottleneck."""
    octets = table(scale.ipv4, 0, scale.samples).octets
    for _ in range(scale.runs):
        figure = Figure(f"tester_{words(scale.ipv4)}", "s", _into_sink(octets))
        results.add(TESTER, figure)
        tell(f"the tester alone: {figure}")


def _into_sink(octets: bytes) -> float:
    """Seconds of one `sendall` over the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = threading.Thread(target=_sink, args=(server,), daemon=True)
        sink.start()
        with socket.create_connection(server.getsockname()) as out:
            began = time.monotonic()
            out.sendall(octets)
            took = time.monotonic() - began
        sink.join()
    return took


def _sink(server: socket.socket) -> None:
    taken, _ = server.accept()
    with taken:
        while taken.recv_into(bytearray(1 << 20)):
            pass

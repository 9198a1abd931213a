"""One turn: a subject that runs, testers, and what all steps of it need. A step yields figures; one that does not end
in its time raises Late, and what the turn has not given by then becomes rows that say so."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgpbridge.bench.probe import Prober
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import ASN, Rig
from bgpbridge.bench.tester import Router, Tester
from bgpbridge.bench.whole.contenders import Contender, Who
from bgpbridge.bench.whole.kernel import KernelTable
from bgpbridge.bench.whole.scale import Scale
from bgpbridge.bench.whole.tables import Table, neighbour
from bgpbridge.errors import BridgeError, LabError
from bgpbridge.lab import namespaces
from bgpbridge.types import Family, IPAddress

__all__ = ["AUDIT", "ROUND_S", "Late", "Turn"]

ROUND_S = 0.01
MOST = 25  # probes in a round, which cost less than a percent of a core
AUDIT = "audit_divergent"


class Late(Exception):  # noqa: N818 -- it is no error: somebody is slow
    """A step has not ended in time."""

    def __init__(self, step: str, timeout_s: float) -> None:
        super().__init__(f"{step} has not ended within {timeout_s:.0f} s")
        self.timeout_s = timeout_s


@dataclass(slots=True)
class Turn:
    """`limit_s` is the time of each step, `ends_s` (monotonic) that of the turn; with `internal` all are of one AS."""

    place: Rig
    contender: Contender
    prober: Prober
    kernel: KernelTable
    scale: Scale
    family: Family
    limit_s: float
    ends_s: float
    stack: contextlib.ExitStack
    internal: bool = False
    testers: dict[int, Tester] = field(default_factory=dict)

    @property
    def who(self) -> Who:
        """Whose turn it is."""
        return self.contender.who

    def left_s(self, step: str) -> float:
        """How long a step that begins now may take. Raises Late when the turn is over."""
        left = min(self.limit_s, self.ends_s - time.monotonic())
        if left <= 0:
            raise Late(step, self.limit_s)
        return left

    def tester(self, number: int, table: bytes = b"", **changes: Any) -> Tester:
        """A neighbour whose session is up, with a table that it sends at once. One of the same number before it has
        gone."""
        self.leave(number)
        up = neighbour(number, self.family)
        router = Router(ASN if self.internal else up.asn, up.theirs, up.ours, families=(self.family,), **changes)
        made = Tester(router, self.place.inside("far"), table=table)
        self.testers[number] = self.stack.enter_context(made)
        return made.until_up(self.left_s("the session"))

    def leave(self, number: int) -> None:
        """A neighbour goes for good."""
        if number in self.testers:
            self.testers.pop(number).stop()

    def rest(self) -> None:
        """Until the subject has nothing to do. Raises Late."""
        left = self.left_s("what was sent")
        if not self.contender.rests(left):
            raise Late("what was sent", left)

    def forwards(self, samples: Sequence[IPAddress], port: str, step: str, *, eager_s: float = 0.0) -> list[int]:
        """Wait until all samples leave by an uplink: when each did first, in ns. Raises Late."""
        left = self.left_s(step)
        found = self.prober.all_of(samples, port, left, round_s=ROUND_S, most=MOST, eager_s=eager_s)
        if found is None:
            raise Late(step, left)
        return found

    @contextlib.contextmanager
    def only_xdp(self) -> Iterator[None]:
        """The kernel forwards nothing that comes from the source, if it is bgpbridge's turn. For IPv6 by a rule: there
        is no switch for one interface, and the one for all changes routes of the kernel's own."""
        edge, key = self.place.inside("edge"), "net.ipv4.conf.eth3.forwarding"
        if not self.contender.ours:
            yield
            return
        if self.family is Family.IPV4:
            namespaces.set_sysctls(edge, {key: "0"})
        else:
            _rule(edge, "add")
        try:
            yield
        finally:
            if self.family is Family.IPV4:
                namespaces.set_sysctls(edge, {key: "1"})
            else:
                _rule(edge, "del")

    def loads(self, tables: dict[int, Table], step: str) -> tuple[float | None, float]:
        """Neighbours whose sessions are up send their tables all at once: seconds from the first octet until the
        samples of each are forwarded by XDP (None for subjects without), and until all routes are in the kernel.
        Raises Late."""
        first = next(iter(tables.values()))
        marks = [table.samples[-1] for table in list(tables.values())[1:]]
        left = self.left_s(step)
        with self.only_xdp():
            watch = self.kernel.filled([*first.samples, *marks], first.least + len(marks), left)
            senders = [
                threading.Thread(target=_send, args=(self.testers[number], table.octets), daemon=True)
                for number, table in tables.items()
            ]
            began = time.monotonic_ns()
            for sender in senders:
                sender.start()
            xdp_s = self._xdp_s(tables, began, left) if self.contender.ours else None
            held = watch.done_ns()
        if held is None:
            raise Late(step, left)
        for sender in senders:
            sender.join()
        for number, table in tables.items():
            self.forwards([table.samples[-1]], self.port(number), step)
        self.forwards(first.samples[:-1], self.port(next(iter(tables))), step)
        return xdp_s, (held - began) / 1e9

    def _xdp_s(self, tables: dict[int, Table], began: int, left: float) -> float:
        """The first table's samples, then the marks of the others, which come later or at the same time."""
        last = 0
        for turn, (number, table) in enumerate(tables.items()):
            samples = table.samples[-1:] if turn else table.samples
            found = self.prober.all_of(samples, self.port(number), left, round_s=ROUND_S, most=MOST)
            if found is None:
                raise Late("loading into XDP", left)
            last = max(last, found[-1])
        return (last - began) / 1e9

    def port(self, number: int) -> str:
        """The far end that a neighbour stands behind."""
        return neighbour(number, self.family).interface

    def audited(self) -> Iterator[Figure]:
        """Every prefix and every address of the whole table compared, in both planes; nothing for the others."""
        if self.contender.ours:
            self.rest()
            try:
                report = self.contender.client.post("/v1/audit", {})
            except BridgeError as error:
                raise LabError(f"the audit: {error}") from error
            found = sum(report["divergent"].values())
            yield Figure(AUDIT, "prefixes", float(max(found, not report["clean"])))


def _send(tester: Tester, octets: bytes) -> None:
    """Octets, as far as they are taken: a session that ends meanwhile shows in what is missing then."""
    with contextlib.suppress(OSError, LabError):
        tester.send(octets)


def _rule(edge: str, verb: str) -> None:
    """Packets of the source find no route, those for the edge itself do (the local table comes first)."""
    command = ["ip", "-n", edge, "-6", "rule", verb, "pref", "1", "iif", "eth3", "blackhole"]
    subprocess.run(command, check=True, capture_output=True, timeout=10)

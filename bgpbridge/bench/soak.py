"""`python -m bgpbridge.bench soak`: what real peers sent, faster than they did, over and over, for some minutes.

The recorded file (RIPE RIS, five minutes of an exchange) is looped at PACE times its own pace, each of its peers by a
session of its own from its own address, octet for octet: its next hops are neighbours on the exchange's LAN. Sessions
that were lost in the recording are lost again, each time. What must not happen: memory that grows, a peer whose UPDATEs
are taken in later and later, a plane that says something else than the Loc-RIB afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import ipaddress
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bgpbridge.api.client import Client
from bgpbridge.bench import machine, records
from bgpbridge.bench.plan import Tell
from bgpbridge.bench.records import OURS, Row, Suite
from bgpbridge.bench.rig import Rig, bridge_config, rig
from bgpbridge.bench.subjects import Subject, running
from bgpbridge.bench.terminal import show
from bgpbridge.bench.tester import Router, Tester
from bgpbridge.bench.whole import histogram
from bgpbridge.errors import LabError
from bgpbridge.lab.topology import Daemon
from bgpbridge.types import Family, IPAddress
from bgpbridge.wire.message import MessageType
from bgpbridge.wire.mrt import MessageRecord, StateChange, read_mrt

__all__ = ["RECORDED", "Backlog", "Churn", "Flat", "Source", "churn", "run"]

RECORDED: Final = Path("../shared/data/mrt/updates-35peers-2016.mrt.gz")
PACE: Final = 50
ESTABLISHED: Final = 6
LOOK_S: Final = 0.5
PAUSE_S: Final = 0.05
WEIGH_S: Final = 5.0  # between two looks at memory, which take the kernel a while
SETTLE_S: Final = 30.0
PORT: Final = "eth1"
LANS: Final = {Family.IPV4: ("37.49.239.254", 21), Family.IPV6: ("2001:7f8:54:ffff::1", 48)}  # of the exchange
WARM_S: Final = 60.0  # tables, columns and the allocator have their size by then
GROWTH_MIB: Final = 16.0  # that is no growth: the allocator's own ups and downs


@dataclass(frozen=True, slots=True)
class Source:
    """A peer of the file: where it is, whose it is."""

    address: IPAddress
    asn: int

    @property
    def family(self) -> Family:
        """Of its session and of its routes."""
        return Family.of(self.address)

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return f"as{self.asn}-{self.address.exploded.replace(':', '').replace('.', '-')}"


@dataclass(frozen=True, slots=True)
class Churn:
    """One round: at each second of the recording, who sends what, and whose sessions are lost. `updates` are all of
    it, `seconds` how long it lasted."""

    sources: tuple[Source, ...]
    sent: Mapping[int, Mapping[int, tuple[bytes, int]]]
    lost: Mapping[int, tuple[int, ...]]
    updates: int
    seconds: int

    @property
    def senders(self) -> frozenset[int]:
        """Those who send anything at all."""
        return frozenset(number for said in self.sent.values() for number in said)


def churn(path: Path) -> Churn:
    """A recording as one round. Raises LabError where there is none, WireError."""
    if not path.exists():
        raise LabError(f"there is no {path}", mend="it is not part of the repository; --file names another recording")
    sources: dict[Source, int] = {}
    sent: dict[int, dict[int, tuple[bytes, int]]] = {}
    lost: dict[int, tuple[int, ...]] = {}
    began, second, updates = None, 0, 0
    for record in read_mrt(path):
        if not isinstance(record, MessageRecord | StateChange):
            continue
        began = record.time_s if began is None else began
        second = int(record.time_s - began)
        number = sources.setdefault(Source(record.peer.address, record.peer.asn), len(sources))
        if isinstance(record, StateChange):
            lost[second] = (*lost.get(second, ()), number) if record.old == ESTABLISHED else lost.get(second, ())
        elif record.message[18] == MessageType.UPDATE and not record.local:
            octets, count = sent.setdefault(second, {}).get(number, (b"", 0))
            sent[second][number] = octets + record.message, count + 1
            updates += 1
    if not updates:
        raise LabError(f"{path} has no UPDATE of a peer", mend="--file names a recording of BGP4MP messages")
    return Churn(tuple(sources), sent, lost, updates, second + 1)


@dataclass(slots=True)
class Backlog:
    """How late UPDATEs are taken in. `sent` notes them as they go out, `taken` says how many have come in by now."""

    worst_s: float = 0.0
    _sent: int = 0
    _waiting: deque[tuple[float, int]] = field(default_factory=deque)  # (when, how many had been sent then)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sent_so_far(self) -> int:
        """All of them."""
        return self._sent

    def sent(self, count: int, now_s: float) -> None:
        """So many more."""
        with self._lock:
            self._sent += count
            self._waiting.append((now_s, self._sent))

    def taken(self, count: int, now_s: float) -> float:
        """So many in all have come in: since when the oldest of the others waits, in seconds."""
        with self._lock:
            while self._waiting and self._waiting[0][1] <= count:
                self._waiting.popleft()
            late_s = now_s - self._waiting[0][0] if self._waiting else 0.0
        self.worst_s = max(self.worst_s, late_s)
        return late_s


@dataclass(slots=True)
class Flat:
    """Memory over time: (seconds since the beginning, MiB). Grows when it ends higher than it was once it was warm."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def add(self, at_s: float, mib: float) -> None:
        """One more look."""
        self.seen.append((at_s, mib))

    @property
    def growth_mib(self) -> float:
        """The last look against the highest of the warm half before the middle."""
        last_s, last = self.seen[-1]
        warm = [mib for at_s, mib in self.seen if min(WARM_S, last_s / 2) <= at_s <= max(last_s / 2, WARM_S)]
        return last - max(warm or [last])

    def by_minute(self) -> Iterator[tuple[int, float]]:
        """What it was at the end of each minute."""
        minute = 1
        for at_s, mib in self.seen:
            if at_s >= 60 * minute - WEIGH_S:
                yield minute, mib
                minute += 1


# --- the lab ------------------------------------------------------------------------------------------------------


def _configuration(sources: Sequence[Source]) -> str:
    peers: list[dict[str, Any]] = [
        {
            "name": one.name,
            "address": str(one.address),
            "asn": one.asn,
            "families": [one.family.label],
            "enforce_first_as": False,
        }
        for one in sources
    ]
    return bridge_config(peers, http={})


def _address_lan(place: Rig, sources: Sequence[Source]) -> None:
    """The exchange's LAN on uplink a: ours at one end, everybody's at the other."""
    ends = [("edge", *LANS[family]) for family in LANS]
    ends += [("far", str(one.address), LANS[one.family][1]) for one in sources]
    for node, address, length in ends:
        quick = ["nodad"] if ":" in address else []
        command = ["ip", "-n", place.inside(node), "addr", "add", f"{address}/{length}", "dev", PORT, *quick]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")


def _tester(place: Rig, number: int, source: Source) -> Tester:
    ours = ipaddress.ip_address(LANS[source.family][0])
    identifier = ipaddress.IPv4Address(0x0A010000 + number + 1)
    router = Router(source.asn, source.address, ours, families=(source.family,), router_id=identifier)
    return Tester(router, place.inside("far"))


# --- the soak -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Soak:
    """One that runs. `feed` is a thread's; everything else asks the bridge."""

    round: Churn
    testers: Sequence[Tester]
    place: Rig
    client: Client
    subject: Subject
    ends_s: float
    backlog: Backlog = field(default_factory=Backlog)
    memory: Flat = field(default_factory=Flat)
    lanes: Flat = field(default_factory=Flat)
    rounds: int = 0
    behind: int = 0
    took: int = 0  # UPDATEs that had come in at the last look
    skipped: int = 0  # UPDATEs for a session that was not there
    most_routes: int = 0
    store_p99_s: float | None = None
    _before: int = 0
    _stores: histogram.Buckets = field(default_factory=list)
    _failed: list[Exception] = field(default_factory=list)

    def feed(self) -> None:
        """Rounds at PACE until the end; a late second is sent at once, so that the pace holds on the whole."""
        try:
            began, second = time.monotonic(), 0
            while (now := time.monotonic()) < self.ends_s:
                due = began + second / PACE
                if due > now:
                    time.sleep(min(due, self.ends_s) - now)
                    continue
                self._second(second % self.round.seconds)
                second += 1
                self.rounds = second // self.round.seconds
        except Exception as error:
            self._failed.append(error)
            raise

    def _second(self, second: int) -> None:
        for number, (octets, count) in self.round.sent.get(second, {}).items():
            try:
                self.testers[number].send(octets)
            except (OSError, LabError):
                self.skipped += count
            else:
                self.backlog.sent(count, time.monotonic())
        for number in self.round.lost.get(second, ()):
            self.testers[number].drop(again=True)

    def taken(self) -> int:
        """UPDATEs of those who send that the bridge has taken in since the beginning."""
        names = {self.round.sources[number].name for number in self.round.senders}
        counts: list[int] = [peer["updates"] for peer in self.client.get("/v1/peers") if peer["name"] in names]
        self.took = sum(counts) - self._before
        return self.took

    def begin(self) -> None:
        """From here on it counts."""
        self._before = self.taken()
        self._stores = histogram.read(self.place)

    def watch(self, tell: Tell) -> None:
        """Look again and again until the end. Raises LabError when a thread of ours has died."""
        began, minute = time.monotonic(), 0
        while (now := time.monotonic()) < self.ends_s:
            self._look(began)
            if (now - began) // 60 > minute:
                minute += 1
                tell(
                    f"minute {minute}: {self.memory.seen[-1][1]:,.1f} MiB, {self.taken():,} UPDATEs, "
                    f"worst lag {self.backlog.worst_s * 1000:,.0f} ms"
                )
            time.sleep(max(0.0, min(LOOK_S, self.ends_s - time.monotonic())))
        self._look(began)
        self.store_p99_s = histogram.quantile(self._stores, histogram.read(self.place), 0.99)
        if self._failed:
            raise LabError(f"the feed has ended: {self._failed[0]}")

    def _look(self, began: float) -> None:
        asked = time.monotonic()
        self.backlog.taken(self.taken(), asked)
        status = self.client.get("/v1/status")
        self.behind = max(self.behind, status["kernel"]["behind"])
        self.most_routes = max(self.most_routes, sum(status["routes"].values()))
        at_s = time.monotonic() - began
        if not self.memory.seen or at_s >= self.memory.seen[-1][0] + WEIGH_S or time.monotonic() >= self.ends_s:
            pss, shared = self.subject.weight()
            self.memory.add(at_s, (pss - shared) / 2**20)
            self.lanes.add(at_s, shared / 2**20)

    def settled(self) -> dict[str, Any]:
        """Wait until all is taken in and both planes have followed: the audit. Raises LabError."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            self.backlog.taken(self.taken(), time.monotonic())
            status = self.client.get("/v1/status")
            if self.taken() >= self.backlog.sent_so_far and not status["work"] and not status["kernel"]["behind"]:
                report: dict[str, Any] = self.client.post("/v1/audit")
                if not report["pending"]:
                    return report
            time.sleep(LOOK_S)
        raise LabError(
            f"of {self.backlog.sent_so_far:,} UPDATEs {self.taken():,} are taken in {SETTLE_S:.0f} s after the last; "
            f"{status['kernel']['behind']:,} routes wait for the kernel, {status['work']} jobs for their turn",
            mend="`bgpbridge events` of that run says who was held up",
        )


def run(chosen: argparse.Namespace, console: Console) -> int:
    """0 when memory was flat and the audit found nothing. Raises LabError."""
    path = Path(chosen.file) if chosen.file else RECORDED
    before, when = machine.load_average(), dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    found, report = _measured(churn(path), 60.0 * chosen.minutes, lambda text: console.print(f"[dim]{text}[/dim]"))
    rows = tuple(_rows(found, report))
    suite = Suite("soak", when, machine.describe(), (before, machine.load_average()), rows, _note(found), grouped=True)
    records.write(suite)
    show(console, suite)
    if not report["clean"]:
        raise LabError(f"the planes differ from the Loc-RIB after the soak: {report}")
    if found.memory.growth_mib > GROWTH_MIB:
        raise LabError(
            f"memory grew by {found.memory.growth_mib:.1f} MiB in the second half, {GROWTH_MIB:.0f} are allowed",
            mend="the minutes above say when; a longer run tells growth from a late step",
        )
    return 0


def _measured(one: Churn, for_s: float, tell: Tell) -> tuple[Soak, dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(rig())
        _address_lan(place, one.sources)
        subject = stack.enter_context(running(place, Daemon.BGPBRIDGE, _configuration(one.sources)))
        client = Client(place.lab.node_folder(str(Daemon.BGPBRIDGE)) / "control.sock")
        testers = [stack.enter_context(_tester(place, number, source)) for number, source in enumerate(one.sources)]
        for tester in testers:
            tester.until_up(30.0)
        tell(f"{len(testers)} sessions; {one.updates:,} UPDATEs in {one.seconds / PACE:.1f} s, again and again")
        _tables_through(client)
        soak = Soak(one, testers, place, client, subject, time.monotonic() + for_s)
        soak.begin()
        feed = threading.Thread(target=soak.feed, name="soak", daemon=True)
        feed.start()
        soak.watch(tell)
        feed.join(timeout=10)
        return soak, soak.settled()


def _tables_through(client: Client) -> None:
    """Wait until every peer has marked the end of its table (RFC 4724 s2): those marks are UPDATEs as well, and count
    as what was before. Raises LabError."""
    deadline = time.monotonic() + SETTLE_S
    while waiting := [peer["name"] for peer in client.get("/v1/peers") if not peer["end_of_rib"]]:
        if time.monotonic() > deadline:
            raise LabError(f"no End-of-RIB of {', '.join(waiting)} within {SETTLE_S:.0f} s")
        time.sleep(PAUSE_S)


def _rows(soak: Soak, report: Mapping[str, Any]) -> Iterator[Row]:
    def row(metric: str, value: float, unit: str) -> Row:
        return Row(metric, OURS, value, value, value, unit, 1)

    yield row("UPDATEs taken in", soak.took, "UPDATEs")
    yield row("rounds of the recording", soak.rounds, "")
    yield row("prefixes with a route, at most", soak.most_routes, "")
    yield row("sessions that came up", sum(tester.sessions for tester in soak.testers), "")
    yield row("UPDATEs that were not sent, their session being away", soak.skipped, "UPDATEs")
    yield row("an UPDATE is taken in after, worst", soak.backlog.worst_s * 1000, "ms")
    store_ms = None if soak.store_p99_s is None else soak.store_p99_s * 1000
    yield Row("an UPDATE that came alone, frame to store, p99", OURS, store_ms, store_ms, store_ms, "ms", 1)
    yield row("routes that waited for the kernel, at most", soak.behind, "")
    for minute, mib in soak.memory.by_minute():
        yield row(f"memory after minute {minute}", mib, "MiB")
    yield row("the lanes beside it, at most", max(mib for _, mib in soak.lanes.seen), "MiB")
    yield row("memory grew in the second half by", max(0.0, soak.memory.growth_mib), "MiB")
    yield row("audit: prefixes that differ", _divergent(report), "")


def _divergent(report: Mapping[str, Any]) -> int:
    counts: list[int] = list(report["divergent"].values())
    return max(sum(counts), int(not report["clean"]))


def _note(soak: Soak) -> str:
    one = soak.round
    return (
        f"{len(one.sources)} peers of a recording of RIPE RIS (2016), {one.updates:,} UPDATEs in {one.seconds} s, "
        f"looped at {PACE} times that pace; sessions that were lost in it are lost in each round. Memory is PSS of all "
        "processes, the BPF arrays that the bridge has mapped among it; the lanes (at most `speaker.lane_mib` for each "
        "peer) are their own line. Lag is looked at twice a second."
    )

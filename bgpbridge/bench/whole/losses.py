"""Paths that are lost: a session that closes, a link that goes down, and a neighbour that nobody stands in for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import FAR_PORTS
from bgpbridge.bench.watch import LinkWatch
from bgpbridge.bench.whole.scale import words
from bgpbridge.bench.whole.tables import Table
from bgpbridge.bench.whole.turn import ROUND_S, Late, Turn
from bgpbridge.types import IPAddress

__all__ = ["lost", "withdrawn"]

EAGER_S: Final = 0.05  # as quickly as can be at first: what moves all prefixes at once is over by then
LOOK_S: Final = 0.0005
SENT: Final = slice(None, -1)  # of a table's samples those that other neighbours have as well


def lost(turn: Turn, table: Table, other: int) -> Iterator[Figure]:
    """Neighbour 0 has the better paths, `other` the same prefixes behind uplink b. Seconds until the last sample has
    moved, from the close of TCP and from the kernel's word that the carrier has gone. Ends without neighbour 0."""
    size, samples = words(len(table.feed)), table.samples[SENT]
    step = "moving off a lost path"
    turn.left_s(step)
    began = time.monotonic_ns()
    turn.testers[0].again = False
    turn.testers[0].drop()
    moved = turn.forwards(samples, turn.port(other), step, eager_s=EAGER_S)
    yield Figure(f"peer_loss_last_{size}", "s", (moved[-1] - began) / 1e9)
    turn.rest()
    turn.tester(0, table.octets)
    turn.forwards(table.samples, turn.port(0), "the table once more")
    turn.rest()
    yield Figure(f"link_loss_last_{size}", "s", _link(turn, samples, other))
    turn.leave(0)
    turn.rest()


def _link(turn: Turn, samples: Sequence[IPAddress], other: int) -> float:
    """The cable of uplink a is pulled at its far end; it is put back once all is measured."""
    place, left = turn.place, turn.left_s("moving off a lost link")
    turn.testers[0].again = False
    try:
        with LinkWatch(place.inside("edge"), "eth1") as watch:
            pulling = threading.Thread(target=place.set_uplink, args=("a",), kwargs={"up": False})
            pulling.start()
            ends = time.monotonic() + left
            while watch.down_ns is None and time.monotonic() < ends:  # pulled, the kernel looks at its routes first
                time.sleep(LOOK_S)
                watch.look()
            found = turn.prober.all_of(samples, turn.port(other), left, round_s=ROUND_S, most=25, eager_s=4 * EAGER_S)
            pulling.join()
    finally:
        place.set_uplink("a", up=True)
    if found is None or watch.down_ns is None:
        raise Late("moving off a lost link", left)
    return (found[-1] - watch.down_ns) / 1e9


def withdrawn(turn: Turn, number: int, table: Table) -> Iterator[Figure]:
    """The only neighbour that is left closes TCP: seconds until no sample is forwarded by XDP any more, and until all
    routes that came since the turn began are out of the kernel (and out of XDP)."""
    size, port = words(len(table.feed)), turn.port(number)
    assert port in FAR_PORTS
    with turn.only_xdp():
        left = turn.left_s("withdrawing")
        watch = turn.kernel.emptied(table.samples, left)
        began = time.monotonic_ns()
        turn.testers[number].again = False
        turn.testers[number].drop()
        gone = turn.prober.gone(table.samples, port, left, ROUND_S) if turn.contender.ours else began
        empty = watch.done_ns()
    if gone is None or empty is None:
        raise Late("withdrawing", left)
    if turn.contender.ours:
        yield Figure(f"withdraw_all_{size}_xdp", "s", (gone - began) / 1e9)
    yield Figure(f"withdraw_all_{size}", "s", (max(gone, empty) - began) / 1e9)

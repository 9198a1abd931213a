"""A changed policy with whole tables: the first neighbour's routes are judged again, and those that are refused now
move to the second one. The same policy in two languages (`bench.policy_pair`), one term of which changes.

The addresses that will move are found before the clock runs, by packets: those that go by uplink b with the changed
policy and by uplink a with the first one. BIRD keeps what came (`import table on`), so that no peer has to send again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpbridge.bench.policy_pair import Pair, pair
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import Uplink
from bgpbridge.bench.whole import configurations
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.scale import words
from bgpbridge.bench.whole.tables import Table
from bgpbridge.bench.whole.turn import Late, Turn
from bgpbridge.errors import LabError
from bgpbridge.lab import runner
from bgpbridge.types import IPAddress

__all__ = ["LAST_AS", "Policy", "reloaded"]

LAST_AS: Final = (1500, 4000)  # of the range that the changed term refuses: before, after
CANDIDATES: Final = 2000
IMPORT: Final = "filter p; import table on"
WAIT_S: Final = 0.3
OTHER: Final = 3  # the neighbour that has the same prefixes behind uplink b


@dataclass(slots=True)
class Policy:
    """The two policies for a table, and where the file of ours is."""

    table: Table
    folder: Path
    pairs: tuple[Pair, ...] = ()
    candidates: list[IPAddress] = field(default_factory=list)

    def prepare(self) -> None:
        """What takes seconds."""
        if not self.pairs:
            self.pairs = tuple(pair(self.table.feed, last) for last in LAST_AS)
            self.candidates = self.table.feed.alone(CANDIDATES)

    @property
    def path(self) -> Path:
        """The file that our configuration names."""
        return self.folder / "whole-policy.yml"

    def text(self, who: Who, peers: Sequence[Uplink], number: int) -> str:
        """The configuration with one of the two; for ours the file is written too."""
        if who is Who.OURS:
            self.path.write_text(self.pairs[number].ours)
            return configurations.ours(peers, policy="p", policies=[str(self.path)])
        return configurations.bird(peers, self.pairs[number].birds, IMPORT)


def reloaded(turn: Turn, policy: Policy, second: Table, peers: Sequence[Uplink]) -> Iterator[Figure]:
    """Seconds from the changed file to the last sample on its new way. Both tables are loaded first."""
    first = policy.table
    for number, table in ((OTHER, second), (0, first)):
        turn.tester(number, table.octets)
        turn.forwards(table.samples[-1:], turn.port(number), "loading")
        turn.rest()
    before = set(turn.prober.which(policy.candidates, turn.port(OTHER), WAIT_S))
    _reload(turn, policy, peers, 1)
    turn.rest()
    after = turn.prober.which(policy.candidates, turn.port(OTHER), WAIT_S)
    moving = [address for address in after if address not in before][-turn.scale.samples :]
    if not moving:
        raise LabError("a changed policy has moved no prefix that is sampled")
    _reload(turn, policy, peers, 0)
    turn.forwards(moving, turn.port(0), "the first policy once more")
    turn.rest()
    began = time.monotonic_ns()
    _reload(turn, policy, peers, 1)
    left = turn.left_s("a changed policy")
    found = turn.prober.all_of(moving, turn.port(OTHER), left)
    if found is None:
        raise Late("a changed policy", left)
    yield Figure(f"policy_reload_{words(len(first.feed))}", "s", (found[-1] - began) / 1e9)
    yield from turn.audited()


def _reload(turn: Turn, policy: Policy, peers: Sequence[Uplink], number: int) -> None:
    """The other file, and the word to read it."""
    text = policy.text(turn.who, peers, number)
    if turn.contender.ours:
        turn.contender.client.post("/v1/reload")
        return
    path = turn.place.folder / f"{turn.contender.name}.conf"
    path.write_text(text)
    done = runner.exec_in(turn.place.lab, turn.contender.name, ["birdc", "-s", str(_control(turn)), "configure"])
    if "Reconfigur" not in done.stdout:
        raise LabError(f"BIRD refuses a changed configuration: {done.stdout.strip()}")


def _control(turn: Turn) -> Path:
    return turn.contender.folder / "bird.ctl"

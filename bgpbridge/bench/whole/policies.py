"""A changed policy with whole tables: the first neighbour's routes are judged again, and those that are refused now
move to the second one. The same policy in two languages (`bench.policy_pair`), one term of which changes.

The addresses that will move are found before the clock runs, by packets: those that go by uplink b with the changed
policy and by uplink a with the first one. BIRD keeps what came (`import table on`), so that no peer has to send again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpbridge.bench.policy_pair import Pair, pair
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import Uplink
from bgpbridge.bench.whole import configurations
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.scale import words
from bgpbridge.bench.whole.tables import Table, neighbour
from bgpbridge.bench.whole.turn import Late, Turn
from bgpbridge.errors import LabError
from bgpbridge.types import IPAddress

__all__ = ["OTHER", "Policy", "reloaded"]

LAST_AS: Final = (1500, 4000)  # of the range that the changed term refuses: before, after
CANDIDATES: Final = 2000
IMPORT: Final = "filter p; import table on"
WAIT_S: Final = 0.3
OTHER: Final = 3  # the neighbour that has the same prefixes behind uplink b


@dataclass(slots=True)
class Policy:
    """The policy before and after its one change, made for a table; `candidates` are addresses that may move."""

    first: Callable[[], Table]
    pairs: tuple[Pair, ...] = ()
    candidates: list[IPAddress] = field(default_factory=list)

    def prepare(self) -> None:
        """What takes seconds."""
        if not self.pairs:
            self.pairs = tuple(pair(self.first().feed, last) for last in LAST_AS)
            self.candidates = self.first().feed.alone(CANDIDATES)

    def text(self, who: Who, peers: Sequence[Uplink], folder: Path, number: int = 0) -> str:
        """The configuration with one of the two; for ours the file that it names is written too."""
        if who is Who.OURS:
            path = folder / "whole-policy.yml"
            path.write_text(self.pairs[number].ours)
            return configurations.ours(peers, policy="p", policies=[str(path)])
        return configurations.bird(peers, self.pairs[number].birds, IMPORT)


def reloaded(turn: Turn, policy: Policy, second: Table) -> Iterator[Figure]:
    """Seconds from the changed file to the last sample on its new way. Both tables are loaded first."""
    first = policy.first()
    for number, table in ((OTHER, second), (0, first)):
        turn.tester(number, table.octets)
        turn.forwards(table.samples[-1:], turn.port(number), "loading")
        turn.rest()
    before = set(turn.prober.which(policy.candidates, turn.port(OTHER), WAIT_S))
    _reload(turn, policy, 1)
    turn.rest()
    after = turn.prober.which(policy.candidates, turn.port(OTHER), WAIT_S)
    moving = [address for address in after if address not in before][-turn.scale.samples :]
    if not moving:
        raise LabError("a changed policy has moved no prefix that is sampled")
    _reload(turn, policy, 0)
    turn.forwards(moving, turn.port(0), "the first policy once more")
    turn.rest()
    began = time.monotonic_ns()
    _reload(turn, policy, 1)
    left = turn.left_s("a changed policy")
    found = turn.prober.all_of(moving, turn.port(OTHER), left)
    if found is None:
        raise Late("a changed policy", left)
    yield Figure(f"policy_reload_{words(len(first.feed))}", "s", (found[-1] - began) / 1e9)
    yield from turn.audited()


def _reload(turn: Turn, policy: Policy, number: int) -> None:
    """The other file, and the word to read it."""
    peers = [neighbour(one, turn.family) for one in (0, OTHER)]
    text = policy.text(turn.who, peers, turn.place.folder, number)
    if turn.contender.ours:
        turn.contender.client.post("/v1/reload")
        return
    (turn.place.folder / f"{turn.contender.name}.conf").write_text(text)
    command = ["birdc", "-s", str(turn.contender.folder / "bird.ctl"), "configure"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "Reconfigur" not in done.stdout:
        raise LabError(f"BIRD refuses a changed configuration: {done.stdout.strip()}")

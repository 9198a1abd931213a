"""Where a running bridge keeps things: its memory over a restart, and what others read of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Files"]


@dataclass(frozen=True, slots=True)
class Files:
    """The memory of groups, and beside it all else; the speaker's configuration."""

    groups: Path
    speaker_config: Path

    @property
    def feed_socket(self) -> Path:
        """Where `bgpbridge pipe` connects (`pipeline.feeders`)."""
        return self.groups.with_name("feed.sock")

    @property
    def overrides(self) -> Path:
        """Those given at run time (`pipeline.override_store`)."""
        return self.groups.with_name("overrides.json")

    @property
    def withdrawn(self) -> Path:
        """The services that health has withdrawn (`pipeline.health`)."""
        return self.groups.with_name("withdrawn.json")

    @property
    def latches(self) -> Path:
        """The peers that an operator has to let in again (`pipeline.latches`)."""
        return self.groups.with_name("latches.json")

    @property
    def program(self) -> Path:
        """From which sources the program on the interfaces was made (`pipeline.datapath_left`, `daemon.clear`)."""
        return self.groups.with_name("program.json")

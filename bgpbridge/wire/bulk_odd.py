"""The messages of a run that are not plain, read one by one by `update.split_update`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.bulk_blocks import Messages
from bgpbridge.wire.bulk_frame import I64, Octets, nonzero
from bgpbridge.wire.bulk_rows import NlriColumns
from bgpbridge.wire.nlri import Nlri
from bgpbridge.wire.update import RawUpdate, split_update
from bgpbridge.wire.verdicts import Finding

__all__ = ["OddMessages"]

AT_ONCE = 32  # messages read between two points, some 40 us each
_LOW = 0xFFFFFFFFFFFFFFFF
_Row = tuple[int, Nlri, int]  # message, prefix, index of its block among the odd ones or -1


class OddMessages:
    """What the odd messages of a run hold.

    `count` is how many messages of the run stand: those before one that resets the session, or up to
    one that disables a family (`disabled`). The messages after that are marked odd as well, so that
    nothing is taken from them. Nothing is known before `read` has been driven to its end.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.count = 0
        self.blocks: list[tuple[bytes, bool]] = []
        self.second: list[int] = []  # of these, those whose message has one before
        self.findings: list[tuple[int, Finding]] = []
        self.verdict = Verdict.ACCEPT
        self.disabled: Family | None = None
        self._rows: dict[Family, list[_Row]] = {}
        self._end_of_rib: list[tuple[int, Family]] = []

    def read(self, run: Octets, start: I64, length: I64, messages: Messages) -> Iterator[None]:
        """The messages of `run` that are marked odd, a few between two points."""
        self.count = len(start)
        for number, message in enumerate(nonzero(messages.odd).tolist(), 1):
            first = int(start[message])
            self._add(message, split_update(run.slice(first, first + int(length[message])), self.session))
            if self.count < len(start) or self.verdict >= Verdict.AFI_SAFI_DISABLE:
                break
            if not number % AT_ONCE:
                yield
        messages.odd[self.count :] = True
        if Family.IPV4 in self.session.families:
            self._end_of_rib += [(m, Family.IPV4) for m in nonzero((length == 23) & ~messages.odd).tolist()]

    @property
    def end_of_rib(self) -> tuple[tuple[int, Family], ...]:
        """All End-of-RIBs of the run, those of plain messages too."""
        return tuple(sorted(self._end_of_rib))

    def _add(self, message: int, raw: RawUpdate) -> None:
        """One message."""
        self.findings += [(message, finding) for finding in raw.findings]
        self.verdict = max(self.verdict, raw.verdict)
        if raw.verdict is Verdict.SESSION_RESET:
            self.count = message
            return
        if raw.verdict is Verdict.AFI_SAFI_DISABLE:
            self.count = message + 1
            self.disabled = next(finding.family for finding in raw.findings if finding.family)
        if raw.end_of_rib:
            self._end_of_rib.append((message, raw.end_of_rib))
        for nlri in raw.unreach:
            self._rows.setdefault(nlri[0].family, []).append((message, nlri, -1))
        for number, (family, mp, prefixes) in enumerate(raw.reach):
            self.second += [len(self.blocks)] * (number > 0)
            self._rows.setdefault(family, []).extend((message, nlri, len(self.blocks)) for nlri in prefixes)
            self.blocks.append((raw.block, mp))

    def rows(self, family: Family, first_block: int) -> NlriColumns:
        """The prefixes of one family; `first_block` is the index that the first odd block got."""
        rows = self._rows.get(family, [])
        value = [prefix.value for _, (prefix, _), _ in rows]
        block = np.array([block for _, _, block in rows], np.int64)
        return NlriColumns(
            np.array([message for message, _, _ in rows], np.int64),
            np.array([number >> 64 for number in value], np.uint64),
            np.array([number & _LOW for number in value], np.uint64),
            np.array([prefix.length for _, (prefix, _), _ in rows], np.uint8),
            np.array([path_id for _, (_, path_id), _ in rows], np.uint32),
            np.where(block >= 0, block + first_block, -1),
        )

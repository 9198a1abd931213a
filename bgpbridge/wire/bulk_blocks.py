"""The attribute blocks of a run: which messages are plain, and canonical octets for them.

Most blocks are octets of the run as they stand. A block with MP_REACH_NLRI is copied into a side buffer
without its NLRI, all of them at once. A message that is not plain is marked odd and goes the scalar way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family, Session
from bgpbridge.wire.attributes import DESCRIPTORS, EXTENDED_LENGTH, OPTIONAL, Code
from bgpbridge.wire.bulk_attributes import AttributeRows, walk_attributes
from bgpbridge.wire.bulk_frame import I64, Octets, nonzero, padded_size
from bgpbridge.wire.raw_update import next_hop_lengths

__all__ = ["Blocks", "Messages", "MpPart", "join_blocks", "split_messages"]


@dataclass(slots=True)
class Blocks:
    """Canonical blocks (see `attributes`): block i is `octets[start[i] : start[i] + length[i]]`.

    `octets` ends with at least 32 zero octets and its size is a multiple of 8, so that words can be read
    at any position. `mp` says that the NLRI of the block came in MP_REACH_NLRI. The octets are a copy
    of the run: the caller's buffer may be reused at once.
    """

    octets: npt.NDArray[np.uint8]
    start: I64
    length: I64
    mp: npt.NDArray[np.bool_]
    _words: Octets | None = None

    def as_words(self) -> Octets:
        """The octets, to be read as words at any position."""
        if self._words is None:
            self._words = Octets(self.octets, len(self.octets))
        return self._words

    def part(self, first: int, count: int) -> Blocks:
        """Blocks `first` to `first + count - 1`, over the same octets."""
        which = slice(first, first + count)
        return Blocks(self.octets, self.start[which], self.length[which], self.mp[which], self.as_words())

    def block(self, index: int) -> bytes:
        """The octets of one block."""
        start = int(self.start[index])
        return self.octets[start : start + int(self.length[index])].tobytes()


@dataclass(slots=True)
class MpPart:
    """MP_REACH_NLRI or MP_UNREACH_NLRI of plain messages: `value` is where the attribute's value starts,
    `nlri` where its prefixes do, `end` where it ends."""

    message: I64
    family: npt.NDArray[np.int64]
    value: I64
    nlri: I64
    end: I64


@dataclass(slots=True)
class Messages:
    """The fields of the messages of a run. What stands in a message that is marked odd is meaningless."""

    withdrawn: I64  # starts; ends are 2 before `attributes`
    attributes: I64
    nlri: I64
    end: I64
    reach: MpPart
    unreach: MpPart
    others: npt.NDArray[np.bool_]  # has attributes other than MP_UNREACH_NLRI
    odd: npt.NDArray[np.bool_]


_WELL_FORMED = np.zeros(1024, np.bool_)  # by AttributeRows.kind: what split_update lets pass
for _code in range(256):
    for _bits in range(4):
        if _code in {Code.MP_REACH, Code.MP_UNREACH}:
            _WELL_FORMED[_code << 2 | _bits] = _bits == OPTIONAL >> 6
        else:
            _WELL_FORMED[_code << 2 | _bits] = _code in DESCRIPTORS or bool(_bits & 2)


def split_messages(run: Octets, start: I64, length: I64, session: Session) -> Messages:
    """Where the fields of each message are. Marks as odd all that `split_update` must look at."""
    end = start + length
    withdrawn = start + 21
    count = (run.load(start + 19) >> np.uint64(48)).view(np.int64)
    attributes = withdrawn + count + 2
    odd = attributes > end
    octets = (run.load(np.minimum(attributes, end) - 2) >> np.uint64(48)).view(np.int64)
    nlri = attributes + octets
    odd |= nlri > end
    if Family.IPV4 not in session.families:
        odd |= (count > 0) | (nlri < end)
    nlri = np.where(odd, attributes, nlri)
    rows = walk_attributes(run, attributes, nlri)
    odd |= rows.odd
    odd[rows.block.compress(~_WELL_FORMED.take(rows.kind))] = True
    code = rows.kind >> 2
    reach = _mp_part(run, rows, nonzero(code == Code.MP_REACH), session, 5, odd)
    unreach = _mp_part(run, rows, nonzero(code == Code.MP_UNREACH), session, 3, odd)
    others = np.zeros(len(start), np.bool_)
    others[rows.block.compress(code != Code.MP_UNREACH) if len(unreach.message) else rows.block] = True
    _mark_mixed(odd, nlri < end, reach, unreach, others, count > 0)
    return Messages(withdrawn, attributes, nlri, end, reach, unreach, others, odd)


def _mark_mixed(
    odd: npt.NDArray[np.bool_],
    classic: npt.NDArray[np.bool_],
    reach: MpPart,
    unreach: MpPart,
    others: npt.NDArray[np.bool_],
    withdrawn: npt.NDArray[np.bool_],
) -> None:
    """Messages with more than one kind of routes, with attributes but no reachable NLRI, and the
    End-of-RIB of MP families: rare, and judged as a whole."""
    odd[reach.message.compress(classic.take(reach.message) | (reach.nlri >= reach.end))] = True
    empty = (unreach.nlri >= unreach.end) & ~withdrawn.take(unreach.message)
    odd[unreach.message.compress((others | classic).take(unreach.message) | empty)] = True
    reachable = classic.copy()
    reachable[reach.message] = True
    odd |= others & ~reachable


def _mp_part(
    run: Octets, rows: AttributeRows, which: I64, session: Session, least: int, odd: npt.NDArray[np.bool_]
) -> MpPart:
    """One of the two MP attributes in all messages. `least` is its smallest length (RFC 7606 s5.3)."""
    message, value, length = rows.block.take(which), rows.value.take(which), rows.length.take(which)
    if not len(which):
        return MpPart(message, message, value, value, value)
    head = run.load(value)
    afi_safi = (head >> np.uint64(40)).view(np.int64)
    family = afi_safi >> 8
    bad = length < least
    nlri = value + 3
    fits = np.zeros(len(which), np.bool_)
    hop = ((head >> np.uint64(32)) & np.uint64(255)).view(np.int64)
    for known in session.families:
        same = afi_safi == (known << 8 | 1)
        if least == 5:  # MP_REACH_NLRI: the next hop and a reserved octet stand before the prefixes
            same &= np.isin(hop, list(next_hop_lengths(known, session))) & (length >= 5 + hop)
        fits |= same
    if least == 5:
        nlri = value + 5 + hop
    bad |= ~fits
    if len(message) > 1:  # twice in one message; rows of one block are not neighbours, so count
        bad |= np.bincount(message, minlength=len(odd)).take(message) > 1
    odd[message.compress(bad)] = True
    return MpPart(message, family, value, nlri, value + length)


def join_blocks(run: Octets, messages: Messages, scalar: list[tuple[bytes, bool]]) -> tuple[Blocks, I64, int]:
    """The blocks of a run: those of plain messages, then `scalar` (octets, mp), those of odd ones. Also
    the index of the block of every plain message (-1: none), and the index of the first scalar one."""
    classic = nonzero(~messages.odd & (messages.nlri < messages.end))
    mp = nonzero(~messages.odd.take(messages.reach.message))
    side, mp_start, mp_length = _cut_mp(run, messages, mp)
    tail = np.frombuffer(b"".join(block for block, _ in scalar), np.uint8)
    octets = _appended(run, side, tail)
    lengths = np.array([len(block) for block, _ in scalar], np.int64)
    begin = messages.attributes.take(classic)
    start = [begin, mp_start + run.size, np.cumsum(lengths) - lengths + run.size + len(side)]
    length = [messages.nlri.take(classic) - begin, mp_length, lengths]
    flag = [np.zeros(len(classic), np.bool_), np.ones(len(mp), np.bool_), np.array([f for _, f in scalar], np.bool_)]
    of_message = np.full(len(messages.end), -1, np.int64)
    of_message[classic] = np.arange(len(classic))
    of_message[messages.reach.message.take(mp)] = np.arange(len(mp)) + len(classic)
    words = run if octets is run.data else None
    blocks = Blocks(octets, np.concatenate(start), np.concatenate(length), np.concatenate(flag), words)
    return blocks, of_message, len(classic) + len(mp)


def _appended(run: Octets, *more: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The octets of the run and more behind them, padded."""
    size = run.size + sum(map(len, more))
    if size == run.size:
        return run.data
    padding = np.zeros(padded_size(size) - size, np.uint8)
    return np.concatenate([run.data[: run.size], *more, padding])


def _cut_mp(run: Octets, messages: Messages, which: I64) -> tuple[npt.NDArray[np.uint8], I64, I64]:
    """Canonical octets of the blocks with MP_REACH_NLRI, back to back, with their starts and lengths.

    Each is three pieces of its message: the attributes before, four octets of header (written over
    afterwards) and the value up to the next hop's end, the attributes after.
    """
    reach = messages.reach
    message, value = reach.message.take(which), reach.value.take(which)
    kept = reach.nlri.take(which) - 1 - value  # without the reserved octet
    begin = messages.attributes.take(message)
    wide = run.data.take(value - 3) == Code.MP_REACH  # else the flags stand there, with OPTIONAL set
    header = value - 3 - wide
    starts = np.column_stack([begin, value - 4, reach.end.take(which)])
    lengths = np.column_stack([header - begin, kept + 4, messages.nlri.take(message) - starts[:, 2]])
    length = lengths.sum(axis=1)
    start = np.cumsum(length) - length
    side = run.pieces(starts.ravel(), lengths.ravel())
    at = start + lengths[:, 0]
    for offset, octet in enumerate((OPTIONAL | EXTENDED_LENGTH, Code.MP_REACH, 0)):
        side[at + offset] = octet
    side[at + 3] = kept
    return side, start, length

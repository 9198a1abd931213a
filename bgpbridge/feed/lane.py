"""Lanes: one ring in shared memory for each peer, between the speaker (producer) and the bridge (consumer).

One memfd holds a header, the table of peers, and the lanes. Each lane has one producer and one consumer,
so nothing is ever locked. What must hold, whoever is killed at whatever instruction:

- A record is whole or absent. The producer writes octets first and then the head, in one aligned store.
- Nothing is lost or doubled for a consumer that lives: it copies records out and then moves the tail. One
  that is killed in between finds the same records again.
- The memory is bounded by the layout. A producer without room leaves its peer's TCP unread and sets
  `want`; the consumer rings the space bell when half of the ring is free again.
- The file is sealed against a change of size, so the unprivileged side cannot take memory away from under
  the other (SIGBUS), and every length that is read is checked before it is used.

Stores become visible in program order on x86 (TSO); `_fence` is a full barrier for the one place that
needs store-to-load order (want against tail), and stands before the head store for other machines.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import threading
from dataclasses import dataclass
from typing import Final

from bgpbridge.errors import CapacityError, LaneError

__all__ = ["LANE_VERSION", "Lane", "LaneMemory", "Layout"]

LANE_VERSION: Final = 2
_MAGIC: Final = b"BGPBLANE"
_PAGE: Final = 4096
_DIRECTORY: Final = 128 << 10  # one of two slots for the table of peers, JSON
_HEADER: Final = struct.Struct("=8sIIQ")  # magic, version, lanes, octets of one lane
_RECORD: Final = struct.Struct("=IBBH")  # payload octets, kind, 0, 0
_WRAP: Final = 0xFFFFFFFF  # in place of a length: go on at the start of the ring

# words (u64) of the header page and of a lane's page; each on a cache line of its own
_EPOCH: Final = 8
_SLOT: Final = 16
_HEAD: Final = 0
_TAIL: Final = 8
_WANT: Final = 16
_BOUNDARY: Final = 24
_DROPPED: Final = 32

# in the header page, an octet for each lane: something was put into it
_FLAGS: Final = 512
_MOST_LANES: Final = _PAGE - _FLAGS

_lock = threading.Lock()


def _fence() -> None:
    """A full memory barrier: taking a lock is one locked instruction."""
    with _lock:
        pass


@dataclass(frozen=True, slots=True)
class Layout:
    """How many lanes there are and how big each is. Lane 0 is the speaker's own, lane n that of peer n."""

    lanes: int
    lane_octets: int = 4 << 20

    def __post_init__(self) -> None:
        if not 0 < self.lanes <= _MOST_LANES or self.lane_octets < 1 << 20 or self.lane_octets % _PAGE:
            raise LaneError(
                f"{self.lanes} lanes of {self.lane_octets} octets is no layout",
                mend=f"give 1 to {_MOST_LANES} lanes of 1 MiB or more, in whole pages (speaker.lane_mib)",
            )

    @property
    def octets(self) -> int:
        """The size of the whole memory. It is sparse: an unused lane costs nothing."""
        return self.lane_start(self.lanes)

    def lane_start(self, index: int) -> int:
        """Where the page of lane `index` begins."""
        return _PAGE + 2 * _DIRECTORY + index * (_PAGE + self.lane_octets)

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps({"version": LANE_VERSION, "lanes": self.lanes, "lane_octets": self.lane_octets})

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """The reverse of `to_json`. Raises LaneError."""
        try:
            data = json.loads(text)
            version, lanes, octets = data["version"], int(data["lanes"]), int(data["lane_octets"])
        except (ValueError, KeyError, TypeError):
            raise LaneError(f"{text!r} is no lane layout") from None
        if version != LANE_VERSION:
            raise _other_version(version)
        return cls(lanes, octets)


def _other_version(version: object) -> LaneError:
    return LaneError(
        f"the lanes are laid out as version {version}, this is version {LANE_VERSION}",
        mend="speaker and bridge must be of the same release: restart both",
    )


class Lane:
    """One ring. A producer calls `put`, a consumer `take` and `done`; nobody calls both sides."""

    __slots__ = ("_data", "_flags", "_next", "_words", "index", "size")

    def __init__(self, view: memoryview, index: int, start: int, size: int) -> None:
        self.index = index
        self.size = size
        self._words = view[start : start + _PAGE].cast("Q")
        self._data = view[start + _PAGE : start + _PAGE + size]
        self._flags = view[_FLAGS:_PAGE]
        self._next = self._words[_TAIL]

    # The producer's side ---------------------------------------------------------------------------

    def room(self) -> int:
        """Free octets."""
        return self.size - (self._words[_HEAD] - self._words[_TAIL])

    def put(self, kind: int, payload: bytes) -> bool:
        """Append a record. False: there is no room and nothing was written."""
        length = len(payload)
        need = 8 + (length + 7 & ~7)
        head = self._words[_HEAD]
        offset = head % self.size
        skip = self.size - offset if self.size - offset < need else 0
        if self.size - (head - self._words[_TAIL]) < need + skip:
            return False
        if skip:
            _RECORD.pack_into(self._data, offset, _WRAP, 0, 0, 0)
            offset = 0
        _RECORD.pack_into(self._data, offset, length, kind, 0, 0)
        self._data[offset + 8 : offset + 8 + length] = payload
        _fence()
        self._words[_HEAD] = head + skip + need
        self._flags[self.index] = 1
        return True

    def full(self, need: int) -> bool:
        """True when less than `need` octets are free; the space bell then rings when half the ring is."""
        if self.room() >= need:
            return False
        self._words[_WANT] = 1
        _fence()
        if self.room() >= need:  # the consumer may have made room just before it could see `want`
            self._words[_WANT] = 0
            return False
        return True

    @property
    def written(self) -> int:
        """Position in the stream up to which the producer has come."""
        return self._words[_HEAD]

    def count_dropped(self) -> None:
        """Count a record that had to be left out (notices only; never anything of a session)."""
        self._words[_DROPPED] += 1

    # The consumer's side ---------------------------------------------------------------------------

    def backlog(self) -> int:
        """Octets that wait."""
        return self._words[_HEAD] - self._words[_TAIL]

    @property
    def dropped(self) -> int:
        """Notices that the speaker left out for want of room."""
        return self._words[_DROPPED]

    @property
    def boundary(self) -> int:
        """Position in the stream at which the last speaker that died had stopped writing."""
        return self._words[_BOUNDARY]

    @property
    def position(self) -> int:
        """Position in the stream up to which the consumer is done."""
        return self._words[_TAIL]

    @property
    def taken(self) -> int:
        """Position up to which the last `take` has copied."""
        return self._next

    def take(self, limit: int, stop: int | None = None) -> list[tuple[int, bytes]]:
        """The next records as (kind, payload), at least one if any waits, until `limit` octets or the
        position `stop` are reached. Adjacent runs of the same kind 1 (UPDATES) come as one.
        The room is not free before `done`. Raises LaneError on a ring that makes no sense."""
        head, position = self._words[_HEAD], self._words[_TAIL]
        if not 0 <= head - position <= self.size or head % 8 or position % 8:
            raise self._damaged(f"head {head} and tail {position} do not fit a ring of {self.size}")
        end = head if stop is None else min(head, max(stop, position))
        found: list[tuple[int, bytes]] = []
        run: list[memoryview] = []
        taken = 0
        while position < end and taken < limit:
            offset = position % self.size
            length, kind, _, _ = _RECORD.unpack_from(self._data, offset)
            if length == _WRAP:
                position += self.size - offset
                continue
            following = position + 8 + (length + 7 & ~7)
            if following > head or offset + 8 + length > self.size:
                raise self._damaged(f"a record of {length} octets at {position} runs over its end")
            payload = self._data[offset + 8 : offset + 8 + length]
            if kind == 1:
                run.append(payload)
            else:
                if run:
                    found.append((1, b"".join(run)))
                    run = []
                found.append((kind, bytes(payload)))
            taken += length + 8
            position = following
        if run:
            found.append((1, b"".join(run)))
        self._next = position
        return found

    def lone(self, limit: int) -> bytes | None:
        """The payload of the one record that waits, if it is of kind 1 (UPDATES) and has at most `limit` octets; else
        None, and nothing was taken. `take` says what is wrong where a ring makes no sense."""
        head, position = self._words[_HEAD], self._words[_TAIL]
        start = position % self.size + 8
        if not 8 < head - position <= limit + 8 or position & 7 or start + head - position - 8 > self.size:
            return None
        length, kind, _, _ = _RECORD.unpack_from(self._data, start - 8)
        if kind != 1 or position + 8 + (length + 7 & ~7) != head:
            return None
        self._next = head
        return bytes(self._data[start : start + length])

    def done(self) -> bool:
        """Give back the room of what the last `take` copied. True: the producer waits, ring its bell."""
        self._words[_TAIL] = self._next
        _fence()
        if self._words[_WANT] and self.room() >= self.size >> 1:
            self._words[_WANT] = 0
            return True
        return False

    def _damaged(self, what: str) -> LaneError:
        return LaneError(f"lane {self.index} is damaged: {what}", mend="restart the speaker; routes are kept stale")

    # The launcher's side ---------------------------------------------------------------------------

    def _close_generation(self) -> None:
        self._words[_WANT] = 0
        self._words[_BOUNDARY] = self._words[_HEAD]
        self._flags[self.index] = 1

    def _release(self) -> None:
        self._words.release()
        self._data.release()
        self._flags.release()


class LaneMemory:
    """The mapped memory as a whole: header, table of peers, lanes."""

    def __init__(self, fd: int, layout: Layout) -> None:
        size = os.fstat(fd).st_size
        if size != layout.octets:
            raise LaneError(
                f"the lane memory has {size} octets, {layout.lanes} lanes of {layout.lane_octets} need {layout.octets}",
                mend="speaker and bridge were started with different layouts: restart both",
            )
        self.layout = layout
        self._map = mmap.mmap(fd, size)
        self._view = memoryview(self._map)
        self._words = self._view[:_PAGE].cast("Q")
        self._flags = self._view[_FLAGS : _FLAGS + layout.lanes]
        self._check_header()
        self.lanes: tuple[Lane, ...] = tuple(
            Lane(self._view, index, layout.lane_start(index), layout.lane_octets) for index in range(layout.lanes)
        )

    def _check_header(self) -> None:
        magic, version, lanes, octets = _HEADER.unpack_from(self._view, 0)
        if magic != _MAGIC:
            raise LaneError("the file descriptor for the lanes holds something else", mend="restart the speaker")
        if version != LANE_VERSION:
            raise _other_version(version)
        if (lanes, octets) != (self.layout.lanes, self.layout.lane_octets):
            raise LaneError(f"the memory holds {lanes} lanes of {octets} octets, expected {self.layout}")

    @staticmethod
    def create(layout: Layout) -> int:
        """A new, sealed memfd with an empty header; close-on-exec."""
        fd = os.memfd_create("bgpbridge-lanes", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, layout.octets)
        os.pwrite(fd, _HEADER.pack(_MAGIC, LANE_VERSION, layout.lanes, layout.lane_octets), 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd

    def give_back(self, index: int) -> bool:
        """For the producer of a lane, between two records: the pages of a ring in which nothing waits. They come again
        by themselves, as zeros, which the consumer never reads. False: something waits."""
        lane = self.lanes[index]
        if lane.backlog():
            return False
        self._map.madvise(mmap.MADV_REMOVE, self.layout.lane_start(index) + _PAGE, lane.size)
        return True

    @property
    def epoch(self) -> int:
        """Counts the speakers that have died; see `close_generation`."""
        return self._words[_EPOCH]

    def flagged(self) -> list[int]:
        """For the consumer, when the bell has rung: lanes that something was put into since the last call, lowest
        first. Their flags are taken down before anybody looks at their heads, so nothing goes unseen."""
        flags = bytes(self._flags)
        found = []
        at = flags.find(1)
        while at >= 0:
            self._flags[at] = 0
            found.append(at)
            at = flags.find(1, at + 1)
        _fence()
        return found

    def close_generation(self) -> None:
        """A speaker is gone: mark, in every lane, where its stream ends. The launcher calls this when its
        child has exited, and before it starts the next one; twice does no harm."""
        for lane in self.lanes:
            lane._close_generation()
        _fence()
        self._words[_EPOCH] += 1

    def write_peers(self, numbers: dict[str, int]) -> None:
        """Keep the table of peers beside the lanes, so that a new bridge numbers them as the old one did.
        Written to the slot that is not in use and then switched: a kill leaves the old one or the new."""
        text = json.dumps(numbers).encode()
        if len(text) + 8 > _DIRECTORY:
            raise CapacityError(f"{len(numbers)} peers do not fit into the table beside the lanes")
        slot = 1 - self._words[_SLOT] % 2
        start = _PAGE + slot * _DIRECTORY
        self._view[start : start + 8] = len(text).to_bytes(8, "little")
        self._view[start + 8 : start + 8 + len(text)] = text
        _fence()
        self._words[_SLOT] = slot

    def read_peers(self) -> dict[str, int]:
        """The table that `write_peers` left; empty in a new memory. Raises LaneError."""
        start = _PAGE + self._words[_SLOT] % 2 * _DIRECTORY
        length = int.from_bytes(self._view[start : start + 8], "little")
        if not length:
            return {}
        try:
            numbers = json.loads(bytes(self._view[start + 8 : start + 8 + min(length, _DIRECTORY)]))
            return {str(name): int(number) for name, number in numbers.items()}
        except (ValueError, TypeError, AttributeError):
            raise LaneError("the table of peers beside the lanes cannot be read", mend="restart the speaker") from None

    def close(self) -> None:
        """Unmap. The descriptor stays with its owner."""
        for lane in self.lanes:
            lane._release()
        self._words.release()
        self._flags.release()
        self._view.release()
        self._map.close()

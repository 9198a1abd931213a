"""A bounded cursor over hostile octets.

Every scalar parser of this room reads through it, so none of them can read past the field it was given:
a read that does not fit raises WireError, and `sub` hands out a smaller bound, never a larger one. The
cursor copies nothing; it holds the octets it was made from for as long as it lives.
"""

from __future__ import annotations

from bgpbridge.errors import WireError

__all__ = ["Cursor"]


class Cursor:
    """Reads `data[start:end]` from left to right. Integers are unsigned and in network order."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        bound = len(data) if end is None else end
        if not 0 <= start <= bound <= len(data):
            raise WireError(f"octets {start} to {bound} asked for, {len(data)} there")
        self.data = data
        self.position = start
        self.end = bound

    def remaining(self) -> int:
        """Octets that are left."""
        return self.end - self.position

    def take(self, octets: int) -> bytes:
        """The next `octets` octets. Raises WireError when fewer are left."""
        start = self._skip(octets)
        return self.data[start : self.position]

    def _skip(self, octets: int) -> int:
        """Go on behind the next `octets` octets; where they start."""
        start = self.position
        if octets < 0 or start + octets > self.end:
            raise WireError(f"{octets} octets wanted at {start}, {self.end - start} left")
        self.position = start + octets
        return start

    def integer(self, octets: int) -> int:
        """The next `octets` octets as an unsigned integer."""
        return int.from_bytes(self.take(octets), "big")

    def u8(self) -> int:
        """One octet."""
        start = self.position
        if start >= self.end:
            raise WireError(f"1 octet wanted at {start}, 0 left")
        self.position = start + 1
        return self.data[start]

    def u16(self) -> int:
        """Two octets."""
        return self.integer(2)

    def u32(self) -> int:
        """Four octets."""
        return self.integer(4)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.end - self.position)

    def sub(self, octets: int) -> Cursor:
        """A cursor over the next `octets` octets, which this one skips."""
        start = self._skip(octets)
        return Cursor(self.data, start, self.position)

    def finish(self) -> None:
        """Raises WireError when octets are left over."""
        if self.position != self.end:
            raise WireError(f"{self.end - self.position} octets left over at {self.position}")

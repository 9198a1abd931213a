"""How much bulk work does between two of its points: by how long the pieces before have taken.

A piece takes three times as long with another policy, in another table or on another machine, so no fixed size keeps an
event loop awake and loads quickly as well. Whoever drives the work says how much time a piece may take (`allow`) and
how much each took (`took`); no clock is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Pieces", "Size"]

LEAST_CHANGE, MOST_CHANGE = 0.5, 1.5  # of a size, from one piece to the next: a lone late one is mostly chance


@dataclass(slots=True)
class Size:
    """Of one kind of piece: `least` and `most`, and the `usual` least, for when nobody waits. At first the most."""

    least: int
    usual: int
    most: int
    now: float = field(init=False)

    def __post_init__(self) -> None:
        self.now = float(self.most)

    def scale(self, by: float, *, hurried: bool) -> None:
        """Another size from the next piece on."""
        least = self.least if hurried else self.usual
        self.now = min(max(self.now * by, float(least)), float(self.most))


@dataclass(slots=True)
class Pieces:
    """Sizes of pieces of `rows` that are decided and of attribute `blocks` that are interned; `hurried` while somebody
    waits for the end of each."""

    rows: Size
    blocks: Size
    allowed_s: float = 0.0  # 0: pieces stay as large as they may be
    hurried: bool = False
    _last: tuple[Size, int] | None = field(default=None, init=False)

    def allow(self, seconds: float, *, hurried: bool = False) -> None:
        """From now on a piece should take so long at most. The first ones are small: caches are cold, pages are new."""
        if (seconds, hurried) == (self.allowed_s, self.hurried):
            return
        by = min(seconds / self.allowed_s, 1.0) if self.allowed_s else 0.0
        self.allowed_s, self.hurried = seconds, hurried
        for size in (self.rows, self.blocks):
            size.scale(by, hurried=hurried)

    def began(self, size: Size, count: int) -> None:
        """A piece of a kind is under way."""
        self._last = size, count

    def took(self, seconds: float) -> None:
        """How long the piece took that began last, with all that hangs on it."""
        if self._last is None or not self.allowed_s:
            return
        size, count = self._last
        self._last = None
        if count * 2 > size.now or seconds > self.allowed_s:  # a small rest says nothing of a large one
            by = min(max(self.allowed_s / max(seconds, 1e-6), LEAST_CHANGE), MOST_CHANGE)
            size.scale(by, hurried=self.hurried)

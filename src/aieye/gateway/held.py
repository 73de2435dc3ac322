"""A bound for all streams together: what they hold beyond what their quickest readers need. Pure.

A client that does not read makes its stream hold what came and is kept for the cache, a megabyte or
two; and there may be any number of such clients.
"""

from __future__ import annotations

from typing import Protocol

MOST_HELD_BYTES = 128 * 2**20


class Holder(Protocol):
    """What holds bytes that it can do without."""

    def let_go(self) -> int:
        """Hold less, in one step or in several; how many bytes are left that could be done without."""
        ...


class Held:
    """The shares of all holders. When their sum passes `most_bytes` the largest ones let go."""

    def __init__(self, most_bytes: int = MOST_HELD_BYTES) -> None:
        self.most_bytes = most_bytes
        self.total_bytes = 0
        self._shares: dict[Holder, int] = {}

    def note(self, holder: Holder, size: int) -> None:
        """`holder` now holds `size` bytes that it could do without."""
        self._set(holder, size)
        while self.total_bytes > self.most_bytes:
            largest = max(self._shares, key=self._shares.__getitem__)
            before = self._shares[largest]
            self._set(largest, largest.let_go())
            if self._shares.get(largest, 0) >= before:
                # The largest share is what its holder needs after all, so the others' are, too.
                return

    def _set(self, holder: Holder, size: int) -> None:
        self.total_bytes += size - self._shares.pop(holder, 0)
        if size:
            self._shares[holder] = size

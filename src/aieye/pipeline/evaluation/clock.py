"""Times of day that never run backwards while a run lasts."""

from __future__ import annotations

import time


class Clock:
    """Seconds since the epoch, counted on from when the clock was made."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset + time.monotonic()

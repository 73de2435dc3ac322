"""How late the event loop runs what is due: what a blocked loop does to every call at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

INTERVAL_SECONDS = 0.1
# A stall counts against readiness for this long after it is over.
REMEMBERED_SECONDS = 3.0


class LoopLag:
    """Measured by a timer that should fire every `INTERVAL_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: float | None = None
        self._late: deque[tuple[float, float]] = deque()

    async def watch(self) -> None:
        """Measure for ever: a task of the app."""
        while True:
            self.expect(INTERVAL_SECONDS)
            await asyncio.sleep(INTERVAL_SECONDS)
            self.note()

    def expect(self, seconds: float) -> None:
        """The timer is to fire in so many seconds."""
        self._due = self._clock() + seconds

    def note(self) -> None:
        """The timer fired."""
        moment = self._clock()
        if self._due is not None:
            self._late.append((moment, moment - self._due))
        self._due = None
        while self._late and self._late[0][0] < moment - REMEMBERED_SECONDS:
            self._late.popleft()

    @property
    def seconds(self) -> float:
        """The worst lag of the last three seconds, that of a timer overdue right now included.

        Asked just after a stall, the asker may well run before the timer does.
        """
        moment = self._clock()
        overdue = 0.0 if self._due is None else max(0.0, moment - self._due)
        recent = (late for at, late in self._late if at >= moment - REMEMBERED_SECONDS)
        return max(overdue, *recent, 0.0) if self._late else overdue

"""Moments in the near future, for which one timer of the event loop serves all.

A timer of its own for every call costs more than anything else that a call waits with; and next to
none of them ever goes off. Here setting and cancelling are an entry in a set. What is due is called
up to `TICK_SECONDS` late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

TICK_SECONDS = 0.01


class Alarm:
    """One call-back to come. `cancel` may be called at any time, and more than once."""

    __slots__ = ("_among", "call_back")

    def __init__(self, call_back: Callable[[], None], among: set[Alarm]) -> None:
        self.call_back = call_back
        self._among = among
        among.add(self)

    def cancel(self) -> None:
        self._among.discard(self)


class Ticker:
    """The alarms of one event loop, by the tick in which they are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, set[Alarm]] = {}
        self._done_until = 0
        self._is_ticking = False

    def call_at(self, when: float, call_back: Callable[[], None]) -> Alarm:
        """Call back once the loop's time is `when`."""
        if not self._is_ticking:
            self._is_ticking = True
            self._done_until = int(self._loop.time() / TICK_SECONDS)
            self._loop.call_later(TICK_SECONDS, self._tick)
        tick = max(int(when / TICK_SECONDS) + 1, self._done_until + 1)
        among = self._due.get(tick)
        if among is None:
            among = self._due[tick] = set()
        return Alarm(call_back, among)

    def _tick(self) -> None:
        self._done_until = until = int(self._loop.time() / TICK_SECONDS)
        try:
            for tick in sorted(tick for tick in self._due if tick <= until):
                # One alarm may cancel another of its tick.
                while alarms := self._due[tick]:
                    alarms.pop().call_back()
        finally:
            self._due = {tick: alarms for tick, alarms in self._due.items() if alarms}
            self._is_ticking = bool(self._due)
            if self._is_ticking:
                self._loop.call_later(TICK_SECONDS, self._tick)


_tickers: WeakKeyDictionary[asyncio.AbstractEventLoop, Ticker] = WeakKeyDictionary()


def ticker() -> Ticker:
    """The ticker of the running loop."""
    loop = asyncio.get_running_loop()
    found = _tickers.get(loop)
    if found is None:
        found = _tickers[loop] = Ticker(loop)
    return found

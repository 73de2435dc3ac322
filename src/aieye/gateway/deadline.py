"""How long a phase of a call may take."""

from __future__ import annotations

import asyncio
from typing import Any

from aieye.gateway.faults import UpstreamTimeout


class Deadline:
    """Cancels the task it was made in when the present phase of a call takes too long.

    `extend` moves the moment; it is only a number, read by a single timer, so that it costs nothing
    per event of a stream. Use as a context manager: the cancellation comes out as UpstreamTimeout.
    """

    __slots__ = ("_armed_at", "_at", "_expired", "_handle", "_loop", "_phase", "_task", "_total_at")

    def __init__(self, seconds: float, phase: str, total_seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        start = self._loop.time()
        self._total_at = float("inf") if total_seconds is None else start + total_seconds
        self._at = min(start + seconds, self._total_at)
        self._phase = phase
        self._armed_at = self._at
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def extend(self, seconds: float, phase: str) -> None:
        """From now on, `seconds` of silence are allowed in `phase`."""
        self._at = self._loop.time() + seconds
        self._phase = phase
        if self._at < self._armed_at:
            self._arm()

    def __enter__(self) -> Deadline:
        self._task = asyncio.current_task()
        self._arm()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._expired and self._task is not None:
            if self._task.uncancel() > 0:
                return
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                raise UpstreamTimeout(f"The provider did not answer in time ({self._phase}).")

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_at = min(self._at, self._total_at)
        self._handle = self._loop.call_at(self._armed_at, self._look)

    def _look(self) -> None:
        due = min(self._at, self._total_at)
        # Timers may fire a little early: what is left is less than a clock tick then.
        if self._loop.time() + 0.002 < due:
            self._arm()
            return
        if self._at > self._total_at:
            self._phase = "total time"
        self._expired = True
        if self._task is not None:
            self._task.cancel()

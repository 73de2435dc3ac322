"""What runs beside the serving for as long as the process does: loops that are not meant to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from aieye.telemetry.loggers import get_logger

log = get_logger()

# How long a loop that has ended rests before it is begun again.
PAUSE_SECONDS = 1.0

Loop = Callable[[], Awaitable[None]]


class Background:
    """Begins each loop again that ends, and knows which ones have lately."""

    def __init__(self) -> None:
        self._ended_at: dict[str, float] = {}

    @asynccontextmanager
    async def running(self, loops: Mapping[str, Loop]) -> AsyncIterator[None]:
        """Run the loops, named as a fault calls them, until the end of the context."""
        tasks = [asyncio.create_task(self._keep(name, loop)) for name, loop in loops.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    def find_fault(self) -> str | None:
        """What has ended and has not run again for as long as it rested: one that fails at once
        each time is at fault throughout."""
        since = time.monotonic() - 2 * PAUSE_SECONDS
        names = [name for name, ended_at in self._ended_at.items() if ended_at > since]
        return f"failed and begun again: {', '.join(names)}" if names else None

    async def _keep(self, name: str, loop: Loop) -> None:
        while True:
            try:
                await loop()
                log.error("background_task_ended", task=name)
            except Exception:
                # A worker loop: whatever it is, the next round may go well.
                log.exception("background_task_ended", task=name)
            self._ended_at[name] = time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)

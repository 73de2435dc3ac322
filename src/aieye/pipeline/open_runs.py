"""Runs under way in this process: ended by their id, and waited for when the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aieye.db.engine import Database
from aieye.pipeline.evaluation.cancellation import Cancellation
from aieye.pipeline.executions import Run
from aieye.pipeline.run_queries import told_to_end

# How often a process looks for runs of its own that another was asked to end.
LOOK_SECONDS: Final = 0.25
# The most run ids in one question.
_MOST_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun:
    """A run, the word that ends it, and when its record is written."""

    run: Run
    cancellation: Cancellation
    over: asyncio.Future[None]


class OpenRuns:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._runs: dict[str, OpenRun] = {}

    @contextmanager
    def holding(self, run: Run) -> Iterator[Cancellation]:
        """Know the run until its record is written."""
        over = asyncio.get_running_loop().create_future()
        cancellation = Cancellation()
        self._runs[run.run_id] = OpenRun(run, cancellation, over)
        try:
            yield cancellation
        finally:
            del self._runs[run.run_id]
            over.set_result(None)

    def find(self, run_id: str) -> Run | None:
        """The run, while it goes on."""
        found = self._runs.get(run_id)
        return None if found is None else found.run

    def cancel(self, run_id: str) -> bool:
        """Tell a run to end; False if it is none of this process's."""
        found = self._runs.get(run_id)
        if found is None:
            return False
        found.cancellation.ask()
        return True

    async def wait(self, seconds: float) -> None:
        """Wait for the records of all runs."""
        if self._runs:
            await asyncio.wait([one.over for one in self._runs.values()], timeout=seconds)

    async def watch(self) -> None:
        """End for ever what other processes were asked to end; without a run nothing is looked at."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        ids = [id_ for id_, one in self._runs.items() if not one.cancellation.is_asked]
        for start in range(0, len(ids), _MOST_AT_ONCE):
            async with self._database.read() as session:
                found = await told_to_end(session, ids[start : start + _MOST_AT_ONCE])
            for run_id in found:
                self.cancel(run_id)

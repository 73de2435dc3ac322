"""Group commit: rows from many calls, written in one transaction, and a future for their durability.

While one batch is being committed the next one gathers, so that a slow disk makes batches larger
instead of calls slower by turns. A row whose key is already in the gathering batch replaces it
(`put`) or is added to it (`add`): a call that opens and settles within one batch costs one row.

A batch that the database cannot take is kept and tried again; callers stop waiting after
`WAIT_SECONDS` and `is_healthy` turns false, so that no new call is admitted meanwhile. A batch that
the database refuses is written row by row, and the row it refuses is logged and left out.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aieye.db.batches import Backend, Batch, Groups, Refused, Row, Target, rows_of
from aieye.db.engine import Database
from aieye.db.postgresql_backend import PostgresBackend
from aieye.db.sqlite_backend import SqliteBackend
from aieye.errors import Unavailable
from aieye.telemetry.loggers import get_logger

log = get_logger()

WAIT_SECONDS = 5.0
LAZY_SECONDS = 0.05
# How long a batch may wait for more rows while they keep coming, in turns of the loop without any,
# in all, and in rows.
QUIET_TURNS = 1
GATHER_SECONDS = 0.005
MOST_GATHERED = 512
RETRY_SECONDS = 0.25
# Beyond this many rows in waiting, no further call is admitted.
MOST_ROWS = 20_000


class NotRecorded(Unavailable):
    """The ledger could not be written in time: the answer is withheld, the row is written later."""

    code = "ledger_unavailable"


@dataclass(slots=True)
class WriterStats:
    """Figures for the metrics page."""

    batches: int = 0
    rows: int = 0
    refused: int = 0
    failures: int = 0
    last_commit_seconds: float = 0.0
    commit_seconds: float = field(default=0.0)


class GroupWriter:
    """Collects rows and commits them in groups. All methods belong to the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._backend: Backend = (
            SqliteBackend(database) if database.is_sqlite else PostgresBackend(database)
        )
        self._batch: Batch = {}
        self._rows = 0
        self._durable: _Durable | None = None
        self._collectors: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._lazy: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stats = WriterStats()
        self.is_healthy = True

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._backend.start()
        self._task = asyncio.create_task(self._run(), name="group writer")
        self._task.add_done_callback(self._note_end)

    def before_commit(self, collect: Callable[[], None]) -> None:
        """Call `collect` when a batch closes: it may still `add` what it kept aside."""
        self._collectors.append(collect)

    @property
    def backlog(self) -> int:
        """Rows that wait for the next commit."""
        return self._rows

    @property
    def is_admitting(self) -> bool:
        """Whether a new call may count on being recorded."""
        return self.is_healthy and self._rows < MOST_ROWS

    def put(self, target: Target, key: Any, row: Row, *, lazy: bool = False) -> None:
        """Write `row` with the next batch; a lazy row does not make a batch start by itself."""
        rows = self._batch.get(target)
        if rows is None:
            rows = self._batch[target] = {}
        if target.mode != "ignore" or key not in rows:
            rows[key] = row
        self._rows += 1
        if lazy:
            self._start_later()
        elif not self._wake.is_set():
            self._wake.set()

    def add(self, target: Target, key: Row, amounts: Sequence[int]) -> None:
        """Add `amounts` to the row of `key` (the values of the target's key columns)."""
        rows = self._batch.setdefault(target, {})
        kept = rows.get(key)
        if kept is None:
            rows[key] = list(amounts)
        else:
            for index, amount in enumerate(amounts):
                kept[index] += amount
        self._rows += 1

    def durable(self) -> asyncio.Future[None]:
        """A future, shared, that is done when all rows put until now are durable.

        It fails with `NotRecorded` where that takes longer than `WAIT_SECONDS`, and a waiter that
        is cancelled is told so only once it is done: an answer is settled or it is not.
        """
        if self._durable is None:
            self._durable = _Durable(loop=self._loop)
            if not self._wake.is_set():
                self._wake.set()
            if self._loop is not None:
                # From now on, and not from when its batch is begun: the one before may be stuck.
                timer = self._loop.call_later(WAIT_SECONDS, self._give_up, self._durable)
                self._durable.add_done_callback(lambda _: timer.cancel())
        return self._durable

    def _give_up(self, durable: _Durable) -> None:
        """A database that neither takes a batch nor says why is as good as away."""
        if self.is_healthy:
            log.error("ledger_unwritable", reason=f"no commit within {WAIT_SECONDS:g} s")
        self.is_healthy = False
        durable.give_up()

    async def close(self) -> None:
        """Write what is left and stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            # Not for its result: how it ended is logged.
            await asyncio.wait({self._task})
        await self._backend.close()

    def _start_later(self) -> None:
        if self._lazy is None and self._loop is not None and not self._wake.is_set():
            self._lazy = self._loop.call_later(LAZY_SECONDS, self._wake.set)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._gather()
            self._wake.clear()
            if self._lazy is not None:
                self._lazy.cancel()
                self._lazy = None
            for collect in self._collectors:
                collect()
            batch, self._batch, rows = self._batch, {}, self._rows
            durable, self._durable = self._durable, None
            self._rows = 0
            if batch:
                await self._write(batch, rows)
            if durable is not None and not durable.done():
                durable.set_result(None)
            if self._closing and not self._batch:
                return

    async def _gather(self) -> None:
        """Let the calls that are at work come to their end, so that they share this batch.

        As long as each turn of the loop brings more rows there is work to do meanwhile; a batch costs
        a dozen pages and the disk's answer, however few its rows.
        """
        until = time.perf_counter() + GATHER_SECONDS
        rows, quiet = self._rows, 0
        while quiet < QUIET_TURNS and not self._closing:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._rows == rows else 0
            rows = self._rows
            if rows >= MOST_GATHERED or time.perf_counter() >= until:
                return

    async def _write(self, batch: Batch, rows: int) -> None:
        groups = [(target, rows_of(target, kept)) for target, kept in batch.items()]
        started = time.perf_counter()
        await self._write_until_done(groups, rows)
        self.stats.batches += 1
        self.stats.rows += rows
        self.stats.last_commit_seconds = time.perf_counter() - started
        self.stats.commit_seconds += self.stats.last_commit_seconds

    async def _write_until_done(self, groups: Groups, rows: int) -> None:
        # Transactions that are yet to be made: one, until the database refuses it.
        waiting = deque([groups])
        while waiting:
            try:
                await self._backend.write(waiting[0])
            except Refused as error:
                waiting.extendleft(reversed(self._without_refused(waiting.popleft(), error)))
            except (OSError, sqlite3.Error, TimeoutError) as error:
                self.stats.failures += 1
                if self.is_healthy:
                    log.error("ledger_unwritable", reason=f"{type(error).__name__}: {error}")
                self.is_healthy = False
                if self._closing:
                    log.error("rows_lost_at_stop", rows=rows)
                    return
                await asyncio.sleep(RETRY_SECONDS)
                continue
            else:
                waiting.popleft()
            self.is_healthy = True

    def _without_refused(self, groups: Groups, error: Refused) -> list[Groups]:
        """What is left to write of a refused transaction: its rows one by one, or of one, nothing."""
        if sum(len(rows) for _, rows in groups) > 1:
            log.error("batch_refused", reason=str(error))
            return [[(target, [row])] for target, rows in groups for row in rows]
        for target, _ in groups:
            self.stats.refused += 1
            log.error("row_refused", table=target.table.name, reason=str(error))
        return []

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A writer that is gone admits no call any more: somebody has to start the process anew."""
        if task.cancelled() or task.exception() is not None:
            self.is_healthy = False
            error = None if task.cancelled() else task.exception()
            log.error("group_writer_ended", exc_info=error)


class _Durable(asyncio.Future[None]):
    """Done when a batch is. One serves every caller of the batch, so no caller can cancel it."""

    def cancel(self, msg: Any | None = None) -> bool:
        return False

    def give_up(self) -> None:
        if not self.done():
            self.set_exception(
                NotRecorded("The call could not be recorded in time; try again shortly.")
            )
            # Not everyone who asked still waits for the answer, and the cause is logged.
            self.exception()

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
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, SmallInteger, Table

from aieye.db.engine import Database
from aieye.errors import Unavailable

log = structlog.get_logger()

WAIT_SECONDS = 5.0
LAZY_SECONDS = 0.05
RETRY_SECONDS = 0.25
# Beyond this many rows in waiting, no further call is admitted.
MOST_ROWS = 20_000
# Statement sizes: any number of rows is written as a few statements out of this fixed set.
_SIZES = (64, 32, 16, 8, 4, 2, 1)

Row = tuple[Any, ...]


class NotRecorded(Unavailable):
    """The ledger could not be written in time: the answer is withheld, the row is written later."""

    code = "ledger_unavailable"


class _Refused(Exception):
    """The database is there and does not accept what it was given."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where rows go: a table, its columns in the rows' order, and what a known key means.

    `replace`: the row takes the other's place; `ignore`: the first one stays; `add`: the columns
    that are not the key are summed.
    """

    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    mode: Literal["replace", "ignore", "add"]

    @property
    def key_indexes(self) -> tuple[int, ...]:
        return tuple(self.columns.index(name) for name in self.key)

    def conflict_clause(self) -> str:
        """`ON CONFLICT …`, alike on both databases."""
        rest = [name for name in self.columns if name not in self.key]
        where = f" ON CONFLICT ({', '.join(self.key)})"
        if self.mode == "ignore" or not rest:
            return f"{where} DO NOTHING"
        own = "" if self.mode == "replace" else f"{self.table.name}.%s + "
        changes = ", ".join(f"{name} = {own % name if own else ''}excluded.{name}" for name in rest)
        return f"{where} DO UPDATE SET {changes}"


Batch = dict[Target, dict[Any, Any]]
Groups = Sequence[tuple[Target, list[Row]]]


class Backend(Protocol):
    """Writes a batch in one transaction, durable when `write` is done."""

    async def start(self) -> None: ...

    async def write(self, batch: Groups) -> None: ...

    async def close(self) -> None: ...


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
            _SqliteBackend(database) if database.is_sqlite else _PostgresBackend(database)
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
            await self._task
        await self._backend.close()

    def _start_later(self) -> None:
        if self._lazy is None and self._loop is not None and not self._wake.is_set():
            self._lazy = self._loop.call_later(LAZY_SECONDS, self._wake.set)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
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

    async def _write(self, batch: Batch, rows: int) -> None:
        groups = [(target, _rows_of(target, kept)) for target, kept in batch.items()]
        started = time.perf_counter()
        await self._write_until_done(groups, rows)
        self.stats.batches += 1
        self.stats.rows += rows
        self.stats.last_commit_seconds = time.perf_counter() - started
        self.stats.commit_seconds += self.stats.last_commit_seconds

    async def _write_until_done(self, groups: Groups, rows: int) -> None:
        while True:
            try:
                await self._backend.write(groups)
            except _Refused as error:
                log.error("batch_refused", reason=str(error))
                await self._write_singly(groups)
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
            self.is_healthy = True
            return

    async def _write_singly(self, groups: Groups) -> None:
        for target, rows in groups:
            for row in rows:
                try:
                    await self._backend.write([(target, [row])])
                except _Refused as error:
                    self.stats.refused += 1
                    log.error("row_refused", table=target.table.name, reason=str(error))


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


def _rows_of(target: Target, kept: dict[Any, Any]) -> list[Row]:
    if target.mode != "add":
        return list(kept.values())
    # Sorted, so that two processes lock shared rows in one order.
    return [(*key, *amounts) for key, amounts in sorted(kept.items(), key=lambda item: item[0])]


class _SqliteBackend:
    """One thread with one connection. The connection commits with `synchronous=FULL`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._statements: dict[tuple[Target, int], str] = {}
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._work, name="sqlite writer", daemon=True)

    async def start(self) -> None:
        self._connection = self._database.connect_sqlite()
        self._thread.start()

    async def write(self, batch: Groups) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def job() -> None:
            error: BaseException | None = None
            try:
                self._write(batch)
            except BaseException as caught:  # noqa: BLE001 - handed to the loop, whatever it is
                error = caught
            with suppress(RuntimeError):  # the loop may be gone at a hard stop
                loop.call_soon_threadsafe(_finish, done, error)

        self._jobs.put(job)
        await done

    async def close(self) -> None:
        self._jobs.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _write(self, batch: Groups) -> None:
        connection, gate = self._connection, self._database.gate
        if connection is None or gate is None:
            raise OSError("the writer was not started")
        with gate.held():
            connection.execute("BEGIN IMMEDIATE")
            try:
                for target, rows in batch:
                    self._insert(connection, target, rows)
                connection.execute("COMMIT")
            except (
                sqlite3.IntegrityError,
                sqlite3.DataError,
                sqlite3.InterfaceError,
                sqlite3.ProgrammingError,
                OverflowError,
                UnicodeError,
            ) as error:
                connection.execute("ROLLBACK")
                raise _Refused(f"{type(error).__name__}: {error}") from error
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _insert(self, connection: sqlite3.Connection, target: Target, rows: list[Row]) -> None:
        start, left = 0, len(rows)
        for size in _SIZES:
            while left >= size:
                # One statement for many rows: each statement gives up the interpreter's lock, and
                # getting it back while the event loop is busy takes a switch interval.
                chunk = rows[start : start + size]
                connection.execute(
                    self._statement(target, size), [value for row in chunk for value in row]
                )
                start, left = start + size, left - size

    def _statement(self, target: Target, size: int) -> str:
        text = self._statements.get((target, size))
        if text is None:
            one = f"({', '.join('?' * len(target.columns))})"
            text = (
                f"INSERT INTO {target.table.name} ({', '.join(target.columns)}) "
                f"VALUES {', '.join([one] * size)}{target.conflict_clause()}"
            )
            self._statements[target, size] = text
        return text


def _finish(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class _PostgresBackend:
    """One connection of its own, in the event loop; rows go as arrays, one statement a table."""

    def __init__(self, database: Database) -> None:
        self._dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._statements: dict[Target, str] = {}
        self._connection: Any = None

    async def start(self) -> None:
        await self._connect()

    async def _connect(self) -> Any:
        import asyncpg  # noqa: PLC0415 - installations on SQLite never load it

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=5,
                command_timeout=10,
                server_settings={"application_name": "aieye ledger", "synchronous_commit": "on"},
            )
        return self._connection

    async def write(self, batch: Groups) -> None:
        import asyncpg  # noqa: PLC0415

        try:
            connection = await self._connect()
            async with connection.transaction():
                for target, rows in batch:
                    columns = [list(column) for column in zip(*rows, strict=True)]
                    await connection.execute(self._statement(target), *columns)
        except (
            asyncpg.DataError,
            asyncpg.IntegrityConstraintViolationError,
            UnicodeError,
            OverflowError,
        ) as error:
            raise _Refused(f"{type(error).__name__}: {error}") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self._drop()
            raise OSError(f"{type(error).__name__}: {error}") from error
        except (OSError, TimeoutError):
            await self._drop()
            raise

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)

    async def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _statement(self, target: Target) -> str:
        text = self._statements.get(target)
        if text is None:
            arrays = ", ".join(
                f"${number}::{_pg_type(target.table, name)}[]"
                for number, name in enumerate(target.columns, 1)
            )
            text = (
                f"INSERT INTO {target.table.name} ({', '.join(target.columns)}) "
                f"SELECT * FROM unnest({arrays}){target.conflict_clause()}"
            )
            self._statements[target] = text
        return text


def _pg_type(table: Table, column: str) -> str:
    kind: Any = table.c[column].type
    kind = getattr(kind, "impl_instance", kind) if hasattr(kind, "impl_instance") else kind
    for python, name in (
        (SmallInteger, "smallint"),
        (BigInteger, "bigint"),
        (Boolean, "boolean"),
        (Integer, "integer"),
        (LargeBinary, "bytea"),
    ):
        if isinstance(kind, python):
            return name
    return "text"

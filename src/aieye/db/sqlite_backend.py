"""Batches into SQLite: one thread, one connection, one transaction a batch."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

from aieye.db.batches import Groups, Refused, Row, Target, prepared
from aieye.db.engine import Database

# Rows of one statement. The connection remembers a prepared statement for each number of them.
_MOST_ROWS = 64
_MOST_STATEMENTS = 2_048


class SqliteBackend:
    """One thread with one connection. The connection commits with `synchronous=FULL`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._statements: dict[tuple[Target, int, tuple[int, ...]], str] = {}
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
        groups = prepared(batch)
        with gate.held():
            connection.execute("BEGIN IMMEDIATE")
            try:
                for target, rows in groups:
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
                raise Refused(f"{type(error).__name__}: {error}") from error
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _insert(self, connection: sqlite3.Connection, target: Target, rows: list[Row]) -> None:
        # One statement for many rows: each statement gives up the interpreter's lock, and getting
        # it back while the event loop is busy takes up to a switch interval.
        for start in range(0, len(rows), _MOST_ROWS):
            chunk = rows[start : start + _MOST_ROWS]
            columns = list(zip(*chunk, strict=True))
            filled = [at for at, column in enumerate(columns) if column.count(None) < len(chunk)]
            given = zip(*[_bound(columns[at]) for at in filled], strict=True)
            connection.execute(
                self._statement(target, len(chunk), tuple(filled)), list(chain.from_iterable(given))
            )

    def _statement(self, target: Target, size: int, filled: tuple[int, ...]) -> str:
        """An INSERT of some of the columns; the others are NULL, also where a row is replaced."""
        text = self._statements.get((target, size, filled))
        if text is None:
            one = f"({', '.join('?' * len(filled))})"
            text = (
                f"INSERT INTO {target.table.name} ({', '.join(target.columns[at] for at in filled)}) "
                f"VALUES {', '.join([one] * size)}{target.conflict_clause()}"
            )
            if len(self._statements) > _MOST_STATEMENTS:
                self._statements.clear()
            self._statements[target, size, filled] = text
        return text


def _bound(column: tuple[Any, ...]) -> Iterable[Any]:
    """Values as the driver takes them at once: for bytes and booleans, as for None, it searches in
    vain for an adapter each time, which takes longer than the rest of the binding."""
    kind = type(column[0])
    if kind is bytes and None not in column:
        return map(bytearray, column)
    return map(int, column) if kind is bool else column


def _finish(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)

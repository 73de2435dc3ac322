"""Batches into SQLite: one thread, one connection, one transaction a batch."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress

from aieye.db.batches import Groups, Refused, Row, Target, prepared
from aieye.db.engine import Database

# Rows of one statement. The connection remembers a prepared statement for each number of them.
_MOST_ROWS = 64


class SqliteBackend:
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
            connection.execute(
                self._statement(target, len(chunk)), [value for row in chunk for value in row]
            )

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

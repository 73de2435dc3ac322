"""Rows that an answer waits for: written in one transaction, without a session.

On SQLite that is a thread with a plain connection. Its driver hands each statement of a session to a
thread and back, and a statement of SQLAlchemy's takes three times what SQLite takes to do it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection, Table, insert, update
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from aieye.db.gate import WriteGate

WorkT = TypeVar("WorkT")
Values: TypeAlias = Mapping[str, Any]
_Bind: TypeAlias = Callable[[Any], Any] | None

_DIALECT: Final = sqlite_dialect()


class Rows(Protocol):
    """Writes rows in a transaction. Values are by column, as sessions take them; none has a default."""

    def insert(self, table: Table, row: Values) -> int:
        """The id of the new row."""
        ...

    def insert_all(self, table: Table, rows: Sequence[Values]) -> None:
        """New rows, all of the same columns."""
        ...

    def update(self, table: Table, row_id: int, values: Values) -> bool:
        """Whether there is a row of that id to change."""
        ...


class CoreRows:
    """By SQLAlchemy's statements."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, table: Table, row: Values) -> int:
        done = self._connection.execute(insert(table), row)
        assert done.inserted_primary_key is not None
        return int(done.inserted_primary_key[0])

    def insert_all(self, table: Table, rows: Sequence[Values]) -> None:
        if rows:
            self._connection.execute(insert(table), rows)

    def update(self, table: Table, row_id: int, values: Values) -> bool:
        statement = update(table).where(table.c.id == row_id).values(values)
        return bool(self._connection.execute(statement).rowcount)


class SqliteRows:
    """By a plain connection's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, table: Table, row: Values) -> int:
        row_id = self._connection.execute(*_insertion(table, [row])).lastrowid
        assert row_id is not None
        return row_id

    def insert_all(self, table: Table, rows: Sequence[Values]) -> None:
        if rows:
            # One statement gives up the interpreter's lock once, however many rows it has.
            most = max(1, _MOST_VALUES // len(rows[0]))
            for start in range(0, len(rows), most):
                self._connection.execute(*_insertion(table, rows[start : start + most]))

    def update(self, table: Table, row_id: int, values: Values) -> bool:
        changes = ", ".join(f"{name} = ?" for name in values)
        text = f"UPDATE {table.name} SET {changes} WHERE id = ?"  # noqa: S608 - our own names
        done = self._connection.execute(text, [*_bound(table, values), row_id])
        return bool(done.rowcount)


# SQLite takes 32,766 values of one statement.
_MOST_VALUES: Final = 4_096


def _insertion(table: Table, rows: Sequence[Values]) -> tuple[str, list[Any]]:
    columns = tuple(rows[0])
    values = [value for row in rows for value in _bound(table, row)]
    return _insert_text(table, columns, len(rows)), values


@lru_cache(maxsize=256)
def _insert_text(table: Table, columns: tuple[str, ...], count: int) -> str:
    one = f"({', '.join('?' * len(columns))})"
    rows = ", ".join([one] * count)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {rows}"  # noqa: S608 - our own names


def _bound(table: Table, row: Values) -> list[Any]:
    binds = _binds(table)
    return [value if (bind := binds[name]) is None else bind(value) for name, value in row.items()]


@lru_cache(maxsize=32)
def _binds(table: Table) -> dict[str, _Bind]:
    """What the columns' types make of a value for SQLite."""
    return {
        column.name: column.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        for column in table.columns
    }


class SqliteAtOnce:
    """One thread with one connection: whoever writes to SQLite waits for the others anyway."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], gate: WriteGate) -> None:
        self._gate = gate
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite at once")

    async def run(self, work: Callable[[Rows], WorkT]) -> WorkT:
        """What `work` returns; its rows are committed then. Raises what it and the driver raise."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._run, work))

    def _run(self, work: Callable[[Rows], WorkT]) -> WorkT:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        with self._gate.held():
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = work(SqliteRows(connection))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        return found

    async def close(self) -> None:
        """Wait for what is being written, and stop."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._connection is not None:
            self._connection.close()

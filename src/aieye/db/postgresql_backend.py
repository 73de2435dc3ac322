"""Batches into PostgreSQL: one connection, a statement a table, one transaction a batch."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, SmallInteger, Table

from aieye.db.batches import Groups, Refused, Target, in_lock_order, prepared
from aieye.db.engine import Database

# How often a batch is begun that the database breaks off to let another transaction go on.
_MOST_TRIES = 10


class PostgresBackend:
    """One connection of its own, in the event loop; rows go as arrays, one statement a table.

    A connection that is lost while a batch is under way leaves open whether it was committed. The
    database knows (`pg_xact_status`), and is asked before the batch is written once more: sums
    would be added twice.
    """

    def __init__(self, database: Database) -> None:
        self._dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._statements: dict[Target, str] = {}
        self._connection: Any = None
        # The transaction that is under way, or was when its connection was lost.
        self._transaction_id: str | None = None

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
            if await self._was_committed(connection):
                return
            groups = in_lock_order(batch)
            if any(target.prepare is not None for target, _ in batch):
                groups = await asyncio.to_thread(prepared, groups)
            await self._insert(connection, groups)
        except (
            asyncpg.DataError,
            asyncpg.IntegrityConstraintViolationError,
            UnicodeError,
            OverflowError,
        ) as error:
            self._transaction_id = None
            raise Refused(f"{type(error).__name__}: {error}") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self._drop()
            raise OSError(f"{type(error).__name__}: {error}") from error
        except (OSError, TimeoutError):
            await self._drop()
            raise

    async def _insert(self, connection: Any, groups: Groups) -> None:
        import asyncpg  # noqa: PLC0415

        tries = 0
        while True:
            tries += 1
            try:
                async with connection.transaction():
                    for target, rows in groups:
                        columns = [list(column) for column in zip(*rows, strict=True)]
                        self._transaction_id = await connection.fetchval(
                            self._statement(target), *columns
                        )
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                # Nothing of it was done.
                self._transaction_id = None
                if tries == _MOST_TRIES:
                    raise
            else:
                self._transaction_id = None
                return

    async def _was_committed(self, connection: Any) -> bool:
        """Whether the batch whose connection was lost is in the database all the same.

        Raises `OSError` while the database itself does not know yet.
        """
        if self._transaction_id is None:
            return False
        status = await connection.fetchval(
            "SELECT pg_xact_status($1::text::xid8)", self._transaction_id
        )
        if status == "in progress":
            raise OSError("the last transaction has not ended yet")
        self._transaction_id = None
        return bool(status == "committed")

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
                f"WITH written AS (INSERT INTO {target.table.name} ({', '.join(target.columns)}) "
                f"SELECT * FROM unnest({arrays}){target.conflict_clause()}) "
                "SELECT pg_current_xact_id()::text"
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

"""Backup and restore of a PostgreSQL database, without its own tools: see `aieye.db.backup`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import IO, Any

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aieye.db.archive import Archive, ArchiveWriter, BackupError, Columns
from aieye.db.backup_plan import Meter, Progress, kind_of, table_names
from aieye.db.exclusive import DatabaseInUse
from aieye.db.migrate import ADVISORY_LOCK, migrate

# Rows that are fetched at once: a stored answer may have megabytes.
_PREFETCHED_ROWS = 20
# A connection that was just closed is still listed for a moment.
_PATIENCE_SECONDS = 2.0


def dump(url: str, file: IO[bytes], on_progress: Progress) -> None:
    """Write a backup of the database at `url` to `file`. Writers are not held up."""
    asyncio.run(_dump(url, file, on_progress))


def restore(url: str, archive: Archive, on_progress: Progress) -> None:
    """Replace every row by those of `archive`, which has this version's schema, in one transaction.

    Raises `DatabaseInUse` while anybody else is connected to the database.
    """
    migrate(url)
    asyncio.run(_restore(url, archive, on_progress))


async def _dump(url: str, file: IO[bytes], on_progress: Progress) -> None:
    async with (
        _connected(url) as connection,
        # One transaction: every table is seen as it was at its beginning.
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        schema = await connection.fetchval("SELECT version_num FROM alembic_version")
        tables = {
            name: columns for name in table_names() if (columns := await _columns(connection, name))
        }
        total = 0
        for name in tables:
            total += await connection.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 - our own names
        meter = Meter(total, on_progress)
        with ArchiveWriter(file, schema=schema, database="postgresql") as writer:
            for name, columns in tables.items():
                query = f"SELECT {_listed(columns)} FROM {name}"  # noqa: S608 - our own names
                with writer.table(name, columns) as add:
                    async for row in connection.cursor(query, prefetch=_PREFETCHED_ROWS):
                        add(row)
                        meter.step()
            writer.finish()
        meter.finish()


async def _restore(url: str, archive: Archive, on_progress: Progress) -> None:
    tables = archive.manifest.tables
    async with _connected(url) as connection:
        # A server migrates before it reads anything: until this is done, none gets further.
        await connection.execute(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        await _require_alone(connection)
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '10s'")
            await connection.execute(f"TRUNCATE {', '.join(tables)}")
            meter = Meter(archive.manifest.rows, on_progress)
            for name, table in tables.items():
                await connection.copy_records_to_table(
                    name, records=_counted(archive.rows(name), meter), columns=list(table.columns)
                )
            await _reset_sequences(connection, list(tables))
        meter.finish()


async def _require_alone(connection: asyncpg.Connection) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while others := await connection.fetch(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), 'unnamed') AS name "
        "FROM pg_stat_activity WHERE datname = current_database() "
        "AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
    ):
        if asyncio.get_running_loop().time() > deadline:
            names = ", ".join(row["name"] for row in others)
            raise DatabaseInUse(
                f"Somebody is connected to the database ({names}): stop the servers that use it."
            )
        await asyncio.sleep(0.1)


async def _reset_sequences(connection: asyncpg.Connection, tables: list[str]) -> None:
    """Let each table count on from its highest id."""
    columns = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = ANY($1) "
        "AND (is_identity = 'YES' OR column_default LIKE 'nextval(%')",
        tables,
    )
    for table, column in columns:
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "  # noqa: S608 - names from the database
            f'coalesce(max("{column}"), 0) + 1, false) FROM {table}'
        )


async def _columns(connection: asyncpg.Connection, table: str) -> Columns:
    """The table's columns; none when there is no such table at this revision."""
    rows = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        table,
    )
    return {name: kind_of(data_type) for name, data_type in rows}


def _counted(rows: Iterable[Any], meter: Meter) -> Iterator[Any]:
    for row in rows:
        yield row
        meter.step()


def _listed(columns: Columns) -> str:
    return ", ".join(f'"{name}"' for name in columns)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the driver, reached as the service reaches its own."""
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            yield raw.driver_connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BackupError(f"The database: {reason}.") from error
    finally:
        await engine.dispose()

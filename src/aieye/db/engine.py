"""The database as the rest of the program sees it: `read()` and `write()` give sessions.

Two lanes (docs/adr/0002): administrators' work runs in these sessions; the gateway's path uses the
raw drivers (`aieye.cache.store`, `aieye.db.group_writer`) and never holds a session over a wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from aieye.db.at_once import CoreRows, Rows, SqliteAtOnce
from aieye.db.gate import WriteGate
from aieye.db.tables import Revision
from aieye.errors import Unavailable

BUSY_TIMEOUT_MS = 5_000
# How long a session waits for a connection while all are in use.
POOL_SECONDS = 5.0
# Pages after which a commit folds the log back into the database: 16 MiB, one pause in thousands
# of commits instead of one in a few dozen.
CHECKPOINT_PAGES = 4_096
# What a session's connection keeps of the database: a month's sums are some megabytes, and read
# several times for one page. Taken only as far as it is used.
CACHE_KIB = 16_384
# PostgreSQL's word for a change within a transaction that is to change nothing.
READ_ONLY = "25006"


WorkT = TypeVar("WorkT")


class DatabaseUnavailable(Unavailable):
    """The database did not answer; nothing was changed."""

    code = "database_unavailable"


class DatabaseReadOnly(DatabaseUnavailable):
    """The database answers and takes no changes: a standby, or one that somebody told to."""

    code = "database_read_only"


class Database:
    """An engine with its sessions. `write()` commits at its end, `read()` never does."""

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path: Path | None = None
        self.gate: WriteGate | None = None
        if self.is_sqlite:
            self.path = Path(self.url.database or "aieye.db")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.gate = WriteGate(self.path)
        self.engine = self._make_engine()
        self._at_once: SqliteAtOnce | None = None

    def _make_engine(self) -> AsyncEngine:
        if not self.is_sqlite:
            return create_async_engine(
                self.url,
                pool_size=5,
                max_overflow=5,
                pool_pre_ping=True,
                pool_timeout=POOL_SECONDS,
                connect_args={"timeout": 5, "command_timeout": 30},
            )
        engine = create_async_engine(
            self.url,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=4,
            max_overflow=4,
            pool_timeout=POOL_SECONDS,
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for looking. Raises `DatabaseUnavailable`."""
        with _translated():
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session for one change: committed at the end, undone by an exception.

        Raises `DatabaseUnavailable`.
        """
        with _translated():
            if self.gate is None:
                async with AsyncSession(self.engine, expire_on_commit=False) as session:
                    yield session
                    await session.commit()
                return
            async with (
                self.gate.held_async(),
                AsyncSession(self.engine, expire_on_commit=False) as session,
            ):
                yield session
                await session.commit()

    async def write_at_once(self, work: Callable[[Rows], WorkT]) -> WorkT:
        """What `work` returns, its rows in one transaction that is committed.

        For writes of the hot path. On SQLite `work` runs in a thread, without the event loop, so it
        shares nothing that may change. Raises `DatabaseUnavailable`.
        """
        with _translated():
            if self.gate is None:
                async with self.engine.begin() as connection:
                    return await connection.run_sync(lambda plain: work(CoreRows(plain)))
            if self._at_once is None:
                self._at_once = SqliteAtOnce(self.connect_sqlite, self.gate)
            return await self._at_once.run(work)

    async def close(self) -> None:
        if self._at_once is not None:
            await self._at_once.close()
        await self.engine.dispose()
        if self.gate is not None:
            self.gate.close()

    def connect_sqlite(self, *, readonly: bool = False) -> sqlite3.Connection:
        """A plain connection for the hot path, prepared as all others are."""
        connection = sqlite3.connect(
            f"file:{self.path}?mode={'ro' if readonly else 'rw'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_MS / 1000,
            cached_statements=512,
        )
        prepare_connection(connection, readonly=readonly)
        return connection


async def bump_revision(session: AsyncSession) -> None:
    """Tell every process, once this commits, that what it keeps in memory has changed.

    `session.info["bumped"]` then says that this process has to refresh its own after the commit.
    """
    session.info["bumped"] = True
    await session.execute(update(Revision).values(value=Revision.value + 1))


def prepare_connection(connection: Any, *, readonly: bool = False) -> None:
    """The settings of every SQLite connection: WAL, full durability, foreign keys."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    if not readonly:
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    cursor.close()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    prepare_connection(connection)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA cache_size={-CACHE_KIB}")
    cursor.close()


class _translated:  # noqa: N801 - used as a function: `with _translated():`
    """Drivers' failures to answer become `DatabaseUnavailable`, a change that the database takes from
    nobody `DatabaseReadOnly`; broken rules pass as they are."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and _is_read_only(error):
            raise DatabaseReadOnly(
                "The database takes no changes at the moment: what is there can be looked at. "
                "Whoever runs it can make it writable again."
            ) from error
        # An OSError is a timeout, a broken connection, or a name that cannot be resolved.
        if isinstance(error, OSError | PoolExhausted | sqlite3.OperationalError) or (
            isinstance(error, DBAPIError)
            and (error.connection_invalidated or type(error).__name__ == "OperationalError")
        ):
            raise DatabaseUnavailable("The database does not answer; try again shortly.") from error


def _is_read_only(error: BaseException) -> bool:
    """Whether a driver says that what was to be changed is not to be."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.OperationalError):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    return getattr(cause, "sqlstate", None) == READ_ONLY

"""The tier in the database: looked up with the raw driver, written with the group writer."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from contextlib import closing, suppress
from typing import Any, Protocol

import orjson

from aieye.cache.absent import KeyFilter
from aieye.cache.entry import Entry, Provenance, headers_as_json, headers_from_json
from aieye.cache.texts import given
from aieye.db.batches import Target
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter, NotRecorded
from aieye.db.tables import CacheEntry
from aieye.telemetry.loggers import get_logger

log = get_logger()

_COLUMNS = (
    "key", "endpoint", "provider_id", "namespace", "model", "is_stream", "content_type", "headers",
    "body", "checksum", "request", "meta", "created_at", "expires_at", "last_used_at", "hits",
    "size_bytes", "body_id",
)  # fmt: skip
_READ = """
SELECT e.endpoint, e.provider_id, e.namespace, e.model, e.is_stream, e.headers, e.body, e.meta,
    e.created_at, e.expires_at, e.checksum, b.response, b.is_compressed
FROM cache_entries e LEFT JOIN call_bodies b ON b.id = e.body_id WHERE e.key = """
ENTRIES = Target(CacheEntry.__table__, _COLUMNS, ("key",), "replace")  # type: ignore[arg-type] # declared as FromClause, is a Table

# A database slower than this is passed by: the call goes to the provider. It is waited for in slices,
# so that an event loop that stands still, which is not the database's fault, uses up one of them.
LOOKUP_SECONDS = 0.05
_SLICES = 5
# What was passed by is given up after this; until then it keeps one of the connections.
GIVE_UP_SECONDS = 0.5
_CONNECTIONS = 4
# What an entry takes in the database beside its texts, about.
_ROW_BYTES = 1_024
# Keys that come before those in the database are counted anew.
_ROOM_FOR_KEYS = 65_536


class Lookup(Protocol):
    """Reads one row by its key."""

    async def start(self) -> None: ...

    async def row(self, key: bytes) -> Any: ...

    def added(self, key: bytes) -> None: ...

    async def close(self) -> None: ...


class Store:
    """Entries in the database. What does not pass its checksum is not there."""

    def __init__(self, database: Database, writer: GroupWriter) -> None:
        self._lookup: Lookup = (
            _SqliteLookup(database, writer) if database.is_sqlite else _PostgresLookup(database)
        )
        self._writer = writer

    async def start(self) -> None:
        await self._lookup.start()

    async def close(self) -> None:
        await self._lookup.close()

    async def find(self, key: bytes) -> Entry | None:
        """The entry of `key`; None when there is none, it is damaged, or the database is away."""
        row = await self._lookup.row(key)
        if row is None:
            return None
        try:
            entry = _entry(key, row)
        except (ValueError, TypeError, LookupError, AttributeError, zlib.error) as error:
            log.warning("cache_entry_unreadable", reason=type(error).__name__)
            return None
        if entry.checksum(_bytes(row[5]), _bytes(row[7])) != bytes(row[10]):
            log.warning("cache_entry_damaged", key=key.hex())
            return None
        return entry

    def put(self, entry: Entry, request: bytes, *, is_kept: bool) -> None:
        """Write the entry and the canonical `request` that was hashed, with the next batch.

        `is_kept` says that the ledger keeps the texts (`Provenance.body_id`): not twice, then.
        """
        headers = headers_as_json(entry.headers)
        try:
            provenance = orjson.dumps(entry.provenance)
        except TypeError:
            # A provider's usage may hold what is no legal text: such an answer stays in memory.
            return
        self._lookup.added(entry.key)
        self._writer.put(
            ENTRIES,
            entry.key,
            (
                entry.key,
                entry.endpoint,
                entry.provider_id,
                entry.namespace,
                entry.model,
                entry.is_stream,
                _content_type(entry),
                headers.decode(),
                b"" if is_kept else entry.body,
                entry.checksum(headers, provenance),
                b"" if is_kept else request,
                provenance.decode(),
                entry.created_at,
                entry.expires_at,
                entry.created_at,
                0,
                len(entry.body) + len(request) + _ROW_BYTES,
                entry.provenance.body_id if is_kept else None,
            ),
            # The row of the call that made it follows at once: one commit for both.
            lazy=True,
        )


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _content_type(entry: Entry) -> str:
    found = next((value for name, value in entry.headers if name == b"content-type"), b"")
    return found.decode("latin-1")[:100]


def _entry(key: bytes, row: Any) -> Entry:
    return Entry(
        key=key,
        endpoint=row[0],
        provider_id=row[1],
        namespace=row[2],
        model=row[3],
        is_stream=bool(row[4]),
        headers=headers_from_json(row[5]),
        body=given(bytes(row[6]), row[11], is_compressed=bool(row[12])),
        provenance=Provenance.from_json(orjson.loads(row[7])),
        created_at=row[8],
        expires_at=row[9],
    )


class _SqliteLookup:
    """A connection in the event loop: a look-up by key takes microseconds, a thread many more.

    Only one process serves a SQLite file, so it knows by itself, once it has read the keys, what is
    surely not there: most of what is asked for. Others may only take entries away.
    """

    def __init__(self, database: Database, writer: GroupWriter) -> None:
        self._database = database
        self._writer = writer
        self._connection: sqlite3.Connection | None = None
        self._present: KeyFilter | None = None
        # Keys added while those of the database are read.
        self._added: list[bytes] = []
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._connection = self._database.connect_sqlite(readonly=True)
        self._read_keys_again()

    def added(self, key: bytes) -> None:
        present = self._present
        if present is not None:
            present.add(key)
            if present.count > present.capacity:
                self._read_keys_again()
        if self._reading is not None:
            self._added.append(key)

    def _read_keys_again(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_keys())

    async def _read_keys(self) -> None:
        try:
            if self._present is not None:
                # What was put before this began is then among those that are read.
                await self._writer.durable()
            present = await asyncio.to_thread(self._keys)
        except (NotRecorded, sqlite3.Error) as error:
            log.warning("cache_keys_not_read", reason=f"{type(error).__name__}: {error}")
        else:
            for key in self._added:
                present.add(key)
            self._present = present
        self._added = []
        self._reading = None

    def _keys(self) -> KeyFilter:
        with closing(self._database.connect_sqlite(readonly=True)) as connection:
            (count,) = connection.execute("SELECT entries FROM cache_totals").fetchone()
            present = KeyFilter(2 * count + _ROOM_FOR_KEYS)
            for (key,) in connection.execute("SELECT key FROM cache_entries"):
                present.add(key)
        return present

    async def row(self, key: bytes) -> Any:
        if self._connection is None:
            return None
        if self._present is not None and not self._present.may_hold(key):
            return None
        try:
            return self._connection.execute(f"{_READ} ?", (key,)).fetchone()
        except sqlite3.Error as error:
            log.warning("cache_not_read", reason=f"{type(error).__name__}: {error}")
            return None

    async def close(self) -> None:
        if self._reading is not None:
            await self._reading
        if self._connection is not None:
            self._connection.close()


class _PostgresLookup:
    """A small pool of its own, so that no administrator's query keeps a call waiting.

    Its connections are made and prepared beforehand: making one takes longer than a look-up may.
    """

    def __init__(self, database: Database) -> None:
        self._dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pool: Any = None
        # Look-ups that nobody waits for any more.
        self._overdue: set[asyncio.Task[Any]] = set()
        # The last look-up was passed by: said once and not for each.
        self._is_slow = False

    async def start(self) -> None:
        import asyncpg  # noqa: PLC0415 - installations on SQLite never load it

        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=_CONNECTIONS,
            max_size=_CONNECTIONS,
            max_inactive_connection_lifetime=0,
            timeout=2,
            command_timeout=GIVE_UP_SECONDS,
            init=_prepare,
            # Nothing but one statement is ever done with them: no round trip to make them as new.
            reset=_as_it_is,
        )

    def added(self, key: bytes) -> None:
        """Other processes add keys too: only the database knows them all."""

    async def row(self, key: bytes) -> Any:
        if len(self._overdue) >= _CONNECTIONS:
            # Every connection waits for a database that does not answer.
            return None
        looking = asyncio.create_task(self._read(key))
        try:
            for _ in range(_SLICES):
                await asyncio.wait({looking}, timeout=LOOKUP_SECONDS / _SLICES)
                if looking.done():
                    self._is_slow = False
                    return looking.result()
        finally:
            if not looking.done():
                self._overdue.add(looking)
                looking.add_done_callback(self._overdue.discard)
        if not self._is_slow:
            self._is_slow = True
            log.warning("cache_passed_by", reason=f"no answer within {LOOKUP_SECONDS:g} s")
        return None

    async def _read(self, key: bytes) -> Any:
        import asyncpg  # noqa: PLC0415

        try:
            async with self._pool.acquire(timeout=GIVE_UP_SECONDS) as connection:
                return await connection.fetchrow(f"{_READ} $1", key)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("cache_not_read", reason=type(error).__name__)
            return None

    async def close(self) -> None:
        if self._pool is not None:
            # A database that does not say goodbye in time is left all the same.
            with suppress(TimeoutError):
                await self._pool.close()


async def _prepare(connection: Any) -> None:
    """Let a new connection read once: it keeps the statement."""
    await connection.fetchrow(f"{_READ} $1", b"")


async def _as_it_is(_connection: Any) -> None:
    return None

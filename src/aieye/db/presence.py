"""That a process lives, told through the database: a heartbeat, and on PostgreSQL a lock.

The lock belongs to a connection that this process keeps open: the moment the process is gone the
server gives it free, so that whoever starts next can tell at once what the dead one left open.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import select, text, true
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.dialects import insert_for
from aieye.db.engine import Database
from aieye.db.tables import Instance
from aieye.db.types import now
from aieye.telemetry.loggers import get_logger

log = get_logger()


class Presence:
    """This process among those on the database. `instance_id` is its name there."""

    def __init__(self, database: Database, instance_id: str) -> None:
        self.instance_id = instance_id
        self._database = database
        self._started_at = now()
        self._connection: Any = None

    async def start(self) -> None:
        await self.beat()

    async def beat(self) -> None:
        """Say that this process lives: again from the beginning, where the lock's connection was
        lost and another process has taken this one for dead."""
        await self._hold_lock()
        moment = now()
        values = {"id": self.instance_id, "started_at": self._started_at, "seen_at": moment}
        insert = insert_for(is_sqlite=self._database.is_sqlite)
        statement = insert(Instance).values(values)
        async with self._database.write() as session:
            await session.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": moment})
            )

    async def dead(self, session: AsyncSession, *, silent_seconds: float = 0) -> list[str]:
        """The processes that are gone, as far as they are still noted.

        Only those count that have not been heard of for `silent_seconds`: after the database itself
        was away, all locks are free until everybody has taken theirs again.
        """
        heard = now() - timedelta(seconds=silent_seconds)
        others = await session.scalars(
            select(Instance.id).where(
                Instance.id != self.instance_id,
                true() if silent_seconds == 0 else Instance.seen_at < heard,
            )
        )
        if self._database.is_sqlite:
            # One process serves a SQLite file: all others that ever did are gone.
            return list(others)
        found = []
        for other in others.all():
            free = await session.scalar(
                text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _lock_key(other)}
            )
            if free:
                found.append(other)
        return found

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)

    async def _hold_lock(self) -> None:
        if self._database.is_sqlite or await self._is_held():
            return
        import asyncpg  # noqa: PLC0415 - installations on SQLite never load it

        dsn = self._database.url.set(drivername="postgresql")
        connection = await asyncpg.connect(
            dsn.render_as_string(hide_password=False), timeout=5, command_timeout=10
        )
        try:
            # Where it is not free, the server has not noticed yet that our former connection is
            # gone, which says no less that we live.
            if await connection.fetchval(
                "SELECT pg_try_advisory_lock($1)", _lock_key(self.instance_id)
            ):
                self._connection, connection = connection, None
        finally:
            if connection is not None:
                connection.terminate()

    async def _is_held(self) -> bool:
        """Whether the connection that holds the lock is still there; not all that break say so."""
        import asyncpg  # noqa: PLC0415

        if self._connection is None:
            return False
        try:
            await self._connection.execute("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._connection.terminate()
            self._connection = None
        return self._connection is not None


def _lock_key(instance_id: str) -> int:
    digest = blake2b(instance_id.encode(), digest_size=8, person=b"aieye").digest()
    return int.from_bytes(digest, "big", signed=True)

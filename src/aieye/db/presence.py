"""That a process lives, told through the database: a heartbeat, and on PostgreSQL a lock.

The lock belongs to a connection that this process keeps open: the moment the process is gone the
server gives it free, so that whoever starts next can tell at once what the dead one left open.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Any

import structlog
from sqlalchemy import insert, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.engine import Database
from aieye.db.tables import Instance
from aieye.db.types import now

log = structlog.get_logger()


class Presence:
    """This process among those on the database. `instance_id` is its name there."""

    def __init__(self, database: Database, instance_id: str) -> None:
        self.instance_id = instance_id
        self._database = database
        self._connection: Any = None

    async def start(self) -> None:
        await self._hold_lock()
        async with self._database.write() as session:
            await session.execute(insert(Instance).values(id=self.instance_id))

    async def beat(self) -> None:
        """Say that this process lives, and take the lock again if its connection was lost."""
        await self._hold_lock()
        async with self._database.write() as session:
            await session.execute(
                update(Instance).where(Instance.id == self.instance_id).values(seen_at=now())
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
        if self._database.is_sqlite:
            return
        if self._connection is not None and not self._connection.is_closed():
            return
        import asyncpg  # noqa: PLC0415 - installations on SQLite never load it

        dsn = self._database.url.set(drivername="postgresql")
        self._connection = await asyncpg.connect(
            dsn.render_as_string(hide_password=False), timeout=5, command_timeout=10
        )
        await self._connection.execute("SELECT pg_advisory_lock($1)", _lock_key(self.instance_id))


def _lock_key(instance_id: str) -> int:
    digest = blake2b(instance_id.encode(), digest_size=8, person=b"aieye").digest()
    return int.from_bytes(digest, "big", signed=True)

"""Which calls have just begun or ended, for whoever watches: the ledger is looked at once a second.

Looked at, and not told by the writer: calls of the other processes are among them, and nobody who
calls waits for anybody who watches. As long as nobody does, nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from sqlalchemy import or_, select

from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.tables import Call
from aieye.db.types import now
from aieye.ledger.book import OPEN
from aieye.ledger.queries.call_filters import id_at

EVERY_SECONDS = 1.0
# Rows come after the moments in their ids: by the writer's delay, and what clocks differ by.
LATE = timedelta(seconds=15)
# Calls looked at in one round, and under way that are waited for; of more, the newest.
MOST_ROWS = 1_000
MOST_OPEN = 1_000
# What one listener may have in waiting.
MOST_WAITING = 500


class Listener:
    """Ids of calls that began or ended and were not fetched yet, each once."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._has_some = asyncio.Event()
        self.missed = 0

    async def wait(self, seconds: float) -> list[str]:
        """The ids, by time, as soon as there are some; none after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_some.wait()
        ids, self._ids = sorted(self._ids), {}
        self._has_some.clear()
        return ids

    def tell(self, ids: list[str]) -> None:
        """Add ids; of too many the oldest are dropped and counted as `missed`."""
        self._ids.update(dict.fromkeys(ids))
        while len(self._ids) > MOST_WAITING:
            del self._ids[min(self._ids)]
            self.missed += 1
        if ids:
            self._has_some.set()


class Tail:
    """Looks for all listeners of the process together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._states: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Listener]:
        """Hear of the calls of the last seconds, and from then on of those that begin or end."""
        listener = Listener()
        if self._task is None or self._task.done():
            self._states = {}
            self._task = asyncio.create_task(self._run(), name="tail")
        else:
            listener.tell(sorted(self._states))
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._task is not None:
                task, self._task = self._task, None
                task.cancel()

    async def _run(self) -> None:
        while True:
            changed = await self._look()
            for listener in self._listeners:
                listener.tell(changed)
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self) -> list[str]:
        """The calls that are new or in another state since the last look, by time."""
        since = id_at(now() - LATE)
        waiting = sorted(id_ for id_, state in self._states.items() if state == OPEN)[-MOST_OPEN:]
        statement = (
            select(Call.id, Call.state)
            .where(or_(Call.id >= since, Call.id.in_(waiting)))
            .order_by(Call.id.desc())
            .limit(MOST_ROWS + len(waiting))
        )
        try:
            async with self._database.read() as session:
                rows = (await session.execute(statement)).all()
        except DatabaseUnavailable:
            return []
        changed = [row.id for row in rows if self._states.get(row.id) != row.state]
        self._states = {row.id: row.state for row in rows}
        return sorted(changed)

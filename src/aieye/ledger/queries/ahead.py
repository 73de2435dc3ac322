"""Reading ahead: what whoever looks at a period asks for next is there before they ask.

A month read for the first time in an hour takes some tenths of a second. So it is read, beside the
serving and one after the other, as soon as the process has started, and again when somebody looks and
it has been forgotten.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy.exc import SQLAlchemyError

from aieye.db.engine import Database
from aieye.errors import AieyeError
from aieye.ledger.periods import before, cut
from aieye.ledger.queries.overview import overview
from aieye.ledger.queries.period_sums import REMEMBERED_SECONDS, Memory
from aieye.ledger.queries.usage_sums import UsageFilters
from aieye.ledger.rollups import DAY
from aieye.telemetry.loggers import get_logger

log = get_logger()

# The longest windows that pages offer: shorter ones are quick.
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
_MOST_OWNERS = 100


class Ahead:
    """Whose calls were looked at lately (None: everybody's), and the reading for them."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory
        self._read_at: dict[int | None, float] = {}
        self._wanted: asyncio.Queue[int | None] = asyncio.Queue()

    def expect(self, owner_id: int | None) -> None:
        """Somebody looks at the calls of `owner_id`: read what they may ask for next."""
        moment = time.monotonic()
        if moment - self._read_at.get(owner_id, -REMEMBERED_SECONDS) < REMEMBERED_SECONDS:
            return
        if len(self._read_at) >= _MOST_OWNERS:
            self._read_at.clear()
        self._read_at[owner_id] = moment
        self._wanted.put_nowait(owner_id)

    async def watch(self) -> None:
        """Read what is expected, for ever: a supervised task of the app."""
        self.expect(None)
        while True:
            await self.read(await self._wanted.get())

    async def read(self, owner_id: int | None) -> None:
        """Read what can be remembered of the calls of `owner_id`."""
        try:
            for seconds in WINDOWS:
                await self._read(owner_id, seconds)
        except (AieyeError, SQLAlchemyError) as error:
            # Then it is read when it is asked for.
            log.info("not_read_ahead", reason=type(error).__name__)

    async def _read(self, owner_id: int | None, seconds: int) -> None:
        moment = int(time.time())
        this = cut(moment - seconds, moment, now=moment)
        async with self._database.read() as session:
            await overview(
                session, self._memory, this=this, before=before(this, moment, now=moment),
                stack_by="model", measure="cost", filters=UsageFilters(), owner_id=owner_id,
                now=moment,
            )  # fmt: skip

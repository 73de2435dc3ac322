"""What commands on the database need: settings, the database at its newest schema, the cipher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aieye.access.cipher import Cipher
from aieye.db.engine import Database
from aieye.db.migrate import migrate
from aieye.settings import Settings, load_settings

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    """An open database and what opens the secrets in it."""

    settings: Settings
    database: Database
    cipher: Cipher


def run(work: Callable[[Context], Awaitable[Result]]) -> Result:
    """Do `work` with the database of the settings, which is made or brought up to date before."""
    settings = load_settings()
    cipher = Cipher(settings.secret_keys())
    migrate(settings.database)
    return asyncio.run(_within(settings, cipher, work))


async def _within(
    settings: Settings, cipher: Cipher, work: Callable[[Context], Awaitable[Result]]
) -> Result:
    async with _opened(settings) as database:
        return await work(Context(settings, database, cipher))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database)
    try:
        yield database
    finally:
        await database.close()

"""What commands on the database need: settings, the database at its newest schema, the cipher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aieye.access.cipher import Cipher
from aieye.cli.terminal import tell
from aieye.db.engine import Database
from aieye.db.migrate import is_made, migrate, place_of
from aieye.errors import NotFound
from aieye.settings import Settings, load_settings

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    """An open database and what opens the secrets in it."""

    settings: Settings
    database: Database
    cipher: Cipher


class NoDatabase(NotFound):
    """The command is about what is in a database, and there is none."""

    code = "no_database"


def run(work: Callable[[Context], Awaitable[Result]], *, makes: bool = False) -> Result:
    """Do `work` with the database of the settings, brought up to date before.

    A command that `makes` what its database lacks makes the database itself too, and says so; for
    any other one a database that is not there is the wrong directory. Raises `NoDatabase`.
    """
    settings = load_settings()
    if not makes:
        require_database(settings)
    elif not is_made(settings.database):
        tell(f"There is no database yet: making {place_of(settings.database)}.")
    cipher = Cipher(settings.secret_keys())
    migrate(settings.database)
    return asyncio.run(_within(settings, cipher, work))


def require_database(settings: Settings) -> None:
    """Raises `NoDatabase` where there is none yet."""
    if not is_made(settings.database):
        raise NoDatabase(
            f"There is no database at {place_of(settings.database)}. Go to the server's directory, "
            "or set AIEYE_DATA_DIR or AIEYE_DATABASE_URL as it has it."
        )


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

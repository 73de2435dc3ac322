"""This installation as a whole: whether it may be called, how it is set up, and how much it holds."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.engine import Database
from aieye.db.migrate import head_revision
from aieye.errors import AieyeError
from aieye.settings import PREFIX, Settings
from aieye.state import State
from aieye.telemetry import redact

DATABASE_SECONDS = 2.0
MASK = "********"


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as people may see it: its variable, its value (secrets masked), and where the value
    comes from (`environment`, `.env`, `command line` or `default`)."""

    variable: str
    value: object
    origin: str


async def find_faults(state: State) -> list[str]:
    """Why no call should be sent here; the app's own checks are in `state.ready_checks`."""
    found = [await _database_fault(state.database), *(check() for check in state.ready_checks)]
    return [fault for fault in found if fault is not None]


def shown(settings: Settings) -> dict[str, Any]:
    """The effective settings by the names of their variables, secrets and passwords masked."""
    values = {**dict(settings), "database_url": settings.database}
    return {_variable(name): _masked(value) for name, value in values.items()}


def list_settings(settings: Settings) -> list[Shown]:
    """The effective settings with where each comes from."""
    in_file = dotenv_values(".env") if Path(".env").is_file() else {}
    given = {name.upper() for name in os.environ}, {name.upper() for name in in_file}
    values = shown(settings)
    return [
        Shown(_variable(name), values[_variable(name)], _origin(name, settings, *given))
        for name in dict(settings)
    ]


async def database_bytes(session: AsyncSession, database: Database) -> int:
    """How much room the database takes."""
    if database.path is None:
        size = await session.scalar(select(func.pg_database_size(func.current_database())))
        return int(size or 0)
    files = (database.path, database.path.with_name(f"{database.path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _origin(name: str, settings: Settings, environment: set[str], in_file: set[str]) -> str:
    variable = _variable(name).upper()
    if name not in settings.model_fields_set:
        return "default"
    if variable in environment:
        return "environment"
    return ".env" if variable in in_file else "command line"


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias or f"{PREFIX}{name.upper()}")


def _masked(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, str | Path):
        return redact(str(value))
    return value


async def _database_fault(database: Database) -> str | None:
    try:
        async with asyncio.timeout(DATABASE_SECONDS), database.read() as session:
            revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
    except (AieyeError, SQLAlchemyError, OSError, TimeoutError):
        return "the database does not answer"
    return None if revision == _head() else "the database has another version's schema"


@cache
def _head() -> str:
    """The revision that this process was started with."""
    return head_revision()

"""A copy of a SQLite file as it was before a migration: what to go back to, with the older version."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

# They have rows from the first migration on.
_ALWAYS_FULL = {"alembic_version", "revision", "cache_totals"}


def copy_before(path: Path, revision: str) -> Path | None:
    """Copy the database at `path`, which is at `revision`, to a file beside it that is its owner's
    alone; None where there is nothing in it. Nobody may write meanwhile.

    Raises `OSError`, `sqlite3.Error`.
    """
    # Only a start with a migration pays for loading it.
    from aieye.db.archive import sync_directory  # noqa: PLC0415

    copy = path.with_name(f"{path.name}.at-{revision}")
    building = path.with_name(f"{copy.name}.building")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
        if not _holds_something(source):
            return None
        building.unlink(missing_ok=True)
        os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(building)) as target:
                source.backup(target)
            with building.open("rb+") as file:
                os.fsync(file.fileno())
            building.replace(copy)
        finally:
            building.unlink(missing_ok=True)
    sync_directory(path.parent)
    return copy


def _holds_something(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return any(
        connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None  # noqa: S608 - a table's own name
        for (name,) in tables
        if name not in _ALWAYS_FULL and not name.startswith("sqlite_")
    )

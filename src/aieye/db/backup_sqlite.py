"""Backup and restore of a SQLite file: see `aieye.db.backup`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from aieye.db.archive import (
    Archive,
    ArchiveWriter,
    BackupError,
    Columns,
    InvalidBackup,
    sync_directory,
)
from aieye.db.backup_plan import Meter, Progress, kind_of, table_names, upgrade_to
from aieye.db.exclusive import DatabaseInUse, ServeLock
from aieye.db.gate import WriteGate
from aieye.db.types import now


def dump(path: Path, file: IO[bytes], on_progress: Progress) -> None:
    """Write a backup of the database at `path` to `file`. Writers are not held up."""
    with _explained(path), closing(_open_readonly(path)) as connection:
        # One transaction: every table is seen as it was at its beginning.
        connection.execute("BEGIN")
        (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        tables = {
            name: columns for name in table_names() if (columns := _columns(connection, name))
        }
        total = sum(_count(connection, name) for name in tables)
        meter = Meter(total, on_progress)
        with ArchiveWriter(file, schema=schema, database="sqlite") as writer:
            for name, columns in tables.items():
                query = f"SELECT {_listed(columns)} FROM {name}"  # noqa: S608 - our own names
                with writer.table(name, columns) as add:
                    for row in connection.execute(query):
                        add(row)
                        meter.step()
            writer.finish()
        meter.finish()


def restore(path: Path, archive: Archive, on_progress: Progress) -> Path | None:
    """Put a new file with what `archive` holds in the place of `path`.

    Gives where the former file is kept; None when there was none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    gate = WriteGate(path)
    building = path.with_name(path.name + ".restoring")
    try:
        with ServeLock(path), _explained(path):
            _build(building, archive, on_progress)
            with gate.held():
                return _swap(building, path)
    finally:
        gate.close()
        _remove(building)


def _build(path: Path, archive: Archive, on_progress: Progress) -> None:
    """Make a complete database of `archive` at `path`, and see that it is whole."""
    _remove(path)
    _upgrade(path, archive.manifest.schema)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Nobody sees the file before it is complete: neither a journal nor a sync is needed yet.
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        _load(connection, archive, on_progress)
        connection.execute("COMMIT")
    _upgrade(path, "head")
    with closing(sqlite3.connect(path)) as connection:
        _require_whole(connection, archive)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _load(connection: sqlite3.Connection, archive: Archive, on_progress: Progress) -> None:
    manifest = archive.manifest
    for name in manifest.tables:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names that the archive has checked
    meter = Meter(manifest.rows, on_progress)
    for name, table in manifest.tables.items():
        places = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {name} ({_listed(table.columns)}) VALUES ({places})"  # noqa: S608 - as above
        for row in archive.rows(name):
            connection.execute(statement, row)
            meter.step()
    meter.finish()


def _require_whole(connection: sqlite3.Connection, archive: Archive) -> None:
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise InvalidBackup(f"{archive.path} is not whole: a row of {broken[0]} refers to none.")
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise BackupError(f"The restored database is damaged ({verdict}); nothing was replaced.")


def _swap(building: Path, path: Path) -> Path | None:
    """Put `building` in the place of `path`, whose former file gets another name.

    At every step there is a complete database under `path`: what a crash leaves is the old or the
    new one, and never the new one with the old one's write-ahead log.
    """
    kept = None
    if path.exists():
        # A file that is too damaged for it is why one restores.
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            _fold_log(connection, path)
        kept = path.with_name(f"{path.name}.replaced-{now():%Y%m%d-%H%M%S-%f}")
        os.link(path, kept)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    building.replace(path)
    sync_directory(path.parent)
    return kept


def _fold_log(connection: sqlite3.Connection, path: Path) -> None:
    """Move the write-ahead log's content into the file, so that the file alone is everything."""
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise DatabaseInUse(f"Somebody is reading {path}: end that first.")


def _upgrade(path: Path, revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade_to(connection, revision)


def _open_readonly(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _columns(connection: sqlite3.Connection, table: str) -> Columns:
    """The table's columns; none when there is no such table at this revision."""
    info = connection.execute(f"PRAGMA table_info({table})")
    return {name: kind_of(declared) for _, name, declared, *_ in info}


def _count(connection: sqlite3.Connection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own name
    return int(count)


def _listed(columns: Columns) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", ".serve", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DatabaseError, CommandError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BackupError(f"The database {path}: {reason}.") from error

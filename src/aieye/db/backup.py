"""Backup and restore, for SQLite and PostgreSQL in one format (`aieye.db.archive`).

A backup is a picture of one moment, taken while the server works on. A restore is all or nothing:
SQLite gets a new file that is swapped in when it is complete, PostgreSQL one transaction. The
secret key is not in a backup; without it the provider keys in it cannot be opened.

All functions block: call them outside an event loop or in a thread.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

from aieye.db import backup_postgresql, backup_sqlite
from aieye.db.archive import Archive, BackupError, InvalidBackup, Manifest, sync_directory
from aieye.db.backup_plan import Meter, Progress
from aieye.db.exclusive import DatabaseInUse, ServeLock
from aieye.db.migrate import head_revision, script_directory
from aieye.db.types import now

__all__ = [
    "BackupError",
    "DatabaseInUse",
    "InvalidBackup",
    "backup",
    "check",
    "require_no_server",
    "restore",
]


def _silent(_done: int, _total: int) -> None:
    """The progress of whoever does not look at it."""


def backup(url: str, directory: Path, on_progress: Progress = _silent) -> Path:
    """Write a backup of the database at `url` into `directory`; gives the new file (mode 0600).

    Raises `BackupError`; no incomplete file stays behind.
    """
    source = _sqlite_path(url)
    if source is not None and not source.exists():
        raise BackupError(f"There is no database at {source.absolute()}.")
    directory.mkdir(parents=True, exist_ok=True)
    path = _new_path(directory)
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if source is not None:
                backup_sqlite.dump(source, file, on_progress)
            else:
                backup_postgresql.dump(url, file, on_progress)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_directory(directory)
    finally:
        partial.unlink(missing_ok=True)
    return path


def check(file: Path, on_progress: Progress = _silent) -> Manifest:
    """Read the whole backup and compare it with its manifest. Raises `InvalidBackup`."""
    with Archive(file) as archive:
        _require_known_schema(archive)
        meter = Meter(archive.manifest.rows, on_progress)
        for name in archive.manifest.tables:
            for _ in archive.rows(name):
                meter.step()
        meter.finish()
        return archive.manifest


def require_no_server(url: str) -> None:
    """Raises `DatabaseInUse` while a server runs on the SQLite file of `url`.

    PostgreSQL's restore takes its locks itself.
    """
    if (path := _sqlite_path(url)) is not None and path.exists():
        with ServeLock(path):
            return


def restore(url: str, file: Path, on_progress: Progress = _silent) -> Path | None:
    """Replace everything in the database at `url` by what the backup holds.

    A backup of an older version is brought to this one's schema. Gives the path under which a
    replaced SQLite file is kept. Raises `InvalidBackup`, `BackupError`, `DatabaseInUse`, each with
    the database as it was.
    """
    with Archive(file) as archive:
        _require_known_schema(archive)
        if (path := _sqlite_path(url)) is not None:
            return backup_sqlite.restore(path, archive, on_progress)
        if archive.manifest.schema == head_revision():
            backup_postgresql.restore(url, archive, on_progress)
            return None
        with (
            tempfile.TemporaryDirectory() as directory,
            Archive(_modernised(archive, Path(directory))) as modern,
        ):
            backup_postgresql.restore(url, modern, on_progress)
        return None


def _modernised(archive: Archive, directory: Path) -> Path:
    """The backup at this version's schema: through a SQLite file, which migrates like any other."""
    database = directory / "aieye.db"
    backup_sqlite.restore(database, archive, _silent)
    return backup(f"sqlite:///{database}", directory)


def _require_known_schema(archive: Archive) -> None:
    schema = archive.manifest.schema
    known = {path.name.split("_")[0] for path in (script_directory() / "versions").glob("0*.py")}
    if schema not in known:
        raise InvalidBackup(
            f"The backup was made by another version ({archive.manifest.version}): its schema "
            f"{schema} is not known here. Install that version or a newer one."
        )


def _sqlite_path(url: str) -> Path | None:
    address = make_url(url)
    is_sqlite = address.get_backend_name() == "sqlite"
    return Path(address.database or "aieye.db") if is_sqlite else None


def _new_path(directory: Path) -> Path:
    stem = f"aieye-{now():%Y%m%d-%H%M%S}"
    path, number = directory / f"{stem}.zip", 1
    while path.exists():
        number += 1
        path = directory / f"{stem}-{number}.zip"
    return path

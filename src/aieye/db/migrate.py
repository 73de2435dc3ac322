"""Bring a database's schema to this version, under a lock, so that many processes may start at once.

The migrations lie in `migrations/` of the project and travel in the wheel as `aieye/_migrations`.
A SQLite file with something in it is copied before; a backup of PostgreSQL is its operator's affair.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aieye.db.copy_before import copy_before
from aieye.db.engine import DatabaseUnavailable
from aieye.db.gate import WriteGate
from aieye.errors import AieyeError
from aieye.program import program
from aieye.telemetry.loggers import get_logger

log = get_logger()

# Any number will do, as long as nothing else in the database takes an advisory lock on it.
ADVISORY_LOCK = 7_243_392_001
_PACKAGED = Path(__file__).parent.parent / "_migrations"
_IN_PROJECT = Path(__file__).parents[3] / "migrations"


class MigrationError(AieyeError):
    """The database cannot be brought to this version; it was left as it was."""

    code = "migration_error"


def script_directory() -> Path:
    """Where the migrations lie."""
    return _PACKAGED if _PACKAGED.is_dir() else _IN_PROJECT


def head_revision() -> str:
    """The newest revision, read from the file names (`0001_name.py`), without loading alembic."""
    return max(path.name.split("_")[0] for path in (script_directory() / "versions").glob("0*.py"))


def place_of(url: str) -> str:
    """Where the database at `url` is, for people: a SQLite file's whole path, else the URL without
    its password."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return str(Path(address.database or "aieye.db").absolute())
    return address.render_as_string(hide_password=True)


def is_made(url: str) -> bool:
    """Whether there is a database of AI-Eye at `url`, or something that `migrate` refuses.

    Blocks, as `migrate` does. Raises `DatabaseUnavailable`.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return asyncio.run(_is_made_postgresql(url))
    try:
        return _sqlite_revision(Path(address.database or "aieye.db")) is not None
    except sqlite3.DatabaseError:
        return True


def migrate(url: str) -> bool:
    """Bring the database at `url` to the newest revision; whether there was something to do.

    Blocks: call it outside an event loop or in a thread. Raises `MigrationError`.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return _migrate_sqlite(Path(address.database or "aieye.db"))
    return asyncio.run(_migrate_postgresql(url))


def _migrate_sqlite(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    gate = WriteGate(path)
    try:
        if _sqlite_revision(path) == head_revision():
            return False
        with gate.held():
            _copy_before(path)
            _use_wal(path)
            engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
            # Python's driver would commit before each CREATE TABLE: a revision is all or nothing.
            event.listen(engine, "connect", _leave_transactions_alone)
            event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
            with engine.connect() as connection:
                return _upgrade(connection)
    except (sqlite3.DatabaseError, DatabaseError) as error:
        raise MigrationError(
            f"{path} cannot be used as a database ({error.__class__.__name__}: {error}). "
            f"If it is damaged, restore a backup with `{program()} restore FILE`."
        ) from error
    finally:
        gate.close()


def _copy_before(path: Path) -> None:
    found = _sqlite_revision(path)
    if found is None or found >= head_revision():
        return
    try:
        copy = copy_before(path, found)
    except (OSError, sqlite3.Error) as error:
        raise MigrationError(
            f"{path} could not be copied before its migration ({error.__class__.__name__}: {error}), "
            "and was left as it was. Is there room for a second one beside it?"
        ) from error
    if copy is not None:
        log.info("copied_before_migration", file=str(copy), revision=found)


def _use_wal(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _leave_transactions_alone(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _sqlite_revision(path: Path) -> str | None:
    if not path.exists():
        return None
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    finally:
        connection.close()
    return None if row is None else str(row[0])


async def _is_made_postgresql(url: str) -> bool:
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT to_regclass('alembic_version')"))
            return found is not None
    except (OSError, TimeoutError, DatabaseError, InterfaceError) as error:
        raise DatabaseUnavailable("The database does not answer.") from error
    finally:
        await engine.dispose()


async def _migrate_postgresql(url: str) -> bool:
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))
            await connection.commit()
            try:
                return await connection.run_sync(_upgrade)
            finally:
                await connection.rollback()
                await connection.execute(text(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})"))
                await connection.commit()
    except (OSError, TimeoutError, InterfaceError, OperationalError) as error:
        raise DatabaseUnavailable("The database does not answer.") from error
    except DatabaseError as error:
        reason = str(error).splitlines()[0]
        raise MigrationError(f"The database cannot be migrated: {reason}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> bool:
    """Run what is missing, each revision in a transaction of its own."""
    # Alembic takes longer to load than the rest of the start: only a migration pays for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(script_directory()))
    config.attributes["connection"] = connection
    found = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise MigrationError(
            f"The database is at revision {found}, which this version does not know: "
            "it was made by a newer AI-Eye. Install that version or restore an older backup."
        )
    if found == head_revision():
        return False
    if found is not None and connection.dialect.name == "postgresql":
        log.warning("migrated_without_a_copy", revision=found, make_one_before="aieye backup")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationError(f"The migration failed: {error}") from error
    return True

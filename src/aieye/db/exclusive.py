"""One server on a SQLite file: a lock that is held for as long as the server runs.

Two servers on one file would each keep their own picture of it, and a restore under a running
server would pull the file from under it. The operating system lets go when the process ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from aieye.errors import Conflict


class DatabaseInUse(Conflict):
    """A server runs on this database."""

    code = "database_in_use"


class ServeLock:
    """`flock` on `<database>.serve`. Use it as a context; entering raises `DatabaseInUse`."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        path = self._database.with_name(self._database.name + ".serve")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DatabaseInUse(
                f"A server is running on {self._database}: stop it first."
            ) from error
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

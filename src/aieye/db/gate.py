"""One writer at a time on a SQLite file, over threads and processes.

SQLite up to 3.51.2 can damage a database when two connections write or checkpoint its WAL at the
very same moment (https://sqlite.org/wal.html#walresetbug), and a Python brings whatever SQLite it
was built with. So every write transaction, the checkpoint at its end included, holds this gate.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path


class WriteGate:
    """A lock that threads (a mutex) and processes (`flock` on a file beside the database) share."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._mutex = threading.Lock()
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Wait, in a thread, until nobody else writes."""
        self._mutex.acquire()
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX)
        except BaseException:
            self._mutex.release()
            raise

    def try_acquire(self) -> bool:
        """Take the gate if that needs no waiting."""
        if not self._mutex.acquire(blocking=False):
            return False
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._mutex.release()
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self._open(), fcntl.LOCK_UN)
        self._mutex.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the gate in a thread."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    @asynccontextmanager
    async def held_async(self) -> AsyncIterator[None]:
        """Hold the gate in a coroutine; the event loop never waits for it."""
        while not self.try_acquire():  # noqa: ASYNC110 - another process's lock has no event
            # A writer holds the gate for a millisecond or so: asking again beats a thread.
            await asyncio.sleep(0.001)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor

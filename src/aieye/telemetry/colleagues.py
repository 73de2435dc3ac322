"""One scrape for all workers of a server: whichever is asked asks the others for their figures.

Each worker takes the lowest free number of its server's (the lock on a file says that it is taken,
and ends with the process) and tells its figures to whoever connects to the socket of that number.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from aieye.telemetry.loggers import get_logger
from aieye.telemetry.metrics import Metrics

log = get_logger()

# Tells workers where their sockets are; set by the process that starts them.
VARIABLE = "AIEYE_WORKERS_AT"
# A worker that takes longer is left out of the scrape.
PATIENCE_SECONDS = 2.0


class Colleagues:
    """This worker among the `most` that may run; `directory` is theirs alone."""

    def __init__(self, directory: Path, most: int, metrics: Metrics) -> None:
        self._directory = directory
        self._most = most
        self._metrics = metrics
        self._number = 0
        self._lock: int | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take a number and answer the others; without a socket this one is missing there."""
        self._number, self._lock = self._take_number()
        path = self._socket(self._number)
        try:
            # What a worker has left behind that was killed.
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._tell, path)
        except OSError as error:
            log.warning("worker_has_no_socket", worker=self._number, reason=error.strerror)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._socket(self._number).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)

    async def render(self) -> tuple[bytes, str]:
        """The figures of all workers, by the label `worker`, and their media type."""
        from aieye.telemetry.exposition import merge  # noqa: PLC0415 - only who is scraped pays

        others = [number for number in range(self._most) if number != self._number]
        told = await asyncio.gather(*map(self._ask, others))
        texts = {str(self._number): self._metrics.render()[0]}
        texts |= {str(number): text for number, text in zip(others, told, strict=True) if text}
        return merge(texts)

    def _take_number(self) -> tuple[int, int]:
        """The lowest number that no living worker has, and the lock on it."""
        number = 0
        while True:
            lock = os.open(self._directory / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                number += 1
            else:
                # A worker that ends may overlap with the one that replaces it.
                self._most = max(self._most, number + 1)
                return number, lock

    async def _tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(self._metrics.render()[0])
            await writer.drain()
        writer.close()

    async def _ask(self, number: int) -> bytes:
        """A colleague's figures; empty when there is none of that number, or it does not answer."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket(number))
                try:
                    return await reader.read()
                finally:
                    writer.close()
        except TimeoutError:
            log.warning("worker_not_scraped", worker=number)
        except OSError:
            # Not started yet, or ended.
            pass
        return b""

    def _socket(self, number: int) -> Path:
        return self._directory / f"{number}.sock"

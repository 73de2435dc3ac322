"""While the database is away at the start: alive, not ready, and trying again.

A process that ended instead would be started again and again by whatever watches over it. The
listening socket is the one that the server gets later, so that no connection is refused meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aieye.cli.terminal import warn
from aieye.db.engine import DatabaseUnavailable

RETRY_SECONDS = 1.0
_ALIVE = b'{"status":"ok"}'
_NOT_READY = b'{"status":"not_ready","reasons":["the database does not answer"]}'
_ERROR = (
    b'{"error":{"message":"The database does not answer; try again shortly.",'
    b'"type":"server_error","param":null,"code":"database_unavailable"}}'
)


def until_there(prepare: Callable[[], object], listener: socket.socket) -> None:
    """Call `prepare` until it does not raise `DatabaseUnavailable` any more."""
    try:
        prepare()
    except DatabaseUnavailable as error:
        warn(f"{error.message} Waiting for it.")
        asyncio.run(_wait(prepare, listener))


async def _wait(prepare: Callable[[], object], listener: socket.socket) -> None:
    server = await asyncio.start_server(_answer, sock=listener.dup())
    async with server:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await asyncio.to_thread(prepare)
            except DatabaseUnavailable:
                continue
            return


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request a connection; what was asked beyond its first line does not matter."""
    try:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].split(b"?")[0]
            status, body = _choose(path)
            writer.write(
                b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                b"Retry-After: 2\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
            )
            await writer.drain()
    except (
        TimeoutError,
        OSError,
        IndexError,
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
    ):
        pass
    finally:
        writer.close()


def _choose(path: bytes) -> tuple[bytes, bytes]:
    if path == b"/healthz":
        return b"200 OK", _ALIVE
    return b"503 Service Unavailable", _NOT_READY if path == b"/readyz" else _ERROR

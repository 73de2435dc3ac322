"""The way to the providers: one pool of connections for all of them, for the whole process.

Bytes come as the provider sent them; redirects are not followed, no proxy, cookie or password file
of the environment is used. Why this is not a library's client: docs/adr/0006.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from aieye.gateway.connection import Connection
from aieye.gateway.decoding import ENCODINGS, Decoder
from aieye.gateway.dial import Dialer, Origin
from aieye.gateway.faults import BrokenOff
from aieye.gateway.wire import Header, header

# An idle connection is closed after this: before most servers and the networks between do it.
_IDLE_SECONDS = 30.0
# What may stand in a request's target as it is (RFC 3986), `%` included: it comes quoted.
_TARGET_CHARACTERS = "%!$&'()*+,;=:@/?-._~[]"

# The present attempt as the ledger has it; `sent` says there was a connection to send it on.
ATTEMPT: ContextVar[dict[str, Any] | None] = ContextVar("attempt", default=None)


class UpstreamResponse:
    """An answer whose head has come. Read it whole or in chunks, then `release` or `close` it."""

    __slots__ = ("_client", "_connection", "_decoder", "_origin", "headers", "status")

    def __init__(self, connection: Connection, origin: Origin, client: UpstreamClient) -> None:
        self._connection = connection
        self._origin = origin
        self._client = client
        self.status = connection.status
        self.headers: tuple[Header, ...] = tuple(connection.headers)
        self._decoder: Decoder | None = None
        encoding = header(self.headers, b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in {b"", b"identity"}:
            if encoding.strip().lower() not in ENCODINGS:
                connection.close()
                raise BrokenOff("The provider's answer is encoded in a way that was not asked for.")
            # We asked for `identity`.
            self._decoder = Decoder()

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return self._connection.is_whole

    async def read(self, most_bytes: int, progress: Callable[[], None]) -> bytes:
        """The whole body, decoded if it came encoded; `progress` is called as bytes come.

        Raises `BrokenOff`, also for a body over `most_bytes`.
        """
        if self._decoder is None and self.is_whole:
            # A small answer is here with its head.
            whole = self._connection.take()
            if len(whole) <= most_bytes:
                return whole
        parts: list[bytes] = []
        size = 0
        while chunk := await self.chunk():
            size += len(chunk)
            if size > most_bytes:
                self.close()
                raise BrokenOff(f"The provider's answer is larger than {most_bytes} bytes.")
            parts.append(chunk)
            progress()
        return b"".join(parts)

    async def chunk(self) -> bytes:
        """The next bytes of the body; b"" at its end. Raises `BrokenOff` when it ends too early."""
        decoder = self._decoder
        if decoder is None:
            return await self._connection.read()
        while chunk := await self._connection.read():
            try:
                decoded = decoder.decode(chunk)
            except zlib.error as error:
                raise BrokenOff("The provider's answer is compressed and damaged.") from error
            if decoded:
                return decoded
        if not decoder.is_complete:
            raise BrokenOff("The provider's compressed answer ended before it was complete.")
        return b""

    def release(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        self._client.give_back(self._origin, self._connection)

    def close(self) -> None:
        """Close the connection: the provider sees that nobody waits any more."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a request, to be used for many: where it goes, and all but its length."""

    origin: Origin
    text: bytes = field(repr=False)
    # Whether the headers say how long the body is.
    has_length: bool

    @classmethod
    def of(
        cls, method: str, base_url: str, path: str, headers: Mapping[str, str], query: str = ""
    ) -> Head:
        """Raises `BrokenOff` for what cannot stand in a header."""
        origin = Origin.of(base_url)
        target = urlsplit(base_url).path.rstrip("/") + path + (f"?{query}" if query else "")
        lines = [
            f"{method} {quote(target, safe=_TARGET_CHARACTERS)} HTTP/1.1",
            f"Host: {origin.host_header}",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
        ]
        if any(character in line for line in lines for character in "\r\n\0"):
            raise BrokenOff("A header of the request holds what no header may hold.")
        has_length = any(name.lower() == "content-length" for name in headers)
        return cls(origin, "\r\n".join(lines).encode("latin-1"), has_length)


class UpstreamClient:
    """The pool of connections to all providers; lives as long as the process."""

    def __init__(self, *, connect_timeout: float) -> None:
        self._dialer = Dialer(connect_timeout)
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close what is idle; what is in use is closed by who uses it."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def open(self, head: Head, body: bytes | AsyncIterator[bytes] | None) -> UpstreamResponse:
        """Send a request and wait for the head of the answer.

        A body in pieces is sent in chunks unless the head says its length. Raises `Unreachable`,
        `BrokenOff`, and what the pieces raise. Cancelling closes the connection.
        """
        connection = self._take(head.origin) or await self._dialer.dial(head.origin)
        attempt = ATTEMPT.get()
        if attempt is not None:
            attempt["sent"] = True
        try:
            if body is None or isinstance(body, bytes):
                length = b"\r\n" if body is None else b"Content-Length: %d\r\n\r\n" % len(body)
                connection.ask(head.text + length, body or b"")
            else:
                framing = b"\r\n" if head.has_length else b"Transfer-Encoding: chunked\r\n\r\n"
                await connection.ask_in_pieces(
                    head.text + framing, body, is_chunked=not head.has_length
                )
            await connection.head()
        except BaseException:
            connection.close()
            raise
        return UpstreamResponse(connection, head.origin, self)

    # -- connections ------------------------------------------------------------------------

    def _take(self, origin: Origin) -> Connection | None:
        """The idle connection that was used last."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for the next request, if it may be used once more; else close it."""
        if connection.rest():
            connection.idle_since = time.monotonic()
            self._idle.setdefault(origin, []).append(connection)
            if self._sweeper is None:
                self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_IDLE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long. The ones used last stand at the end."""
        self._sweeper = None
        oldest = time.monotonic() - _IDLE_SECONDS
        for origin, idle in list(self._idle.items()):
            fresh = [one for one in idle if one.is_open and one.idle_since > oldest]
            for connection in idle:
                if connection.idle_since <= oldest:
                    connection.close()
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]
        if self._idle:
            self._sweep_later()

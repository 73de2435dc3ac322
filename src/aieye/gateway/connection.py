"""One HTTP/1.1 connection to a provider (RFC 9112): a request, its answer, then the next one.

`httptools` (llhttp, as in Node) reads what comes. Everything else here is bookkeeping: what of an
answer is there, whether more may come, and whether the connection may be used once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httptools

from aieye.gateway.faults import BrokenOff
from aieye.gateway.wire import Header

# Reading pauses while this much of an answer waits to be read.
MOST_WAITING_BYTES = 64 * 1024
# What may come without being a body: the head, chunk extensions, trailers, interim answers.
_MOST_OVERHEAD_BYTES = 64 * 1024
_MOST_HEADERS = 256
_MOST_INTERIM = 32
# Headers that say where an answer ends.
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class Connection(asyncio.Protocol):
    """Use in turns of `ask`, `head`, `read`…, and, when `is_reusable` says so, `ask` again."""

    __slots__ = (
        "_drained", "_fault", "_has_length", "_interim", "_is_asked", "_is_clean", "_is_closed", "_is_paused",
        "_is_whole", "_is_writing", "_keeps_alive", "_loop", "_overhead", "_parser", "_parts",
        "_size", "_transport", "_until_close", "_waiter", "has_head", "headers", "idle_since",
        "status",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_closed = False
        self._is_paused = False
        self._is_writing = False
        # Nothing came that nobody had asked for.
        self._is_clean = True
        self._is_asked = False
        self.idle_since = 0.0
        self._forget()

    def _forget(self) -> None:
        """Begin anew: no answer is there."""
        self.status = 0
        self.headers: list[Header] = []
        self.has_head = False
        self._is_whole = False
        self._until_close = False
        self._has_length = False
        self._keeps_alive = False
        self._fault: BrokenOff | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._overhead = 0
        self._interim = 0

    # -- asking -----------------------------------------------------------------------------

    def ask(self, head: bytes, body: bytes) -> None:
        """Send a request. The connection is free or the caller's fault."""
        transport = self._begin()
        if len(body) <= MOST_WAITING_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def ask_in_pieces(
        self, head: bytes, pieces: AsyncIterator[bytes], *, is_chunked: bool
    ) -> None:
        """Send a request whose body comes bit by bit; ends early when an answer comes before.

        Raises what `pieces` raises.
        """
        transport = self._begin()
        self._is_writing = True
        transport.write(head)
        async for piece in pieces:
            if self.has_head or self._is_closed:
                return
            if piece:
                transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            if self._drained is not None:
                await self._drained
        if is_chunked:
            transport.write(b"0\r\n\r\n")
        self._is_writing = False

    def _begin(self) -> asyncio.Transport:
        if self._transport is None or self._is_closed or self._is_asked:
            raise BrokenOff("The connection to the provider is not open.")
        self._forget()
        self._is_asked = True
        return self._transport

    # -- the answer -------------------------------------------------------------------------

    async def head(self) -> None:
        """Wait for the head of the answer: `status` and `headers`. Raises `BrokenOff`."""
        while not self.has_head:
            if self._fault is not None:
                raise self._fault
            await self._wait()

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer has come."""
        return self._is_whole

    async def read(self) -> bytes:
        """What has come of the body since the last time; b"" at its end. Raises `BrokenOff`.

        What came before a fault is given before the fault is told.
        """
        while not self._parts:
            if self._fault is not None:
                raise self._fault
            if self._is_whole:
                return b""
            await self._wait()
        return self.take()

    def take(self) -> bytes:
        """What is there of the body, without waiting."""
        parts = self._parts
        if not parts:
            return b""
        self._parts, self._size = [], 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self) -> None:
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        if self._fault is None and not self._is_whole:
            self._fault = BrokenOff(reason)
        self.close()

    # -- using it again ---------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return not self._is_closed

    def rest(self) -> bool:
        """The caller is done; whether the connection may be used for another request."""
        is_reusable = (
            self._is_whole
            and self._is_clean
            and not self._is_closed
            and not self._is_writing
            and self._keeps_alive
        )
        if not is_reusable:
            self.close()
            return False
        self._is_asked = False
        self._parts = []
        return True

    def close(self) -> None:
        """End the connection at once, whatever is under way."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_asked or self._is_whole:
            # Whatever this is, it is nobody's answer.
            self._is_clean = False
            self.close()
            return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("The provider does not speak proper HTTP.")
        if self._overhead > _MOST_OVERHEAD_BYTES or len(self.headers) > _MOST_HEADERS:
            self._fail("The provider sends more headers than anybody needs.")
        if self._size > MOST_WAITING_BYTES and not self._is_paused and not self._is_closed:
            self._is_paused = True
            cast(asyncio.Transport, self._transport).pause_reading()
        self._wake()
        if self.has_head and self._drained is not None:
            self.resume_writing()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._until_close and self.has_head and exc is None:
            self._is_whole = True
        elif not self._is_whole and self._fault is None:
            self._fault = BrokenOff("The connection to the provider broke off.")
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- the parser's side ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:
            self._is_clean = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:
            name = name.lower()
            self.headers.append((name, value))
            # Else only the connection's end says where the answer ends (RFC 9112, 6.3).
            if name in _LENGTHS:
                self._has_length = True

    def on_headers_complete(self) -> None:
        if self._is_whole:
            return
        status = self._parser.get_status_code()
        if status == 101:
            self._fail("The provider wants to speak something else than HTTP.")
        elif status < 200:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                self._fail("The provider sends interim answers without end.")
        else:
            self.status = status
            self.has_head = True
            self._keeps_alive = self._parser.should_keep_alive()
            self._until_close = not (self._has_length or status in {204, 304})

    def on_body(self, data: bytes) -> None:
        if not self._is_whole:
            self._parts.append(data)
            self._size += len(data)
            self._overhead = 0

    def on_message_complete(self) -> None:
        if self.has_head:
            self._is_whole = True
        else:
            # An interim answer (RFC 9110, 15.2): the real one is still to come.
            self.headers = []
            self._has_length = False

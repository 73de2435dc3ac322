"""The streaming upstream: 100 events at once (`/instant`), or ten a second (`/paced/<how many>`).

nginx does not serve it: one event a chunk, as providers send them, costs it so much that it would
be slower than what is measured. `python -m bench.events PORT` runs it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import httptools
import uvloop

from bench.messages import chunk, frames, last_frames

EVENTS_A_SECOND = 10
# Real connections bring a few events at a time; a system call for each would be the slowest part.
_EVENTS_A_WRITE = 4
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_bench0000000000000000000000000\r\nopenai-processing-ms: 312\r\n"
    b"openai-version: 2020-10-01\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"
_TIME = "0000000000000000000"


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _writes() -> list[bytes]:
    """The whole instant answer, in the pieces that are written."""
    events = [_chunked(data) for data in frames()]
    pieces = [
        b"".join(events[start : start + _EVENTS_A_WRITE])
        for start in range(0, len(events), _EVENTS_A_WRITE)
    ]
    return [_HEAD + pieces[0], *pieces[1:-1], pieces[-1] + _END]


_INSTANT = _writes()
_PACED_HEAD, _PACED_TAIL = _chunked(chunk({"content": _TIME})).split(_TIME.encode())
_PACED_END = b"".join(map(_chunked, last_frames())) + _END


class Connection(asyncio.Protocol):
    """Answers one request after the other."""

    streams = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own class, which is no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        if self._url == b"/count":
            body = b"%d" % Connection.streams
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        Connection.streams += 1
        if self._url.startswith(b"/paced/"):
            self._write(_HEAD)
            self._pace(int(self._url.split(b"/")[2]), self._loop.time())
        else:
            self._send(0)

    def _send(self, number: int) -> None:
        # What is written within one turn of the loop goes out together: one turn for each piece.
        self._write(_INSTANT[number])
        if number + 1 < len(_INSTANT):
            self._loop.call_soon(self._send, number + 1)

    def _pace(self, left: int, due: float) -> None:
        if self._transport is None:
            return
        if left == 0:
            self._write(_PACED_END)
            return
        self._write(b"%b%0*d%b" % (_PACED_HEAD, len(_TIME), time.monotonic_ns(), _PACED_TAIL))
        due += 1 / EVENTS_A_SECOND
        self._loop.call_at(due, self._pace, left - 1, due)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def serve(port: int) -> None:
    """Answer on the loopback address for ever."""
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", port, backlog=2_048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

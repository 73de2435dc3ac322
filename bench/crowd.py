"""Many slow streams at once: how late each event comes, and whether any stream breaks."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from dataclasses import dataclass, field
from typing import cast

import httptools
import uvloop

from bench.load import Bodies, request_head
from bench.probe import Latencies, sorted_latencies

# Streams begin over this time, as people do, so that their events are spread over the seconds.
_RAMP_SECONDS = 2.0
_GRACE_SECONDS = 20.0
_SENT_AT = re.compile(rb'"content":"(\d{19})"')


@dataclass(slots=True)
class Watched:
    """What a client saw of one stream."""

    status: int = 0
    lags_ms: list[float] = field(default_factory=list)
    has_finish: bool = False
    has_done: bool = False
    is_complete: bool = False

    def is_whole(self, events: int) -> bool:
        """Whether everything came that had to."""
        return (
            self.status == 200
            and len(self.lags_ms) == events
            and self.has_finish
            and self.has_done
            and self.is_complete
        )


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of many streams: lags are milliseconds from the upstream's write to the client."""

    broken: int
    lags: Latencies


def watch(
    port: int,
    bodies: Bodies,
    *,
    streams: int,
    events: int,
    token: str = "sk-bench",
    prefix: str = "",
) -> Crowd:
    """Hold `streams` streams of `events` timed events each. Raises `NotMeasured`."""
    head = request_head(bodies.template, token, prefix)
    gc.collect()
    gc.disable()
    try:
        seen = uvloop.run(_watch(port, head, bodies, streams, events))
    finally:
        gc.enable()
    return Crowd(
        broken=sum(not one.is_whole(events) for one in seen),
        lags=sorted_latencies(lag for one in seen for lag in one.lags_ms),
    )


async def _watch(
    port: int, head: bytes, bodies: Bodies, streams: int, events: int
) -> list[Watched]:
    nonces = bodies.nonces()
    clients: list[_Client] = []
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(streams):
        await asyncio.sleep(started + number * _RAMP_SECONDS / streams - loop.time())
        client = _Client(head + bodies.template.body(next(nonces)))
        clients.append(client)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc] # a default argument binds the loop's variable
    await asyncio.wait([client.ended for client in clients], timeout=events / 10 + _GRACE_SECONDS)
    for client in clients:
        client.close()
    return [client.watched for client in clients]


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self.watched = Watched()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._now = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own class, which is no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic_ns()
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def on_headers_complete(self) -> None:
        self.watched.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            found = _SENT_AT.search(frame)
            if found is not None:
                self.watched.lags_ms.append((self._now - int(found[1])) / 1e6)
            elif frame == b"data: [DONE]":
                self.watched.has_done = True
            elif b'"finish_reason":"stop"' in frame:
                self.watched.has_finish = True

    def on_message_complete(self) -> None:
        self.watched.is_complete = True
        self._end()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

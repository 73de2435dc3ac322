"""The floors: what an ASGI application costs that does only one part of the gateway's work.

`python -m bench.blocks NAME PORT UPSTREAM` serves one of them, set up as `aieye serve` is.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import aiohttp
import uvicorn
import uvloop

from bench.messages import PATH, answer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# As `aieye serve` runs uvicorn; a test compares them.
SERVER_OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "ws": "none",
    "log_config": None,
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "backlog": 2_048,
}
_JSON = (b"content-type", b"application/json")
_SSE = (b"content-type", b"text/event-stream; charset=utf-8")
_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if not message.get("more_body", False):
            return body


async def _send(send: Send, body: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def fixed(_upstream: str) -> AsyncIterator[App]:
    """A fixed answer to whatever is asked."""
    body = answer()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await _send(send, body)

    yield app


@asynccontextmanager
async def lookup(_upstream: str) -> AsyncIterator[App]:
    """Read the body, hash it, look it up, give what is found."""
    body = answer()
    found: dict[bytes, bytes] = {}

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        digest = sha256(await _read(receive)).digest()
        await _send(send, found.setdefault(digest, body))

    yield app


@asynccontextmanager
async def forward(upstream: str) -> AsyncIterator[App]:
    """Send the body on with aiohttp and give back the whole answer."""
    async with _session() as session:

        async def app(_scope: Scope, receive: Receive, send: Send) -> None:
            body = await _read(receive)
            async with session.post(upstream, data=body, headers=_HEADERS) as response:
                await _send(send, await response.read())

        yield app


@asynccontextmanager
async def stream(upstream: str) -> AsyncIterator[App]:
    """Send the body on with aiohttp and give back the answer as it comes."""
    async with _session() as session:

        async def app(_scope: Scope, receive: Receive, send: Send) -> None:
            body = await _read(receive)
            async with session.post(upstream, data=body, headers=_HEADERS) as response:
                await send({"type": "http.response.start", "status": 200, "headers": [_SSE]})
                async for data in response.content.iter_any():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})

        yield app


BLOCKS = {"fixed": fixed, "lookup": lookup, "forward": forward, "stream": stream}


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def serve(name: str, port: int, upstream: str) -> None:
    """Serve a block until the process is told to end."""
    async with BLOCKS[name](f"{upstream.removesuffix('/v1')}{PATH}") as app:
        config = uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", **SERVER_OPTIONS)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))

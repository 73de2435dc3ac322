"""Clients that stop reading: they hold their provider back, and neither memory nor other clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from tests.crash.conftest import PROVIDER_KEY
from tests.crash.load import chat, fresh
from tests.fakes import chat as provider_chat
from tests.fakes.upstream import Connection, FakeUpstream, Received, chat_answer
from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers

CLIENTS = 100
# What a stream may hold that nobody reads: what came in one piece, and what is on its way out.
MOST_BYTES_EACH = 2 * 2**20
EVENT = provider_chat.frame(
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "x" * 16_384}}]}
)
# 64 MB for each client, far more than the sockets on both sides hold.
EVENTS = 4_000


async def flood(request: Received, connection: Connection) -> None:
    """An endless stream to whoever asks for one. Fires `event` for each."""
    if not request.streamed:
        await chat_answer("Here.")(request, connection)
        return
    await connection.start(200, {"Content-Type": "text/event-stream"})
    for _ in range(EVENTS):
        await connection.send(EVENT)
        connection.fire("event")


def resident_bytes(server: LiveServer) -> int:
    statm = Path(f"/proc/{server.pid}/statm").read_text()
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def idle_readers(server: LiveServer, token: Made) -> AsyncIterator[list[socket.socket]]:
    """A hundred clients that ask for a stream and do not read it."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(CLIENTS):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            reader.setblocking(False)
            await loop.sock_connect(reader, ("127.0.0.1", server.port))
            body = orjson.dumps(chat(fresh(), stream=True, cache={"mode": "off"}))
            head = (
                "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                f"authorization: Bearer {token.secret}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            await loop.sock_sendall(reader, head.encode() + body)
            readers.append(reader)
        yield readers


async def until_it_stands_still(upstream: FakeUpstream) -> None:
    seen = -1
    async with asyncio.timeout(30):
        while seen != upstream.fired["event"] or len(upstream.requests) < CLIENTS:
            seen = upstream.fired["event"]
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_hundred_clients_that_do_not_read_hold_a_bounded_part_and_nobody_up(
    database_url: str, start_server: LiveServers
) -> None:
    installation = Installation(database_url)
    token = installation.add_token()
    async with FakeUpstream(flood) as upstream:
        installation.add_provider(upstream.base_url, PROVIDER_KEY)
        server = await asyncio.to_thread(
            start_server, {**installation.environment, "AIEYE_LEDGER_BODIES": "off"}
        )
        async with httpx.AsyncClient(
            base_url=server.base_url, headers=token.headers, trust_env=False
        ) as client:
            for _ in range(5):
                await client.post("/v1/chat/completions", json=chat(fresh()))
            before = resident_bytes(server)
            async with idle_readers(server, token):
                await until_it_stands_still(upstream)
                grown = resident_bytes(server) - before
                times = []
                for _ in range(20):
                    started = time.monotonic()
                    answer = await client.post("/v1/chat/completions", json=chat(fresh()))
                    times.append(time.monotonic() - started)
                    assert answer.status_code == 200
    # It stood still for want of readers and not because all was said.
    assert CLIENTS * 5 < upstream.fired["event"] < CLIENTS * EVENTS / 2
    assert grown < CLIENTS * MOST_BYTES_EACH, f"{grown / 2**20:.0f} MiB"
    assert sorted(times)[10] < 0.1, times

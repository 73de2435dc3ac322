"""Clients that begin a request and do not end it: closed after a while, without harm to others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest

from aieye.api import half_open
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, chat_answer, json_answer, sse
from tests.faults.harness import (
    CHAT,
    DONE_FRAME,
    Gateway,
    LoopClock,
    RawClient,
    StartGateway,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

HEAD, BODY = 0.4, 0.8
# How much later than due a close may come, by the clock of the loop that is to close.
SLACK = 1.0
UPLOAD = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_open, "HEAD_SECONDS", HEAD)
    monkeypatch.setattr(half_open, "BODY_SECONDS", BODY)


@dataclass(frozen=True)
class Lasted:
    """Seconds of the world, and those that the loop had for itself: a busy machine leaves it fewer."""

    real: float
    own: float

    def is_about(self, due: float) -> bool:
        return self.real > due - 0.1 and self.own < due + SLACK


async def rest(client: RawClient) -> tuple[bytes, Lasted]:
    """What still comes until the connection is closed, and how long that takes."""
    started = time.monotonic()
    received = b""
    async with LoopClock() as clock, asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):
            while piece := await client.reader.read(2**16):
                received += piece
    return received, Lasted(time.monotonic() - started, clock.seconds)


def said(answer: bytes) -> tuple[bytes, str]:
    """The status line, and the code of the error object."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    return head.split(b"\r\n")[0], orjson.loads(body)["error"]["code"]


TIMEOUT = (b"HTTP/1.1 408 Request Timeout", "request_timeout")


async def test_a_head_that_never_ends_is_408(gateway: Gateway) -> None:
    head = gateway.head(CHAT, 10)
    for sent in (head[:1], head[:20], head[:-2]):
        async with gateway.raw() as client:
            await client.send(sent)
            answer, lasted = await rest(client)
        assert said(answer) == TIMEOUT
        assert lasted.is_about(HEAD)
    assert await gateway.rows() == []


async def test_a_head_that_trickles_has_no_more_time_than_any_other(gateway: Gateway) -> None:
    async with gateway.raw() as client:

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                for byte in gateway.head(CHAT, 10):
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.03)

        trickling = asyncio.create_task(trickle())
        answer, lasted = await rest(client)
        trickling.cancel()
    assert said(answer) == TIMEOUT
    assert lasted.own < HEAD + SLACK


async def test_who_says_nothing_is_closed_without_a_word(gateway: Gateway) -> None:
    async with gateway.raw() as client:
        answer, lasted = await rest(client)
    assert answer == b""
    assert lasted.is_about(HEAD)


async def test_the_head_of_a_second_request_has_to_end_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async with gateway.raw() as client:
        await client.send(gateway.request(question()))
        status, headers = await client.read_head()
        await client.reader.readexactly(int(headers["content-length"]) - len(client._buffer))
        await asyncio.sleep(HEAD * 1.5)
        await client.send(gateway.head(CHAT, 10)[:30])
        answer, lasted = await rest(client)
    assert status == 200
    assert said(answer) == TIMEOUT
    assert lasted.is_about(HEAD)


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
async def test_a_body_that_never_ends_is_408_and_has_its_row(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    body = gateway.request(question())[-20:]
    for sent in (b"", body):
        async with gateway.raw() as client:
            await client.send(gateway.head(path, 5_000), sent)
            answer, lasted = await rest(client)
        assert said(answer) == TIMEOUT
        assert lasted.is_about(BODY)

    rows = await gateway.rows(2)
    endpoint = path.removeprefix("/v1/")
    assert [(row.status, row.error, row.endpoint, row.cost_nano) for row in rows] == [
        (408, "request_timeout", endpoint, 0)
    ] * 2
    assert not any(request.body_complete for request in upstream.requests)


async def test_a_login_that_never_ends_is_408(gateway: Gateway) -> None:
    async with gateway.raw() as client:
        await client.send(b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        answer, lasted = await rest(client)
    assert said(answer) == TIMEOUT
    assert lasted.own < BODY + SLACK


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
async def test_a_body_that_comes_slowly_but_steadily_is_taken(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    if path != CHAT:
        upstream.default = json_answer(200, {"id": "file-1", "object": "file"})
    body = orjson.dumps(question())
    started = time.monotonic()
    async with gateway.raw() as client:
        await client.send(gateway.head(path, len(body)))
        step = len(body) // 8
        for start in range(0, len(body), step):
            await client.send(body[start : start + step])
            await asyncio.sleep(BODY / 4)
        status, _ = await client.read_head()

    assert time.monotonic() - started > BODY * 1.5
    assert status == 200
    assert upstream.requests[0].body == body


async def test_an_upload_that_waits_for_the_provider_is_not_the_clients_silence(
    start_gateway: StartGateway,
) -> None:
    received = 0

    async def take_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await asyncio.sleep(BODY * 2)
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while received < size and (piece := await reader.read(2**16)):
            received += len(piece)
        answer = b'{"id":"file-1","object":"file"}'
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(take_later, "127.0.0.1", 0, limit=2**16) as server:
        port = server.sockets[0].getsockname()[1]
        gateway = await start_gateway(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1")
        body = bytes(32 * 2**20)
        answer = await gateway.client.post("/v1/files", content=body, headers=UPLOAD)

    assert (answer.status_code, received) == (200, len(body))


async def test_an_answer_may_take_longer_than_any_request(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(chat.chat_frames("one two three four five six seven"), delay=BODY / 4)

    answer = await gateway.ask(streamed())

    assert answer.elapsed.total_seconds() > BODY * 1.5
    assert answer.content.endswith(DONE_FRAME)


async def test_what_is_no_request_behind_an_answer_keeps_no_connection(gateway: Gateway) -> None:
    async def drip(client: RawClient) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(b"\r\n")
                await asyncio.sleep(0.05)

    async with gateway.raw() as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.read_head()
        dripping = asyncio.create_task(drip(client))
        _, lasted = await rest(client)
        dripping.cancel()
    assert lasted.own < 2 * HEAD + SLACK


@contextlib.asynccontextmanager
async def half_open_clients(gateway: Gateway, count: int) -> AsyncIterator[list[RawClient]]:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.raw()) for _ in range(count)]
        head = gateway.head(CHAT, 1_000)
        for number, client in enumerate(clients):
            await client.send((b"", head[:40], head, head + b"{")[number % 4])
        yield clients


async def test_five_hundred_of_them_leave_others_alone_and_are_all_closed(
    start_gateway: StartGateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_open, "HEAD_SECONDS", 3.0)
    monkeypatch.setattr(half_open, "BODY_SECONDS", 3.0)
    gateway = await start_gateway()
    upstream.default = chat_answer("Here.")
    async with half_open_clients(gateway, 500) as clients:
        times = []
        for number in range(20):
            started = time.monotonic()
            assert text_of(await gateway.ask(question(f"Number {number}"))) == "Here."
            times.append(time.monotonic() - started)
        # Other work on the machine makes some slow, never quick.
        assert sorted(times)[4] < 0.1, times
        ends = await asyncio.gather(*(rest(client) for client in clients))

    assert max(lasted.own for _, lasted in ends) < 3 + 2 * SLACK
    assert [answer == b"" for answer, _ in ends] == [number % 4 == 0 for number in range(500)]
    assert all(said(answer) == TIMEOUT for answer, _ in ends if answer)
    rows = await gateway.rows(20 + 250)
    assert sum(row.status == 408 for row in rows) == 250

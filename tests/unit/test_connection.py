"""One HTTP/1.1 connection: what of an answer is there, and whether it may be used once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aieye.gateway.connection import MOST_WAITING_BYTES, Connection
from aieye.gateway.faults import BrokenOff

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Wire(asyncio.Transport):
    """The other side of a connection: what was written, and whether it flows."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written = b""
        self.flows = True
        self.is_aborted = False
        connection.connection_made(self)

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.flows = False

    def resume_reading(self) -> None:
        self.flows = True

    def abort(self) -> None:
        self.is_aborted = True

    def end(self, error: Exception | None = None) -> None:
        self.connection.connection_lost(error)


@pytest.fixture
async def wire() -> Wire:
    return Wire(Connection(asyncio.get_running_loop()))


async def whole(connection: Connection) -> bytes:
    body = b""
    while piece := await connection.read():
        body += piece
    return body


async def test_an_answer_split_anywhere_is_the_same_answer() -> None:
    for cut in range(1, len(JSON)):
        wire = Wire(Connection(asyncio.get_running_loop()))
        wire.connection.ask(HEAD, b"")
        for piece in (JSON[:cut], JSON[cut:]):
            wire.connection.data_received(piece)
        await wire.connection.head()
        assert wire.connection.status == 200
        assert dict(wire.connection.headers)[b"content-type"] == b"application/json"
        assert await whole(wire.connection) == b"{}"
        assert wire.connection.rest()


async def test_a_connection_that_rests_is_asked_again(wire: Wire) -> None:
    for _ in range(3):
        wire.connection.ask(HEAD, b"body")
        wire.connection.data_received(JSON)
        assert await whole(wire.connection) == b"{}"
        assert wire.connection.rest()
    assert wire.written == (HEAD + b"body") * 3
    assert not wire.is_aborted


@pytest.mark.parametrize(
    "answer",
    [
        JSON[:-1],
        JSON.replace(b"HTTP/1.1", b"HTTP/1.0"),
        JSON.replace(b"Content-Type", b"Connection: close\r\nContent-Type"),
        JSON + b"HTTP/1.1 200 OK\r\n",
        JSON + JSON,
    ],
    ids=["half an answer", "HTTP/1.0", "connection: close", "half of another", "another answer"],
)
async def test_a_connection_that_may_not_be_asked_again_is_closed(
    wire: Wire, answer: bytes
) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(answer)
    assert not wire.connection.rest()
    assert wire.is_aborted


async def test_what_comes_unasked_closes_the_connection(wire: Wire) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(JSON)
    assert wire.connection.rest()
    wire.connection.data_received(JSON)
    assert not wire.connection.is_open
    with pytest.raises(BrokenOff):
        wire.connection.ask(HEAD, b"")


async def test_interim_answers_are_passed_over(wire: Wire) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2 + JSON)
    await wire.connection.head()
    assert b"link" not in dict(wire.connection.headers)
    assert await whole(wire.connection) == b"{}"


async def test_a_body_without_a_length_ends_with_the_connection(wire: Wire) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nabc")
    wire.end()
    assert await whole(wire.connection) == b"abc"
    assert not wire.connection.rest()


@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["closed", "reset"])
async def test_what_came_is_given_before_the_fault_is_told(
    wire: Wire, error: Exception | None
) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    wire.end(error)
    assert await wire.connection.read() == b"abc"
    with pytest.raises(BrokenOff):
        await wire.connection.read()


async def test_a_body_without_a_length_that_is_reset_is_broken(wire: Wire) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nabc")
    wire.end(ConnectionResetError())
    assert await wire.connection.read() == b"abc"
    with pytest.raises(BrokenOff):
        await wire.connection.read()


async def test_reading_pauses_while_much_waits(wire: Wire) -> None:
    size = 4 * MOST_WAITING_BYTES
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    wire.connection.data_received(b"x" * (MOST_WAITING_BYTES + 1))
    assert not wire.flows
    assert await wire.connection.read() == b"x" * (MOST_WAITING_BYTES + 1)
    assert wire.flows


@pytest.mark.parametrize(
    "flood",
    [
        [b"HTTP/1.1 200 OK\r\n", *[b"x: %b\r\n" % (b"y" * 1_000)] * 100],
        [b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n"] * 300],
        [b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 10_000] * 10],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100,
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", *[b";" + b"x" * 10_000] * 10],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            *[b"x: %b\r\n" % (b"y" * 1_000)] * 100,
        ],
    ],
    ids=["long headers", "many headers", "one header", "interim", "chunk extension", "trailers"],
)
async def test_floods_of_what_nobody_needs_are_cut(wire: Wire, flood: list[bytes]) -> None:
    wire.connection.ask(HEAD, b"")
    for piece in flood:
        wire.connection.data_received(piece)
    assert wire.is_aborted
    with pytest.raises(BrokenOff):
        await whole(wire.connection)


async def test_another_protocol_is_a_fault(wire: Wire) -> None:
    wire.connection.ask(HEAD, b"")
    wire.connection.data_received(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )
    with pytest.raises(BrokenOff):
        await wire.connection.head()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_in_pieces_is_chunked_or_sent_as_it_is(wire: Wire) -> None:
    await wire.connection.ask_in_pieces(HEAD, pieces(b"ab", b"", b"c"), is_chunked=True)
    assert wire.written == HEAD + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    other = Wire(Connection(asyncio.get_running_loop()))
    await other.connection.ask_in_pieces(HEAD, pieces(b"ab", b"c"), is_chunked=False)
    assert other.written == HEAD + b"abc"


async def test_an_answer_before_the_end_of_the_body_ends_the_sending(wire: Wire) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"a"
        wire.connection.data_received(JSON)
        while True:
            yield b"b"

    await wire.connection.ask_in_pieces(HEAD, endless(), is_chunked=True)
    assert await whole(wire.connection) == b"{}"
    assert not wire.connection.rest(), "the rest of the body would be taken for a request"


async def test_sending_waits_while_the_provider_does_not_read(wire: Wire) -> None:
    wire.connection.pause_writing()
    sending = asyncio.create_task(
        wire.connection.ask_in_pieces(HEAD, pieces(b"a", b"b"), is_chunked=False)
    )
    await asyncio.sleep(0)
    assert wire.written == HEAD + b"a"
    wire.connection.resume_writing()
    await sending
    assert wire.written == HEAD + b"ab"


async def test_sending_ends_when_the_connection_does(wire: Wire) -> None:
    wire.connection.pause_writing()
    sending = asyncio.create_task(
        wire.connection.ask_in_pieces(HEAD, pieces(b"a", b"b"), is_chunked=False)
    )
    await asyncio.sleep(0)
    wire.end()
    await sending
    with pytest.raises(BrokenOff):
        await wire.connection.head()

"""Answers that are written in one piece, and those that have to go the usual way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from aieye.api.half_open import Connection

Message = dict[str, Any]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
JSON = (b"content-type", b"application/json")


class Wire(asyncio.Transport):
    """Keeps what is written, each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append(b"".join(list_of_data))

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def exchanged(messages: Sequence[Message], request: bytes = GET) -> Wire:
    """What goes over the wire when an application answers a request with these messages."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    config = Config(app, log_config=None, lifespan="off", access_log=False, server_header=False)
    config.load()
    wire = Wire()
    connection = Connection(config, ServerState(), {}, asyncio.get_running_loop())
    connection.connection_made(wire)
    connection.data_received(request)
    while connection.tasks:
        await asyncio.sleep(0)
    was_closed = wire.is_closed
    connection.connection_lost(None)
    wire.is_closed = was_closed
    return wire


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def length(content: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % len(content))


async def test_an_answer_that_comes_whole_is_one_write() -> None:
    wire = await exchanged([start(JSON, length(b"{}")), body(b"{}")])
    (written,) = wire.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    assert not wire.is_closed


async def test_a_large_body_is_written_whole_too() -> None:
    content = b"x" * 200_000
    wire = await exchanged([start(length(content)), body(content)])
    assert b"".join(wire.writes).endswith(b"\r\n\r\n" + content)


@pytest.mark.parametrize(
    "value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"], ids=["crlf", "lf", "cr", "nul"]
)
async def test_no_header_can_hold_another_one(value: bytes) -> None:
    wire = await exchanged([start((b"x-told", value), length(b"{}")), body(b"{}")])
    assert not wire.writes
    assert wire.is_closed


@pytest.mark.parametrize("content", [b"", b"{", b"{} "], ids=["none", "short", "long"])
async def test_a_body_that_is_not_as_long_as_was_said_never_looks_whole(content: bytes) -> None:
    wire = await exchanged([start(length(b"{}")), body(content)])
    assert wire.is_closed


async def test_an_answer_that_closes_the_connection_closes_it() -> None:
    wire = await exchanged([start(length(b"{}"), (b"connection", b"close")), body(b"{}")])
    assert wire.is_closed
    assert b"".join(wire.writes).endswith(b"\r\n\r\n{}")


async def test_an_old_client_is_told_that_the_connection_ends() -> None:
    wire = await exchanged([start(length(b"{}")), body(b"{}")], b"GET / HTTP/1.0\r\n\r\n")
    assert b"connection: close\r\n" in b"".join(wire.writes)
    assert wire.is_closed


async def test_the_answer_to_head_has_no_body() -> None:
    wire = await exchanged([start(length(b"{}")), body(b"{}")], b"HEAD / HTTP/1.1\r\n\r\n")
    assert b"".join(wire.writes).endswith(b"content-length: 2\r\n\r\n")


async def test_a_body_in_pieces_comes_as_it_is_sent() -> None:
    wire = await exchanged([start(length(b"{}")), body(b"{", more=True), body(b"}")])
    assert b"".join(wire.writes).endswith(b"\r\n\r\n{}")
    assert not wire.is_closed


async def test_a_beginning_without_its_body_is_a_failure() -> None:
    wire = await exchanged([start(length(b"{}"))])
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 500 ")


async def test_two_requests_at_once_are_answered_in_their_order() -> None:
    wire = await exchanged([start(length(b"{}")), body(b"{}")], GET + GET)
    assert b"".join(wire.writes).count(b"\r\n\r\n{}") == 2

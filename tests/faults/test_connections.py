"""Providers that cannot be reached, do not speak, or speak no proper HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from aieye.access.audit import SYSTEM
from aieye.access.providers import replace_key
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    by_key,
    chat_answer,
    delay,
    gzip_bomb,
    hang_before_headers,
    header_bomb,
    json_answer,
    length_and_chunked,
    raw,
    redirect,
    refused_port,
    reset_after,
    sse,
    wrong_length,
)
from tests.faults.harness import (
    MODEL,
    PROVIDER_KEY,
    Gateway,
    LoopClock,
    Rss,
    StartGateway,
    asked,
    both_forms,
    error_code,
    question,
    text_of,
)

pytestmark = pytest.mark.live

BODY = orjson.dumps(chat.chat_body("Here.", usage=chat.usage()))


async def add_down(gateway: Gateway, base_url: str) -> int:
    """Add a provider that the calls of `to_down` go to; its key's id."""
    (key_id,) = await gateway.add_provider("down", base_url, "sk-down-0123456789")
    return key_id


def to_down(text: str, form: str = "plain") -> chat.Json:
    return asked(text, form, model=f"down/{MODEL}")


# -- not reachable ---------------------------------------------------------------------------------


@both_forms
async def test_a_refused_connection_is_502_and_costs_nothing(
    gateway: Gateway, quick_retries: None, form: str
) -> None:
    with refused_port() as port, capture_logs() as logs:
        await add_down(gateway, f"http://127.0.0.1:{port}/v1")
        answer = await gateway.ask(to_down("Hello?", form))

    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    # The client is told why, and the ledger and the log also where.
    assert "the connection is refused" in answer.text
    assert str(port) not in answer.text
    told = {"cause": "the connection is refused", "detail": f"127.0.0.1:{port}"}
    assert all(told.items() <= one.items() for one in (await gateway.row()).attempts)
    assert next(told.items() <= one.items() for one in logs if one["event"] == "upstream_failed")
    row = await gateway.row()
    assert (row.status, row.error) == (502, "upstream_unreachable")
    assert (row.cost_nano, row.cost_state, len(row.attempts)) == (0, "exact", 3)


async def test_a_name_that_does_not_exist_is_502(
    gateway: Gateway, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = resolving(monkeypatch, socket.gaierror(socket.EAI_NONAME, "unknown"))
    await add_down(gateway, "http://provider.invalid/v1")

    answer = await gateway.ask(to_down("Hello?"))

    assert "provider.invalid" in names
    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    assert "its name is not found" in answer.text
    assert "provider.invalid" not in answer.text
    assert (await gateway.row()).attempts[0]["detail"] == "provider.invalid:80"


async def test_a_name_that_takes_long_to_resolve_ends_at_the_connect_timeout(
    start_gateway: StartGateway, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway(connect_timeout=0.2)
    names = resolving(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "later"), seconds=1)
    await add_down(gateway, "http://provider.invalid/v1")

    async with LoopClock() as clock:
        answer = await gateway.ask(to_down("Hello?"))

    assert "provider.invalid" in names
    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    assert clock.seconds < 1.5


async def test_a_name_that_stands_for_a_metadata_address_is_never_connected_to(
    gateway: Gateway, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    names = resolving(monkeypatch, [address])
    await add_down(gateway, "http://provider.invalid/v1")

    answer = await gateway.ask(to_down("Hello?"))

    assert "provider.invalid" in names
    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")


def resolving(
    monkeypatch: pytest.MonkeyPatch, result: OSError | list[Any], *, seconds: float = 0
) -> list[str]:
    """Let `*.invalid` resolve to `result`; the names that are asked for."""
    names: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".invalid"):
            return real(host, *args, **kwargs)
        names.append(host)
        time.sleep(seconds)
        if isinstance(result, OSError):
            raise result
        return result

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


async def test_a_server_that_does_not_shake_hands_ends_at_the_connect_timeout(
    start_gateway: StartGateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    gateway = await start_gateway(connect_timeout=0.2)
    await add_down(gateway, f"https://127.0.0.1:{upstream.port}/v1")

    answer = await gateway.ask(to_down("Hello?"))

    assert upstream.connections == 3
    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")


async def test_a_connection_that_is_not_accepted_ends_at_the_connect_timeout(
    start_gateway: StartGateway, quick_retries: None, full_port: int
) -> None:
    gateway = await start_gateway(connect_timeout=0.2)
    await add_down(gateway, f"http://127.0.0.1:{full_port}/v1")
    started = time.monotonic()

    async with LoopClock() as clock:
        answer = await gateway.ask(to_down("Hello?"))

    assert (answer.status_code, error_code(answer)) == (502, "upstream_unreachable")
    assert "the connection timed out" in answer.text
    assert time.monotonic() - started >= 0.2
    assert clock.seconds < 1.5


@contextlib.asynccontextmanager
async def forwarding(port: int, upstream: FakeUpstream) -> AsyncIterator[None]:
    """`upstream`, at `port`, as if it had come back there."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", upstream.port)
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", port):
        yield


async def test_a_circuit_opens_after_failures_fails_quickly_and_recovers(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    with refused_port() as port:
        key_id = await add_down(gateway, f"http://127.0.0.1:{port}/v1")
        with capture_logs() as logs:
            first = [await gateway.ask(to_down(f"{n}?")) for n in range(2)]
            assert {error_code(answer) for answer in first} == {"upstream_unreachable"}
            rest = [await gateway.ask(to_down(f"Still {n}?")) for n in range(10)]

    assert all("(provider down)" in answer.text for answer in first)
    # The log says when the key is left alone, and nothing of the calls that it is spared.
    told = [one["left_alone"] for one in logs if one["event"] == "upstream_failed"]
    assert (told[0], told[-1]) == (False, True)
    assert {(answer.status_code, error_code(answer)) for answer in rest} == {
        (502, "upstream_unavailable")
    }
    rows = (await gateway.rows())[2:]
    assert all(not row.attempts for row in rows)
    assert min(row.latency_us or 0 for row in rows) < 10_000

    async with forwarding(port, upstream):
        still = await gateway.ask(to_down("Back?"))
        assert error_code(still) == "upstream_unavailable"
        let_rest(gateway, key_id)
        answers = [await gateway.ask(to_down(f"Back {n}?")) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(upstream.requests) == 3


def let_rest(gateway: Gateway, key_id: int) -> None:
    """Let the time pass for which an open circuit keeps calls away."""
    circuit = gateway.state.gateway.circuits.of(gateway.state.directory.current.keys[key_id])
    assert circuit.is_open(time.monotonic())
    circuit.open_until -= circuit.rest_seconds


async def test_another_secret_for_a_key_counts_at_once(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = by_key({PROVIDER_KEY: json_answer(401, chat.error_body())})
    refused = [await gateway.ask(question(f"Question {n}")) for n in range(6)]
    assert [error_code(one) for one in refused] == ["provider_auth"] * 5 + ["upstream_unavailable"]
    circuits = gateway.state.gateway.circuits
    assert circuits.open_keys() == [(1, 1)]

    async with gateway.state.database.write() as session:
        await replace_key(
            session, gateway.state.cipher, key_id=1, secret="sk-another-0123456789", actor=SYSTEM
        )
    await gateway.state.directory.refresh()
    answer = await gateway.ask(question("Well?"))

    assert text_of(answer) == "Well?"
    assert [request.key for request in upstream.requests][-1] == "sk-another-0123456789"
    assert circuits.open_keys() == []


async def test_one_probe_alone_asks_a_provider_that_rests(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = json_answer(500, chat.error_body())
    for n in range(2):
        await gateway.ask(question(f"Question {n}"))
    failed = len(upstream.requests)
    assert failed == 5
    let_rest(gateway, 1)

    upstream.default = delay(0.2, chat_answer("Here."))
    answers = await asyncio.gather(*(gateway.ask(question(f"Now {n}?")) for n in range(10)))

    assert len(upstream.requests) == failed + 1
    assert sorted(answer.status_code for answer in answers) == [200] + [502] * 9
    assert (await gateway.ask(question("And now?"))).status_code == 200


async def test_a_probe_that_fails_or_is_given_up_lets_the_next_one_ask(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = json_answer(500, chat.error_body())
    for n in range(2):
        await gateway.ask(question(f"Question {n}"))
    let_rest(gateway, 1)
    assert (await gateway.ask(question("Failing?"))).status_code == 500
    assert (await gateway.ask(question("Resting?"))).status_code == 502
    let_rest(gateway, 1)
    seen = len(upstream.requests)

    upstream.default = hang_before_headers()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(gateway.ask(question("Given up?")), 0.2)
    await upstream.requests[seen].wait_closed()

    upstream.default = chat_answer("Here.")
    assert text_of(await gateway.ask(question("Well?"))) == "Here."


# -- silent ----------------------------------------------------------------------------------------


@both_forms
async def test_a_provider_that_never_answers_is_504_and_hears_that_nobody_waits(
    start_gateway: StartGateway, upstream: FakeUpstream, form: str
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3)
    upstream.default = hang_before_headers()
    started = time.monotonic()

    async with LoopClock() as clock:
        answer = await gateway.ask(asked("Well?", form))

    assert time.monotonic() - started >= 0.3
    assert clock.seconds < 0.8
    assert upstream.fired["hang"] == len(upstream.requests) == 1
    assert (answer.status_code, error_code(answer)) == (504, "upstream_timeout")
    await upstream.requests[0].wait_closed()
    row = await gateway.row()
    assert (row.status, row.error) == (504, "upstream_timeout")
    assert row.attempts[0]["error"] == "upstream_timeout"


async def test_the_whole_of_a_plain_answer_is_not_held_to_the_time_for_the_first_byte(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.5, idle_timeout=0.5, upstream_timeout=5)
    upstream.default = slowly(BODY, pieces=8, pause=0.1)

    answer = await gateway.ask(question())

    assert upstream.fired["slow"] == 1
    assert (answer.status_code, answer.content) == (200, BODY)


async def test_a_plain_answer_that_stops_half_way_is_504(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3, idle_timeout=0.3)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    upstream.default = raw([head % len(BODY) + BODY[:50]], close=False)

    answer = await gateway.ask(question())

    assert upstream.fired["raw"] == 1
    assert (answer.status_code, error_code(answer)) == (504, "upstream_timeout")
    await upstream.requests[0].wait_closed()


def slowly(body: bytes, *, pieces: int, pause: float) -> Behaviour:
    """A whole answer, in pieces with pauses between them. Fires `slow`."""

    async def send(_request: Received, connection: Connection) -> None:
        connection.fire("slow")
        await connection.start(200, {"Content-Type": "application/json"}, length=len(body))
        size = len(body) // pieces + 1
        for start in range(0, len(body), size):
            await connection.send(body[start : start + size])
            await asyncio.sleep(pause)

    return send


@pytest.mark.parametrize("form", ["plain", "streamed"])
async def test_a_provider_that_dribbles_ends_at_the_total_deadline(
    start_gateway: StartGateway, upstream: FakeUpstream, form: str
) -> None:
    gateway = await start_gateway(upstream_timeout=0.8, idle_timeout=0.3)
    if form == "plain":
        upstream.default = slowly(BODY, pieces=100, pause=0.05)
    else:
        upstream.default = sse(chat.chat_frames("word " * 100), delay=0.05)

    async with LoopClock() as clock:
        answers = await asyncio.gather(*(gateway.ask(asked(f"Well {n}?", form)) for n in range(5)))

    assert clock.seconds < 1.4
    assert len(upstream.requests) == 5
    for answer, request in zip(answers, upstream.requests, strict=True):
        await request.wait_closed()
        assert request.abandoned
        assert answer.status_code == (504 if form == "plain" else 200)
        assert b"[DONE]" not in answer.content
    assert {row.error for row in await gateway.rows(5)} == {"upstream_timeout"}


async def test_two_hundred_streams_that_dribble_byte_by_byte_end_in_time_and_hold_little(
    start_gateway: StartGateway, upstream: FakeUpstream, no_circuit: None
) -> None:
    # Time for all of them to begin, also on a busy machine.
    gateway = await start_gateway(upstream_timeout=6, idle_timeout=6)
    clock = LoopClock()

    async def dribble(_request: Received, connection: Connection) -> None:
        connection.fire("dribble")
        await connection.start(200, {"Content-Type": "text/event-stream"})
        for byte in b"".join(chat.chat_frames("word " * 100)):
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.25)

    upstream.default = dribble

    async def one(number: int) -> tuple[float, float, httpx.Response]:
        # One after the other, so that no queue of new connections is full.
        await asyncio.sleep(number * 0.005)
        started, by_clock = time.monotonic(), clock.seconds
        answer = await gateway.ask(question(f"Well {number}?", stream=True))
        return time.monotonic() - started, clock.seconds - by_clock, answer

    async with Rss() as rss, clock:
        told = await asyncio.gather(*(one(number) for number in range(200)))

    times, loop_times, answers = zip(*told, strict=True)
    assert upstream.fired["dribble"] == 200
    assert min(times) >= 6
    assert max(loop_times) < 10
    assert rss.growth < 50 * 2**20
    assert {(answer.status_code, b"[DONE]" in answer.content) for answer in answers} <= {
        (200, False), (504, False),
    }  # fmt: skip
    for request in upstream.requests:
        await request.wait_closed()
    assert {row.error for row in await gateway.rows(200)} == {"upstream_timeout"}


async def test_the_total_deadline_counts_from_the_start_of_the_call(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(upstream_timeout=0.8, idle_timeout=0.3)
    upstream.default = delay(0.6, sse(chat.chat_frames("word " * 100), delay=0.05))

    async with LoopClock() as clock:
        answer = await gateway.ask(question(stream=True))

    assert upstream.fired["sse"] == 1
    assert b"[DONE]" not in answer.content
    assert clock.seconds < 1.1


# -- no proper HTTP --------------------------------------------------------------------------------


@both_forms
async def test_a_connection_that_is_reset_before_the_answer_is_tried_again(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, form: str
) -> None:
    upstream.script(reset_after(0), raw([b""]), chat_answer("Here."))

    answer = await gateway.ask(asked("Well?", form))

    assert (upstream.fired["reset"], upstream.fired["raw"]) == (1, 1)
    assert text_of(answer) == "Here."
    assert [attempt.get("error") for attempt in (await gateway.row()).attempts] == [
        "upstream_broken", "upstream_broken", None,
    ]  # fmt: skip


def head(*lines: str) -> bytes:
    return "\r\n".join(
        ("HTTP/1.1 200 OK", "Content-Type: application/json", *lines, "", "")
    ).encode()


IMPROPER: dict[str, Behaviour] = {
    "a length that is too large": wrong_length(BODY, len(BODY) + 10),
    "a length that is no number": raw([head("Content-Length: ten") + BODY]),
    "a negative length": raw([head("Content-Length: -5") + BODY]),
    "two lengths": raw([head("Content-Length: 5", f"Content-Length: {len(BODY)}") + BODY]),
    "a length and chunks": length_and_chunked(BODY),
    "ten thousand headers": header_bomb(10_000),
    "a header of a megabyte": raw([head("X-Long: " + "x" * 2**20, f"Content-Length: {len(BODY)}") + BODY]),
    "a chunk size that is no number": raw([head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n"]),
    "chunks that never end": raw([head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n"]),
    "no HTTP at all": raw([b"SSH-2.0-OpenSSH_9.9\r\n"]),
    "nothing": raw([b""]),
    "half a head": raw([b"HTTP/1.1 200 OK\r\nContent-Ty"]),
    "a head without an end": raw([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000], close=False),
    "a header with a NUL": raw([head("X-Nul: a\0b", f"Content-Length: {len(BODY)}") + BODY]),
    "informational answers for ever": raw(
        [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000], close=False
    ),
}  # fmt: skip


async def test_improper_http_is_502_and_its_connection_is_not_used_again(
    start_gateway: StartGateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    gateway = await start_gateway(first_byte_timeout=1)
    statuses = {}
    for name, behaviour in IMPROPER.items():
        upstream.default = behaviour
        seen, fired = len(upstream.requests), upstream.fired["raw"]

        answer = await gateway.ask(question(name))

        statuses[name] = answer.status_code
        connections = [request.connection for request in upstream.requests[seen:]]
        assert upstream.fired["raw"] - fired == len(connections) == len(set(connections)) >= 1
        assert (await gateway.rows())[-1].status == answer.status_code
        upstream.default = chat_answer("Well again.")
        after = await gateway.ask(question(f"And after {name}?"))
        assert text_of(after) == "Well again."
        assert upstream.requests[-1].connection not in connections
    assert statuses == dict.fromkeys(IMPROPER, 502)


async def test_what_follows_a_short_content_length_is_nobodys_answer(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsmuggled!"
    upstream.script(raw([head(f"Content-Length: {len(BODY)}") + BODY + smuggled], close=False))

    first = await gateway.ask(question("One"))
    second = await gateway.ask(question("Two"))

    assert upstream.fired["raw"] == 1
    assert first.content == BODY
    assert text_of(second) == "Two"
    assert b"smuggled" not in first.content + second.content
    assert upstream.requests[0].connection != upstream.requests[1].connection


async def test_interim_answers_before_the_answer_are_no_harm(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3
    upstream.script(raw([hints + head(f"Content-Length: {len(BODY)}") + BODY]))

    answer = await gateway.ask(question())

    assert upstream.fired["raw"] == 1
    assert (answer.status_code, answer.content) == (200, BODY)


@both_forms
async def test_a_redirect_is_never_followed(
    gateway: Gateway, upstream: FakeUpstream, other: FakeUpstream, quick_retries: None,
    no_circuit: None, form: str,
) -> None:  # fmt: skip
    statuses = (300, 301, 302, 303, 304, 307, 308)
    for status in statuses:
        upstream.default = redirect(f"{other.origin}/v1/chat/completions", status)

        answer = await gateway.ask(asked(f"Well, {status}?", form))

        assert answer.status_code == 502
        assert "location" not in answer.headers
    assert upstream.fired["redirect"] >= len(statuses)
    assert (other.requests, other.connections) == ([], 0)


async def test_a_redirect_of_a_stored_object_is_not_followed_either(
    gateway: Gateway, upstream: FakeUpstream, other: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = redirect(f"{other.origin}/v1/models")

    answer = await gateway.get("/v1/models")

    assert upstream.fired["redirect"] >= 1
    assert answer.status_code == 502
    assert other.connections == 0


# -- compression -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layers, status", [(1, 200), (2, 200), (1, 400)])
async def test_a_gzip_bomb_is_502_and_takes_little_memory(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, layers: int, status: int
) -> None:
    bomb = gzip_bomb(64, layers=layers)
    # The bomb is made before anything is measured.
    async with httpx.AsyncClient(base_url=upstream.origin, trust_env=False) as client:
        upstream.script(bomb)
        async with client.stream("POST", "/") as response:
            packed = b"".join([part async for part in response.aiter_raw()])
    headers = {"Content-Encoding": ", ".join(["gzip"] * layers)}
    await gateway.ask(question("To warm up."))
    upstream.default = json_answer(status, packed, headers, key="bomb")

    async with Rss() as rss:
        answer = await gateway.ask(question())

    assert upstream.fired["bomb"] >= 2
    assert answer.status_code == 502
    assert rss.growth < 32 * 2**20
    assert (await gateway.rows(2))[-1].status == 502


@both_forms
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_that_comes_compressed_unasked_is_unpacked(
    gateway: Gateway, upstream: FakeUpstream, form: str, encoding: str
) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if encoding == "gzip" else zlib.compress
    frames = b"".join(chat.chat_frames("Here.")) + chat.DONE
    plain, kind = (BODY, "application/json") if form == "plain" else (frames, "text/event-stream")
    headers = {"Content-Type": kind, "Content-Encoding": encoding}
    upstream.default = json_answer(200, pack(plain), headers)

    answer = await gateway.ask(asked("Well?", form))
    again = await gateway.ask(asked("Well?", form))

    assert upstream.requests[0].header("accept-encoding") == "identity"
    assert "content-encoding" not in answer.headers
    assert (answer.content, again.content) == (plain, plain)
    assert (again.headers["x-aieye-cache"], len(upstream.requests)) == ("hit", 1)


DAMAGED = {
    "cut short": ("gzip", gzip.compress(BODY)[:-30]),
    "cut before its checksum": ("gzip", gzip.compress(BODY)[:-8]),
    "a wrong checksum": ("gzip", gzip.compress(BODY)[:-8] + bytes(8)),
    "garbage": ("gzip", b"\x1f\x8bgarbage"),
    "not compressed at all": ("gzip", BODY),
    "in an encoding that nobody asked for": ("br", BODY),
}


@pytest.mark.parametrize("encoding, packed", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_or_unknown_compression_is_502(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, encoding: str, packed: bytes
) -> None:
    upstream.default = json_answer(200, packed, {"Content-Encoding": encoding})

    answer = await gateway.ask(question())

    assert upstream.fired["status-200"] >= 1
    assert answer.status_code == 502
    assert await gateway.entries() == 0


# -- the pool --------------------------------------------------------------------------------------


def echo_slowly() -> Behaviour:
    """The echo of the question after a few random pauses, in the form asked for. Fires `echo`."""

    async def answer(request: Received, connection: Connection) -> None:
        connection.fire("echo")
        await asyncio.sleep(random.random() * 0.02)
        text = chat.last_user_text(request.json)
        if request.streamed:
            await sse(chat.chat_frames(text), delay=0.002)(request, connection)
        else:
            body = orjson.dumps(chat.chat_body(text, usage=chat.usage()))
            await slowly(body, pieces=3, pause=random.random() * 0.005)(request, connection)

    return answer


async def test_no_answer_ever_reaches_another_call_although_half_are_cancelled(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    random.seed(26)
    upstream.default = echo_slowly()
    free = asyncio.Semaphore(24)

    async def call(number: int) -> tuple[int, str | None]:
        body = asked(f"number-{number}", random.choice(["plain", "streamed"]))
        async with free:
            asking: Awaitable[httpx.Response] = gateway.ask(body)
            if number % 2:
                asking = asyncio.wait_for(asking, random.random() * 0.04)
            try:
                return number, text_of(await asking)
            except (TimeoutError, httpx.HTTPError):
                return number, None

    answers = await asyncio.gather(*(call(number) for number in range(300)))

    left = [number for number, text in answers if text is None]
    wrong = [(n, text) for n, text in answers if text not in (None, f"number-{n}")]
    assert 30 < len(left) <= 150
    assert upstream.fired["echo"] > 150
    assert not wrong, wrong
    assert all(number % 2 for number in left)
    assert upstream.requests[0].key == PROVIDER_KEY

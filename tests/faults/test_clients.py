"""Clients that leave, do not read, or send too much."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import time

import httpx
import orjson
import pytest

from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    chat_answer,
    delay,
    hang_before_headers,
    json_answer,
    sse,
    stream_then_silence,
)
from tests.faults.harness import (
    CHAT,
    DONE_FRAME,
    Gateway,
    Rss,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    eventually,
    hears_within_a_second,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

WORDS = chat.chat_frames("one two three four five six seven eight nine ten")


# -- leaving ---------------------------------------------------------------------------------------


@both_databases
@both_forms
async def test_the_provider_hears_within_a_second_that_the_client_left_before_the_first_byte(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = hang_before_headers()
    async with gateway.raw() as client:
        await client.send(gateway.request(asked("Well?", form)))
        (request,) = await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()

        await hears_within_a_second(request)

    assert upstream.fired["hang"] == 1
    row = await gateway.row()
    assert (row.status, row.error, row.state) == (499, "client_cancelled", "done")
    assert row.cost_state == "estimated"
    assert row.cost_nano
    assert (row.provider_id, row.key_id, row.is_stream) == (1, 1, form == "streamed")
    assert [attempt["error"] for attempt in row.attempts] == ["abandoned"]


@both_forms
async def test_a_client_that_leaves_at_once_is_noticed_too(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = hang_before_headers()
    async with gateway.raw() as client:
        await client.send(gateway.request(asked("Well?", form)))
        (request,) = await upstream.wait_for(1)
        await client.leave()

        await hears_within_a_second(request)

    assert (await gateway.row()).status == 499


@both_forms
async def test_a_client_that_leaves_while_a_retry_is_waited_for_makes_no_further_call(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = json_answer(429, chat.error_body(), {"Retry-After": "1"})
    async with gateway.raw() as client:
        await client.send(gateway.request(asked("Well?", form)))
        await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()
    row = await gateway.row()

    await asyncio.sleep(1.1)
    assert upstream.fired["status-429"] == len(upstream.requests) == 1
    assert (row.status, row.error) == (499, "client_cancelled")


@both_databases
async def test_a_stream_is_closed_and_booked_after_however_many_events_the_client_left(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(WORDS, delay=0.03)
    for number in range(1, len(WORDS) - 1):
        async with gateway.raw() as client:
            await client.send(gateway.request(streamed(f"Well, {number}?")))
            for frame in WORDS[:number]:
                await client.read_until(frame)
            client.abort()
            (*_, request) = await upstream.wait_for(number)
            await hears_within_a_second(request)

        row = (await gateway.rows(number))[-1]
        assert (row.status, row.error) == (499, "client_cancelled")
        assert row.cost_state == "estimated"
        # The first frame names the role only; one more may be under way when the client leaves.
        assert number - 1 <= (row.tokens_output or 0) <= number + 2
        assert row.model == "gpt-4o-mini"
    assert all(request.abandoned for request in upstream.requests)
    assert await gateway.entries() == 0


async def test_a_usage_that_came_before_the_client_left_is_booked_as_it_was(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    used = chat.frame({"id": "c", "choices": [], "usage": chat.usage(11, 3)})
    upstream.default = stream_then_silence([*WORDS[:4], used, *WORDS[4:5]])
    async with gateway.raw() as client:
        await client.send(gateway.request(streamed()))
        await client.read_until(WORDS[4])
        client.abort()
        await upstream.requests[0].wait_closed()

    row = await gateway.row()
    assert (row.status, row.tokens_input, row.tokens_output) == (499, 11, 3)


async def test_a_client_that_left_after_a_refused_connection_pays_nothing(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(503, chat.error_body(), {"Retry-After": "5"})
    async with gateway.raw() as client:
        await client.send(gateway.request(question()))
        await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()

    row = await gateway.row()
    assert upstream.fired["status-503"] == 1
    assert (row.status, row.cost_nano, row.cost_state) == (499, 0, "exact")


async def test_a_client_that_leaves_half_way_through_its_request_costs_nothing(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    whole = gateway.request(question())
    for cut in (len(whole) - 1, len(whole) - 30, 60):
        async with gateway.raw() as client:
            await client.send(whole[:cut])
            await asyncio.sleep(0.02)
            client.abort()

    assert text_of(await gateway.ask(question())) == "What is it?"
    assert len(upstream.requests) == 1


async def test_a_list_that_nobody_waits_for_is_closed_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    async with gateway.raw() as client:
        head = (
            f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.token}\r\n\r\n"
        )
        await client.send(head.encode())
        (request,) = await upstream.wait_for(1)
        await asyncio.sleep(0.1)
        client.abort()

        await hears_within_a_second(request)

    assert (await gateway.row()).status == 499


async def test_speech_that_nobody_listens_to_is_closed_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async def sound(_request: Received, connection: Connection) -> None:
        await connection.start(200, {"Content-Type": "audio/mpeg"})
        while True:
            connection.fire("sound")
            await connection.send(b"\xff\xfb" * 500)
            await asyncio.sleep(0.01)

    upstream.default = sound
    body = {"model": "tts-1", "input": "Hello", "voice": "alloy"}
    async with gateway.raw() as client:
        await client.send(gateway.request(body, path="/v1/audio/speech"))
        await client.read_until(b"\xff\xfb" * 500)
        client.abort()
        (request,) = upstream.requests
        await hears_within_a_second(request)

    assert upstream.fired["sound"] >= 1
    row = await gateway.row()
    assert (row.status, row.error) == (499, "client_cancelled")


@both_databases
async def test_of_many_clients_that_leave_at_any_moment_every_one_has_its_row(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    random.seed(30)
    upstream.default = sse(WORDS, delay=0.01)
    count = 60

    async def come_and_go(number: int) -> None:
        async with gateway.raw() as client:
            # Every third waits for so many words, which come only when the provider was asked.
            words = random.randrange(1, 8) if number % 3 == 0 else 0
            form = "streamed" if words else random.choice(["plain", "streamed"])
            await client.send(gateway.request(asked(f"Number {number}", form)))
            for _ in range(words):
                await client.read_until(b"data: ")
            if not words:
                await asyncio.sleep(random.random() * 0.15)
            client.abort()

    await asyncio.gather(*(come_and_go(number) for number in range(count)))

    await eventually(lambda: gateway.state.metrics.in_flight == 0)
    await eventually(lambda: all(r.closed_at or r.finished_at for r in upstream.requests))
    assert len(upstream.requests) >= count / 3
    rows = await gateway.rows(len(upstream.requests))
    assert {row.state for row in rows} == {"done"}
    assert all(row.status in {200, 499} for row in rows)
    await eventually(lambda: gateway.state.gateway.exchanges.flights == {})


# -- not reading -----------------------------------------------------------------------------------


def flood(count: int, size: int) -> Behaviour:
    """A stream of large events as fast as it is read. Fires `event` for each."""

    async def answer(_request: Received, connection: Connection) -> None:
        await connection.start(200, {"Content-Type": "text/event-stream"})
        event = chat.frame({"id": "c", "choices": [{"index": 0, "delta": {"content": "x" * size}}]})
        for _ in range(count):
            await connection.send(event)
            connection.fire("event")
        await connection.send(DONE_FRAME)
        await connection.end()

    return answer


@pytest.mark.parametrize("bodies", ["on", "off"])
async def test_a_client_that_does_not_read_holds_the_provider_back(
    start_gateway: StartGateway, upstream: FakeUpstream, bodies: str
) -> None:
    gateway = await start_gateway(ledger_bodies=bodies)
    size, count = 64 * 1024, 384
    upstream.default = flood(count, size)
    async with gateway.raw() as client:
        await client.send(gateway.request(streamed()))
        await client.read_head()
        seen = -1
        while seen != upstream.fired["event"]:
            seen = upstream.fired["event"]
            await asyncio.sleep(0.25)

        # Sockets hold some megabytes on either side; the gateway itself holds little.
        assert 0 < seen < count * 2 / 3
        others = await asyncio.gather(*(gateway.ask(embedding(n)) for n in range(5)))
        assert [answer.status_code for answer in others] == [200] * 5

        rest = await client.read_until(DONE_FRAME)
        assert rest.count(b'"content":"xxx') == count

    assert (await gateway.rows(6))[0].status == 200


def embedding(number: int) -> chat.Json:
    """A call that the flood does not answer by accident: its own text."""
    return question(f"Number {number}")


async def test_a_client_that_reads_slowly_gets_everything(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    # Longer than the time between events: the wait is the client's, not the provider's.
    gateway = await start_gateway(idle_timeout=0.3)
    size, count = 64 * 1024, 384
    upstream.default = flood(count, size)
    async with gateway.raw() as client:
        await client.send(gateway.request(streamed()))
        await client.read_head()
        await asyncio.sleep(1)
        assert upstream.fired["event"] < count
        rest = await client.read_until(DONE_FRAME)

    assert rest.count(b'"content":"xxx') == count
    row = await gateway.row()
    assert (row.status, row.error) == (200, None)


async def test_a_client_that_does_not_read_and_leaves_is_noticed(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = flood(640, 64 * 1024)
    async with gateway.raw() as client:
        await client.send(gateway.request(streamed()))
        await client.read_head()
        await asyncio.sleep(0.3)
        client.abort()
        (request,) = upstream.requests
        await hears_within_a_second(request)

    row = await gateway.row()
    assert (row.status, row.error, row.cost_state) == (499, "client_cancelled", "estimated")


# -- sending too much ------------------------------------------------------------------------------

SMALL = {"max_json_bytes": 100_000, "max_upload_bytes": 200_000}


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(**SMALL)
    for length in (100_001, 10**10, 10**30):
        async with gateway.raw() as client:
            await client.send(gateway.head(CHAT, length))
            status, _ = await client.read_head()
            assert status == (413 if length < 10**19 else status)
            assert status in {400, 413}
    assert upstream.requests == []


async def test_a_chunked_body_that_is_too_large_is_413_and_takes_no_memory(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(**SMALL)
    await gateway.ask(question("To warm up."))
    piece = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    async with gateway.raw() as client, Rss() as rss:
        await client.send(gateway.head(CHAT, None))
        # The server may close at any moment, and need not.
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                await client.send(piece)
        status, _ = await client.read_head()

    assert status == 413
    assert rss.growth < 20 * 2**20
    assert len(upstream.requests) == 1
    assert text_of(await gateway.ask(question())) == "What is it?"


async def test_a_body_just_within_the_limit_is_taken(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(**SMALL)
    body = orjson.dumps(question("x"))
    whole = body + b" " * (100_000 - len(body))

    assert (await gateway.ask(whole)).status_code == 200
    assert (await gateway.ask(whole + b" ")).status_code == 413

    assert [len(request.body) for request in upstream.requests] == [100_000]


async def test_a_compressed_request_is_415(gateway: Gateway, upstream: FakeUpstream) -> None:
    bomb = gzip.compress(bytes(10 * 2**20))

    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x"):
        answer = await gateway.ask(bomb, headers={"content-encoding": encoding})
        assert (answer.status_code, error_code(answer)) == (415, "unsupported_media_type")
    assert upstream.requests == []


# -- uploads ---------------------------------------------------------------------------------------

BOUNDARY = b"----------------------boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}


def form_of(content: bytes) -> bytes:
    return b"".join(
        [
            b"--", BOUNDARY, b'\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
            b"--", BOUNDARY,
            b'\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
            content, b"\r\n--", BOUNDARY, b"--\r\n",
        ]
    )  # fmt: skip


FILE = json_answer(200, {"id": "file-1", "object": "file", "bytes": 5})


async def upload(gateway: Gateway, content: bytes, **headers: str) -> httpx.Response:
    return await gateway.client.post("/v1/files", content=content, headers={**FORM, **headers})


async def test_an_upload_goes_up_while_it_comes_and_byte_for_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = FILE
    body = form_of(bytes(range(256)) * 2_000)
    head = gateway.head("/v1/files", len(body)).replace(
        b"content-type: application/json", b"content-type: " + FORM["content-type"].encode()
    )
    async with gateway.raw() as client:
        await client.send(head, body[:100_000])
        await eventually(lambda: len(upstream.requests) == 1)
        assert not upstream.requests[0].body_complete
        await client.send(body[100_000:])
        status, _ = await client.read_head()

    assert status == 200
    (request,) = upstream.requests
    assert request.body == body
    assert request.header("content-type") == FORM["content-type"]
    assert request.header("content-length") == str(len(body))
    row = await gateway.row()
    assert (row.endpoint, row.status, row.cost_nano) == ("files", 200, 0)


async def test_a_chunked_upload_goes_up_too(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = FILE
    body = form_of(b"x" * 300_000)

    async def pieces() -> object:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    answer = await gateway.client.post("/v1/files", content=pieces(), headers=FORM)  # type: ignore[arg-type] # an async iterator of bytes

    assert answer.status_code == 200
    assert upstream.requests[0].body == body


async def test_an_upload_that_is_too_large_is_413(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(**SMALL)
    upstream.default = FILE
    body = form_of(b"x" * 200_000)
    async with gateway.raw() as client:
        await client.send(gateway.head("/v1/files", 10**9))
        declared, _ = await client.read_head()
    async with gateway.raw() as client:
        await client.send(gateway.head("/v1/files", None))
        await client.send(b"%x\r\n" % len(body) + body + b"\r\n")
        chunked, _ = await client.read_head()

    assert (declared, chunked) == (413, 413)
    assert not any(request.body_complete for request in upstream.requests)


async def test_a_form_that_is_too_large_is_413(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(**SMALL)

    answer = await gateway.client.post(
        "/v1/audio/transcriptions", content=form_of(b"x" * 200_000), headers=FORM
    )

    assert (answer.status_code, error_code(answer)) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions"])
async def test_a_compressed_upload_is_415(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    headers = {**FORM, "content-encoding": "gzip"}

    answer = await gateway.client.post(path, content=gzip.compress(form_of(b"x")), headers=headers)

    assert answer.status_code == 415
    assert upstream.requests == []


async def test_an_upload_that_breaks_off_is_never_complete_at_the_provider(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = FILE
    body = form_of(b"x" * 300_000)
    for length in (len(body), None):
        seen = len(upstream.requests)
        async with gateway.raw() as client:
            start = body[:100_000] if length else b"%x\r\n" % 100_000 + body[:100_000] + b"\r\n"
            await client.send(gateway.head("/v1/files", length), start)
            await eventually(lambda seen=seen: len(upstream.requests) == seen + 1)  # type: ignore[misc] # mypy cannot infer a lambda's default
            client.abort()
            await hears_within_a_second(upstream.requests[-1])
        assert not upstream.requests[-1].body_complete
        row = (await gateway.rows(seen + 1))[-1]
        assert (row.status, row.error) == (499, "client_cancelled")


async def test_a_provider_that_refuses_an_upload_early_is_heard(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = delay(0, json_answer(400, chat.error_body("Wrong purpose.")))

    answer = await upload(gateway, form_of(b"x" * 50_000))

    assert upstream.fired["status-400"] == 1
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Wrong purpose.")


async def test_a_transcription_keeps_its_form_byte_for_byte_but_for_the_model(
    gateway: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    await gateway.add_provider("second", other, "sk-second-0123456789")
    await gateway.add_route("ears", {"model": "whisper-large", "provider": "second"})
    other.default = json_answer(200, {"text": "Hello"})
    part = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
    sound = form_of(bytes(range(256)) + b"\r\nname=model\r\n")

    answer = await gateway.client.post(
        "/v1/audio/transcriptions", content=part % b"ears" + sound, headers=FORM
    )

    assert (answer.status_code, answer.json()) == (200, {"text": "Hello"})
    assert other.requests[0].body == part % b"whisper-large" + sound
    assert (await gateway.row()).endpoint == "audio/transcriptions"


async def test_many_slow_requests_do_not_hold_up_others(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = chat_answer("Here.")
    whole = gateway.request(question())
    async with contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(gateway.raw()) for _ in range(200)]
        for number, client in enumerate(slow):
            await client.send(whole[: 10 + number % (len(whole) - 20)])
        times = []
        for number in range(10):
            started = time.monotonic()
            assert (await gateway.ask(question(f"Number {number}"))).status_code == 200
            times.append(time.monotonic() - started)
        assert min(times) < 0.1
        await slow[0].send(whole[10:])
        status, _ = await slow[0].read_head()
    assert status == 200


async def test_a_client_that_leaves_before_its_request_went_up_pays_nothing(
    start_gateway: StartGateway, full_port: int
) -> None:
    gateway = await start_gateway(connect_timeout=5)
    await gateway.add_provider("down", f"http://127.0.0.1:{full_port}/v1", "sk-down-0123456789")
    async with gateway.raw() as client:
        await client.send(gateway.request(question(model="down/gpt-4o-mini")))
        await asyncio.sleep(0.3)
        client.abort()

    row = await gateway.row()
    assert (row.status, row.error) == (499, "client_cancelled")
    assert (row.cost_nano, row.cost_state) == (0, "exact")

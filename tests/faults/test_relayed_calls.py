"""Calls that are passed on, not cached: their faults are handled as those of all others."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    by_key,
    cut_after,
    hang_before_headers,
    json_answer,
    raw,
    sse,
    stream_then_silence,
)
from tests.faults.harness import (
    PROVIDER_KEY,
    Gateway,
    LoopClock,
    StartGateway,
    error_code,
    payloads,
)

pytestmark = pytest.mark.live

SECOND_KEY = "sk-second-0123456789"
CONTENT = "/v1/files/file-1/content"
DATA = bytes(range(256)) * 2_000
FORM = {"content-type": "multipart/form-data; boundary=b"}
SOUND = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
)
HEARD = [
    chat.frame({"type": "transcript.text.delta", "delta": "One "}),
    chat.frame({"type": "transcript.text.delta", "delta": "two."}),
    chat.frame({"type": "transcript.text.done", "text": "One two."}),
]


def download(pause: float = 0) -> Behaviour:
    """The content of a file in pieces."""

    async def send(_request: Received, connection: Connection) -> None:
        connection.fire("download")
        await connection.start(200, {"Content-Type": "application/octet-stream"})
        for start in range(0, len(DATA), 2**15):
            await connection.send(DATA[start : start + 2**15])
            await asyncio.sleep(pause)
        await connection.end()

    return send


async def listen(gateway: Gateway) -> httpx.Response:
    return await gateway.client.post("/v1/audio/transcriptions", content=SOUND, headers=FORM)


async def test_a_failure_is_tried_again_and_the_last_one_passed_on(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    upstream.script(json_answer(503, chat.error_body()), json_answer(200, chat.models_body()))
    assert (await gateway.get("/v1/models")).status_code == 200
    assert len(upstream.requests) == 2
    upstream.default = json_answer(503, chat.error_body("Busy."))

    answer = await gateway.get("/v1/models")

    assert (answer.status_code, answer.json()) == (503, chat.error_body("Busy."))
    assert len(upstream.requests) <= 5
    assert [row.status for row in await gateway.rows(2)] == [200, 503]


async def test_a_refused_key_gives_way_to_the_next_and_is_never_shown(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    refused = json_answer(401, chat.error_body(f"Incorrect API key provided: {PROVIDER_KEY}."))
    upstream.default = refused
    alone = await gateway.get("/v1/models")
    await gateway.add_key(1, SECOND_KEY)
    upstream.default = by_key({PROVIDER_KEY: refused})

    answer = await gateway.get("/v1/models")

    assert (alone.status_code, error_code(alone)) == (502, "provider_auth")
    assert "canary" not in alone.text
    assert answer.status_code == 200


async def test_a_provider_that_is_silent_is_504(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3)
    upstream.default = hang_before_headers()

    answer = await gateway.get("/v1/models")

    assert upstream.fired["hang"] == 1
    assert (answer.status_code, error_code(answer)) == (504, "upstream_timeout")
    await upstream.requests[0].wait_closed()
    assert (await gateway.row()).error == "upstream_timeout"


async def test_a_file_comes_down_byte_for_byte(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = download()

    answer = await gateway.get(CONTENT)

    assert upstream.fired["download"] == 1
    assert answer.content == DATA
    assert answer.headers["content-type"] == "application/octet-stream"
    row = await gateway.row()
    assert (row.status, row.error, row.endpoint) == (200, None, "files/{id}/content")


async def test_a_file_that_is_cut_ends_abnormally(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = cut_after(200_000, download())

    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.get(CONTENT)

    assert upstream.fired["cut"] == 1
    row = await gateway.row()
    assert (row.status, row.error) == (502, "upstream_broken")


async def test_a_file_that_stops_half_way_ends_at_the_idle_timeout(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=0.3, first_byte_timeout=1)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 9999\r\n\r\n"
    )
    upstream.default = raw([head + b"x" * 100], close=False)

    async with LoopClock() as clock:
        with pytest.raises(httpx.RemoteProtocolError):
            await gateway.get(CONTENT)

    assert clock.seconds < 2
    assert upstream.fired["raw"] == 1
    await upstream.requests[0].wait_closed()
    assert (await gateway.row()).error == "upstream_timeout"


async def test_a_file_that_dribbles_ends_at_the_total_deadline(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(upstream_timeout=0.6, idle_timeout=0.3)
    upstream.default = download(pause=0.1)

    async with LoopClock() as clock:
        with pytest.raises(httpx.RemoteProtocolError):
            await gateway.get(CONTENT)
    assert clock.seconds < 2

    await upstream.requests[0].wait_closed()
    assert (await gateway.row()).error == "upstream_timeout"


async def test_a_file_that_is_read_slowly_comes_whole(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=0.3)
    size = 384

    async def send(_request: Received, connection: Connection) -> None:
        await connection.start(200, {"Content-Type": "application/octet-stream"})
        for _ in range(size):
            await connection.send(b"x" * 2**16)
            connection.fire("piece")
        await connection.send(b"THE END")
        await connection.end()

    upstream.default = send
    async with gateway.raw() as client:
        head = f"GET {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.token}\r\n\r\n"
        await client.send(head.encode())
        await client.read_head()
        await asyncio.sleep(1)
        assert upstream.fired["piece"] < size
        rest = await client.read_until(b"THE END")

    assert rest.count(b"x") == size * 2**16
    assert (await gateway.row()).error is None


async def test_a_streamed_transcription_comes_down_byte_for_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(HEARD, done=False)

    answer = await listen(gateway)

    assert upstream.requests[0].body == SOUND
    assert answer.content == b"".join(HEARD)
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("fault", ["cut", "silence"])
async def test_a_streamed_transcription_that_breaks_off_ends_with_an_error(
    start_gateway: StartGateway, upstream: FakeUpstream, fault: str
) -> None:
    gateway = await start_gateway(idle_timeout=0.3)
    broken = cut_after(90, sse(HEARD)) if fault == "cut" else stream_then_silence(HEARD[:1])
    upstream.default = broken

    async with LoopClock() as clock:
        answer = await listen(gateway)
    assert clock.seconds < 2

    assert upstream.fired[fault] == 1
    assert answer.content.startswith(HEARD[0])
    # An event that was cut is not glued to the error.
    last = payloads(answer.content)[-1]
    assert last["error"]["code"] in {"upstream_broken", "upstream_timeout"}
    assert b"transcript.text.done" not in answer.content
    assert (await gateway.row()).error == last["error"]["code"]


async def test_two_answers_to_one_upload_are_never_asked_for(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = json_answer(503, chat.error_body())

    answer = await gateway.client.post("/v1/files", content=SOUND, headers=FORM)

    assert answer.status_code == 503
    assert len(upstream.requests) == 1


async def test_a_model_list_that_is_cut_is_502(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = cut_after(40, json_answer(200, chat.models_body()))

    answer = await gateway.get("/v1/models")

    assert upstream.fired["cut"] >= 1
    assert (answer.status_code, error_code(answer)) == (502, "upstream_broken")


def form(*models: str, boundary: str = "b") -> bytes:
    """A form with a file and the models."""
    parts = [f'name="model"\r\n\r\n{model}' for model in models]
    parts.append('name="file"; filename="a"\r\n\r\nx')
    head = f"--{boundary}\r\ncontent-disposition: form-data; "
    return "".join(f"{head}{part}\r\n" for part in parts).encode() + f"--{boundary}--\r\n".encode()


async def test_a_form_cannot_ask_another_model_than_the_one_that_was_checked(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    token = await gateway.add_token(models=["cheap"])
    plain = [("content-type", "multipart/form-data; boundary=b")]
    other = "multipart/form-data; boundary=c"
    hidden = form("cheap", boundary="c") + form("dear")
    attempts: list[tuple[bytes, list[tuple[str, str]]]] = [
        (form("cheap", "dear"), plain),
        (hidden, [("content-type", "multipart/form-data; xboundary=c; boundary=b")]),
        (hidden, [("content-type", "multipart/form-data; boundary=c; boundary=b")]),
        (form("cheap", boundary="c") + form("dear"), [*plain, ("content-type", other)]),
        (form("dear"), plain),
        (form(), plain),
    ]
    for body, headers in attempts:
        answer = await gateway.client.post(
            "/v1/audio/transcriptions",
            content=body,
            headers=[*headers, ("authorization", f"Bearer {token}")],
        )
        assert answer.status_code in {400, 403}, (headers, body)
    assert upstream.requests == []

    upstream.default = json_answer(200, {"text": "x"})
    twice = [*plain, ("content-type", other), ("authorization", f"Bearer {token}")]
    answer = await gateway.client.post(
        "/v1/audio/transcriptions", content=form("cheap"), headers=twice
    )
    assert answer.status_code == 200
    assert upstream.requests[0].header("content-type") == plain[0][1]


async def test_a_streamed_transcription_costs_what_its_last_event_says(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    usage = {"type": "tokens", "input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    done = chat.frame({"type": "transcript.text.done", "text": "One two.", "usage": usage})
    upstream.default = sse([*HEARD[:2], done], done=False)

    answer = await gateway.client.post(
        "/v1/audio/transcriptions", content=form("gpt-4o-transcribe"), headers=FORM
    )

    assert answer.content == b"".join([*HEARD[:2], done])
    row = await gateway.row()
    assert (row.tokens_input, row.tokens_output, row.model) == (20, 10, "gpt-4o-transcribe")
    assert (row.cost_state, (row.cost_nano or 0) > 0) == ("exact", True)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "streamed"])
async def test_a_form_books_what_was_cached_and_what_was_thought(
    gateway: Gateway, upstream: FakeUpstream, is_stream: bool
) -> None:
    usage = {
        "type": "tokens", "input_tokens": 20, "output_tokens": 10, "total_tokens": 30,
        "input_token_details": {"cached_tokens": 15},
        "output_token_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    heard = {"type": "transcript.text.done", "text": "One two.", "usage": usage}
    upstream.default = (
        sse([chat.frame(heard)], done=False) if is_stream else json_answer(200, heard)
    )

    answer = await gateway.client.post(
        "/v1/audio/transcriptions", content=form("gpt-4o-transcribe"), headers=FORM
    )

    assert answer.status_code == 200
    row = await gateway.row()
    counts = row.tokens_input, row.tokens_cached, row.tokens_output, row.tokens_reasoning
    assert counts == (20, 15, 10, 4)


async def test_what_a_transcription_cost_that_was_not_answered_is_unknown(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3)
    upstream.default = hang_before_headers()

    assert (await listen(gateway)).status_code == 504
    with pytest.raises(httpx.ReadTimeout):
        await gateway.client.post(
            "/v1/audio/transcriptions", content=SOUND, headers=FORM, timeout=0.15
        )

    rows = await gateway.rows(2)
    assert upstream.fired["hang"] == 2
    assert [row.status for row in rows] == [504, 499]
    assert [(row.cost_nano, row.cost_state) for row in rows] == [(None, "unknown")] * 2
    assert [(row.provider_id, row.key_id) for row in rows] == [(1, 1)] * 2


async def test_a_part_of_a_file_can_be_asked_for(gateway: Gateway, upstream: FakeUpstream) -> None:
    part = {
        "Content-Type": "application/octet-stream",
        "Content-Range": "bytes 2-3/9",
        "Accept-Ranges": "bytes",
    }
    upstream.default = json_answer(206, b"cd", part)

    answer = await gateway.client.get(CONTENT, headers={"range": "bytes=2-3", "if-range": '"x"'})

    sent = upstream.requests[0]
    assert (sent.header("range"), sent.header("if-range")) == ("bytes=2-3", '"x"')
    assert (answer.status_code, answer.content) == (206, b"cd")
    assert answer.headers["content-range"] == "bytes 2-3/9"


@pytest.mark.parametrize("size", [1_000, 3_000_000])
async def test_an_upload_goes_to_the_next_key_while_all_of_it_is_there(
    gateway: Gateway, upstream: FakeUpstream, size: int
) -> None:
    await gateway.add_key(1, SECOND_KEY)
    refused = json_answer(401, chat.error_body("Bad key."))
    upstream.default = by_key({PROVIDER_KEY: refused}, json_answer(200, {"id": "file-1"}))
    body = form() + b"x" * size

    first = await gateway.client.post("/v1/files", content=body, headers=FORM)
    second = await gateway.client.post("/v1/files", content=body, headers=FORM)

    assert (first.status_code, second.status_code) == ((502, 200) if size > 2**20 else (200, 200))
    assert upstream.requests[0].key == PROVIDER_KEY
    # And no upload begins with a key that failed just now.
    assert [request.key for request in upstream.requests[1:]] == [SECOND_KEY] * (
        len(upstream.requests) - 1
    )
    assert all(request.body == body for request in upstream.requests if request.body_complete)


async def test_a_crash_has_a_row_of_its_own_kind(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> bytes:
        raise RuntimeError("boom")

    monkeypatch.setattr("aieye.gateway.models.ModelList.add_own", crash)
    upstream.default = json_answer(200, chat.models_body())

    answer = await gateway.get("/v1/models")

    row = await gateway.row()
    assert (answer.status_code, row.status, row.error) == (500, 500, "internal_error")


async def test_an_answer_that_was_passed_on_names_its_provider(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, chat.models_body())
    whole = await gateway.get("/v1/models")
    upstream.default = download()
    streamed = await gateway.get(CONTENT)

    assert whole.headers["x-aieye-provider"] == streamed.headers["x-aieye-provider"] == "openai"


async def test_no_header_that_is_passed_on_holds_the_providers_key(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    held = {"x-ratelimit-key": PROVIDER_KEY, "openai-model": "m"}
    upstream.default = json_answer(200, chat.models_body(), held)

    answer = await gateway.get("/v1/models")

    assert PROVIDER_KEY.encode() in upstream.requests[0].sent
    assert "x-ratelimit-key" not in answer.headers
    assert answer.headers["openai-model"] == "m"

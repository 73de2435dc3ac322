"""The scripted provider does on the wire what its behaviours promise, and logs it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from tests.fakes import chat
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    by_key,
    by_model,
    by_path,
    chat_answer,
    cut_after,
    delay,
    endless_line,
    gzip_bomb,
    hang_before_headers,
    header_bomb,
    headers_then_silence,
    held,
    json_answer,
    length_and_chunked,
    raw,
    redirect,
    refused_port,
    reset_after,
    sequence,
    sse,
    stream_then_silence,
    wrong_length,
)

CHAT = "/v1/chat/completions"
QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Is it fake?"}]}


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as running:
        yield running


@pytest.fixture
async def client(up: FakeUpstream) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer sk-test"}
    async with httpx.AsyncClient(base_url=up.origin, headers=headers, trust_env=False) as client:
        yield client


def head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode()


GET = head("GET /v1/models HTTP/1.1", "Host: fake")


class RawClient:
    """A client that sends any bytes and leaves whenever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, up: FakeUpstream) -> AsyncIterator[RawClient]:
        client = cls(*await asyncio.open_connection("127.0.0.1", up.port))
        try:
            yield client
        finally:
            await client.leave()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def read_all(self) -> bytes:
        """Everything until the other side closes; ConnectionResetError if it resets."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def exchange(up: FakeUpstream, *pieces: bytes) -> bytes:
    """What comes back for raw bytes until the fake closes the connection."""
    async with RawClient.connected(up) as client:
        await client.send(*pieces)
        return await client.read_all()


# ---------------------------------------------------------------------------------------- the log


async def test_headers_are_logged_raw_in_their_order_and_case(up: FakeUpstream) -> None:
    up.script(raw([b"HTTP/1.1 204 No Content\r\n\r\n"]))
    await exchange(up, head("GET /v1/models HTTP/1.1", "X-Twice: 1", "x-twice:  2 ", "Host: h"))
    assert up.requests[0].headers == [(b"X-Twice", b"1"), (b"x-twice", b"2"), (b"Host", b"h")]
    assert up.requests[0].header("X-TWICE") == "1"


async def test_a_request_has_its_target_key_body_and_time(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    before = asyncio.get_running_loop().time()
    await client.post(f"{CHAT}?a=b", json=QUESTION)
    [request] = up.requests
    assert (request.method, request.target, request.path) == ("POST", f"{CHAT}?a=b", CHAT)
    assert request.key == "sk-test"
    assert request.json == QUESTION
    assert before <= request.arrived_at <= before + 2
    assert request.finished_at is not None
    assert request.arrived_at <= request.finished_at


async def test_a_chunked_body_is_put_together_and_its_trailer_kept(up: FakeUpstream) -> None:
    up.script(raw([b"HTTP/1.1 204 No Content\r\n\r\n"]))
    chunks = b"5;note=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: end\r\n\r\n"
    start = head("POST /v1/files HTTP/1.1", "Transfer-Encoding: chunked")
    await exchange(up, start, *(bytes([byte]) for byte in chunks))
    assert up.requests[0].body == b"hello world"
    assert up.requests[0].header("x-trailer") == "end"


async def test_an_expected_continue_is_given_before_the_body(up: FakeUpstream) -> None:
    up.script(raw([b"HTTP/1.1 204 No Content\r\n\r\n"]))
    start = head("POST /v1/files HTTP/1.1", "Content-Length: 2", "Expect: 100-continue")
    async with RawClient.connected(up) as client:
        await client.send(start)
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ok")
        assert (await client.read_all()).startswith(b"HTTP/1.1 204")
    assert up.requests[0].body == b"ok"


async def test_a_request_whose_body_never_ends_is_in_the_log_as_incomplete(
    up: FakeUpstream,
) -> None:
    async with RawClient.connected(up) as client:
        await client.send(head("POST /v1/files HTTP/1.1", "Content-Length: 10"), b"half")
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    assert [request.body_complete for request in up.requests] == [False]


async def test_bytes_that_are_no_request_are_kept_apart(up: FakeUpstream) -> None:
    assert await exchange(up, b"nonsense\r\n\r\n") == b""
    assert up.malformed == [b"nonsense"]
    assert up.requests == []


async def test_a_kept_alive_connection_carries_several_requests(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        assert (await client.get("/v1/models")).status_code == 200
    assert [request.connection for request in up.requests] == [0, 0, 0]
    assert (up.connections, up.open_connections) == (1, 1)


async def test_the_usage_in_the_log_is_what_went_out(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    used = chat.usage(3, 4)
    up.script(chat_answer(usage=used), sse(chat.chat_frames("Hi", usage=used)), json_answer())
    for _ in range(3):
        await client.post(CHAT, json=QUESTION)
    assert [request.usage for request in up.requests] == [used, used, None]
    assert up.usages == [used, used]


async def test_usage_of_a_streamed_response_is_found_in_its_last_event(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/responses", json={"model": "m", "input": "Hi", "stream": True})
    assert up.usages == [chat.response_usage()]


async def test_a_failure_in_a_tests_own_handler_comes_out_of_the_fake() -> None:
    async def handler(_request: Received, _connection: Connection) -> None:
        raise AssertionError("the test is wrong")

    with pytest.raises(AssertionError, match="the test is wrong"):
        async with FakeUpstream(handler) as up:
            await exchange(up, GET)


async def test_requests_can_be_waited_for(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    calls = [asyncio.create_task(client.post(CHAT, json=QUESTION)) for _ in range(3)]
    assert len(await up.wait_for(3)) == 3
    await asyncio.gather(*calls)
    with pytest.raises(TimeoutError):
        await up.wait_for(4, timeout=0.05)


# ---------------------------------------------------------------------------------------- answers


async def test_scripted_behaviours_answer_in_order_and_then_the_default_does(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(json_answer(429, chat.error_body(), {"Retry-After": "1"}), chat_answer("Second."))
    first, second, third = [await client.post(CHAT, json=QUESTION) for _ in range(3)]
    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert second.json()["choices"][0]["message"]["content"] == "Second."
    assert third.json()["choices"][0]["message"]["content"] == "Is it fake?"
    assert up.fired == {"status-429": 1, "chat": 1, "status-200": 2, "realistic": 1}


async def test_every_answer_has_its_own_request_id(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    ids = [(await client.get("/v1/models")).headers["x-request-id"] for _ in range(2)]
    assert ids == ["req_fake_0", "req_fake_1"]


@pytest.mark.parametrize(
    ("path", "body", "done"),
    [
        (CHAT, QUESTION, True),
        ("/v1/completions", {"model": "m", "prompt": "Is it fake?"}, True),
        ("/v1/responses", {"model": "m", "input": "Is it fake?"}, False),
        ("/v1/responses", {"model": "m", "input": QUESTION["messages"]}, False),
    ],
)
async def test_a_healthy_provider_echoes_in_both_forms(
    client: httpx.AsyncClient, path: str, body: dict[str, object], done: bool
) -> None:
    plain = await client.post(path, json=body)
    assert "Is it fake?" in plain.text
    streamed = await client.post(path, json={**body, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.endswith("data: [DONE]\n\n") is done


async def test_a_chat_stream_has_usage_only_when_it_was_asked_for(
    client: httpx.AsyncClient,
) -> None:
    without = await client.post(CHAT, json={**QUESTION, "stream": True})
    asked = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    with_usage = await client.post(CHAT, json=asked)
    assert "usage" not in without.text
    frames = with_usage.content.split(b"\n\n")[:-2]
    payloads = [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]
    assert [payload["usage"] for payload in payloads[:-1]] == [None] * (len(payloads) - 1)
    assert payloads[-1]["choices"] == []
    assert payloads[-1]["usage"] == chat.usage()


async def test_frames_arrive_one_by_one_with_the_delay_between_them(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(sse([b"data: 1\n\n", b"data: 2\n\n"], delay=0.05, done=False))
    clock = asyncio.get_running_loop().time
    times, chunks = [], []
    async with client.stream("POST", CHAT, json=QUESTION) as response:
        async for chunk in response.aiter_raw():
            times.append(clock())
            chunks.append(chunk)
    assert chunks == [b"data: 1\n\n", b"data: 2\n\n"]
    assert times[1] - times[0] >= 0.04


async def test_choices_are_made_by_key_path_and_model(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    revoked = json_answer(401, chat.error_body())
    up.default = by_path(
        {
            "/v1/embeddings": json_answer(418),
            CHAT: by_key({"sk-bad": revoked}, by_model({"gpt-broken": json_answer(500)})),
        }
    )
    bad = {"Authorization": "Bearer sk-bad"}
    assert (await client.post("/v1/embeddings", json={})).status_code == 418
    assert (await client.post(CHAT, json=QUESTION, headers=bad)).status_code == 401
    assert (await client.post(CHAT, json=QUESTION)).status_code == 200
    assert (await client.post(CHAT, json={"model": "gpt-broken"})).status_code == 500
    assert len(up.calls(CHAT, key="sk-bad")) == 1


async def test_a_sequence_stays_at_its_last_behaviour(client: httpx.AsyncClient) -> None:
    async with FakeUpstream(sequence(json_answer(500), json_answer(503), json_answer(200))) as up:
        statuses = [(await client.get(f"{up.base_url}/models")).status_code for _ in range(4)]
    assert statuses == [500, 503, 200, 200]


async def test_an_answer_can_be_held_back_until_the_test_lets_it_go(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    gate = asyncio.Event()
    up.script(held(gate, chat_answer("Now.")))
    call = asyncio.create_task(client.post(CHAT, json=QUESTION))
    await up.wait_for(1)
    await asyncio.sleep(0.02)
    assert not call.done()
    gate.set()
    assert "Now." in (await call).text
    assert up.fired["held"] == 1


async def test_a_delayed_answer_waits_that_long(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(delay(0.05, chat_answer()))
    await client.post(CHAT, json=QUESTION)
    [request] = up.requests
    assert request.finished_at is not None
    assert request.finished_at - request.arrived_at >= 0.05
    assert up.fired["delay"] == 1


# ----------------------------------------------------------------------------------------- faults


async def test_a_client_that_leaves_a_hanging_request_is_noticed_at_once(
    up: FakeUpstream,
) -> None:
    up.script(hang_before_headers())
    async with RawClient.connected(up) as client:
        await client.send(GET)
        [request] = await up.wait_for(1)
        assert request.closed_at is None
        left_at = asyncio.get_running_loop().time()
    assert await request.wait_closed() - left_at < 10
    assert request.abandoned
    assert request.sent == b""
    assert up.fired == {"hang": 1}


async def test_a_client_that_leaves_a_stream_is_noticed_while_it_is_sent(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(sse([b"data: 1\n\n"] * 1_000, delay=0.01))
    async with client.stream("POST", CHAT, json=QUESTION) as response:
        await anext(response.aiter_raw())
    await up.requests[0].wait_closed()
    assert up.requests[0].abandoned
    assert up.requests[0].sent_body.count(b"data") < 100


async def test_a_client_that_leaves_after_its_answer_has_abandoned_nothing(
    up: FakeUpstream,
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{up.base_url}/models")
    await up.requests[0].wait_closed()
    assert not up.requests[0].abandoned


async def test_headers_then_silence_sends_a_head_and_nothing_else(up: FakeUpstream) -> None:
    up.script(headers_then_silence())
    async with RawClient.connected(up) as client:
        await client.send(GET)
        assert b"text/event-stream" in await client.reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reader.read(1)
    assert up.fired["silence"] == 1


async def test_a_stream_falls_silent_after_its_frames(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(stream_then_silence([b"data: 1\n\n", b"data: 2\n\n"]))
    received = b""
    async with client.stream("POST", CHAT, json=QUESTION, timeout=0.1) as response:
        with contextlib.suppress(httpx.ReadTimeout):
            async for chunk in response.aiter_raw():
                received += chunk
            pytest.fail("the stream ended")
    assert received == b"data: 1\n\ndata: 2\n\n"
    await up.requests[0].wait_closed()


async def test_a_cut_closes_in_order_after_exactly_so_many_bytes(up: FakeUpstream) -> None:
    frames = chat.chat_frames("Is it fake?")
    up.script(raw([b"HTTP/1.1 204 No Content\r\n\r\n"]), sse(frames))
    await exchange(up, GET)
    async with RawClient.connected(up) as client:
        await client.send(GET)
        await up.wait_for(2)
        while up.requests[1].finished_at is None:
            await asyncio.sleep(0.005)
    whole = up.requests[1].wire_body
    for count in range(0, len(whole), 97):
        up.script(cut_after(count, sse(frames)))
        received = await exchange(up, GET)
        assert received.partition(b"\r\n\r\n")[2] == whole[:count]
        assert up.requests[-1].wire_body == whole[:count]
        assert up.requests[-1].closed_at is None
    assert up.fired["cut"] == len(range(0, len(whole), 97))


async def test_a_cut_stream_has_sent_the_usage_only_if_its_event_was_whole(
    up: FakeUpstream,
) -> None:
    frames = [b"data: {}\n\n", chat.frame({"usage": chat.usage(1, 2)})]
    framed = [len(b"%x\r\n%b\r\n" % (len(frame), frame)) for frame in frames]
    up.script(cut_after(sum(framed) - 5, sse(frames)), cut_after(sum(framed), sse(frames)))
    await exchange(up, GET)
    await exchange(up, GET)
    assert [request.usage for request in up.requests] == [None, chat.usage(1, 2)]


async def test_a_reset_breaks_the_connection_off_after_the_bytes(up: FakeUpstream) -> None:
    up.script(reset_after(10, sse([b"data: 1\n\n"] * 3)))
    async with RawClient.connected(up) as client:
        await client.send(GET)
        received = await client.reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            received += await client.read_all()
    assert up.fired["reset"] == 1
    assert len(up.requests[0].wire_body) == 10


async def test_raw_bytes_go_out_as_they_are(up: FakeUpstream) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 99\r\n\r\n", b"short"]
    up.script(raw(pieces))
    assert await exchange(up, GET) == b"".join(pieces)
    assert bytes(up.requests[0].sent) == b"".join(pieces)
    assert up.requests[0].sent_body == b"short"


async def test_raw_bytes_can_leave_the_connection_open(up: FakeUpstream) -> None:
    up.script(wrong_length(b"short", 99, close=False))
    async with RawClient.connected(up) as client:
        await client.send(GET)
        assert (await client.reader.readuntil(b"short")).endswith(b"short")
        assert not client.reader.at_eof()
    await up.requests[0].wait_closed()


async def test_hostile_heads_are_sent_in_full(up: FakeUpstream) -> None:
    up.script(header_bomb(10_000), length_and_chunked(b'{"a":1}'))
    assert (await exchange(up, GET)).count(b"X-Bomb-") == 10_000
    both = await exchange(up, GET)
    assert b"Content-Length: 1\r\n" in both
    assert both.endswith(b'chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n')


async def test_an_endless_line_goes_on_until_the_client_has_had_enough(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(endless_line())
    received = 0
    async with client.stream("POST", CHAT, json=QUESTION) as response:
        async for chunk in response.aiter_raw():
            assert b"\n" not in chunk
            received += len(chunk)
            if received > 2**20:
                break
    await up.requests[0].wait_closed()
    assert up.fired["endless"] == 1


async def test_a_gzip_bomb_is_small_on_the_wire_and_large_when_opened(up: FakeUpstream) -> None:
    up.script(gzip_bomb(4), gzip_bomb(4, layers=2))
    async with httpx.AsyncClient(trust_env=False) as client:
        async with client.stream("GET", f"{up.base_url}/models") as response:
            packed = b"".join([chunk async for chunk in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip"
        async with client.stream("GET", f"{up.base_url}/models") as response:
            twice = b"".join([chunk async for chunk in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip, gzip"
    assert len(packed) < 2**15
    assert gzip.decompress(packed) == bytes(4 * 2**20)
    assert gzip.decompress(gzip.decompress(twice)) == bytes(4 * 2**20)
    assert up.fired["bomb"] == 2


async def test_a_redirect_names_the_other_place(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    up.script(redirect("http://elsewhere.invalid/v1"))
    response = await client.post(CHAT, json=QUESTION)
    assert (response.status_code, response.headers["location"]) == (
        302,
        "http://elsewhere.invalid/v1",
    )
    assert up.fired["redirect"] == 1


async def test_a_refused_port_refuses_and_stays_refused() -> None:
    with refused_port() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)


async def test_a_stopped_provider_drops_its_connections_and_refuses_new_ones(
    up: FakeUpstream,
) -> None:
    up.script(headers_then_silence())
    async with RawClient.connected(up) as client:
        await client.send(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        await up.stop()
        assert await client.read_all() == b""
    assert up.open_connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", up.port)


# ---------------------------------------------------------------------------------- bodies, frames


def test_the_pieces_of_a_text_make_the_text() -> None:
    for text in ("", "one", "two words", " spaces  kept ", "a\u2028b ü"):
        assert "".join(chat.pieces(text)) == text


def test_tool_call_frames_carry_the_arguments_in_pieces() -> None:
    arguments = '{"city": "Oslo"}'
    frames = chat.tool_call_frames("weather", arguments)
    deltas = [orjson.loads(frame[6:])["choices"][0]["delta"] for frame in frames]
    calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["name"] == "weather"
    assert "".join(call["arguments"] for call in calls) == arguments


def test_an_error_frame_can_be_a_named_event() -> None:
    assert chat.error_frame(event="error").startswith(b"event: error\ndata: {")

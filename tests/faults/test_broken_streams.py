"""Streams that stop, break, fail or lie half way: never complete, never stored, always accounted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import httpx
import openai
import orjson
import pytest
from sqlalchemy import select

from aieye.db.tables import UsageDimension
from aieye.gateway.tariff import Tariff
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    chat_answer,
    cut_after,
    endless_line,
    headers_then_silence,
    json_answer,
    raw,
    reset_after,
    sse,
    stream_then_silence,
)
from tests.faults.harness import (
    DONE_FRAME,
    MODEL,
    Gateway,
    LoopClock,
    StartGateway,
    both_databases,
    both_forms,
    error_code,
    payloads,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

RESPONSES = "/v1/responses"
# Short frames with every kind of byte in them, so that all offsets can be tried.
SHORT = [
    chat.frame({"id": "c", "model": MODEL, "choices": [{"index": 0, "delta": {"content": "Zwölf "}}]}),
    chat.frame({"id": "c", "choices": [{"index": 0, "delta": {"content": "\u2028 日本 🎈"}}]}),
    chat.frame({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    chat.frame({"id": "c", "choices": [], "usage": chat.usage()}),
]  # fmt: skip
TEN = chat.chat_frames("one two three four five six seven eight nine ten")


def error_of(stream: bytes) -> chat.Json | None:
    """The error that a stream ends with."""
    last = payloads(stream)[-1] if payloads(stream) else {}
    found: chat.Json | None = last.get("error") or (last if last.get("type") == "error" else None)
    return found


# -- cut -------------------------------------------------------------------------------------------


def wire_size(frames: Iterable[bytes]) -> int:
    """How many bytes a stream of these frames takes on the wire, each as a chunk, with its end."""
    return sum(len(b"%x\r\n" % len(one)) + len(one) + 2 for one in frames) + len(b"0\r\n\r\n")


def cut_where_asked(
    frames: list[bytes], cut: Callable[[int, Behaviour], Behaviour], *, done: bool
) -> Behaviour:
    """Cut the stream after as many bytes as the question says."""

    async def answer(request: Received, connection: Connection) -> None:
        offset = int(chat.last_user_text(request.json))
        await cut(offset, sse(frames, done=done))(request, connection)

    return answer


async def ask_all(
    gateway: Gateway, offsets: Iterable[int], body: Callable[[int], chat.Json], path: str
) -> dict[int, httpx.Response]:
    free = asyncio.Semaphore(12)

    async def ask(offset: int) -> tuple[int, httpx.Response]:
        async with free:
            return offset, await gateway.ask(body(offset), path=path)

    return dict(await asyncio.gather(*(ask(offset) for offset in offsets)))


@pytest.mark.parametrize("cut", [cut_after, reset_after], ids=["fin", "rst"])
async def test_a_chat_cut_at_any_byte_is_never_done_and_never_stored(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None,
    cut: Callable[[int, Behaviour], Behaviour],
) -> None:  # fmt: skip
    whole = [*SHORT, DONE_FRAME]
    size = wire_size(whole)
    # Behind the terminal event nothing of the answer can be missing.
    is_whole_at = size - len(b"\r\n0\r\n\r\n")
    offsets = range(size) if cut is cut_after else range(0, size, 9)
    upstream.default = cut_where_asked(SHORT, cut, done=True)

    answers = await ask_all(gateway, offsets, lambda n: streamed(str(n)), "/v1/chat/completions")

    assert upstream.fired["cut"] + upstream.fired["reset"] >= len(offsets)
    forwarded = b"".join(SHORT[:3])
    for offset, answer in answers.items():
        if offset >= is_whole_at:
            continue
        assert b"[DONE]" not in answer.content, offset
        if answer.status_code == 200:
            assert error_of(answer.content), offset
            told = answer.content[: answer.content.rindex(b"data: ")]
            assert forwarded.startswith(told), offset
        else:
            assert answer.status_code == 502, offset
    rows = await gateway.rows(len(offsets))
    assert sum(row.error is None for row in rows) == sum(n >= is_whole_at for n in offsets)
    assert await gateway.entries() == sum(n >= is_whole_at for n in offsets)
    assert sum(answer.status_code == 200 for answer in answers.values()) > len(offsets) / 2


async def test_a_response_cut_at_any_byte_is_never_completed_and_never_stored(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    frames = chat.response_frames("Here.", usage=chat.response_usage())
    size = wire_size(frames)
    is_whole_at = size - len(b"\r\n0\r\n\r\n")
    offsets = range(0, is_whole_at, 11)
    upstream.default = cut_where_asked(frames, cut_after, done=False)

    answers = await ask_all(
        gateway, offsets, lambda n: {"model": MODEL, "input": str(n), "stream": True}, RESPONSES
    )

    assert upstream.fired["cut"] >= len(offsets)
    for offset, answer in answers.items():
        assert b"response.completed" not in answer.content, offset
        assert answer.status_code == 502 or error_of(answer.content), offset
    assert all(row.error for row in await gateway.rows(len(offsets)))
    assert await gateway.entries() == 0


BODY = orjson.dumps(chat.chat_body("Zwölf 🎈", usage=chat.usage()))
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def plain_cut(framing: str) -> Behaviour:
    """The body, cut where the question says. Fires `raw`."""

    async def answer(request: Received, connection: Connection) -> None:
        cut = BODY[: int(chat.last_user_text(request.json))]
        head = {
            "length": b"Content-Length: %d\r\n\r\n" % len(BODY),
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY),
            "until the end": b"Connection: close\r\n\r\n",
        }[framing]
        await raw([JSON_HEAD + head + cut])(request, connection)

    return answer


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
async def test_a_plain_answer_cut_at_any_byte_is_502_and_never_stored(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, framing: str
) -> None:
    offsets = range(0, len(BODY), 7)
    upstream.default = plain_cut(framing)

    answers = await ask_all(gateway, offsets, lambda n: question(str(n)), "/v1/chat/completions")

    assert upstream.fired["raw"] >= len(offsets)
    wrong = [offset for offset, answer in answers.items() if answer.status_code != 502]
    assert not wrong, wrong
    assert await gateway.entries() == 0


async def test_speech_that_breaks_off_ends_abnormally_and_is_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    sound = bytes(range(256)) * 1_000
    upstream.script(cut_after(100_000, audio(sound)), audio(sound))
    body = {"model": "tts-1", "input": "Hello", "voice": "alloy"}

    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.ask(body, path="/v1/audio/speech")
    again = await gateway.ask(body, path="/v1/audio/speech")
    hit = await gateway.ask(body, path="/v1/audio/speech")

    assert upstream.fired["cut"] == 1
    assert (again.content, hit.content) == (sound, sound)
    assert (again.headers["x-aieye-cache"], hit.headers["x-aieye-cache"]) == ("miss", "hit")
    assert hit.headers["content-type"] == "audio/mpeg"
    assert [row.error for row in await gateway.rows(3)] == ["upstream_broken", None, None]


def audio(sound: bytes) -> Behaviour:
    """Sound in pieces."""

    async def send(_request: Received, connection: Connection) -> None:
        await connection.start(200, {"Content-Type": "audio/mpeg"})
        for start in range(0, len(sound), 4_096):
            await connection.send(sound[start : start + 4_096])
        await connection.end()

    return send


# -- silent ----------------------------------------------------------------------------------------


@both_databases
async def test_a_stream_that_falls_silent_ends_with_an_error_and_books_what_came(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=0.3)
    upstream.default = stream_then_silence(TEN[:6])
    started = time.monotonic()

    async with LoopClock() as clock:
        answer = await gateway.ask(streamed())

    assert time.monotonic() - started >= 0.3
    # The first call of a process also waits for the price list.
    assert clock.seconds < 4
    assert upstream.fired["silence"] == 1
    assert answer.content.startswith(b"".join(TEN[:6]))
    error = error_of(answer.content)
    assert error is not None
    assert error["code"] == "upstream_timeout"
    assert b"[DONE]" not in answer.content
    await upstream.requests[0].wait_closed()
    row = await gateway.row()
    assert (row.status, row.error) == (504, "upstream_timeout")
    # The first frame has the role only.
    assert (row.tokens_output, row.cost_state) == (5, "estimated")
    assert row.cost_nano
    assert await gateway.entries() == 0


async def test_a_whole_answer_stays_whole_when_the_provider_keeps_the_connection_open(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=0.3)
    upstream.default = stream_then_silence([*chat.chat_frames("Here."), DONE_FRAME])

    answer = await gateway.ask(streamed())

    assert upstream.fired["silence"] == 1
    assert answer.content == b"".join(chat.chat_frames("Here.")) + DONE_FRAME
    assert (await gateway.row()).error is None
    assert await gateway.entries() == 1


async def test_the_end_is_not_held_back_while_the_provider_keeps_the_connection_open(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=2.5)
    upstream.default = stream_then_silence([*chat.chat_frames("Here."), DONE_FRAME])

    async with LoopClock() as clock:
        answer = await gateway.ask(streamed())

    assert upstream.fired["silence"] == 1
    assert b"Here." in answer.content
    assert clock.seconds < 1.5


@pytest.mark.parametrize(
    "fault",
    [
        headers_then_silence(),
        sse([chat.error_frame()]),
        sse([chat.error_frame(event="error")], done=False),
        sse([chat.frame({"type": "error", "message": "No."})], done=False),
        sse([], done=False),
        cut_after(30, chat_answer("Here.")),
        json_answer(503, chat.error_body()),
    ],
    ids=["silence", "error", "named error", "typed error", "nothing", "half a frame", "503"],
)  # fmt: skip
async def test_a_stream_that_fails_before_its_first_event_goes_to_the_next_target(
    start_gateway: StartGateway, upstream: FakeUpstream, other: FakeUpstream,
    quick_retries: None, fault: Behaviour,
) -> None:  # fmt: skip
    gateway = await start_gateway(first_byte_timeout=0.5)
    await gateway.add_provider("second", other, "sk-second-0123456789")
    await gateway.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "other", "provider": "second"}
    )
    upstream.default = fault
    frames = chat.chat_frames("From the second.")
    other.default = sse(frames)

    answer = await gateway.ask(streamed(model="fast"))

    assert sum(upstream.fired.values()) >= 1
    assert answer.content == b"".join(frames) + DONE_FRAME
    assert len(other.requests) == 1
    row = await gateway.row()
    assert (row.status, row.provider_id, row.error) == (200, 2, None)
    assert [attempt["provider"] for attempt in row.attempts][-1] == "second"


async def test_headers_and_then_silence_is_504_where_there_is_no_other_target(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(first_byte_timeout=0.3)
    upstream.default = headers_then_silence()

    answer = await gateway.ask(streamed())

    assert upstream.fired["silence"] == len(upstream.requests) == 1
    assert (answer.status_code, error_code(answer)) == (504, "upstream_timeout")
    await upstream.requests[0].wait_closed()


# -- errors inside ---------------------------------------------------------------------------------

FAILED = chat.frame(
    {"type": "response.failed", "response": {"id": "resp_1", "status": "failed",
     "error": {"code": "server_error", "message": "It failed."}}}, event="response.failed",
)  # fmt: skip


async def test_an_error_instead_of_an_answer_is_tried_again_and_then_given_to_the_client(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.default = sse([chat.error_frame("Overloaded.")], done=False)

    answers = [await gateway.ask(streamed()) for _ in range(2)]

    assert len(upstream.requests) == 5, "three calls, then two more until the circuit opens"
    first, _ = answers
    error = error_of(first.content)
    assert error is not None
    assert error["message"] == "Overloaded."
    assert b"[DONE]" not in first.content
    assert await gateway.entries() == 0


ERRORS = {
    "object": chat.error_frame("Half way."),
    "named": chat.error_frame("Half way.", event="error"),
    "typed": chat.frame({"type": "error", "error": {"type": "x", "message": "Half way."}}),
    "text": b"event: error\ndata: Half way.\n\n",
}


async def test_an_error_half_way_is_forwarded_and_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for name, error in ERRORS.items():
        upstream.script(sse([*TEN[:7], error], done=False), chat_answer("Whole."))

        answer = await gateway.ask(streamed(name))
        again = await gateway.ask(streamed(name))

        assert answer.content.startswith(b"".join(TEN[:7]) + error)
        assert b"[DONE]" not in answer.content
        assert text_of(again) == "Whole."
        assert again.headers["x-aieye-cache"] == "miss"
        row = (await gateway.rows())[-2]
        assert (row.tokens_output, row.cost_state) == (6, "estimated")
    assert upstream.fired["sse"] == 2 * len(ERRORS)


async def test_a_stream_that_failed_never_ends_in_done_whatever_the_provider_sends(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    ended = []
    for name, error in ERRORS.items():
        upstream.script(sse([*TEN[:7], error], done=True))
        answer = await gateway.ask(streamed(name))
        assert answer.content.startswith(b"".join(TEN[:7]) + error)
        ended += [name] if b"[DONE]" in answer.content else []

    assert upstream.fired["sse"] == len(ERRORS)
    assert await gateway.entries() == 0
    assert ended == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", RESPONSES])
async def test_the_row_of_a_stream_that_failed_says_so(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    if path == RESPONSES:
        frames = [*chat.response_frames("One two three.")[:6], FAILED]
    else:
        frames = [*TEN[:7], chat.error_frame("Half way.")]
    upstream.script(sse(frames, done=False))

    await gateway.ask({"model": MODEL, "messages": [], "input": "x", "stream": True}, path=path)

    assert upstream.fired["sse"] == 1
    row = await gateway.row()
    assert row.status == 502
    assert row.error
    async with gateway.state.database.read() as session:
        statuses = set(await session.scalars(select(UsageDimension.status)))
    assert statuses == {502}


async def test_the_error_that_ends_a_response_has_the_next_number_of_its_stream(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(idle_timeout=0.3)
    frames = chat.response_frames("One two three.")[:6]
    upstream.default = stream_then_silence(frames)

    answer = await gateway.ask({"model": MODEL, "input": "x", "stream": True}, path=RESPONSES)

    assert upstream.fired["silence"] == 1
    assert answer.content.startswith(b"".join(frames))
    last = payloads(answer.content)[-1]
    assert (last["type"], last["code"]) == ("error", "upstream_timeout")
    numbers = [event["sequence_number"] for event in payloads(answer.content)]
    assert numbers == list(range(len(frames) + 1))


async def test_a_response_that_fails_half_way_is_forwarded_and_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.response_frames("One two three four.", usage=chat.response_usage())
    body = {"model": MODEL, "input": "Well?", "stream": True}
    upstream.script(sse([*frames[:6], FAILED], done=False), sse(frames, done=False))

    answer = await gateway.ask(body, path=RESPONSES)
    again = await gateway.ask(body, path=RESPONSES)

    assert answer.content == b"".join(frames[:6]) + FAILED
    assert again.content == b"".join(frames)
    assert again.headers["x-aieye-cache"] == "miss"


# -- odd and hostile framing -----------------------------------------------------------------------


def with_line_ends(frames: list[bytes], end: bytes) -> bytes:
    return b"".join(frames).replace(b"\n", end)


USED = chat.chat_frames("Eins zwei drei.", usage=chat.usage())
WHOLE = [*USED, DONE_FRAME]
SPREAD = (
    b'data: {"id":"c","model":"gpt-4o-mini",\ndata:"choices":[{"index":0,\n'
    b'data: "delta":{"content":"x"}}]}\n\n'
)
FRAMINGS: dict[str, bytes] = {
    "carriage returns": with_line_ends(WHOLE, b"\r"),
    "both": with_line_ends(WHOLE, b"\r\n"),
    "mixed": with_line_ends(WHOLE[:2], b"\r\n") + with_line_ends(WHOLE[2:4], b"\r") + b"".join(WHOLE[4:]),
    "a byte order mark": b"\xef\xbb\xbf" + b"".join(WHOLE),
    "comments": b": open\n\n" + b": ping\n".join(WHOLE) + b": bye\n\n",
    "no space": b"".join(WHOLE).replace(b"data: ", b"data:"),
    "data over several lines": SPREAD + b"".join(WHOLE),
    "ids and times": b"retry: 10\n\n" + b"".join(b"id: %d\n" % n + one for n, one in enumerate(WHOLE)),
    "unknown fields": b"".join(b"foo: bar\nbaz\n" + one for one in WHOLE),
    "event names": b"".join(b"event: chunk\n" + one for one in WHOLE),
    "no blank line at the end": b"".join(WHOLE).removesuffix(b"\n"),
    "no line end at the end": b"".join(WHOLE).removesuffix(b"\n\n"),
    "extra blank lines": b"\n\n\n" + b"\n\n".join(WHOLE) + b"\n\n",
    "line separators in the text": b"".join(
        [*chat.chat_frames("a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", usage=chat.usage()), DONE_FRAME]
    ),
}  # fmt: skip


async def test_odd_framing_comes_down_byte_for_byte_and_is_stored_so(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    wrong = []
    for name, stream in FRAMINGS.items():
        for size in (1, 5, len(stream)):
            pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
            upstream.script(sse(pieces, done=False))
            body = streamed(f"{name} in {size}", stream_options={"include_usage": True})
            answer = await gateway.ask(body)
            hit = await gateway.ask(body)
            row = (await gateway.rows())[-2]
            facts = {
                "forwarded": answer.content == stream,
                "given again": hit.content == stream,
                "stored": hit.headers["x-aieye-cache"] == "hit",
                "metered": (row.tokens_input, row.tokens_output, row.cost_state)
                == (11, 7, "exact"),
            }
            wrong += [(name, size, fact) for fact, holds in facts.items() if not holds]

    assert upstream.fired["sse"] >= len(FRAMINGS) * 3
    assert not wrong, wrong


async def test_of_odd_framing_only_the_usage_frame_is_withheld(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    wrong = []
    for name, stream in FRAMINGS.items():
        if name in {"comments", "extra blank lines"}:
            continue
        upstream.script(sse([stream], done=False))
        body = streamed(name)
        answer = await gateway.ask(body)
        hit = await gateway.ask(body)
        told = b"".join(answer.content.split())
        if (
            b'"prompt_tokens"' in told
            or hit.content != answer.content
            or text_of(hit) != text_of(answer)
        ):
            wrong.append(name)
        if len(answer.content) < len(stream) - 400:
            wrong.append(f"{name}: too much withheld")

    assert upstream.fired["sse"] == len(FRAMINGS) - 2
    assert not wrong, wrong


@pytest.mark.parametrize("before", [[], TEN[:3]], ids=["at once", "later"])
async def test_an_event_without_an_end_is_cut_at_the_cap(
    start_gateway: StartGateway, upstream: FakeUpstream, quick_retries: None, before: list[bytes]
) -> None:
    cap = 256 * 1024
    gateway = await start_gateway(max_event_bytes=cap)
    sent = 0

    async def flood(_request: Received, connection: Connection) -> None:
        nonlocal sent
        connection.fire("flood")
        await connection.start(200, {"Content-Type": "text/event-stream"})
        for one in [*before, b"data: "]:
            await connection.send(one)
        while True:
            await connection.send(b"x" * 2**16)
            sent += 2**16

    upstream.default = flood

    answer = await gateway.ask(streamed())

    assert upstream.fired["flood"] == len(upstream.requests) >= 1
    # What the kernel's buffers hold is on its way, too.
    assert sent / len(upstream.requests) < cap + 8 * 2**20
    for request in upstream.requests:
        await request.wait_closed()
    assert b"[DONE]" not in answer.content
    if before:
        assert answer.content.startswith(b"".join(before))
        assert error_of(answer.content)
        assert len(answer.content) < cap
    else:
        assert (answer.status_code, error_code(answer)) == (502, "upstream_broken")
    assert (await gateway.row()).error == "upstream_broken"
    assert await gateway.entries() == 0


async def test_the_default_cap_holds_too(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.script(endless_line())

    answer = await gateway.ask(streamed())

    assert upstream.fired["endless"] == 1
    await upstream.requests[0].wait_closed()
    assert text_of(answer) == "What is it?", "the next attempt answers"


# -- what is no answer -----------------------------------------------------------------------------


@both_forms
async def test_a_body_that_is_no_answer_is_502_and_never_stored(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, form: str
) -> None:
    statuses = {}
    for name, (kind, body) in NO_ANSWERS.items():
        upstream.default = json_answer(200, body, {"Content-Type": kind})
        text = {"stream": True} if form == "streamed" else {}
        answer = await gateway.ask(question(name, **text))
        statuses[name] = answer.status_code
        assert (await gateway.rows())[-1].status == answer.status_code, name

    assert upstream.fired["status-200"] >= len(NO_ANSWERS)
    assert statuses == dict.fromkeys(NO_ANSWERS, 502)
    assert await gateway.entries() == 0


JSON = "application/json"
NO_ANSWERS: dict[str, tuple[str, bytes]] = {
    "a page": ("text/html", b"<html><body>Sign in</body></html>"),
    "a page that says it is JSON": (JSON, b"<html><body>Sign in</body></html>"),
    "nothing": (JSON, b""),
    "nothing, of no kind": ("text/plain", b""),
    "half an object": (JSON, b'{"id":"x","choices":[{"index":0,"mess'),
    "two objects": (JSON, b'{"id":"x"}{"id":"y"}'),
    "a list": (JSON, b"[]"),
    "a text": (JSON, b'"Here."'),
    "null": (JSON, b"null"),
    "no UTF-8": (JSON, b'{"id":"\xff\xfe","choices":[]}'),
}


async def test_an_answer_with_empty_choices_is_passed_on_and_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    body = orjson.dumps({**chat.chat_body(), "choices": []})
    upstream.default = json_answer(200, body)

    answers = [await gateway.ask(question()) for _ in range(2)]

    assert [(one.status_code, one.content) for one in answers] == [(200, body)] * 2
    assert len(upstream.requests) == 2
    assert {row.cost_state for row in await gateway.rows(2)} == {"estimated"}
    assert await gateway.entries() == 0


async def test_a_stream_with_a_broken_event_is_forwarded_and_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for number, broken in enumerate(
        (b'data: {"choices": [\n\n', b"data: hello\n\n", b"data: []\n\n")
    ):
        frames = [*chat.chat_frames("One two.")[:2], broken, *chat.chat_frames("One two.")[2:]]
        upstream.script(sse(frames))
        answer = await gateway.ask(streamed(f"Well, {number}?"))
        assert answer.content == b"".join(frames) + DONE_FRAME
        assert (await gateway.rows())[-1].cost_state == "estimated"
    assert upstream.fired["sse"] == 3
    assert await gateway.entries() == 0


async def test_a_stream_without_a_terminal_event_is_an_error(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(TEN, done=False)

    answer = await gateway.ask(streamed())

    assert upstream.fired["sse"] == 1
    assert answer.content.startswith(b"".join(TEN))
    assert error_of(answer.content)
    assert b"[DONE]" not in answer.content
    assert await gateway.entries() == 0


async def test_a_plain_answer_to_a_call_for_a_stream_is_passed_on(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, BODY)

    answer = await gateway.ask(streamed())

    assert (answer.status_code, answer.content) == (200, BODY)
    assert (await gateway.row()).cost_state == "exact"


async def test_openais_sdk_raises_when_a_stream_breaks_off(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = cut_after(900, sse(TEN))
    said: list[str] = []

    async def listen() -> None:
        async with gateway.sdk() as sdk:
            stream = await sdk.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Count."}], stream=True
            )
            async for chunk in stream:
                said.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match="broke off"):
        await listen()
    assert upstream.fired["cut"] == 1
    assert "".join(said).startswith("one two")


async def test_what_came_before_a_break_is_passed_on_however_late_it_is_read(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object) -> None:
        await asyncio.sleep(0.1)

    # As when the price list is loaded for the first call: the break comes before the reading.
    monkeypatch.setattr(Tariff, "ready", slow)
    for cut in (cut_after, reset_after):
        upstream.default = cut(900, sse(TEN))
        answer = await gateway.ask(streamed(cut.__name__))
        assert error_of(answer.content) is not None
        assert text_of(answer) == "one two "

    assert (upstream.fired["cut"], upstream.fired["reset"]) == (1, 1)

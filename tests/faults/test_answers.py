"""Answers that lie about what they used, name strange models, or bring headers of their own."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text as text_clause

from aieye.access.audit import SYSTEM
from aieye.access.routes import Target
from aieye.ledger.overrides import create_override
from tests.fakes import chat
from tests.fakes.upstream import FakeUpstream, chat_answer, json_answer, raw, sse
from tests.faults.harness import (
    DONE_FRAME,
    MODEL,
    PROVIDER_KEY,
    Gateway,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    payloads,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

HUGE = 2**63
USAGES: dict[str, Any] = {
    "negative": chat.usage(-11, -7),
    "fractional": {"prompt_tokens": 11.5, "completion_tokens": 7.25, "total_tokens": 18.75},
    "too large": {"prompt_tokens": HUGE, "completion_tokens": HUGE, "total_tokens": 2 * HUGE - 1},
    "infinite": {"prompt_tokens": 10**30, "completion_tokens": 1e300, "total_tokens": 10**30},
    "text": {"prompt_tokens": "11", "completion_tokens": "many", "total_tokens": None},
    "lists": {"prompt_tokens": [11], "completion_tokens": {"a": 7}, "total_tokens": True},
    "true": {"prompt_tokens": True, "completion_tokens": False, "total_tokens": True},
    "empty": {},
    "a list": [],
    "a number": 18,
    "a text": "18 tokens",
    "no sum": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 999_999},
    "more cached than sent": {**chat.usage(), "prompt_tokens_details": {"cached_tokens": 500}},
    "details of text": {**chat.usage(), "prompt_tokens_details": "x", "completion_tokens_details": 3},
    "a surrogate": {**chat.usage(), "note": "@SURROGATE@"},
    "a NUL": {**chat.usage(), "note": "a\0b"},
}  # fmt: skip


def text(value: object) -> bytes:
    """JSON of what orjson would not write: integers of any size, half a surrogate pair."""
    return json.dumps(value).replace("@SURROGATE@", "\\ud800").encode()


async def status_of(asking: Awaitable[httpx.Response]) -> int:
    """The status of an answer; 0 when it broke off."""
    try:
        return (await asking).status_code
    except httpx.HTTPError:
        return 0


@both_databases
@both_forms
async def test_usage_that_lies_is_booked_without_harm(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    wrong: list[tuple[object, ...]] = []
    for name, usage in USAGES.items():
        if form == "plain":
            body = text({**chat.chat_body("Here."), "usage": usage})
            upstream.script(json_answer(200, body))
        else:
            last = b"data: " + text({"id": "c", "choices": [], "usage": usage}) + b"\n\n"
            upstream.script(sse([*chat.chat_frames("Here."), last]))
        before = len(await gateway.rows())
        status = await status_of(gateway.ask(asked(name, form)))
        new = (await gateway.rows())[before:]
        if status != 200 or len(new) != 1:
            wrong.append((name, status, len(new)))
            continue
        row = new[0]
        figures = (row.tokens_input, row.tokens_output, row.cost_nano)
        if any(one is not None and not 0 <= one < HUGE for one in figures):
            wrong.append((name, *figures))
        if row.cost_state not in {"exact", "estimated", "unknown"}:
            wrong.append((name, row.cost_state))
        if name in {"negative", "fractional", "too large", "text"} and row.cost_state == "exact":
            wrong.append((name, "is called exact"))

    assert upstream.fired["status-200"] + upstream.fired["sse"] == len(USAGES)
    assert not wrong, wrong


@both_databases
async def test_usage_that_lies_does_not_overflow_the_sums(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    lie = chat.chat_body("Here.", usage=chat.usage(2**40, 2**40), model="o1-pro")
    upstream.default = json_answer(200, lie)
    for number in range(16):
        answer = await gateway.ask(question(f"Well, {number}?", model="o1-pro"))
        assert answer.status_code == 200

    assert upstream.fired["status-200"] == len(await gateway.rows()) == 16
    async with gateway.state.database.read() as session:
        sums = (
            await session.execute(
                text_clause("SELECT calls, cost_nano FROM usage_rollups WHERE grain = 86400")
            )
        ).all()
    assert sum(calls for calls, _ in sums) == 16
    assert all(isinstance(cost, int) and 0 <= cost < HUGE for _, cost in sums)
    assert gateway.state.writer.stats.refused == 0


@both_forms
async def test_an_answer_without_usage_is_estimated(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = chat_answer("one two three four five", usage=None)

    answer = await gateway.ask(asked("Well?", form))

    assert upstream.fired["chat"] == 1
    assert text_of(answer) == "one two three four five"
    row = await gateway.row()
    assert row.cost_state == "estimated"
    assert row.tokens_input
    assert row.cost_nano
    if form == "streamed":
        assert row.tokens_output == 5


async def test_an_estimated_plain_answer_counts_what_was_said_and_not_its_wrapping(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = chat_answer("one two three four five", usage=None)

    await gateway.ask(question())

    row = await gateway.row()
    assert row.cost_state == "estimated"
    assert 3 <= (row.tokens_output or 0) <= 12


USED = {
    **chat.usage(120, 40),
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
TOOL = {"name": "look_up", "arguments": '{"place":"Zürich"}'}


@pytest.mark.parametrize("kind", ["text", "tool"])
async def test_an_answer_says_and_costs_the_same_plain_and_streamed(
    gateway: Gateway, upstream: FakeUpstream, kind: str
) -> None:
    seen = []
    for form in ("plain", "streamed"):
        if kind == "text":
            upstream.default = chat_answer("Zwölf 日本 🎈", usage=USED)
        elif form == "streamed":
            upstream.default = sse(chat.tool_call_frames(**TOOL, usage=USED))
        else:
            called = chat.tool_call(**TOOL)
            body = chat.chat_body(usage=USED, finish="tool_calls", tool_calls=[called])
            upstream.default = json_answer(200, body)
        # Another question each time, so that the provider answers both forms.
        answers = [
            await gateway.ask(asked(f"{form} first", one)) for one in (form, "plain", "streamed")
        ]
        assert [answer.headers["x-aieye-cache"] for answer in answers] == ["miss", "hit", "hit"]
        row, *hits = (await gateway.rows())[-3:]
        said = [(text_or_tool(answer), answer.status_code) for answer in answers]
        used = (row.tokens_input, row.tokens_cached, row.tokens_output, row.tokens_reasoning)
        assert {hit.saved_nano for hit in hits} == {row.cost_nano}
        seen.append((said, used, row.cost_nano, row.cost_state))

    assert len(upstream.requests) == 2
    plain, stream = seen
    assert plain == stream
    assert plain[1:] == ((120, 100, 40, 30), 20 * 150 + 100 * 75 + 40 * 600, "exact")


def text_or_tool(answer: httpx.Response) -> object:
    """What was said or called, whichever form it came in."""
    if answer.headers["content-type"].startswith("application/json"):
        message = answer.json()["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        return message["content"], [(one["id"], one["function"]) for one in calls]
    called: dict[str, str] = {"name": "", "arguments": ""}
    found = ""
    for chunk in payloads(answer.content):
        for choice in chunk.get("choices", ()):
            for piece in choice["delta"].get("tool_calls") or ():
                found = piece.get("id") or found
                for key, value in piece.get("function", {}).items():
                    called[key] += value or ""
    return (None, [(found, called)]) if found else (text_of(answer), [])


@both_forms
async def test_a_usage_that_is_said_twice_counts_once_and_the_last_one(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    frames = chat.chat_frames("Here.")
    first = chat.frame({"id": "c", "choices": [], "usage": chat.usage(11, 1)})
    last = chat.frame({"id": "c", "choices": [], "usage": chat.usage(11, 7)})
    upstream.default = sse([*frames, first, last])

    await gateway.ask(asked("Well?", form))

    row = await gateway.row()
    assert (row.tokens_input, row.tokens_output) == (11, 7)


MODELS: dict[str, str] = {
    "another": "gpt-4o",
    "empty": "",
    "very long": "m" * 5_000,
    "a NUL": "gpt\0x",
    "half a surrogate pair": "@SURROGATE@",
    "line ends": "gpt\r\nset-cookie: a=b",
    "unicode": "模型\u2028",
}


@both_databases
@both_forms
async def test_whatever_model_an_answer_names_it_is_recorded(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    wrong: list[tuple[object, ...]] = []
    for name, model in MODELS.items():
        if form == "plain":
            body = text(chat.chat_body("Here.", usage=chat.usage(), model=model))
            upstream.script(json_answer(200, body))
        else:
            base = {"id": "c", "model": model}
            chunks = [
                {**base, "choices": [{"index": 0, "delta": {"content": "Here."}}]},
                {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {**base, "choices": [], "usage": chat.usage()},
            ]
            upstream.script(sse([b"data: " + text(chunk) + b"\n\n" for chunk in chunks]))
        before = len(await gateway.rows())
        status = await status_of(gateway.ask(asked(name, form)))
        new = (await gateway.rows())[before:]
        if status != 200 or len(new) != 1 or new[0].tokens_output != 7:
            wrong.append((name, status, len(new)))

    assert upstream.fired["status-200"] + upstream.fired["sse"] == len(MODELS)
    assert not wrong, wrong


@both_forms
async def test_the_model_that_served_is_booked_and_priced(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.script(chat_answer("Here."), chat_answer("Here.", model="gpt-4o-2024-08-06"))

    for number in range(2):
        await gateway.ask(asked(f"Well, {number}?", form))

    cheap, dear = await gateway.rows(2)
    assert (cheap.model, dear.model) == (MODEL, "gpt-4o-2024-08-06")
    assert dear.model_asked == MODEL
    assert 0 < (cheap.cost_nano or 0) * 10 < (dear.cost_nano or 0)


@both_forms
async def test_a_model_without_a_price_costs_nobody_knows_what(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = chat_answer("Here.", model="made-up-9")

    answer = await gateway.ask(asked("Well?", form, model="made-up-9"))

    row = await gateway.row()
    assert (row.cost_nano, row.cost_state, row.tokens_output) == (None, "unknown", 7)
    assert "x-aieye-cost-usd" not in answer.headers


async def test_an_administrators_price_counts_from_the_next_call_on(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = chat_answer("Here.", model="made-up-9")
    await gateway.ask(question("One", model="made-up-9"))
    async with gateway.state.database.write() as session:
        await create_override(
            session, model="made-up-9", rates={"input": "1", "output": "2"}, actor=SYSTEM
        )
    await gateway.state.directory.refresh()

    answer = await gateway.ask(question("Two", model="made-up-9"))

    before, after = await gateway.rows(2)
    assert (before.cost_nano, before.cost_state) == (None, "unknown")
    assert (after.cost_nano, after.cost_state) == (11 * 1_000 + 7 * 2_000, "exact")
    assert answer.headers["x-aieye-cost-usd"] == "0.000025"


@both_forms
@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_an_answer_that_ended_by_length_or_filter_is_whole_and_stored(
    gateway: Gateway, upstream: FakeUpstream, form: str, finish: str
) -> None:
    upstream.default = chat_answer("Here", finish=finish)

    answers = [await gateway.ask(asked("Well?", form)) for _ in range(2)]

    assert len(upstream.requests) == 1
    assert answers[1].headers["x-aieye-cache"] == "hit"
    assert answers[0].content == answers[1].content
    assert f'"finish_reason":"{finish}"' in answers[1].text


# -- headers ---------------------------------------------------------------------------------------

HOSTILE = [
    ("Set-Cookie", "session=stolen"), ("Server", "evil"), ("Via", "1.1 evil"),
    ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"),
    ("Strict-Transport-Security", "max-age=1"), ("Location", "http://evil/"),
    ("Refresh", "0; url=http://evil/"), ("Link", "<http://evil/>; rel=preload"),
    ("WWW-Authenticate", "Basic realm=evil"), ("Proxy-Authenticate", "Basic"),
    ("Authorization", "Bearer sk-evil"), ("OpenAI-Organization", "org-secret"),
    ("OpenAI-Project", "proj-secret"), ("X-Request-Id", "req_evil"),
    ("X-Aieye-Cache", "hit"), ("X-Aieye-Cost-Usd", "0"), ("Cache-Status", "evil; hit"),
    ("Age", "99999"), ("ETag", '"evil"'), ("Cache-Control", "public, max-age=99999"),
    ("Keep-Alive", "timeout=99"), ("Upgrade", "h2c"), ("Trailer", "X-Evil"),
    ("Content-Security-Policy", "default-src *"), ("X-Powered-By", "evil"),
    ("Alt-Svc", 'h3=":443"'), ("Report-To", "{}"), ("NEL", "{}"), ("Clear-Site-Data", '"*"'),
    ("X-Internal-Key", "sk-internal"), ("Idempotency-Replayed", "true"),
]  # fmt: skip
SAFE = [
    ("X-RateLimit-Remaining-Requests", "99"), ("OpenAI-Processing-Ms", "12"),
    ("OpenAI-Model", "gpt-4o-mini"), ("OpenAI-Version", "2020-10-01"),
]  # fmt: skip
EXPECTED = {
    "content-type", "content-length", "transfer-encoding", "date", "server", "x-request-id",
    "x-aieye-provider", "x-aieye-upstream-request-id", "x-aieye-cache", "cache-status",
    "x-aieye-cost-usd", "x-aieye-saved-usd", "age",
    *(name.lower() for name, _ in SAFE),
}  # fmt: skip


@both_forms
async def test_of_thirty_hostile_headers_none_comes_down(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    headers = [*HOSTILE, *SAFE]
    if form == "plain":
        upstream.default = json_answer(200, chat.chat_body("Here.", usage=chat.usage()), headers)
    else:
        upstream.default = sse(chat.chat_frames("Here."), headers=headers)

    first = await gateway.ask(asked("Well?", form))
    hit = await gateway.ask(asked("Well?", form))
    bypassed = await gateway.ask(asked("Well?", form), headers={"cache-control": "no-store"})

    assert upstream.fired["sse"] + upstream.fired["status-200"] == 2
    for answer in (first, hit, bypassed):
        names = {name.lower() for name in answer.headers}
        assert names <= EXPECTED, names - EXPECTED
        assert "evil" not in str(answer.headers.raw)
        assert answer.headers["x-request-id"].startswith("req_01")
    assert first.headers["x-ratelimit-remaining-requests"] == "99"
    assert "x-ratelimit-remaining-requests" not in hit.headers
    assert hit.headers["x-aieye-cache"] == "hit"
    assert first.headers["openai-model"] == hit.headers["openai-model"] == "gpt-4o-mini"


@both_forms
async def test_a_header_that_holds_our_key_neither_comes_down_nor_is_stored(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    headers = {
        "x-ratelimit-key": f"for {PROVIDER_KEY}", "openai-model": PROVIDER_KEY,
        "x-request-id": PROVIDER_KEY, "openai-version": "1",
    }  # fmt: skip
    if form == "plain":
        upstream.default = json_answer(200, chat.chat_body("Here.", usage=chat.usage()), headers)
    else:
        upstream.default = sse(chat.chat_frames("Here."), headers=headers)

    answers = [await gateway.ask(asked("Well?", form)) for _ in range(2)]

    assert upstream.fired["sse"] + upstream.fired["status-200"] == len(upstream.requests) == 1
    assert [answer.headers["openai-version"] for answer in answers] == ["1", "1"]
    body = b'{"id":"x","choices":[]}'
    head = b"HTTP/1.1 200 OK\r\nX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n"
    upstream.script(raw([head % (PROVIDER_KEY.encode(), len(body)) + body]))
    answers.append(await gateway.ask(asked("What does it call it?", form)))
    assert upstream.fired["raw"] == 1
    assert answers[-1].content == body
    assert PROVIDER_KEY not in str([answer.headers for answer in answers])
    assert PROVIDER_KEY.encode() not in await gateway.stored()


async def test_hostile_headers_do_not_come_down_with_models_and_files_either(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, chat.models_body(), [*HOSTILE, *SAFE])

    answer = await gateway.get("/v1/models")

    assert answer.status_code == 200
    assert {name.lower() for name in answer.headers} <= EXPECTED
    assert "evil" not in str(answer.headers.raw)


async def test_a_header_line_that_is_folded_or_split_makes_no_new_header(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    body = orjson.dumps(chat.chat_body("Here.", usage=chat.usage()))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nOpenAI-Model: a%b\r\n"
    for number, value in enumerate(
        (b"\r\n set-cookie: a=b", b"\rset-cookie: a=b", b"\nset-cookie: a=b")
    ):
        upstream.script(raw([head % value + b"Content-Length: %d\r\n\r\n" % len(body) + body]))
        answer = await gateway.ask(question(f"Well, {number}?"))
        assert answer.status_code in {200, 502}
        assert "set-cookie" not in answer.headers
    assert upstream.fired["raw"] == 3


# -- streams, byte for byte ------------------------------------------------------------------------


async def test_a_stream_comes_down_byte_for_byte_less_the_usage_frame_that_was_not_asked_for(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.chat_frames("one two three", usage=chat.usage())
    odd = b': note\n\ndata: {"id":"c", "choices" : [ ],"x":null , "u":"\xc3\xa9\\u00e9"}\n\n'
    upstream.default = sse([frames[0], odd, *frames[1:]])

    answer = await gateway.ask(streamed())

    sent = orjson.loads(upstream.requests[0].body)
    assert sent["stream_options"] == {"include_usage": True}
    assert upstream.requests[0].usage == chat.usage()
    assert answer.content == b"".join([frames[0], odd, *frames[1:-1], DONE_FRAME])
    row = await gateway.row()
    assert (row.tokens_input, row.tokens_output, row.cost_state) == (11, 7, "exact")


async def test_a_client_that_asked_for_usage_gets_every_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.chat_frames("one two three", usage=chat.usage())
    upstream.default = sse(frames)
    body = orjson.dumps(streamed(stream_options={"include_usage": True}))

    answer = await gateway.ask(body)

    assert upstream.requests[0].body == body
    assert answer.content == b"".join([*frames, DONE_FRAME])


async def test_usage_can_be_left_alone(start_gateway: StartGateway, upstream: FakeUpstream) -> None:
    gateway = await start_gateway(stream_usage="leave")
    upstream.default = chat_answer("one two three four")
    body = orjson.dumps(streamed())

    answer = await gateway.ask(body)

    assert upstream.requests[0].body == body
    assert answer.content == bytes(upstream.requests[0].sent_body)
    row = await gateway.row()
    assert (row.tokens_output, row.cost_state) == (4, "estimated")
    assert row.cost_nano


async def test_nothing_is_injected_where_the_api_has_no_such_option(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    body = b'{"stream": true,\n "input":"Hello",  "model":"gpt-4o-mini"}'

    answer = await gateway.ask(body, path="/v1/responses")

    assert upstream.requests[0].body == body
    assert answer.content == bytes(upstream.requests[0].sent_body)
    row = await gateway.row()
    assert (row.tokens_input, row.tokens_output, row.cost_state) == (11, 7, "exact")


async def test_what_the_client_wrote_goes_up_as_it_was_written(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    plain = (
        b'  {"model" :"gpt-4o-mini","temperature":1.0,"top_p":1e0,"seed":12345678901234567890123,\n'
        b'"messages":[{"role":"user","content":"\\u00e9\xc3\xa9\\/"}], "foo" : {"b":1,"a":[ ]}}\n '
    )

    stream = plain.replace(b'"foo"', b'"stream":true, "bar"')

    await gateway.ask(plain)
    await gateway.ask(stream)

    first, second = upstream.requests
    assert first.body == plain
    # All that is added stands before the last brace.
    kept = stream.rstrip()[:-1]
    assert second.body.startswith(kept)
    assert second.body[len(kept) :] == b',"stream_options":{"include_usage":true}}'
    assert first.header("content-length") == str(len(plain))


async def test_behind_an_alias_only_the_model_and_the_usage_are_others(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_route("fast", Target(provider="openai", model=MODEL))
    body = (
        b'{ "model" : "fast", "stream":true, "seed":12345678901234567890123, "temperature":1.0,'
        b' "messages":[{"role":"user","content":"\\u00e9 fast"}]}'
    )

    answer = await gateway.ask(body)

    (request,) = upstream.requests
    added = b',"stream_options":{"include_usage":true}}'
    assert request.body == body.replace(b'"fast"', b'"gpt-4o-mini"')[:-1] + added
    assert b'"prompt_tokens"' not in answer.content


async def test_the_trials_that_a_client_takes_part_in_go_up_and_have_entries_of_their_own(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    values = ["assistants=v2", "", "responses=v1"]

    states = []
    for value in values * 2:
        headers = {"openai-beta": value} if value else {}
        answer = await gateway.ask(question(), headers=headers)
        states.append(answer.headers["x-aieye-cache"])

    assert states == ["miss"] * 3 + ["hit"] * 3
    sent = [request.header("openai-beta") for request in upstream.requests]
    assert sent == ["assistants=v2", None, "responses=v1"]


async def test_the_clients_stream_options_are_kept_and_only_usage_is_added(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for number, (given, sent) in enumerate(
        (
            (None, {"include_usage": True}),
            ({}, {"include_usage": True}),
            ({"include_usage": False}, {"include_usage": True}),
            ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
            ({"include_usage": True, "x": 1.0}, {"include_usage": True, "x": 1.0}),
        )
    ):
        answer = await gateway.ask(streamed(f"Well, {number}?", stream_options=given))
        assert upstream.requests[-1].json["stream_options"] == sent
        wanted = bool(given and given.get("include_usage"))
        assert (b'"prompt_tokens"' in answer.content) == wanted
        row = (await gateway.rows())[-1]
        assert (row.tokens_output, row.cost_state) == (7, "exact")


async def test_usage_that_comes_with_the_last_words_is_booked_and_not_withheld(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    frames = chat.chat_frames("one two")
    last = chat.frame(
        {
            "id": "c", "usage": chat.usage(),
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        }
    )  # fmt: skip
    upstream.default = sse([*frames[:-1], last])

    answer = await gateway.ask(streamed())

    assert answer.content == b"".join([*frames[:-1], last, DONE_FRAME])
    row = await gateway.row()
    assert (row.tokens_input, row.tokens_output, row.cost_state) == (11, 7, "exact")


async def test_only_our_key_and_no_header_of_the_client_goes_up(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    headers = {
        "x-forwarded-for": "10.0.0.1", "cookie": "a=b", "openai-organization": "org-mine",
        "x-api-key": "mine", "referer": "http://me/", "traceparent": "00-1-2-3",
    }  # fmt: skip

    await gateway.ask(question(), headers=headers)

    request = upstream.requests[0]
    names = {name.lower() for name, _ in request.headers}
    assert names == {
        b"host", b"content-type", b"accept", b"accept-encoding", b"user-agent", b"authorization",
        b"content-length",
    }  # fmt: skip
    assert gateway.token not in str(request.headers)


async def test_a_deep_or_wide_answer_is_passed_on_and_recorded(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    deep = b'{"id":"x","choices":[],"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    wide = b'{"id":"x","choices":[],"x":[' + b"0," * 300_000 + b"0]}"
    upstream.script(json_answer(200, deep), json_answer(200, wide))

    answers = [await gateway.ask(question(f"Well, {n}?")) for n in range(2)]

    assert upstream.fired["status-200"] == 2
    assert answers[1].content == wide
    assert [answer.status_code for answer in answers][1] == 200
    assert answers[0].status_code in {200, 502}
    assert len(await gateway.rows(2)) == 2

"""The cache: what is stored, when it is given again, to whom, in which form, and when not."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import AbstractContextManager
from typing import Any

import httpx
import orjson
import pytest
import time_machine
from sqlalchemy import select, text, update

from aieye.access.audit import SYSTEM
from aieye.cache import removal, service
from aieye.db.tables import CacheEntry, CallBody
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    chat_answer,
    json_answer,
    raw,
    sse,
)
from tests.faults.harness import (
    CHAT,
    DONE_FRAME,
    MODEL,
    Gateway,
    LoopClock,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    payloads,
    question,
    streamed,
    text_of,
)

pytestmark = pytest.mark.live

COST = 5850  # nano-dollars: 11 tokens in and 7 out of gpt-4o-mini
USAGE = {"include_usage": True}


def state_of(answer: httpx.Response) -> str:
    return str(answer.headers["x-aieye-cache"])


# -- hits ------------------------------------------------------------------------------------------


@both_databases
@both_forms
async def test_the_second_call_is_a_hit_with_the_same_bytes_and_headers_that_say_so(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.default = chat_answer("one two three")

    first = await gateway.ask(asked("Well?", form))
    second = await gateway.ask(asked("Well?", form))
    gateway.state.cache.memory.clear()
    third = await gateway.ask(asked("Well?", form))

    assert len(upstream.requests) == 1
    assert first.content == second.content == third.content
    assert [state_of(one) for one in (first, second, third)] == ["miss", "hit", "hit"]
    assert first.headers["cache-status"].startswith("aieye; fwd=miss")
    assert second.headers["cache-status"] == "aieye; hit"
    assert int(second.headers["age"]) in {0, 1, 2}
    assert "age" not in first.headers
    assert second.headers["x-aieye-saved-usd"] == "0.00000585"
    assert second.headers["x-aieye-cost-usd"] == "0"
    assert first.headers["x-aieye-provider"] == second.headers["x-aieye-provider"] == "openai"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    rows = await gateway.rows(3)
    assert [row.cache for row in rows] == ["miss", "hit", "hit"]
    assert [row.cost_nano for row in rows] == [COST, 0, 0]
    assert [row.saved_nano for row in rows] == [None, COST, COST]
    assert {(row.tokens_input, row.tokens_output, row.cost_state) for row in rows} == {
        (11, 7, "exact")
    }
    assert {f"req_{row.id}" for row in rows} == {
        one.headers["x-request-id"] for one in (first, second, third)
    }


async def test_a_plain_answer_says_that_it_was_stored_and_what_it_cost(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = chat_answer("one")

    answer = await gateway.ask(question())

    assert answer.headers["cache-status"] == "aieye; fwd=miss; stored"
    assert answer.headers["x-aieye-cost-usd"] == "0.00000585"
    assert answer.headers["x-aieye-upstream-request-id"] == "req_fake_0"


@both_databases
async def test_entries_survive_a_restart(gateway: Gateway, upstream: FakeUpstream) -> None:
    first = [await gateway.ask(asked(f"{form}?", form)) for form in ("plain", "streamed")]
    await gateway.restart()
    again = [await gateway.ask(asked(f"{form}?", form)) for form in ("plain", "streamed")]

    assert len(upstream.requests) == 2
    assert [state_of(answer) for answer in again] == ["hit", "hit"]
    assert [answer.content for answer in again] == [answer.content for answer in first]


async def test_a_hit_is_written_to_the_ledger_before_its_last_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question())
    answer = await gateway.ask(question())

    async with gateway.state.database.read() as session:
        found = await session.scalar(
            text("SELECT cache FROM calls WHERE id = :id"),
            {"id": answer.headers["x-request-id"].removeprefix("req_")},
        )
    assert found == "hit"


# -- from one form to the other --------------------------------------------------------------------

TOOLS = [chat.tool_call("weather", '{"city": "Paris"}')]
REASONED = {
    **chat.chat_body("Therefore: yes.", usage=chat.usage()),
    "service_tier": "default",
    "unknown": {"kept": None},
}
REASONED["choices"][0]["message"]["reasoning_content"] = "Because."


@pytest.mark.parametrize(
    "body",
    [
        chat.chat_body("one two 🎈 \u2028", usage=chat.usage()),
        chat.chat_body("", usage=chat.usage(), finish="tool_calls", tool_calls=TOOLS),
        REASONED,
    ],
    ids=["text", "tools", "reasoning"],
)
async def test_a_plain_chat_is_given_again_as_a_stream(
    gateway: Gateway, upstream: FakeUpstream, body: chat.Json
) -> None:
    upstream.default = json_answer(200, body)
    await gateway.ask(question())

    without = await gateway.ask(streamed())
    with_usage = await gateway.ask(streamed(stream_options=USAGE))

    assert len(upstream.requests) == 1
    assert [state_of(one) for one in (without, with_usage)] == ["hit", "hit"]
    for answer in (without, with_usage):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.content.endswith(DONE_FRAME)
        chunks = payloads(answer.content)
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert {chunk["id"] for chunk in chunks} == {"chatcmpl-fake"}
    assert all("usage" not in chunk for chunk in payloads(without.content))
    assert payloads(with_usage.content)[-1]["usage"] == chat.usage()
    async with gateway.sdk() as sdk:
        message = body["choices"][0]["message"]
        pieces: dict[str, str] = {"content": "", "arguments": "", "reasoning_content": ""}
        stream = await sdk.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "What is it?"}], stream=True
        )
        async for chunk in stream:
            delta = chunk.choices[0].delta
            pieces["content"] += delta.content or ""
            pieces["reasoning_content"] += getattr(delta, "reasoning_content", None) or ""
            for call in delta.tool_calls or ():
                pieces["arguments"] += (call.function and call.function.arguments) or ""
        assert pieces["content"] == (message.get("content") or "")
        assert pieces["reasoning_content"] == message.get("reasoning_content", "")
        if message.get("tool_calls"):
            assert pieces["arguments"] == TOOLS[0]["function"]["arguments"]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "frames, plain",
    [
        (
            chat.chat_frames("one two 🎈 three", usage=chat.usage()),
            chat.chat_body("one two 🎈 three", usage=chat.usage()),
        ),
        (
            chat.tool_call_frames("weather", '{"city": "Paris"}', usage=chat.usage()),
            chat.chat_body("", usage=chat.usage(), finish="tool_calls", tool_calls=TOOLS),
        ),
    ],
    ids=["text", "tools"],
)
async def test_a_streamed_chat_is_given_again_plain(
    gateway: Gateway, upstream: FakeUpstream, frames: list[bytes], plain: chat.Json
) -> None:
    upstream.default = sse(frames)
    await gateway.ask(streamed())

    answer = await gateway.ask(question())

    assert (len(upstream.requests), state_of(answer)) == (1, "hit")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    plain["choices"][0]["message"].pop("refusal", None)
    found["choices"][0]["message"].pop("refusal", None)
    assert found == plain


async def test_completions_and_responses_change_their_form_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    calls: list[tuple[str, chat.Json]] = [
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "one two three"}),
        ("/v1/responses", {"model": MODEL, "input": "one two three"}),
    ]
    for number, (path, body) in enumerate(calls):
        for first in (False, True):
            seen = len(upstream.requests)
            asking = {**body, "temperature": number + first / 2}
            made = await gateway.ask({**asking, "stream": first}, path=path)
            given = await gateway.ask({**asking, "stream": not first}, path=path)
            assert (len(upstream.requests), state_of(given)) == (seen + 1, "hit"), (path, first)
            plain, stream = (given, made) if first else (made, given)
            said = orjson.dumps(plain.json())
            assert b'"one two three"' in said
            if path == "/v1/completions":
                told = "".join(
                    choice["text"] for one in payloads(stream.content) for choice in one["choices"]
                )
                assert stream.content.endswith(DONE_FRAME)
            else:
                events = payloads(stream.content)
                told = "".join(
                    one["delta"] for one in events if one["type"] == "response.output_text.delta"
                )
                assert events[-1]["type"] == "response.completed"
                assert events[-1]["response"] == plain.json()
            assert told == "one two three"


async def test_usage_is_told_on_hits_to_those_who_ask_for_it(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for number, first in enumerate((None, USAGE)):
        text_ = f"Well, {number}?"
        options: dict[str, Any] = {} if first is None else {"stream_options": first}
        made = await gateway.ask(streamed(text_, **options))
        with_usage = await gateway.ask(streamed(text_, stream_options=USAGE))
        without = await gateway.ask(streamed(text_))
        off = await gateway.ask(streamed(text_, stream_options={"include_usage": False}))

        assert [state_of(one) for one in (with_usage, without, off)] == ["hit"] * 3
        assert payloads(with_usage.content)[-1]["usage"] == chat.usage()
        assert b'"prompt_tokens"' not in without.content + off.content
        assert made.content == (without.content if first is None else with_usage.content)
    assert len(upstream.requests) == 2


async def test_usage_that_was_never_told_is_asked_for_anew(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(stream_usage="leave")
    await gateway.ask(streamed())
    assert state_of(await gateway.ask(streamed())) == "hit"

    answer = await gateway.ask(streamed(stream_options=USAGE))

    assert state_of(answer) != "hit"
    assert payloads(answer.content)[-1]["usage"] == chat.usage()


# -- what is stored --------------------------------------------------------------------------------


@both_forms
async def test_only_a_whole_success_is_stored(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, form: str
) -> None:
    failures: list[Behaviour] = [
        json_answer(400, chat.error_body()),
        json_answer(404, chat.error_body()),
        json_answer(429, chat.error_body(), {"Retry-After": "3600"}),
        json_answer(200, chat.error_body()),
        json_answer(200, {**chat.chat_body(), "choices": []}),
        json_answer(201, chat.chat_body(usage=chat.usage())),
        json_answer(206, chat.chat_body(usage=chat.usage())),
    ]
    for number, failure in enumerate(failures):
        seen = len(upstream.requests)
        upstream.script(failure, chat_answer("Whole."))
        body = asked(f"Well, {number}?", form)
        first = await gateway.ask(body)
        second = await gateway.ask(body)
        third = await gateway.ask(body)
        assert state_of(first) == "miss"
        assert (text_of(second), state_of(second)) == ("Whole.", "miss"), number
        assert (text_of(third), state_of(third)) == ("Whole.", "hit"), number
        assert len(upstream.requests) == seen + 2


async def test_an_error_inside_a_200_is_not_stored_whatever_its_shape(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    bodies: list[chat.Json] = [
        chat.error_body(),
        {"error": "overloaded"},
        {"object": "error", "message": "No."},
        {"type": "error", "error": {"type": "overloaded_error", "message": "No."}},
        {**chat.chat_body(), "choices": [{"index": 0, "message": {"content": "x"}}]},
    ]
    for number, body in enumerate(bodies):
        upstream.default = json_answer(200, body)
        for _ in range(2):
            assert (await gateway.ask(question(f"Well, {number}?"))).json() == body
    assert len(upstream.requests) == 2 * len(bodies)
    assert await gateway.entries() == 0


@pytest.mark.parametrize("kind", [b"", b"Content-Type: application/octet-stream\r\n"])
async def test_an_answer_is_read_whatever_its_provider_calls_it(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None, kind: bytes
) -> None:
    for body in (b"", b'{"id":"x","choi', b"[]"):
        upstream.default = of_kind(kind, body)
        answer = await gateway.ask(question("Well?"))
        assert (answer.status_code, error_code(answer)) == (502, "upstream_invalid"), body
    upstream.default = of_kind(kind, orjson.dumps(chat.error_body()))
    assert (await gateway.ask(question("An error?"))).json() == chat.error_body()
    assert await gateway.entries() == 0

    upstream.default = of_kind(kind, orjson.dumps(chat.chat_body("Here.", usage=chat.usage())))
    first, second = [await gateway.ask(question("Well?")) for _ in range(2)]

    assert upstream.fired["raw"] == len(upstream.requests)
    assert first.json() == second.json() == chat.chat_body("Here.", usage=chat.usage())
    assert (state_of(first), state_of(second)) == ("miss", "hit")
    row = (await gateway.rows())[-1]
    assert (row.tokens_output, row.cost_state, row.saved_nano) == (7, "exact", COST)


def of_kind(kind: bytes, body: bytes) -> Behaviour:
    """A 200 with this line in its head."""
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (kind, len(body))
    return raw([head + body])


async def test_a_response_that_is_not_finished_is_not_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for status in ("failed", "in_progress", "cancelled", "queued"):
        upstream.default = json_answer(200, chat.response_body(status=status))
        for _ in range(2):
            answer = await gateway.ask({"model": MODEL, "input": status}, path="/v1/responses")
            assert state_of(answer) == "miss"
    assert len(upstream.requests) == 8
    assert await gateway.entries() == 0


async def test_what_depends_on_more_than_the_request_is_never_stored(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask({"model": MODEL, "input": "x"}, path="/v1/responses")
    for fields in ({"background": True}, {"conversation": "conv_1"}):
        for _ in range(2):
            answer = await gateway.ask(
                {"model": MODEL, "input": "x", **fields}, path="/v1/responses"
            )
            assert state_of(answer) == "bypass"
            assert answer.headers["cache-status"] == "aieye; fwd=bypass"
    first = await gateway.ask(
        {"model": MODEL, "input": "x", "background": False}, path="/v1/responses"
    )
    assert state_of(first) == "miss"
    assert await gateway.entries() == 2


async def test_every_cacheable_endpoint_is_stored(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = json_answer(200, {"id": "x", "model": MODEL, "data": [{"x": 1}]})
    paths = ["embeddings", "moderations", "images/generations"]
    for path in paths:
        body = {"model": MODEL, "input": "x", "prompt": "x"}
        first = await gateway.ask(body, path=f"/v1/{path}")
        second = await gateway.ask(body, path=f"/v1/{path}")
        assert (state_of(first), state_of(second)) == ("miss", "hit"), path
        assert first.content == second.content
    upstream.default = json_answer(
        200, {"object": "edit", "created": 1, "choices": [{"text": "y", "index": 0}]}
    )
    for expected in ("miss", "hit"):
        answer = await gateway.ask({"model": "m", "instruction": "x"}, path="/v1/edits")
        assert state_of(answer) == expected
    assert len(upstream.requests) == len(paths) + 1


# -- what the client asks for ----------------------------------------------------------------------


@both_forms
async def test_no_store_neither_reads_nor_writes(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    headers = {"cache-control": "no-store"}
    first = await gateway.ask(asked("Well?", form), headers=headers)
    assert (state_of(first), await gateway.entries()) == ("bypass", 0)
    await gateway.ask(asked("Well?", form))

    again = await gateway.ask(asked("Well?", form), headers=headers)

    assert (state_of(again), len(upstream.requests)) == ("bypass", 3)


@both_forms
async def test_no_cache_asks_anew_and_keeps_the_answer(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    upstream.script(chat_answer("old"), chat_answer("new"))
    await gateway.ask(asked("Well?", form))

    fresh = await gateway.ask(asked("Well?", form), headers={"cache-control": "no-cache"})
    after = await gateway.ask(asked("Well?", form))

    assert (text_of(fresh), state_of(fresh)) == ("new", "refresh")
    assert "fwd=request" in fresh.headers["cache-status"]
    assert (text_of(after), state_of(after)) == ("new", "hit")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_what_one_process_asks_anew_the_others_give_within_a_second(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    one, two = await start_gateway(), await start_gateway()
    upstream.script(chat_answer("old"), chat_answer("new"))
    token = one.token or two.token

    await one.ask(question(), token=token)
    before = await two.ask(question(), token=token)
    await one.ask(question(), token=token, headers={"cache-control": "no-cache"})
    await one.state.writer.durable()
    await asyncio.sleep(service.BELIEVED_SECONDS)
    after = [await two.ask(question(), token=token) for _ in range(2)]

    assert (text_of(before), state_of(before)) == ("old", "hit")
    assert [(text_of(answer), state_of(answer)) for answer in after] == [("new", "hit")] * 2
    assert len(upstream.requests) == 2


async def test_max_age_accepts_only_what_is_young_enough(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question())

    with later(100):
        young = await gateway.ask(question(), headers={"cache-control": "max-age=200"})
        assert (state_of(young), young.headers["age"]) in {("hit", "100"), ("hit", "101")}
        field = await gateway.ask(question(cache={"max_age": 200}))
        assert state_of(field) == "hit"
        old = await gateway.ask(question(), headers={"cache-control": "max-age=50"})
        assert (state_of(old), len(upstream.requests)) == ("miss", 2)
        assert old.headers["cache-status"] == "aieye; fwd=request; stored"
        now_young = await gateway.ask(question(), headers={"cache-control": "max-age=50"})
        assert (state_of(now_young), len(upstream.requests)) == ("hit", 2)
    with later(200):
        assert state_of(await gateway.ask(question(cache={"max_age": 50}))) == "miss"


def later(seconds: float) -> AbstractContextManager[object]:
    """Let the clock on the wall be so many seconds ahead."""
    return time_machine.travel(time.time() + seconds, tick=True)


@both_forms
async def test_only_if_cached_never_calls_the_provider(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    headers = {"cache-control": "only-if-cached"}
    missed = await gateway.ask(asked("Well?", form), headers=headers)
    field = await gateway.ask(asked("Well?", form, cache={"mode": "only"}))

    for answer in (missed, field):
        assert (answer.status_code, error_code(answer)) == (504, "cache_miss")
        assert answer.headers["cache-status"] == "aieye; detail=only-if-cached"
    assert upstream.requests == []
    assert [(row.status, row.cost_nano) for row in await gateway.rows(2)] == [(504, 0)] * 2

    await gateway.ask(asked("Well?", form))
    found = await gateway.ask(asked("Well?", form), headers=headers)
    field = await gateway.ask(asked("Well?", form, cache={"mode": "only"}))
    assert [(one.status_code, state_of(one)) for one in (found, field)] == [(200, "hit")] * 2
    with later(100):
        old = await gateway.ask(
            asked("Well?", form), headers={"cache-control": "only-if-cached, max-age=50"}
        )
    assert old.status_code == 504
    assert len(upstream.requests) == 1


async def test_the_modes_of_the_body_field(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.script(*(chat_answer(f"answer {number}") for number in range(1, 9)))

    async def ask(**cache: Any) -> tuple[str, str]:
        answer = await gateway.ask(question(cache=cache))
        return text_of(answer), state_of(answer)

    assert await ask(mode="off") == ("answer 1", "bypass")
    assert await ask(mode="use") == ("answer 2", "miss")
    assert await ask() == ("answer 2", "hit")
    assert await ask(mode="refresh") == ("answer 3", "refresh")
    assert await ask(mode="only") == ("answer 3", "hit")
    assert await ask(mode="off") == ("answer 4", "bypass")
    assert await ask(mode="use") == ("answer 3", "hit")
    assert all("cache" not in request.json for request in upstream.requests)


async def test_the_body_field_wins_over_the_header(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question())

    used = await gateway.ask(question(cache={"mode": "use"}), headers={"cache-control": "no-store"})
    off = await gateway.ask(question(cache={"mode": "off"}), headers={"cache-control": "max-age=9"})

    assert (state_of(used), state_of(off)) == ("hit", "bypass")


async def test_a_wrong_cache_field_is_400_and_costs_nothing(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    wrong: list[object] = [
        "off", True, [], 1, {"mode": "maybe"}, {"mode": None}, {"mode": ["use"]}, {"mode": {}},
        {"namespace": "other"}, {"max_age": -1}, {"max_age": "1"}, {"max_age": 1.5}, {"ttl": True},
        {"ttl": 10**18}, {"TTL": 1}, {"max_age": {}},
    ]  # fmt: skip
    for form in ("plain", "streamed"):
        for field in wrong:
            answer = await gateway.ask(asked("Well?", form, cache=field))
            assert answer.status_code == 400, field
            assert answer.json()["error"]["param"].startswith("cache"), field
    assert upstream.requests == []
    assert await gateway.entries() == 0


async def test_odd_cache_control_headers_do_no_harm(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for value in ("", ",,", "max-age=", "max-age=-1", "max-age=abc", "max-age=99999999999999999999",
                  'max-age="5"', "private, foo=bar", "NO-STORE", "no-store=x"):  # fmt: skip
        answer = await gateway.ask(question(), headers={"cache-control": value})
        assert answer.status_code == 200, value
    wishes = [("cache-control", "max-age=9"), ("cache-control", "no-store")]
    for headers in (wishes, wishes[::-1]):
        twice = await gateway.client.post(CHAT, json=question(), headers=headers)
        assert (twice.status_code, state_of(twice)) == (200, "bypass"), headers


async def test_hits_are_given_while_the_provider_is_down(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    first = await gateway.ask(question())
    upstream.default = json_answer(500, chat.error_body())
    for number in range(3):
        assert (await gateway.ask(question(f"Number {number}"))).status_code >= 500

    hit = await gateway.ask(question())

    assert (hit.status_code, hit.content, state_of(hit)) == (200, first.content, "hit")


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_slow_store_is_passed_by_and_the_provider_asked(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question())
    gateway.state.cache.memory.clear()
    async with gateway.state.database.engine.connect() as other:
        await other.execute(text("LOCK TABLE cache_entries IN ACCESS EXCLUSIVE MODE"))
        async with LoopClock() as clock:
            asking = asyncio.create_task(gateway.ask(question()))
            await upstream.wait_for(2)
        assert clock.seconds < 2
        # What is to be stored cannot be, until the lock is gone.
        await other.rollback()

    answer = await asking
    assert (answer.status_code, state_of(answer)) == (200, "miss")
    assert state_of(await gateway.ask(question())) == "hit"


async def test_a_store_that_cannot_be_read_is_no_error_to_the_client(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.ask(question())
    gateway.state.cache.memory.clear()
    failed = 0

    class Broken:
        def execute(self, *_: object) -> None:
            nonlocal failed
            failed += 1
            raise sqlite3.OperationalError("disk I/O error")

        def close(self) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(gateway.state.cache._store._lookup, "_connection", Broken())
        answer = await gateway.ask(question())

    assert failed >= 1
    assert (answer.status_code, state_of(answer), len(upstream.requests)) == (200, "miss", 2)


# -- how long --------------------------------------------------------------------------------------


@both_forms
async def test_an_entry_ends_with_the_time_that_the_client_gave_it(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    body = asked("Well?", form, cache={"ttl": 60})
    await gateway.ask(body)
    hit = await gateway.ask(body)
    assert (state_of(hit), hit.headers["cache-status"]) in {
        ("hit", "aieye; hit; ttl=59"), ("hit", "aieye; hit; ttl=60"),
    }  # fmt: skip

    for number, seconds in enumerate((61, 122), start=2):
        # Once from memory, once from the database.
        if number == 3:
            gateway.state.cache.memory.clear()
        with later(seconds):
            stale = await gateway.ask(body)
            assert state_of(stale) == "miss"
            assert stale.headers["cache-status"].startswith("aieye; fwd=stale")
            assert state_of(await gateway.ask(body)) == "hit"
        assert len(upstream.requests) == number


async def test_the_time_that_is_set_for_all_counts_in_memory_too(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(cache_ttl=3600)
    await gateway.ask(question())
    await gateway.ask(question("Forever?", cache={"ttl": 36_000}))
    assert state_of(await gateway.ask(question())) == "hit"

    with later(3601):
        own = await gateway.ask(question("Forever?"))
        answer = await gateway.ask(question())

    assert (state_of(own), own.headers["age"]) in {("hit", "3601"), ("hit", "3602")}
    assert state_of(answer) == "miss"
    assert len(upstream.requests) == 3


# -- the key ---------------------------------------------------------------------------------------


async def test_only_five_fields_are_left_out_of_the_key(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    base = question()
    await gateway.ask(base)
    same: list[chat.Json] = [
        {**base, "user": "ada"}, {**base, "metadata": {"a": "b"}}, {**base, "stream": True},
        {**base, "stream": False}, {**base, "stream_options": USAGE}, {**base, "cache": {}},
        dict(reversed(base.items())),
    ]  # fmt: skip
    for body in same:
        assert state_of(await gateway.ask(body)) == "hit", body
    spaced = orjson.dumps(base, option=orjson.OPT_INDENT_2).replace(b"What", b"\\u0057hat")
    assert state_of(await gateway.ask(spaced)) == "hit"
    assert len(upstream.requests) == 1
    different: list[chat.Json] = [
        {**base, "temperature": 0}, {**base, "temperature": 0.0}, {**base, "temperature": None},
        {**base, "n": 1}, {**base, "seed": 1}, {**base, "max_tokens": 5}, {**base, "tools": []},
        {**base, "store": True}, {**base, "service_tier": "flex"}, {**base, "User": "ada"},
        {**base, "unknown": 1}, {**base, "unknown": True}, {**base, "unknown": "1"},
        {**base, "unknown": {"user": "a"}}, {**base, "unknown": {"user": "b"}},
        {**base, "unknown": [1, 2]}, {**base, "unknown": [2, 1]}, {**base, "model": "gpt-4o"},
        question("What is it? "), question("what is it?"), question("What is it\u200b?"),
    ]  # fmt: skip
    for body in different:
        assert state_of(await gateway.ask(body)) == "miss", body
    assert len(upstream.requests) == 1 + len(different)


async def test_endpoints_do_not_share_entries(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = json_answer(200, {"id": "x", "data": [{}]})
    body = {"model": MODEL, "input": "x", "messages": []}
    for path in ("embeddings", "moderations", "chat/completions"):
        assert state_of(await gateway.ask(body, path=f"/v1/{path}")) == "miss"


async def test_providers_do_not_share_entries(
    gateway: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    await gateway.add_provider("second", other, "sk-second-0123456789")

    await gateway.ask(question())
    answer = await gateway.ask(question(model=f"second/{MODEL}"))

    assert state_of(answer) == "miss"
    assert (len(upstream.requests), len(other.requests)) == (1, 1)


async def test_a_providers_keys_share_entries(gateway: Gateway, upstream: FakeUpstream) -> None:
    key_id = await gateway.add_key(1, "sk-second-0123456789")
    pinned = await gateway.add_token(provider_key_id=key_id)
    await gateway.ask(question())

    assert state_of(await gateway.ask(question(), token=pinned)) == "hit"


# -- to whom ---------------------------------------------------------------------------------------


@both_forms
async def test_a_namespace_of_its_own_isolates_a_token(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    alone = await gateway.add_token(cache_namespace="alone")
    with_it = await gateway.add_token(cache_namespace="alone")
    shared = await gateway.add_token()
    body = asked("Well?", form)
    await gateway.ask(body)

    assert state_of(await gateway.ask(body, token=shared)) == "hit"
    assert state_of(await gateway.ask(body, token=alone)) == "miss"
    assert state_of(await gateway.ask(body, token=with_it)) == "hit"
    assert len(upstream.requests) == 2


@both_forms
async def test_a_token_without_the_cache_neither_reads_nor_writes(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    without = await gateway.add_token(cache_enabled=False)
    body = asked("Well?", form)

    assert state_of(await gateway.ask(body, token=without)) == "bypass"
    assert await gateway.entries() == 0
    await gateway.ask(body)
    for fields in ({}, {"cache": {"mode": "use"}}, {"cache": {"mode": "refresh"}}):
        answer = await gateway.ask({**body, **fields}, token=without)
        assert state_of(answer) == "bypass"
    assert await gateway.entries() == 1
    only = await gateway.ask(body, token=without, headers={"cache-control": "only-if-cached"})
    assert only.status_code == 504


async def test_the_cache_can_be_off_until_it_is_asked_for(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(cache_default=False)
    token = await gateway.add_token(cache_enabled=True)

    assert state_of(await gateway.ask(question(), token=token)) == "bypass"
    wished = await gateway.ask(question(cache={"mode": "use"}), token=token)
    assert state_of(wished) == "miss"
    again = await gateway.ask(question(cache={"mode": "use"}), token=token)
    assert state_of(again) == "hit"


async def test_the_first_token_follows_the_settings_and_does_not_keep_them(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(cache_default=False)
    assert state_of(await gateway.ask(question())) == "bypass"
    assert state_of(await gateway.ask(question(cache={"mode": "use"}))) == "miss"
    gateway.settings = gateway.settings.model_copy(update={"cache_default": True})
    await gateway.restart()
    assert state_of(await gateway.ask(question())) == "hit"


@both_databases
@both_forms
async def test_a_disabled_token_gets_no_hit(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    token = await gateway.add_token()
    body = asked("Well?", form)
    await gateway.ask(body, token=token)
    assert state_of(await gateway.ask(body, token=token)) == "hit"

    await gateway.disable(token)
    answer = await gateway.ask(body, token=token)

    assert (answer.status_code, error_code(answer)) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "x-aieye-cache" not in answer.headers


async def test_a_token_that_may_not_use_the_model_gets_no_hit(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question())
    limited = await gateway.add_token(models=["gpt-4o"])

    answer = await gateway.ask(question(), token=limited)

    assert answer.status_code in {403, 404}
    assert "choices" not in answer.text


# -- damage and removal ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_kept", [True, False], ids=["with the ledger", "with the entry"])
@both_forms
async def test_a_damaged_entry_is_never_given_out(
    start_gateway: StartGateway, upstream: FakeUpstream, form: str, is_kept: bool
) -> None:
    gateway = await start_gateway(ledger_bodies=is_kept)
    upstream.default = chat_answer("one two three")
    body = asked("Well?", form)
    whole = (await gateway.ask(body)).content
    row = await only_entry(gateway)
    text = (await stored_text(gateway, row)) if is_kept else row.body
    damages: dict[str, Any] = {
        "a flipped byte": {"body": flipped(text, len(text) // 2)},
        "a flipped first byte": {"body": flipped(text, 0)},
        "a flipped last byte": {"body": flipped(text, -1)},
        "cut": {"body": text[:-1]},
        "emptied": {"body": b""},
        "longer": {"body": text + b" "},
        "texts that are gone": {"body_id": None, "body": b""},
        "a flipped checksum": {"checksum": flipped(row.checksum, 3)},
        "no checksum": {"checksum": b""},
        "the other form": {"is_stream": not row.is_stream},
        "other headers": {"headers": [["content-type", "text/html"]]},
        "headers that are none": {"headers": {"a": 1}},
        "a wrong list of headers": {"headers": [["content-type"]]},
        "provenance that is none": {"meta": []},
        "a usage span elsewhere": {"meta": {**row.meta, "usage_span": [5, 100]}},
        "a usage span of text": {"meta": {**row.meta, "usage_span": "ab"}},
        "a cost of text": {"meta": {**row.meta, "cost_nano": "much"}},
        "tokens of text": {"meta": {**row.meta, "tokens_input": "many", "model": 5}},
    }
    wrong = []
    for name, change in damages.items():
        await change_entry(gateway, change)
        seen = len(upstream.requests)
        for asking in (body, {**body, "stream": not body.get("stream", False)}):
            answer = await gateway.ask(asking)
            served = state_of(answer) if answer.status_code == 200 else answer.status_code
            as_stored = asking is not body or answer.content == whole
            if answer.status_code != 200 or text_of(answer) != "one two three" or not as_stored:
                wrong.append((name, served))
        if "usage span" not in name and "text" not in name and len(upstream.requests) == seen:
            wrong.append((name, "served"))
        await gateway.state.writer.durable()

    assert not wrong, wrong


def flipped(data: bytes, index: int) -> bytes:
    changed = bytearray(data)
    changed[index] ^= 0x20
    return bytes(changed)


async def only_entry(gateway: Gateway) -> CacheEntry:
    await gateway.state.writer.durable()
    async with gateway.state.database.read() as session:
        return (await session.scalars(select(CacheEntry))).one()


async def stored_text(gateway: Gateway, entry: CacheEntry) -> bytes:
    """The answer of an entry whose texts lie with the ledger."""
    async with gateway.state.database.read() as session:
        body = await session.get(CallBody, entry.body_id)
    assert body is not None
    assert body.response is not None
    assert (entry.body, entry.request) == (b"", b"")
    return body.response


async def change_entry(gateway: Gateway, values: dict[str, Any]) -> None:
    """Change what is stored behind the service's back: the entry's row, or the text it gives."""
    entry = await only_entry(gateway)
    async with gateway.state.database.write() as session:
        if entry.body_id is not None and set(values) == {"body"}:
            text = values["body"]
            change = update(CallBody).where(CallBody.id == entry.body_id).values(response=text)
            await session.execute(change)
        else:
            await session.execute(update(CacheEntry).values(**values))
    gateway.state.cache.memory.clear()


async def test_every_single_flipped_bit_is_noticed(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"id": "x", "model": MODEL, "data": []})
    body = {"model": MODEL, "input": "x"}
    await gateway.ask(body, path="/v1/embeddings")
    text = await stored_text(gateway, await only_entry(gateway))
    for index in range(len(text)):
        await change_entry(gateway, {"body": flipped(text, index)})
        found = await gateway.ask({**body, "cache": {"mode": "only"}}, path="/v1/embeddings")
        assert found.status_code == 504, index
    await change_entry(gateway, {"body": text})
    found = await gateway.ask({**body, "cache": {"mode": "only"}}, path="/v1/embeddings")
    assert found.status_code == 200


async def test_an_entry_under_another_key_is_not_given_out(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.ask(question("One"))
    first = await only_entry(gateway)
    await gateway.ask(question("Two"))
    async with gateway.state.database.write() as session:
        second = (await session.scalars(select(CacheEntry).where(CacheEntry.id != first.id))).one()
        key = second.key
        await session.delete(second)
        await session.flush()
        await session.execute(update(CacheEntry).values(key=key))
    gateway.state.cache.memory.clear()

    answer = await gateway.ask(question("Two"))

    assert (text_of(answer), state_of(answer)) == ("Two", "miss")


@both_databases
async def test_a_purge_removes_what_it_names_at_once(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    alone = await gateway.add_token(cache_namespace="alone")

    async def fill() -> None:
        await gateway.ask(question("One"))
        await gateway.ask(question("Two", model="gpt-4o"))
        await gateway.ask(question("Three"), token=alone)

    async def states() -> list[int]:
        headers = {"cache-control": "only-if-cached"}
        return [
            (await gateway.ask(question("One"), headers=headers)).status_code,
            (await gateway.ask(question("Two", model="gpt-4o"), headers=headers)).status_code,
            (await gateway.ask(question("Three"), token=alone, headers=headers)).status_code,
        ]

    await fill()
    assert await states() == [200, 200, 200]
    assert await gateway.state.cache.purge(SYSTEM, model="gpt-4o") == 1
    assert await states() == [200, 504, 200]
    assert await gateway.state.cache.purge(SYSTEM, namespace="alone") == 1
    assert await states() == [200, 504, 504]
    assert await gateway.state.cache.purge(SYSTEM, everything=True) == 1
    assert await states() == [504, 504, 504]
    await fill()
    async with gateway.state.database.read() as session:
        first = (await session.scalars(select(CacheEntry.id).order_by(CacheEntry.id))).first()
    assert await gateway.state.cache.purge(SYSTEM, entry_id=first) == 1
    assert await states() == [504, 200, 200]


async def test_an_answer_that_was_under_way_when_everything_was_purged_is_whole(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = sse(chat.chat_frames("one two three", usage=chat.usage()), delay=0.05)
    asking = asyncio.create_task(gateway.ask(streamed()))
    await upstream.wait_for(1)
    await gateway.state.cache.purge(SYSTEM, everything=True)

    assert text_of(await asking) == "one two three"


async def test_the_oldest_entries_go_when_the_store_is_full(
    start_gateway: StartGateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAINTENANCE_SECONDS", 0.1)
    monkeypatch.setattr(removal, "CHUNK_ROWS", 5)
    gateway = await start_gateway(cache_store_bytes=60_000, cache_memory_bytes=20_000)
    for number in range(60):
        await gateway.ask(question(f"Number {number}"))
    async with asyncio.timeout(20):
        while await gateway.entries() > 40:
            await asyncio.sleep(0.05)

    assert gateway.state.cache.memory.size_bytes <= 20_000
    headers = {"cache-control": "only-if-cached"}
    newest = await gateway.ask(question("Number 59"), headers=headers)
    oldest = await gateway.ask(question("Number 0"), headers=headers)
    assert (newest.status_code, oldest.status_code) == (200, 504)

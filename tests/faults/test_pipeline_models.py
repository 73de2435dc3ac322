"""`pipeline/NAME` as a model: any OpenAI client calls a saved pipeline."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.fakes.chat import chat_frames, error_body, error_frame, usage
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    chat_answer,
    hang_before_headers,
    json_answer,
    sse,
    stream_then_silence,
)
from tests.faults.harness import DONE_FRAME, Gateway, error_code, payloads, text_of
from tests.faults.house import House

pytestmark = pytest.mark.live

MODEL = "pipeline/greet"


@pytest.fixture
async def greet(house: House) -> int:
    """A pipeline of one argument."""
    await house.prompt("prompt_buddy", "Hey {buddy}")
    return await house.pipeline("greet", "upper(prompt_buddy(buddy))")


def ask(text: str = "Ada", **fields: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


async def test_the_sdk_calls_a_pipeline_as_a_model(house: House, greet: int) -> None:
    async with house.gateway.sdk() as client:
        messages = [
            {"role": "system", "content": "ignored"},
            {"role": "user", "content": "Ben"},
            {"role": "assistant", "content": "HEY BEN"},
            {"role": "user", "content": [{"type": "text", "text": "Ada"}]},
        ]
        answer = await client.chat.completions.create(model=MODEL, messages=messages)  # type: ignore[arg-type] # as the SDK takes them
        assert answer.choices[0].message.content == "HEY ADA"
        assert (answer.model, answer.choices[0].finish_reason) == (MODEL, "stop")
        assert answer.usage is not None
        assert answer.usage.total_tokens == 18
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Ada"}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == "HEY ADA"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 18


async def test_a_stream_is_the_text_and_its_end(house: House, greet: int) -> None:
    answer = await house.gateway.ask(ask(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(answer.headers["x-run-id"]) == 32
    assert text_of(answer) == "HEY ADA"
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert {payload["model"] for payload in payloads(answer.content)} == {MODEL}


@pytest.mark.parametrize("source", ["prompt_buddy(x)", "inner(x)", "if(true, prompt_buddy(x), x)"])
async def test_what_a_model_says_last_comes_as_it_is_said(
    house: House, upstream: FakeUpstream, source: str
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("inner", "prompt_buddy(y)")
    await house.pipeline("greet", source)
    gate = asyncio.Event()
    first, *rest = chat_frames("Hello dear Ada", usage=usage())[1:]

    async def slowly(request: Received, connection: Connection) -> None:
        await connection.start(200, [("content-type", "text/event-stream")])
        await connection.send(first)
        await gate.wait()
        await connection.send(b"".join(rest) + DONE_FRAME)
        await connection.end()

    upstream.default = slowly
    said = []
    async with house.gateway.sdk() as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "x"}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        async for chunk in stream:
            said += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if said:
                # The rest is not even asked for before the first word is here.
                gate.set()
    assert said == ["Hello ", "dear ", "Ada"]
    assert chunk.usage is not None
    assert chunk.usage.total_tokens == 18
    (row,) = await house.gateway.rows(1)
    assert (row.status, row.is_stream, str(row.step).rpartition("/")[2]) == (
        200,
        True,
        "prompt_buddy",
    )
    again = await house.gateway.ask(ask("x", stream=True))
    assert text_of(again) == "Hello dear Ada"
    assert len(upstream.calls()) == 1


async def test_a_stream_that_breaks_off_ends_with_an_error_and_no_end(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("greet", "prompt_buddy(x) @(retries=2)")
    upstream.default = sse([*chat_frames("Hello dear")[:2], error_frame("No more.")], done=False)
    answer = await house.gateway.ask(ask("x", stream=True))
    assert text_of(answer) == "Hello "
    assert b"[DONE]" not in answer.content
    error = payloads(answer.content)[-1]["error"]
    assert (error["code"], "No more" in error["message"]) == ("run_failed", True)
    assert len(upstream.calls()) == 1
    run = await house.latest(id_)
    assert (run.status, run.run_id) == ("failed", answer.headers["x-run-id"])


async def test_what_was_told_is_not_told_again_when_the_model_is_asked_again(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("greet", "prompt_buddy(x) @(timeout=2, retries=1)")
    upstream.script(
        stream_then_silence(chat_frames("Hello dear")[:2]), chat_answer("Hello dear Ada")
    )
    answer = await house.gateway.ask(ask("x", stream=True))
    assert upstream.fired["silence"] == 1
    assert text_of(answer) == "Hello dear Ada"
    assert answer.content.endswith(DONE_FRAME)
    # And where the second answer begins otherwise, nothing that was told can be taken back.
    upstream.script(stream_then_silence(chat_frames("Hello dear")[:2]), chat_answer("Good day"))
    answer = await house.gateway.ask(ask("y", stream=True))
    assert text_of(answer) == "Hello "
    assert payloads(answer.content)[-1]["error"]["code"] == "upstream_broken"
    assert b"[DONE]" not in answer.content


async def test_an_object_is_told_when_it_is_whole(house: House, upstream: FakeUpstream) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}", schema={"type": "object"})
    await house.pipeline("greet", "prompt_buddy(x)")
    # As it is written in the end, and not as the model wrote it.
    upstream.default = chat_answer('{ "dear":  "Ada" }')
    answer = await house.gateway.ask(ask("x", stream=True))
    assert json.loads(text_of(answer)) == {"dear": "Ada"}
    assert answer.content.endswith(DONE_FRAME)


async def test_a_client_that_leaves_a_stream_ends_the_run(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("greet", "prompt_buddy(x)")
    upstream.default = stream_then_silence(chat_frames("Hello dear")[:2])
    async with house.gateway.raw() as client:
        await client.send(house.gateway.request(ask("x", stream=True)))
        await client.read_until(b"Hello ")
        (call,) = upstream.calls()
    await call.wait_closed()
    assert (await house.latest(id_)).status == "cancelled"
    (row,) = await house.gateway.rows(1)
    assert row.step == "prompt_buddy"


async def test_arguments_are_named_in_the_metadata(house: House) -> None:
    source = 'param text: str;\nparam lang: str = "en";\nparam n: int = 1;\n[text, lang, n]'
    await house.pipeline("greet", source)

    async def said(**fields: object) -> str:
        answer = await house.gateway.ask(ask("hello", **fields))
        assert answer.status_code == 200, answer.text
        return text_of(answer)

    assert await said() == '["hello", "en", 1]'
    assert await said(metadata={"lang": "de", "n": "2", "team": "x"}) == '["hello", "de", 2]'
    assert await said(metadata={"text": "bye"}) == '["bye", "en", 1]'


async def test_its_calls_are_rows_and_it_is_none_itself(house: House, greet: int) -> None:
    answer = await house.gateway.ask(ask())
    again = await house.gateway.ask(ask())
    rows = await house.gateway.rows(2)
    assert [(row.step, row.pipeline, row.cache) for row in rows] == [
        ("prompt_buddy", "greet", "miss"),
        ("prompt_buddy", "greet", "hit"),
    ]
    runs = [one.headers["x-run-id"] for one in (answer, again)]
    assert [row.run_id for row in rows] == runs
    assert again.headers["x-aieye-cost-usd"] == "0"
    assert (await house.latest(greet)).run_id == runs[1]


async def test_a_call_says_what_it_wants_of_the_cache(
    house: House, greet: int, upstream: FakeUpstream
) -> None:
    missed = await house.gateway.ask(ask(), headers={"cache-control": "only-if-cached"})
    assert missed.status_code == 422
    assert missed.json()["diagnostics"][0]["code"] == "E505"
    assert upstream.calls() == []
    await house.gateway.ask(ask())
    await house.gateway.ask(ask(cache={"mode": "refresh"}))
    assert len(upstream.calls()) == 2


async def test_it_is_listed_for_those_who_may_use_it(
    house: House, greet: int, upstream: FakeUpstream
) -> None:
    gateway = house.gateway
    ada = await gateway.add_token(user_id=await gateway.add_user("ada@example.org"))

    async def names(token: str | None = None) -> set[str]:
        answer = await gateway.get("/v1/models", token=token)
        return {one["id"] for one in answer.json()["data"] if one["id"].startswith("pipeline/")}

    upstream.default = json_answer(200, {"object": "list", "data": []})
    assert await names() == {MODEL}
    assert await names(ada) == set()
    assert error_code(await gateway.ask(ask(), token=ada)) == "model_not_found"
    await house.admin.patch(f"/api/v1/pipelines/{greet}", json={"shared": True})
    assert await names(ada) == {MODEL}
    shown = await gateway.get(f"/v1/models/{MODEL}", token=ada)
    assert (shown.json()["id"], shown.json()["owned_by"]) == (MODEL, "aieye")


async def test_a_token_that_is_limited_to_models_calls_those_alone(
    house: House, greet: int
) -> None:
    limited = await house.gateway.add_token(models=["gpt-4o-mini"])
    refused = await house.gateway.ask(ask(), token=limited)
    assert (refused.status_code, error_code(refused)) == (403, "model_not_allowed")
    allowed = await house.gateway.add_token(models=["gpt-4o-mini", "pipeline/*"])
    assert text_of(await house.gateway.ask(ask(), token=allowed)) == "HEY ADA"
    # What the pipeline itself asks is within the token's limits too.
    half = await house.gateway.add_token(models=["pipeline/greet"])
    failed = await house.gateway.ask(ask("Ben"), token=half)
    assert (failed.status_code, error_code(failed)) == (422, "run_failed")


async def test_what_goes_wrong_is_openais_error_object(
    house: House, greet: int, upstream: FakeUpstream, quick_retries: None
) -> None:
    unknown = await house.gateway.ask({**ask(), "model": "pipeline/none"})
    assert (unknown.status_code, error_code(unknown)) == (404, "model_not_found")
    upstream.default = json_answer(500, error_body())
    failed = await house.gateway.ask(ask())
    assert (failed.status_code, error_code(failed)) == (502, "run_failed")
    assert failed.json()["diagnostics"][0]["code"] == "E501"
    assert failed.headers["x-run-id"] == (await house.latest(greet)).run_id


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"n": 2}, "n", "one answer"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "takes no tools"),
        (
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:,"}},
            ]}]},
            "messages",
            "'image_url'",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "messages", "holds no text"),
        ({"messages": [{"role": "user", "content": []}]}, "messages", "holds no text"),
    ],
)  # fmt: skip
async def test_what_a_pipeline_could_only_drop_is_refused_before_it_runs(
    house: House, greet: int, upstream: FakeUpstream, fields: dict[str, Any], param: str,
    said: str,
) -> None:  # fmt: skip
    refused = await house.gateway.ask(ask(**fields))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert said in refused.json()["error"]["message"]
    assert upstream.calls() == []
    # What only says how a model is asked is for its prompt to say.
    plain = ask(n=1, tools=[], temperature=0, max_tokens=5)
    assert text_of(await house.gateway.ask(plain)) == "HEY ADA"


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        ("responses", {"input": "Ada"}),
        ("completions", {"prompt": "Ada"}),
        ("embeddings", {"input": "Ada"}),
        ("moderations", {"input": "Ada"}),
    ],
)
async def test_other_endpoints_say_where_a_pipeline_is_called(
    house: House, greet: int, upstream: FakeUpstream, endpoint: str, fields: dict[str, object]
) -> None:
    refused = await house.gateway.ask({"model": MODEL, **fields}, path=f"/v1/{endpoint}")
    assert (refused.status_code, error_code(refused)) == (400, "pipeline_endpoint")
    assert "/api/v1/pipelines/greet/call" in refused.json()["error"]["message"]
    assert upstream.calls() == []


@pytest.mark.parametrize("name", ["pipeline/none", "preset/none"])
async def test_a_name_that_only_aieye_could_offer_is_never_asked_for_elsewhere(
    house: House, upstream: FakeUpstream, name: str
) -> None:
    shown = await house.gateway.get(f"/v1/models/{name}")
    assert (shown.status_code, error_code(shown)) == (404, "model_not_found")
    assert upstream.requests == []


async def test_a_prompt_about_pipelines_is_no_pipeline(
    house: House, upstream: FakeUpstream
) -> None:
    body = {**ask("What is a pipeline/NAME?"), "model": "gpt-4o-mini"}
    assert text_of(await house.gateway.ask(body)) == "What is a pipeline/NAME?"
    (call,) = upstream.calls()
    assert call.json == body


async def test_a_client_that_leaves_ends_the_run(
    house: House, greet: int, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    gateway: Gateway = house.gateway
    async with gateway.raw() as client:
        await client.send(gateway.request(ask()))
        (call,) = await upstream.wait_for(1)
    await call.wait_closed()
    (row,) = await gateway.rows(1)
    assert (row.status, row.step) == (499, "prompt_buddy")
    assert (await house.latest(greet)).status == "cancelled"


async def test_the_answer_is_given_again_under_its_key(
    house: House, greet: int, upstream: FakeUpstream
) -> None:
    headers = {"idempotency-key": "once", "cache-control": "no-cache"}
    first, again = [await house.gateway.ask(ask(), headers=headers) for _ in range(2)]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(upstream.calls()) == 1


async def test_the_sdk_is_told_of_an_unknown_pipeline(house: House) -> None:
    async with house.gateway.sdk() as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(
                model="pipeline/none", messages=[{"role": "user", "content": "x"}]
            )

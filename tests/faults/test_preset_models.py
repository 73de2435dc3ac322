"""`preset/NAME` and `MODEL@preset/NAME` as models: any OpenAI client calls a preset."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from aieye.access import audit
from aieye.presets.service import PresetChanges, update_preset
from tests.fakes.chat import chat_body, error_body, usage
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    hang_before_headers,
    json_answer,
    realistic,
)
from tests.faults.harness import CHAT, Gateway, Json, both_databases, error_code, payloads
from tests.faults.library import librarian

pytestmark = pytest.mark.live

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Why?"}
CHAT_CONFIG: Json = {
    "model": "gpt-4o-mini", "messages": [SYSTEM], "temperature": 0.5, "tools": [],
}  # fmt: skip
OLD, NEW = "gpt-3.5-turbo-instruct", "gpt-4o-mini"


def completion(engine: str = OLD, **fields: Any) -> Json:
    return {"engine_id": engine, "prompt": "Human: ", "injectStart": "\nAI:", **fields}


@pytest.fixture
async def brief(gateway: Gateway, upstream: FakeUpstream) -> Gateway:
    """A gateway with a chat preset, before a provider that knows all endpoints."""
    upstream.default = realistic()
    await gateway.add_preset("brief", "chat", CHAT_CONFIG)
    return gateway


def ask(model: str = "preset/brief", **fields: Any) -> Json:
    return {"model": model, "messages": [USER], **fields}


# -- what goes up and comes down -----------------------------------------------------------------


async def test_what_goes_up_is_the_preset_and_the_request_and_what_comes_is_the_providers(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    answer = await brief.ask(ask(metadata={"team": "a"}))
    assert answer.status_code == 200, answer.text
    (call,) = upstream.calls()
    assert call.json == {
        "model": "gpt-4o-mini", "messages": [SYSTEM, USER], "temperature": 0.5, "tools": [],
        "metadata": {"team": "a"},
    }  # fmt: skip
    direct = await brief.ask(call.json)
    assert (direct.content, direct.headers["x-aieye-cache"]) == (answer.content, "hit")
    preset = brief.state.presets.find_callable("brief", None, is_administrator=True)
    assert preset is not None
    first, second = await brief.rows(2)
    assert (first.endpoint, first.model_asked) == ("chat/completions", "gpt-4o-mini")
    assert first.tags == {"team": "a", "preset": preset.uid}
    assert second.tags == {"team": "a"}
    assert answer.headers["x-request-id"] == f"req_{first.id}"


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
async def test_a_stream_is_the_providers_byte_for_byte_and_its_second_time_a_hit(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    upstream.default = realistic()
    await gateway.add_preset("old", "completion", completion(OLD))
    await gateway.add_preset("brief", "chat", CHAT_CONFIG)
    body = ask("preset/brief", stream=True) if path == CHAT else {
        "model": "preset/old", "prompt": "Why?", "stream": True
    }  # fmt: skip
    answers = [await gateway.ask(body, path=path) for _ in range(2)]
    assert [one.headers["x-aieye-cache"] for one in answers] == ["miss", "hit"]
    assert answers[0].content == answers[1].content
    (call,) = upstream.calls(path)
    direct = await gateway.ask({**call.json, "stream_options": None}, path=path)
    assert call.json["stream_options"] == {"include_usage": True}
    assert payloads(direct.content) == payloads(answers[0].content)


async def test_a_completion_is_asked_with_the_presets_text_around_it(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    await gateway.add_preset("old", "completion", completion(OLD, injectRestart="\nHuman:"))
    answer = await gateway.ask({"model": "preset/old", "prompt": "Why?"}, path=COMPLETIONS)
    (call,) = upstream.calls(COMPLETIONS)
    assert call.json == {
        "model": OLD, "prompt": "Human: Why?\nAI:", "max_tokens": 16, "temperature": 1, "top_p": 1,
        "frequency_penalty": 0, "presence_penalty": 0,
    }  # fmt: skip
    # The provider's own bytes: what restarts is for those who ask `process` and for pipelines.
    assert not answer.json()["choices"][0]["text"].endswith("Human:")
    many = await gateway.ask({"model": "preset/old", "prompt": ["a", "b"]}, path=COMPLETIONS)
    assert many.status_code == 200
    assert upstream.calls(COMPLETIONS)[-1].json["prompt"] == ["Human: a\nAI:", "Human: b\nAI:"]


async def test_a_model_that_only_chats_completes(gateway: Gateway, upstream: FakeUpstream) -> None:
    said = chat_body("Because.", usage=usage(3, 2))
    upstream.default = json_answer(200, said)
    await gateway.add_preset("new", "completion", completion(NEW, echo=True, logprobs=0))
    answer = await gateway.ask({"model": "preset/new", "prompt": "Why?"}, path=COMPLETIONS)
    (call,) = upstream.calls()
    assert call.path == CHAT
    assert call.json["messages"] == [{"role": "user", "content": "Human: Why?\nAI:"}]
    assert (call.json["logprobs"], call.json["max_tokens"]) == (True, 16)
    body = answer.json()
    assert body["object"] == "text_completion"
    assert body["model"] == said["model"]
    assert body["choices"][0]["text"] == "Human: Why?\nAI:Because."
    assert body["usage"]["total_tokens"] == 5
    assert answer.headers["x-aieye-cache"] == "miss"
    again = await gateway.ask({"model": "preset/new", "prompt": "Why?"}, path=COMPLETIONS)
    assert (again.content, again.headers["x-aieye-cache"]) == (answer.content, "hit")


async def test_several_prompts_are_several_chats_at_once_and_one_answer(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    both = asyncio.Barrier(2)

    async def together(request: Received, connection: Connection) -> None:
        await both.wait()
        said = request.json["messages"][0]["content"].upper()
        await json_answer(200, chat_body(said, usage=usage(3, 2)))(request, connection)

    upstream.default = together
    await gateway.add_preset("new", "completion", {"engine_id": NEW})
    answer = await gateway.ask({"model": "preset/new", "prompt": ["a", "b"]}, path=COMPLETIONS)
    assert [(one["index"], one["text"]) for one in answer.json()["choices"]] == [(0, "A"), (1, "B")]
    assert answer.json()["usage"]["total_tokens"] == 10
    rows = await gateway.rows(2)
    assert len(rows) == 2
    assert answer.headers["x-request-id"] in {f"req_{row.id}" for row in rows}
    refused = await gateway.ask(
        {"model": "preset/new", "prompt": ["a", "b"], "stream": True}, path=COMPLETIONS
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")


async def test_several_chats_say_of_the_cache_only_what_is_so_of_all(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    await gateway.add_preset("new", "completion", {"engine_id": NEW})

    async def state_of(*prompts: str) -> str | None:
        asked = {"model": "preset/new", "prompt": list(prompts)}
        found: str | None = (await gateway.ask(asked, path=COMPLETIONS)).headers.get(
            "x-aieye-cache"
        )
        return found

    assert await state_of("a", "b") == "miss"
    assert await state_of("a", "b") == "hit"
    assert await state_of("a", "c") is None


async def test_a_client_that_leaves_ends_every_one_of_several_chats(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    await gateway.add_preset("new", "completion", {"engine_id": NEW})
    body = {"model": "preset/new", "prompt": ["a", "b"]}
    async with gateway.raw() as client:
        await client.send(gateway.request(body, path=COMPLETIONS))
        calls = await upstream.wait_for(2)
    for call in calls:
        await call.wait_closed()
    assert [row.status for row in await gateway.rows(2)] == [499, 499]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_provider_says_of_its_model_is_learned(
    gateway: Gateway, upstream: FakeUpstream, stream: bool
) -> None:
    wrong = "This is a chat model and not supported in the v1/completions endpoint."
    known = realistic()

    async def answer(request: Received, connection: Connection) -> None:
        if request.path == COMPLETIONS:
            await json_answer(404, error_body(wrong))(request, connection)
        else:
            await known(request, connection)

    upstream.default = answer
    await gateway.add_preset("mine", "completion", {"engine_id": "mine"})
    for prompt in ("a", "b"):
        body = {"model": "preset/mine", "prompt": prompt, "stream": stream}
        answered = await gateway.ask(body, path=COMPLETIONS)
        assert answered.status_code == 200, answered.text
        assert answered.headers["x-request-id"] == f"req_{(await gateway.rows())[-1].id}"
    assert [call.path for call in upstream.calls()] == [COMPLETIONS, CHAT, CHAT]
    assert [row.status for row in await gateway.rows(3)] == [404, 200, 200]


@pytest.mark.parametrize(("engine", "path"), [(OLD, CHAT), (NEW, COMPLETIONS)])
async def test_a_stream_is_answered_in_the_clients_words(
    gateway: Gateway, upstream: FakeUpstream, engine: str, path: str
) -> None:
    upstream.default = realistic()
    await gateway.add_preset("any", "completion", completion(engine))
    asked: Json = {"model": "preset/any", "stream": True, "stream_options": {"include_usage": True}}
    asked |= {"messages": [USER]} if path == CHAT else {"prompt": "Why?"}
    for cache in ("miss", "hit"):
        answer = await gateway.ask(asked, path=path)
        assert answer.headers["x-aieye-cache"] == cache
        *chunks, last = payloads(answer.content)
        kind = "chat.completion.chunk" if path == CHAT else "text_completion"
        assert {one["object"] for one in chunks} == {kind}
        if path == CHAT:
            said = "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)
        else:
            said = "".join(one["choices"][0]["text"] for one in chunks)
        assert said
        assert last["usage"]["total_tokens"] > 0
        assert answer.content.endswith(b"data: [DONE]\n\n")
    plain = await gateway.ask({**asked, "stream": False, "stream_options": None}, path=path)
    (choice,) = plain.json()["choices"]
    assert (choice["message"]["content"] if path == CHAT else choice["text"]) == said
    assert plain.headers["x-aieye-cache"] == "hit"


async def test_an_answer_that_cannot_be_read_is_the_providers_fault_in_the_row_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(200, {"choices": [{"finish_reason": "stop"}]})
    await gateway.add_preset("new", "completion", {"engine_id": NEW})
    answer = await gateway.ask({"model": "preset/new", "prompt": "a"}, path=COMPLETIONS)
    assert (answer.status_code, error_code(answer)) == (502, "unreadable_answer")
    assert (await gateway.row()).status == 502


async def test_a_chat_preset_answers_the_responses_api_too(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    await brief.add_preset("short", "chat", {"model": NEW, "messages": [SYSTEM], "max_tokens": 50})
    for stream in (False, True):
        body: Json = {"model": "preset/short", "input": "Why?", "stream": stream}
        answer = await brief.ask(body, path="/v1/responses")
        assert answer.status_code == 200, answer.text
        (call,) = upstream.calls("/v1/responses")
        direct = await brief.ask({**call.json, "stream": stream}, path="/v1/responses")
        assert (direct.content, direct.headers["x-aieye-cache"]) == (answer.content, "hit")
    assert call.json == {
        "model": NEW, "input": [SYSTEM, USER], "max_output_tokens": 50, "stream": False,
    }  # fmt: skip


async def test_an_embeddings_preset_embeds(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = realistic()
    config = {"model": "text-embedding-3-small", "dimensions": 8}
    await gateway.add_preset("vectors", "embeddings", config)
    async with gateway.sdk() as client:
        found = await client.embeddings.create(model="preset/vectors", input=["a", "b"])
    assert found.data
    sent = upstream.calls(EMBEDDINGS)[0].json
    assert (sent["model"], sent["dimensions"], sent["input"]) == (
        "text-embedding-3-small",
        8,
        ["a", "b"],
    )


# -- which preset, and whose ---------------------------------------------------------------------


async def test_a_preset_is_named_alone_or_beside_a_model(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    for model, asked, cache in (
        ("preset/brief", "gpt-4o-mini", "miss"),
        ("@preset/brief", "gpt-4o-mini", "hit"),
        ("gpt-4o@preset/brief", "gpt-4o", "miss"),
        ("openai/gpt-4o@preset/brief", "gpt-4o", "hit"),
    ):
        assert (await brief.ask(ask(model))).headers["x-aieye-cache"] == cache
        call = upstream.calls()[-1]
        assert (call.json["model"], call.json["messages"]) == (asked, [SYSTEM, USER])
        escaped = orjson.dumps(ask(model)).replace(b"preset/", b"preset\\/")
        assert (await brief.ask(escaped)).headers["x-aieye-cache"] == "hit"


@both_databases
async def test_presets_are_listed_and_callable_for_those_who_may_use_them(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    ada, ben = [await gateway.add_user(f"{name}@example.org") for name in ("ada", "ben")]
    await gateway.add_preset("mine", "chat", CHAT_CONFIG, user_id=ada)
    await gateway.add_preset("ours", "chat", CHAT_CONFIG, user_id=ada, shared=True)
    await gateway.add_preset("no name", "chat", CHAT_CONFIG, user_id=ada, any_name=True)
    for user, seen in ((ada, ["mine", "ours"]), (ben, ["ours"])):
        token = await gateway.add_token(user_id=user)
        listed = (await gateway.get("/v1/models", token=token)).json()["data"]
        names = [one["id"] for one in listed if one["id"].startswith("preset/")]
        assert names == [f"preset/{name}" for name in seen]
        for name in ("mine", "ours", "no name"):
            answer = await gateway.ask(ask(f"preset/{name}"), token=token)
            one = await gateway.get(f"/v1/models/preset/{name}", token=token)
            if name in seen:
                assert (answer.status_code, one.status_code) == (200, 200)
            else:
                assert (answer.status_code, error_code(answer)) == (404, "model_not_found")


async def test_a_token_limited_to_models_needs_the_preset_and_its_model(brief: Gateway) -> None:
    for models, model, status in (
        (["gpt-4o-mini"], "preset/brief", 403),
        (["preset/brief"], "preset/brief", 403),
        (["preset/*", "gpt-4o-mini"], "preset/brief", 200),
        (["preset/*", "gpt-4o-mini"], "gpt-4o@preset/brief", 403),
        (["preset/*", "gpt-4o*"], "gpt-4o@preset/brief", 200),
    ):
        token = await brief.add_token(models=models)
        answer = await brief.ask(ask(model), token=token)
        assert answer.status_code == status, (models, model, answer.text)
    listed = (await brief.get("/v1/models", token=token)).json()["data"]
    assert "preset/brief" in [one["id"] for one in listed]


REFUSED: list[tuple[Json, str, str]] = [
    (ask("preset/nothing"), CHAT, "model_not_found"),
    (ask("gpt-4o@preset/"), CHAT, "model_not_found"),
    ({"model": "preset/brief", "prompt": "a"}, COMPLETIONS, "preset_type"),
    ({"model": "preset/brief", "input": "a"}, EMBEDDINGS, "preset_type"),
    ({"model": "preset/brief", "input": "a"}, "/v1/moderations", "preset_type"),
    ({"model": "preset/brief"}, CHAT, "invalid_request"),
    (ask(tools=[{"type": "function"}]), CHAT, "preset_field"),
    (ask("preset/old", messages=[SYSTEM]), CHAT, "invalid_request"),
    ({"model": "preset/old", "prompt": [[1, 2]]}, COMPLETIONS, "invalid_request"),
    ({"model": "preset/new", "prompt": "a", "best_of": 2}, COMPLETIONS, "preset_field"),
    ({"model": "preset/bare", "prompt": [[1, 2]]}, COMPLETIONS, "invalid_request"),
    ({"model": "preset/bare", "prompt": "a", "suffix": "b"}, COMPLETIONS, "invalid_request"),
    ({"model": "preset/bare"}, COMPLETIONS, "missing_prompt"),
]


async def test_what_cannot_be_asked_is_refused_says_why_and_has_its_row(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    await brief.add_preset("old", "completion", completion(OLD))
    await brief.add_preset("new", "completion", completion(NEW))
    await brief.add_preset("bare", "completion", {"engine_id": NEW})
    for body, path, code in REFUSED:
        answer = await brief.ask(body, path=path)
        assert (answer.status_code, error_code(answer)) == (
            404 if code == "model_not_found" else 400,
            code,
        ), (body, answer.text)
    assert upstream.calls() == []
    rows = await brief.rows(len(REFUSED))
    assert [(row.error, row.cost_nano) for row in rows] == [(code, 0) for _, _, code in REFUSED]


async def test_a_call_that_only_mentions_presets_is_any_other_call(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "preset/brief"}]}
    assert (await brief.ask(body)).status_code == 200
    assert upstream.calls()[0].json == body


async def test_an_edit_counts_from_the_next_call_on_and_a_key_gives_the_first_answer_again(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    headers = {"idempotency-key": "once"}
    first = await brief.ask(ask(), headers=headers)
    preset = brief.state.presets.find_callable("brief", None, is_administrator=True)
    assert preset is not None
    async with brief.state.database.write() as session:
        changes: PresetChanges = {"config": {**CHAT_CONFIG, "temperature": 1}}
        await update_preset(session, preset.uid, changes, actor=audit.SYSTEM)
    await brief.state.directory.refresh()
    again = await brief.ask(ask(), headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await brief.ask(ask())).headers["x-aieye-cache"] == "miss"
    assert upstream.calls()[-1].json["temperature"] == 1


async def test_identical_calls_at_once_are_one_call_of_the_provider(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    gate = asyncio.Event()
    known = realistic()

    async def slowly(request: Received, connection: Connection) -> None:
        await gate.wait()
        await known(request, connection)

    upstream.default = slowly
    asked = [asyncio.ensure_future(brief.ask(ask())) for _ in range(5)]
    await upstream.wait_for(1)
    gate.set()
    answers = [await one for one in asked]
    assert len({one.content for one in answers}) == 1
    assert len(upstream.calls()) == 1


async def test_a_provider_that_fails_is_tried_again_and_its_error_passed_on(
    brief: Gateway, upstream: FakeUpstream, quick_retries: None
) -> None:
    upstream.script(json_answer(500, error_body("Not now.")))
    assert (await brief.ask(ask())).status_code == 200
    assert len(upstream.calls()) == 2
    upstream.default = json_answer(400, error_body("Too hot.", param="temperature"))
    refused = await brief.ask(ask(temperature=2))
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "Too hot.")


async def test_the_sdk_calls_presets_plain_and_streamed(
    brief: Gateway, upstream: FakeUpstream
) -> None:
    await brief.add_preset("old", "completion", completion(OLD))
    await brief.add_preset("new", "completion", completion(NEW))
    async with brief.sdk() as client:
        answer = await client.chat.completions.create(
            model="preset/brief", messages=[{"role": "user", "content": "Why?"}], temperature=0
        )
        assert answer.model == upstream.calls()[0].json["model"]
        stream = await client.chat.completions.create(
            model="preset/brief", messages=[{"role": "user", "content": "How?"}], stream=True
        )
        said = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert "".join(piece or "" for piece in said)
        for model in ("preset/old", "preset/new", f"{NEW}@preset/old"):
            text = await client.completions.create(model=model, prompt="Why?")
            assert text.choices[0].text
            texts = await client.completions.create(model=model, prompt="How?", stream=True)
            assert "".join([chunk.choices[0].text async for chunk in texts if chunk.choices])


async def test_a_client_that_leaves_while_its_model_is_asked_once_more_ends_that_call(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    wrong = "This is a chat model and not supported in the v1/completions endpoint."
    upstream.script(json_answer(404, error_body(wrong)))
    upstream.default = hang_before_headers()
    await gateway.add_preset("mine", "completion", {"engine_id": "mine"})
    async with gateway.raw() as client:
        body = {"model": "preset/mine", "prompt": "a"}
        await client.send(gateway.request(body, path=COMPLETIONS))
        _, call = await upstream.wait_for(2)
    await call.wait_closed()
    assert [row.status for row in await gateway.rows(2)] == [404, 499]


# -- searches ------------------------------------------------------------------------------------


async def test_a_search_is_a_chat_whose_answer_is_its_results(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = librarian
    documents = ["a shark eats swimmers", "a ship sinks in the ice"]
    config = {"engine_id": "text-embedding-3-small", "documents": documents}
    preset = await gateway.add_preset("films", "search", config)
    await gateway.add_preset("empty", "search", {"engine_id": "text-embedding-3-small"})
    async with gateway.sdk() as client:
        answer = await client.chat.completions.create(
            model="preset/films", messages=[{"role": "user", "content": "ice"}]
        )
        stream = await client.chat.completions.create(
            model="preset/films", messages=[{"role": "user", "content": "ice"}], stream=True
        )
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    text = answer.choices[0].message.content
    assert text is not None
    assert "".join(piece or "" for piece in pieces) == text
    results = orjson.loads(text)
    assert [(one["document"], one["text"]) for one in results] == [
        (1, documents[1]),
        (0, documents[0]),
    ]
    assert set(results[0]) == {"document", "score", "object", "text"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    # The query's, the documents', and the query's once more: the call itself is none of a model.
    rows = await gateway.rows(3)
    assert [row.endpoint for row in rows] == ["embeddings"] * 3
    assert {(row.tags or {}).get("preset") for row in rows} == {preset.uid}
    refused = await gateway.ask(ask("preset/empty"))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "documents")
    upstream.default = json_answer(400, error_body("No."))
    failed = await gateway.ask(ask("preset/films"))
    assert failed.status_code == 400
    assert failed.headers["x-request-id"] in {f"req_{row.id}" for row in await gateway.rows(5)}

"""`POST /_saga/gpt3/process` for completions: the original's samples, and what can go wrong."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.fakes.chat import chat_body, completion_body, error_body, usage
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    hang_before_headers,
    json_answer,
    realistic,
)
from tests.faults.harness import Gateway, Json, StartGateway

pytestmark = pytest.mark.live

PROCESS = "/_saga/gpt3/process"
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
# The original's, whole.
SAMPLE: Json = {
    "injectStart": "", "injectRestart": "", "engine_id": "davinci", "prompt": "Here goes the prompt",
    "max_tokens": 16, "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0,
    "best_of": 1, "logprobs": 0, "echo": False, "stop": [],
}  # fmt: skip
QUESTION = "Are you a machine?"
LOGPROBS: Json = {
    "top_logprobs": None, "token_logprobs": [-1.4180907, -0.30391386],
    "tokens": [" I", " am"], "text_offset": [234, 236],
}  # fmt: skip


async def make(gateway: Gateway, config: Json, **fields: Any) -> str:
    preset = await gateway.add_preset("a name", "completion", config, any_name=True, **fields)
    return preset.uid


async def process(gateway: Gateway, uid: str, text: str | None = QUESTION, **fields: Any) -> Any:
    return await gateway.ask({"_id": uid, "text": text, **fields}, path=PROCESS)


async def test_what_is_refused_before_a_model_is_asked_has_its_row(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    uid = await make(gateway, SAMPLE)
    for number, body in enumerate(
        ({"_id": uid}, {"_id": uid, "text": "a", "prompt": "b"}, {"_id": "x" * 20, "text": "a"}), 1
    ):
        answer = await gateway.ask(body, path=PROCESS)
        row = (await gateway.rows(number))[-1]
        assert (row.status, row.endpoint, row.cost_nano) == (answer.status_code, "preset", 0)
        assert answer.headers["x-request-id"] == f"req_{row.id}"
    upstream.default = json_answer(400, error_body("No."))
    await process(gateway, uid)
    # What a model refused has the one row of that call.
    assert len(await gateway.rows(4)) == 4


async def test_the_originals_sample_against_a_provider_of_completions(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    said = completion_body(" I am better described as an AI.", model="davinci:2020-05-03")
    said["choices"][0]["logprobs"] = LOGPROBS
    upstream.default = json_answer(200, said)
    uid = await make(gateway, {**SAMPLE, "injectStart": "\nAI:", "injectRestart": "\nHuman:"})
    answer = await process(gateway, uid)
    (call,) = upstream.calls()
    assert (call.path, call.json) == (
        COMPLETIONS,
        {
            "model": "davinci", "prompt": "Here goes the promptAre you a machine?\nAI:",
            "max_tokens": 16, "temperature": 1, "top_p": 1, "frequency_penalty": 0,
            "presence_penalty": 0, "logprobs": 0,
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert answer.json() == {
        "_success": True,
        **said,
        "choices": [
            {
                "finish_reason": "stop",
                "index": 0,
                "text": " I am better described as an AI.\nHuman:",
                "logprobs": LOGPROBS,
            }
        ],
    }


async def test_it_is_a_call_like_any_other(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = realistic()
    uid = await make(gateway, SAMPLE)
    first = await process(gateway, uid)
    again = await gateway.ask({"_id": uid, "text": QUESTION}, path=PROCESS + "/")
    assert [one.headers["x-aieye-cache"] for one in (first, again)] == ["miss", "hit"]
    assert first.content == again.content
    (call,) = upstream.calls()
    direct = await gateway.ask(call.json, path=COMPLETIONS)
    # The provider's bytes, with one field in front.
    assert first.content == b'{"_success":true,' + direct.content[1:]
    assert direct.headers["x-aieye-cache"] == "hit"
    rows = await gateway.rows(3)
    assert [row.endpoint for row in rows] == ["completions"] * 3
    assert [row.model_asked for row in rows] == ["davinci"] * 3
    assert [(row.tags or {}).get("preset") for row in rows] == [uid, uid, None]
    assert [f"req_{row.id}" for row in rows[:2]] == [
        one.headers["x-request-id"] for one in (first, again)
    ]
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-content-type-options"] == "nosniff"


async def test_a_model_that_only_chats_answers_in_the_same_shape(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    both = asyncio.Barrier(2)

    async def together(request: Received, connection: Connection) -> None:
        await both.wait()
        said = f" {request.json['messages'][0]['content'].upper()}!"
        await json_answer(200, chat_body(said, usage=usage(3, 2)))(request, connection)

    upstream.default = together
    config = {**SAMPLE, "engine_id": "gpt-4o-mini", "prompt": ["a ", "b "], "echo": True}
    response = await process(gateway, await make(gateway, config | {"injectRestart": "."}), "x")
    answer = response.json()
    assert answer["_success"] is True
    assert (answer["object"], answer["id"][:5]) == ("text_completion", "cmpl-")
    assert [one["text"] for one in answer["choices"]] == ["a x A X!.", "b x B X!."]
    assert answer["usage"]["total_tokens"] == 10
    assert [call.path for call in upstream.calls()] == [CHAT, CHAT]
    costs = [row.cost_nano for row in await gateway.rows(2)]
    assert len(costs) == 2
    assert None not in costs
    told = Decimal(response.headers["x-aieye-cost-usd"])
    assert told == Decimal(sum(cost or 0 for cost in costs)) / 10**9


async def test_an_alias_leads_a_retired_engine_elsewhere(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    await gateway.add_route("davinci", {"provider": "openai", "model": "gpt-4o-mini"})
    answer = await process(gateway, await make(gateway, SAMPLE))
    assert (answer.status_code, answer.json()["model"]) == (200, "gpt-4o-mini")
    (call,) = upstream.calls(CHAT)
    assert (call.json["model"], call.json["logprobs"]) == ("gpt-4o-mini", True)


async def test_bad_input_says_what_is_wrong(gateway: Gateway, upstream: FakeUpstream) -> None:
    bare = await make(gateway, {"engine_id": "davinci"})
    own = await make(gateway, SAMPLE)
    tokens = await make(gateway, {"engine_id": "davinci", "prompt": [[1, 2]]})
    chats = await make(gateway, {"engine_id": "gpt-4o-mini", "prompt": "a", "best_of": 2})
    for body, part in (
        ({"_id": bare, "text": "x"}, "send one"),
        ({"_id": bare, "text": "x", "prompt": []}, "send one"),
        ({"_id": bare, "text": "x", "prompt": 5}, "prompt should be text"),
        ({"_id": bare, "text": "x", "prompt": ["a", 1]}, "the one at 1"),
        ({"_id": own, "text": "x", "prompt": "y"}, "send no prompt"),
        ({"_id": own}, "text is required"),
        ({"_id": own, "text": 5}, "text is required"),
        ({"_id": own, "text": "x", "temperature": 0}, "'temperature' is no field"),
        ({"_id": tokens, "text": "x"}, "text has to be empty"),
        ({"_id": chats, "text": "x"}, "best_of over 1"),
    ):
        answer = await gateway.ask(body, path=PROCESS)
        assert answer.status_code == 400, (body, answer.text)
        assert list(answer.json()) == ["_success", "msg"]
        assert answer.json()["_success"] is False
        assert part in answer.json()["msg"]
    assert upstream.calls() == []
    upstream.default = realistic()
    assert (await process(gateway, tokens, "")).status_code == 200
    assert (await process(gateway, bare, "x", prompt="y")).status_code == 200
    assert [call.json["prompt"] for call in upstream.calls()] == [[[1, 2]], "yx"]


async def test_a_private_preset_is_not_there_for_others(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    ada, ben = [await gateway.add_user(f"{name}@example.org") for name in ("ada", "ben")]
    uid = await make(gateway, SAMPLE, user_id=ada)
    shared = await make(gateway, SAMPLE, user_id=ada, shared=True)
    token = await gateway.add_token(user_id=ben)
    for body, status in (({"_id": uid}, 404), ({"_id": "x" * 20}, 404), ({"_id": shared}, 200)):
        answer = await gateway.ask({**body, "text": "x"}, path=PROCESS, token=token)
        assert answer.status_code == status, answer.text
        assert answer.json()["_success"] is (status == 200)


async def test_a_providers_error_is_told_in_the_originals_shape(
    gateway: Gateway, upstream: FakeUpstream, quick_retries: None, no_circuit: None
) -> None:
    uid = await make(gateway, SAMPLE)
    for provider, status in ((400, 400), (429, 429), (500, 502), (503, 502), (401, 502)):
        upstream.default = json_answer(provider, error_body("Not today."))
        answer = await process(gateway, uid)
        assert answer.status_code == status
        assert (list(answer.json()), answer.json()["_success"]) == (["_success", "msg"], False)
        row = (await gateway.rows())[-1]
        assert answer.headers["x-request-id"] == f"req_{row.id}"


async def test_an_answer_that_is_none_is_502(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = json_answer(200, {"choices": [{"finish_reason": "stop"}]})
    uid = await make(gateway, {"engine_id": "gpt-4o-mini", "prompt": "a"})
    answer = await process(gateway, uid)
    assert (answer.status_code, answer.json()["_success"]) == (502, False)
    assert (await gateway.row()).status == 502


async def test_a_client_that_leaves_ends_the_call(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.default = hang_before_headers()
    uid = await make(gateway, SAMPLE)
    async with gateway.raw() as client:
        await client.send(gateway.request({"_id": uid, "text": "x"}, path=PROCESS))
        (call,) = await upstream.wait_for(1)
    await call.wait_closed()
    assert (await gateway.row()).status == 499


async def test_chats_and_embeddings_are_processed_too(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.default = realistic()
    system = {"role": "system", "content": "Be brief."}
    chat = await gateway.add_preset("brief", "chat", {"model": "gpt-4o-mini", "messages": [system]})
    vectors = await gateway.add_preset("vec", "embeddings", {"model": "text-embedding-3-small"})
    answer = (await process(gateway, chat.uid)).json()
    assert (answer["_success"], answer["object"]) == (True, "chat.completion")
    assert upstream.calls()[0].json["messages"] == [system, {"role": "user", "content": QUESTION}]
    found = (await process(gateway, vectors.uid)).json()
    assert (found["_success"], found["object"]) == (True, "list")
    assert upstream.calls()[1].json["input"] == QUESTION


async def test_the_simulated_provider_answers_the_originals_sample(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(OPENAI_API_KEY=None, OPENAI_BASE_URL=None, saga_open=True)
    gateway.client.headers.pop("authorization")
    made = await gateway.client.post(
        "/_saga/gpt3/create",
        content=orjson.dumps({"name": "completition1", "type": "completion", "config": SAMPLE}),
    )
    assert made.status_code == 200, made.text
    uid = made.json()["_id"]
    answer = await process(gateway, uid)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["_success"], body["object"], body["model"]) == (True, "text_completion", "davinci")
    (choice,) = body["choices"]
    assert set(choice) == {"finish_reason", "index", "text", "logprobs"}
    assert set(choice["logprobs"]) == {"top_logprobs", "token_logprobs", "tokens", "text_offset"}
    assert choice["logprobs"]["top_logprobs"] is None
    row = (await gateway.rows(1))[-1]
    assert (row.tags, row.status) == ({"preset": uid}, 200)

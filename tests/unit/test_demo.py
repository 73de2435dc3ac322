"""The simulated provider answers as OpenAI does, the same bytes each time, and says what it is."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import signal
import socket
import struct
import subprocess
import sys
import time
import wave
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from aieye.demo import (
    MODELS,
    DemoProvider,
    DemoServer,
    count_tokens,
    demo_app,
    read_model,
    serve_demo,
)
from aieye.demo.accounts import Shelf
from aieye.demo.behaviour import Behaviour
from aieye.demo.embeddings import embed
from aieye.demo.errors import ProviderError
from aieye.demo.forms import parse_form
from aieye.demo.images import png
from aieye.demo.tokens import split_tokens

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello there"}]
ANSWER = "Simulated answer to: Hello there"


def asking(key: str, app: DemoProvider) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://demo", headers=headers)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with asking("sk-one", DemoProvider()) as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[DemoServer]:
    running = await serve_demo()
    yield running
    await running.close()


@pytest.fixture
async def live(server: DemoServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer sk-live"}
    async with httpx.AsyncClient(
        base_url=server.base_url, headers=headers, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def sdk(server: DemoServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.base_url, api_key="sk-sdk", max_retries=0) as client:
        yield client


async def chat(client: httpx.AsyncClient, model: str = "gpt-4o-mini", **fields: Any) -> Json:
    body = {"model": model, "messages": HELLO, **fields}
    response = await client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def payloads(stream: bytes) -> list[Json]:
    """The JSON payloads of a stream, which must end with [DONE]."""
    *events, done, rest = stream.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


async def chunks(client: httpx.AsyncClient, path: str = CHAT, **fields: Any) -> list[Json]:
    body = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True, **fields}
    response = await client.post(path, json=body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return payloads(response.content)


async def refusal(client: httpx.AsyncClient, path: str, body: Json) -> tuple[int, Json]:
    response = await client.post(path, json=body)
    error: Json = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error


# ---------------------------------------------------------------- the same everywhere, and labelled


async def test_every_answer_says_that_it_is_simulated(client: httpx.AsyncClient) -> None:
    plain = await client.post(CHAT, json={"model": "gpt-4o-mini", "messages": HELLO})
    models = await client.get("/v1/models")
    unknown = await client.get("/v1/nothing")
    assert {r.headers["x-simulated"] for r in (plain, models, unknown)} == {"true"}
    assert plain.json()["system_fingerprint"] == "fp_simulated"
    assert {model["owned_by"] for model in models.json()["data"]} == {"simulated"}


async def test_the_same_request_gives_the_same_bytes_from_any_instance() -> None:
    body = {"model": "gpt-4o-mini", "messages": HELLO, "n": 2}
    for path, fields in (
        (CHAT, body),
        (CHAT, {**body, "stream": True}),
        ("/v1/responses", {"model": "gpt-4o", "input": "Hello"}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}),
        ("/v1/audio/speech", {"model": "tts-1", "input": "Hello", "voice": "alloy"}),
        ("/v1/images/generations", {"model": "gpt-image-1", "prompt": "A cat"}),
    ):
        seen = set()
        for _ in range(2):
            async with asking("sk-one", DemoProvider()) as client:
                for _ in range(2):
                    response = await client.post(path, json=fields)
                    assert response.status_code == 200
                    seen.add((response.content, response.headers["x-request-id"]))
        assert len(seen) == 1, path


async def test_ids_follow_the_request_and_not_how_or_for_whom_it_travels(
    client: httpx.AsyncClient,
) -> None:
    first = await chat(client)
    other = await chat(client, temperature=0.5)
    for_somebody = await chat(client, user="u-1", metadata={"team": "a"})
    streamed = await chunks(client)
    assert first["id"] == for_somebody["id"] == streamed[0]["id"]
    assert first["id"] != other["id"]


def test_a_token_is_four_characters_rounded_up() -> None:
    assert [count_tokens("x" * length) for length in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert len(split_tokens("Zwölf Boxkämpfer")) == count_tokens("Zwölf Boxkämpfer")


async def test_a_request_without_a_key_is_401_and_any_key_will_do() -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=demo_app), base_url="http://demo"
    ) as client:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}):
            response = await client.get("/v1/models", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["type"] == "invalid_request_error"
        response = await client.get("/v1/models", headers={"Authorization": "bearer x"})
        assert response.status_code == 200


async def test_unknown_paths_and_methods_are_refused_in_openais_shape(
    client: httpx.AsyncClient,
) -> None:
    unknown = await client.get("/v1/engines/x/unknown")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"] == "Invalid URL (GET /v1/engines/x/unknown)"
    wrong = await client.get(CHAT)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_supported")


async def test_a_body_that_is_no_json_object_is_400(client: httpx.AsyncClient) -> None:
    for content in (b"", b"{", b"[]", b'{"a": "\xff"}'):
        response = await client.post(CHAT, content=content)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_body_above_the_limit_is_413(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.demo.app.MAX_BODY_BYTES", 100)
    response = await client.post(CHAT, content=b"x" * 101)
    assert response.status_code == 413


# ----------------------------------------------------------------------------------------- models


async def test_listed_models_can_be_fetched(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == list(MODELS)
    one = await client.get("/v1/models/gpt-4o-mini")
    assert one.json() == listed["data"][0]
    assert (await client.get("/v1/models/sim-none")).status_code == 404


@pytest.mark.parametrize(
    ("model", "behaviour"),
    [
        ("gpt-4o-mini", Behaviour()),
        ("gpt-77-preview", Behaviour()),
        ("o9", Behaviour()),
        ("ft:gpt-4o-mini:acme::abc", Behaviour()),
        ("sim-error-429", Behaviour(error_status=429)),
        ("sim-delay-2000", Behaviour(delay_seconds=2.0)),
        ("sim-slow-50", Behaviour(gap_seconds=0.05)),
        ("sim-cut-0", Behaviour(cut_after_events=0)),
        ("sim-long-400", Behaviour(long_tokens=400)),
        ("sim-delay-10-error-503", Behaviour(delay_seconds=0.01, error_status=503)),
    ],
)
def test_a_models_name_says_how_it_behaves(model: str, behaviour: Behaviour) -> None:
    assert read_model(model) == behaviour


@pytest.mark.parametrize(
    "model", ["", "sim", "sim-none", "sim-error-200", "sim-error-429x", "claude-3", "gpt-4 o", "o"]
)
def test_any_other_model_is_not_found(model: str) -> None:
    with pytest.raises(ProviderError, match="does not exist") as caught:
        read_model(model)
    assert (caught.value.status, caught.value.body["error"]["code"]) == (404, "model_not_found")


# ------------------------------------------------------------------------------------------- chat


async def test_a_chat_answer_echoes_the_last_user_message(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "Second"}]},
        {"role": "assistant", "content": None},
    ]
    answer = await chat(client, messages=messages)
    [choice] = answer["choices"]
    assert choice["message"]["content"] == "Simulated answer to: Second"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 3 + 2 + 1 + 2
    assert answer["usage"]["completion_tokens"] == count_tokens("Simulated answer to: Second")


async def test_a_chat_stream_adds_up_to_the_plain_answer(client: httpx.AsyncClient) -> None:
    plain = await chat(client, n=2)
    texts = ["", ""]
    finishes = []
    for chunk in await chunks(client, n=2):
        assert "usage" not in chunk
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        finishes += [choice["finish_reason"]] if choice["finish_reason"] else []
    assert texts == [choice["message"]["content"] for choice in plain["choices"]]
    assert texts == [ANSWER, f"{ANSWER} (variant 2)"]
    assert finishes == ["stop", "stop"]


async def test_a_stream_asked_for_usage_has_it_null_and_then_once_without_choices(
    client: httpx.AsyncClient,
) -> None:
    plain = await chat(client)
    *others, last = await chunks(client, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in others)
    assert last["choices"] == []
    assert last["usage"] == plain["usage"]


async def test_there_is_a_content_event_for_each_completion_token(
    client: httpx.AsyncClient,
) -> None:
    events = await chunks(client, model="sim-long-400", stream_options={"include_usage": True})
    said = [c["choices"][0]["delta"].get("content") for c in events if c["choices"]]
    text = "".join(piece for piece in said if piece)
    assert len([piece for piece in said if piece]) == 400
    assert len(text.split()) == count_tokens(text) == 400
    assert events[-1]["usage"]["completion_tokens"] == 400


async def test_max_tokens_and_stop_cut_the_answer(client: httpx.AsyncClient) -> None:
    limits: list[Json] = [{"max_tokens": 2}, {"max_completion_tokens": 2}]
    for limit in limits:
        short = await chat(client, **limit)
        [choice] = short["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("Simulate", "length")
        assert short["usage"]["completion_tokens"] == 2
    stopped = await chat(client, stop=["there", " to"])
    assert stopped["choices"][0]["message"]["content"] == "Simulated answer"


async def test_logprobs_are_given_when_asked_for(client: httpx.AsyncClient) -> None:
    answer = await chat(client, logprobs=True, top_logprobs=2)
    content = answer["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == ANSWER
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] < 0 for entry in content)


WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
async def test_a_forced_tool_is_called_in_both_forms(
    client: httpx.AsyncClient, choice: object
) -> None:
    fields: Json = {"tools": [WEATHER], "tool_choice": choice}
    answer = await chat(client, **fields)
    message = answer["choices"][0]["message"]
    [call] = message["tool_calls"]
    assert message["content"] is None
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": ANSWER, "days": 0}
    deltas = [chunk["choices"][0]["delta"] for chunk in await chunks(client, **fields)]
    parts = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert (parts[0]["id"], parts[0]["function"]["name"]) == (call["id"], "weather")
    arguments = "".join(part["function"]["arguments"] for part in parts)
    assert arguments == call["function"]["arguments"]


async def test_tools_that_are_not_forced_are_answered_with_text(client: httpx.AsyncClient) -> None:
    for choice in ("auto", "none", None):
        answer = await chat(client, tools=[WEATHER], tool_choice=choice)
        assert answer["choices"][0]["message"]["content"] == ANSWER


async def test_a_json_object_is_valid_json(client: httpx.AsyncClient) -> None:
    answer = await chat(client, response_format={"type": "json_object"})
    content = json.loads(answer["choices"][0]["message"]["content"])
    assert content == {"simulated": True, "answer": ANSWER}


async def test_a_json_schema_is_satisfied(client: httpx.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": 9},
            "kind": {"enum": ["b", "a"]},
            "fixed": {"const": 7},
            "score": {"type": "number", "minimum": 3},
            "good": {"type": "boolean"},
            "maybe": {"type": ["string", "null"]},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "tree": {"$ref": "#/$defs/node"},
        },
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["children", "next"],
            }
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = await chat(client, response_format=wanted)
    content = json.loads(answer["choices"][0]["message"]["content"])
    tree = content.pop("tree")
    assert content == {
        "title": "Simulated",
        "kind": "b",
        "fixed": 7,
        "score": 3,
        "good": True,
        "maybe": ANSWER,
        "either": 0,
    }
    assert set(tree) == {"children", "next"}


async def test_a_schema_without_end_is_answered_all_the_same(client: httpx.AsyncClient) -> None:
    twice = {"left": {"$ref": "#"}, "right": {"$ref": "#"}}
    many = {"type": "array", "minItems": 100, "items": {"$ref": "#"}}
    for schema in ({"properties": twice, "required": ["left", "right"]}, many):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        answer = await chat(client, response_format=wanted)
        assert json.loads(answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, None, None),
        ({"model": 5}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "Hello"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "invalid_type",
        ),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": "2"}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"tools": "x"}, "tools", "invalid_type"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ],
)
async def test_a_wrong_chat_request_is_400_and_names_the_field(
    client: httpx.AsyncClient, fields: Json, param: str | None, code: str | None
) -> None:
    status, error = await refusal(
        client, CHAT, {"model": "gpt-4o-mini", "messages": HELLO, **fields}
    )
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert (error["param"], error["code"]) == (param, code)


async def test_an_unknown_model_is_404_model_not_found(client: httpx.AsyncClient) -> None:
    status, error = await refusal(client, CHAT, {"model": "sim-none", "messages": HELLO})
    assert (status, error["code"]) == (404, "model_not_found")
    assert "`sim-none`" in error["message"]


async def test_models_are_refused_where_they_do_not_belong(client: httpx.AsyncClient) -> None:
    status, error = await refusal(client, "/v1/completions", {"model": "gpt-4o", "prompt": "Hi"})
    assert (status, error["param"]) == (404, "model")
    assert error["message"].startswith("This is a chat model")
    for model in ("gpt-3.5-turbo-instruct", "text-embedding-3-small", "tts-1"):
        status, error = await refusal(client, CHAT, {"model": model, "messages": HELLO})
        assert (status, error["message"][:26]) == (404, "This is not a chat model a")
    status, _ = await refusal(client, "/v1/embeddings", {"model": "gpt-4o", "input": "Hi"})
    assert status == 403


# --------------------------------------------------------------------------- completions and edits

INSTRUCT = "gpt-3.5-turbo-instruct"


async def complete(client: httpx.AsyncClient, **fields: Any) -> Json:
    response = await client.post("/v1/completions", json={"model": INSTRUCT, **fields})
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def test_a_completion_has_sixteen_tokens_unless_told_otherwise(
    client: httpx.AsyncClient,
) -> None:
    prompt = "p" * 100
    short = await complete(client, prompt=prompt)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 16
    whole = await complete(client, prompt=prompt, max_tokens=100)
    assert whole["choices"][0]["text"] == f"Simulated answer to: {prompt}"
    assert whole["choices"][0]["finish_reason"] == "stop"


async def test_each_prompt_is_completed_n_times_in_order(client: httpx.AsyncClient) -> None:
    answer = await complete(client, prompt=["a", "b"], n=2)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["text"][21:] for choice in answer["choices"]] == [
        "a",
        "a (variant 2)",
        "b",
        "b (variant 2)",
    ]


async def test_prompts_can_be_token_ids(client: httpx.AsyncClient) -> None:
    one = await complete(client, prompt=[1, 2, 3])
    assert one["choices"][0]["text"] == "Simulated answer to: <1><2><3>"
    assert one["usage"]["prompt_tokens"] == 3
    two = await complete(client, prompt=[[1, 2], [3]])
    assert len(two["choices"]) == 2


async def test_echo_puts_the_prompt_in_front_in_both_forms(client: httpx.AsyncClient) -> None:
    fields = {"prompt": "Say this", "echo": True, "max_tokens": 2, "logprobs": 1}
    plain = (await complete(client, **fields))["choices"][0]
    assert plain["text"] == "Say thisSimulate"
    assert plain["logprobs"]["tokens"] == ["Say ", "this", "Simu", "late"]
    assert plain["logprobs"]["text_offset"] == [0, 4, 8, 12]
    events = await chunks(client, "/v1/completions", model=INSTRUCT, **fields)
    assert "".join(event["choices"][0]["text"] for event in events) == plain["text"]
    offsets = [event["choices"][0]["logprobs"]["text_offset"][0] for event in events[:-1]]
    assert offsets == plain["logprobs"]["text_offset"]


async def test_logprobs_start_behind_a_prompt_that_is_not_shown(client: httpx.AsyncClient) -> None:
    logprobs = (await complete(client, prompt="Hello", max_tokens=2, logprobs=0))["choices"][0][
        "logprobs"
    ]
    assert logprobs["text_offset"] == [5, 9]
    assert logprobs["top_logprobs"] is None
    top = (await complete(client, prompt="Hello", max_tokens=1, logprobs=3))["choices"][0]
    assert len(top["logprobs"]["top_logprobs"][0]) == 3
    body = {"model": INSTRUCT, "prompt": "Hello", "logprobs": 6}
    assert (await refusal(client, "/v1/completions", body))[1]["param"] == "logprobs"


async def test_a_completion_stream_gives_usage_as_chat_does(client: httpx.AsyncClient) -> None:
    fields = {"prompt": "Hi", "model": INSTRUCT}
    *others, last = await chunks(
        client, "/v1/completions", stream_options={"include_usage": True}, **fields
    )
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"] == (await complete(client, prompt="Hi"))["usage"]


async def test_an_edit_shows_input_and_instruction(client: httpx.AsyncClient) -> None:
    body = {"model": "text-davinci-edit-001", "input": "wat", "instruction": "Fix it", "n": 2}
    answer = (await client.post("/v1/edits", json=body)).json()
    assert answer["object"] == "edit"
    assert answer["choices"][0] == {"text": "Simulated edit of: wat (Fix it)", "index": 0}
    assert len(answer["choices"]) == 2
    assert answer["usage"]["prompt_tokens"] == 1 + 2


# -------------------------------------------------------------------------------------- responses


async def respond(client: httpx.AsyncClient, **fields: Any) -> Json:
    response = await client.post("/v1/responses", json={"model": "gpt-4o-mini", **fields})
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def named_events(stream: bytes) -> list[tuple[str, Json]]:
    """Names and payloads of a responses stream, which has no [DONE]."""
    *blocks, rest = stream.split(b"\n\n")
    assert rest == b""
    lines = [block.split(b"\n") for block in blocks]
    return [(name[7:].decode(), orjson.loads(data[6:])) for name, data in lines]


async def test_a_response_counts_input_and_instructions(client: httpx.AsyncClient) -> None:
    answer = await respond(client, input="Hello there", instructions="Be brief")
    [item] = answer["output"]
    assert item["content"][0]["text"] == ANSWER
    assert answer["status"] == "completed"
    assert answer["usage"]["input_tokens"] == 3 + 2
    assert answer["usage"]["output_tokens"] == count_tokens(ANSWER)


async def test_a_streamed_response_has_the_whole_sequence_of_events(
    client: httpx.AsyncClient,
) -> None:
    body = {"model": "gpt-4o-mini", "input": "Hello there"}
    plain = await respond(client, **body)
    streamed = await client.post("/v1/responses", json={**body, "stream": True})
    events = named_events(streamed.content)
    names = [name for name, _ in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(names[4:-4]) == {"response.output_text.delta"}
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert [data["type"] for _, data in events] == names
    assert "".join(data["delta"] for name, data in events if name.endswith("delta")) == ANSWER
    assert events[0][1]["response"]["usage"] is None
    assert events[-1][1]["response"] == plain


async def test_a_response_cut_by_its_limit_is_incomplete_in_both_forms(
    client: httpx.AsyncClient,
) -> None:
    fields = {"input": "Hello there", "max_output_tokens": 3}
    plain = await respond(client, **fields)
    assert plain["status"] == "incomplete"
    assert plain["incomplete_details"] == {"reason": "max_output_tokens"}
    streamed = await client.post(
        "/v1/responses", json={"model": "gpt-4o-mini", "stream": True, **fields}
    )
    assert named_events(streamed.content)[-1][0] == "response.incomplete"


async def test_a_response_calls_a_forced_function(client: httpx.AsyncClient) -> None:
    tool = {"type": "function", **WEATHER["function"]}
    fields = {"input": "Hello there", "tools": [tool], "tool_choice": "required"}
    [item] = (await respond(client, **fields))["output"]
    assert (item["type"], item["name"]) == ("function_call", "weather")
    streamed = await client.post(
        "/v1/responses", json={"model": "gpt-4o-mini", "stream": True, **fields}
    )
    deltas = [d for name, d in named_events(streamed.content) if name.endswith("arguments.delta")]
    assert "".join(data["delta"] for data in deltas) == item["arguments"]


async def test_a_response_follows_a_json_schema(client: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    answer = await respond(client, input="Hi", text=text)
    assert json.loads(answer["output"][0]["content"][0]["text"]) == {"ok": True}


async def test_stored_responses_can_be_read_continued_and_deleted(
    client: httpx.AsyncClient,
) -> None:
    first = await respond(client, input="Hello there")
    path = f"/v1/responses/{first['id']}"
    assert (await client.get(path)).json() == first
    items = (await client.get(f"{path}/input_items")).json()
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "Hello there"}]
    second = await respond(client, input="More", previous_response_id=first["id"])
    assert second["usage"]["input_tokens"] == first["usage"]["total_tokens"] + 1
    assert (await client.post(f"{path}/cancel")).status_code == 400
    deleted = await client.delete(path)
    assert deleted.json() == {"id": first["id"], "object": "response", "deleted": True}
    assert (await client.get(path)).status_code == 404
    status, error = await refusal(
        client,
        "/v1/responses",
        {"model": "gpt-4o", "input": "x", "previous_response_id": first["id"]},
    )
    assert (status, error["code"]) == (400, "previous_response_not_found")


async def test_a_response_that_is_not_to_be_stored_is_not(client: httpx.AsyncClient) -> None:
    answer = await respond(client, input="Secret", store=False)
    assert (await client.get(f"/v1/responses/{answer['id']}")).status_code == 404


# ------------------------------------------------------------------------ embeddings, moderations


def cosine(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_similar_texts_have_similar_vectors_of_length_one() -> None:
    cat, cats, tax = (
        embed(text, 256).tolist()
        for text in ("The cat sat on the mat", "the cats sat on a mat", "Income tax return 2025")
    )
    assert cosine(cat, cat) == pytest.approx(1)
    assert cosine(cat, cats) > 0.5 > 0.2 > cosine(cat, tax)
    for text in ("", "!!!", "a"):
        vector = embed(text, 1).tolist()
        assert cosine(vector, vector) == pytest.approx(1)


async def test_embeddings_come_as_numbers_or_as_the_same_numbers_in_base64(
    client: httpx.AsyncClient,
) -> None:
    body = {"model": "text-embedding-3-small", "input": ["Hello", "there"], "dimensions": 8}
    plain = (await client.post("/v1/embeddings", json=body)).json()
    packed = (
        await client.post("/v1/embeddings", json={**body, "encoding_format": "base64"})
    ).json()
    assert plain["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert [entry["index"] for entry in plain["data"]] == [0, 1]
    for numbers, encoded in zip(plain["data"], packed["data"], strict=True):
        unpacked = struct.unpack("<8f", base64.b64decode(encoded["embedding"]))
        assert list(unpacked) == numbers["embedding"]


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [("Hello", 1, 2), (["a", "b"], 2, 2), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
async def test_embedding_inputs_are_texts_or_tokens(
    client: httpx.AsyncClient, given: object, count: int, tokens: int
) -> None:
    body = {"model": "text-embedding-3-large", "input": given}
    answer = (await client.post("/v1/embeddings", json=body)).json()
    assert [len(entry["embedding"]) for entry in answer["data"]] == [3072] * count
    assert answer["usage"]["total_tokens"] == tokens


@pytest.mark.parametrize(
    "fields", [{"input": None}, {"input": ""}, {"input": []}, {"input": [{}]}, {"dimensions": 0}]
)
async def test_wrong_embedding_requests_are_400(client: httpx.AsyncClient, fields: Json) -> None:
    body = {"model": "text-embedding-3-small", "input": "Hi", **fields}
    assert (await refusal(client, "/v1/embeddings", body))[0] == 400


async def test_moderation_flags_plain_words_for_each_input(client: httpx.AsyncClient) -> None:
    answer = (
        await client.post("/v1/moderations", json={"input": ["I will kill you", "Hello"]})
    ).json()
    assert answer["model"] == "omni-moderation-latest"
    first, second = answer["results"]
    assert (first["flagged"], second["flagged"]) == (True, False)
    assert first["categories"]["violence"]
    assert first["category_scores"]["violence"] > second["category_scores"]["violence"]
    parts = [{"type": "text", "text": "kill"}, {"type": "image_url", "image_url": {"url": "x"}}]
    together = (await client.post("/v1/moderations", json={"input": parts})).json()
    assert [result["flagged"] for result in together["results"]] == [True]


# ------------------------------------------------------------------------------- images and audio


def test_the_image_is_a_valid_png() -> None:
    image = png(b"\x10\x20\x30", side=2)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    offset, kinds = 8, []
    while offset < len(image):
        (length,) = struct.unpack_from(">I", image, offset)
        kind, data = image[offset + 4 : offset + 8], image[offset + 8 : offset + 8 + length]
        (checksum,) = struct.unpack_from(">I", image, offset + 8 + length)
        assert checksum == zlib.crc32(kind + data)
        if kind == b"IDAT":
            assert zlib.decompress(data) == (b"\x00" + b"\x10\x20\x30" * 2) * 2
        kinds.append(kind)
        offset += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


async def test_images_are_generated_as_base64_or_named_by_url(client: httpx.AsyncClient) -> None:
    body = {"model": "gpt-image-1", "prompt": "A cat", "n": 2}
    answer = (await client.post("/v1/images/generations", json=body)).json()
    images = [base64.b64decode(entry["b64_json"]) for entry in answer["data"]]
    assert len(set(images)) == 2
    assert all(image.startswith(b"\x89PNG") for image in images)
    assert answer["usage"]["input_tokens"] == count_tokens("A cat")
    body = {"model": "dall-e-3", "prompt": "A cat", "response_format": "url"}
    named = (await client.post("/v1/images/generations", json=body)).json()
    assert named["data"][0]["url"].startswith("https://simulated.invalid/")
    assert (await refusal(client, "/v1/images/generations", {"prompt": "x", "n": 99}))[0] == 400


async def test_an_image_edit_takes_a_form(client: httpx.AsyncClient) -> None:
    files = {"image": ("cat.png", png(b"abc"), "image/png")}
    data = {"prompt": "Add a hat", "model": "gpt-image-1", "n": "2"}
    answer = await client.post("/v1/images/edits", files=files, data=data)
    assert len(answer.json()["data"]) == 2
    assert answer.json()["data"][0]["revised_prompt"] == "Simulated image of: Add a hat"
    missing = await client.post("/v1/images/edits", files={"mask": files["image"]}, data=data)
    assert missing.json()["error"]["param"] == "image"


async def test_speech_is_a_wav_file_as_long_as_its_text(client: httpx.AsyncClient) -> None:
    body = {"model": "tts-1", "input": "Hello there, all of you", "voice": "alloy"}
    response = await client.post("/v1/audio/speech", json=body)
    assert response.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(response.content)) as sound:
        assert sound.getnframes() == count_tokens(body["input"]) * sound.getframerate() // 50
    bare = await client.post("/v1/audio/speech", json={**body, "response_format": "pcm"})
    assert response.content.endswith(bare.content)


SOUND = {"file": ("talk.wav", b"RIFF" + bytes(32_000), "audio/wav")}
HEARD = "Simulated transcription of: talk.wav (32004 bytes)"


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("text", f"{HEARD}\n"),
        ("srt", f"1\n00:00:00,000 --> 00:00:02,000\n{HEARD}\n\n"),
        ("vtt", f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{HEARD}\n\n"),
    ],
)
async def test_transcriptions_come_as_text_and_subtitles(
    client: httpx.AsyncClient, format_: str, expected: str
) -> None:
    data = {"model": "whisper-1", "response_format": format_}
    response = await client.post("/v1/audio/transcriptions", files=SOUND, data=data)
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == expected


async def test_transcriptions_come_as_json_with_what_they_are_charged_by(
    client: httpx.AsyncClient,
) -> None:
    path = "/v1/audio/transcriptions"
    plain = await client.post(path, files=SOUND, data={"model": "whisper-1"})
    assert plain.json() == {"text": HEARD, "usage": {"type": "duration", "seconds": 2}}
    by_tokens = await client.post(path, files=SOUND, data={"model": "gpt-4o-transcribe"})
    assert by_tokens.json()["usage"]["output_tokens"] == count_tokens(HEARD)
    data = {"model": "whisper-1", "response_format": "verbose_json"}
    verbose = (await client.post(path, files=SOUND, data=data)).json()
    assert (verbose["duration"], verbose["segments"][0]["text"]) == (2.0, HEARD)
    translated = await client.post("/v1/audio/translations", files=SOUND, data=data)
    assert translated.json()["text"].startswith("Simulated translation of")
    unknown = await client.post(path, files=SOUND, data={**data, "response_format": "doc"})
    assert unknown.status_code == 400


async def test_a_transcription_can_be_streamed(client: httpx.AsyncClient) -> None:
    data = {"model": "gpt-4o-transcribe", "stream": "true"}
    response = await client.post("/v1/audio/transcriptions", files=SOUND, data=data)
    *deltas, done = payloads(response.content)
    assert "".join(event["delta"] for event in deltas) == done["text"] == HEARD


# ---------------------------------------------------------------------- what an account has stored


async def upload(
    client: httpx.AsyncClient, content: bytes, name: str = "a.txt", purpose: str = "user_data"
) -> Json:
    files = {"file": (name, content)}
    response = await client.post("/v1/files", files=files, data={"purpose": purpose})
    assert response.status_code == 200, response.text
    stored: Json = response.json()
    return stored


async def test_files_are_stored_listed_read_and_deleted(client: httpx.AsyncClient) -> None:
    content = bytes(range(256)) + b"\r\n--not the boundary\r\n"
    first = await upload(client, content)
    second = await upload(client, b"x", purpose="batch")
    assert (first["filename"], first["bytes"]) == ("a.txt", len(content))
    path = f"/v1/files/{first['id']}"
    assert (await client.get(path)).json() == first
    assert (await client.get(f"{path}/content")).content == content
    listed = (await client.get("/v1/files")).json()
    assert [file["id"] for file in listed["data"]] == [second["id"], first["id"]]
    only = (await client.get("/v1/files", params={"purpose": "batch"})).json()
    assert [file["id"] for file in only["data"]] == [second["id"]]
    assert (await client.delete(path)).json()["deleted"] is True
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).json()["error"]["message"].startswith("No such File")


async def test_lists_have_pages(client: httpx.AsyncClient) -> None:
    ids = [(await upload(client, b"x", name=f"{number}"))["id"] for number in range(3)]
    first = (await client.get("/v1/files", params={"limit": 2, "order": "asc"})).json()
    assert ([file["id"] for file in first["data"]], first["has_more"]) == (ids[:2], True)
    params = {"after": first["last_id"], "order": "asc"}
    rest = (await client.get("/v1/files", params=params)).json()
    assert ([file["id"] for file in rest["data"]], rest["has_more"]) == (ids[2:], False)
    for wrong in ({"limit": "0"}, {"limit": "x"}):
        assert (await client.get("/v1/files", params=wrong)).status_code == 400
    assert (await client.get("/v1/files", params={"after": "file-x"})).status_code == 404


async def test_the_same_file_sent_twice_is_two_files(client: httpx.AsyncClient) -> None:
    first, second = [await upload(client, b"same") for _ in range(2)]
    assert first["id"] != second["id"]


async def test_each_key_sees_only_what_it_stored() -> None:
    app = DemoProvider()
    async with asking("sk-one", app) as one, asking("sk-two", app) as two:
        mine, theirs = await upload(one, b"same"), await upload(two, b"same")
        assert mine["id"] != theirs["id"]
        assert (await two.get(f"/v1/files/{mine['id']}")).status_code == 404
        assert (await two.delete(f"/v1/files/{mine['id']}")).status_code == 404
        assert len((await one.get("/v1/files")).json()["data"]) == 1
        first, second = await respond(one, input="Hi"), await respond(two, input="Hi")
        assert first["id"] != second["id"]
        assert (await two.get(f"/v1/responses/{first['id']}")).status_code == 404


def test_a_shelf_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aieye.demo.accounts.MAX_KEPT_OBJECTS", 2)
    shelf: Shelf[int] = Shelf()
    for number in range(3):
        shelf.put(str(number), number)
    assert list(shelf) == ["1", "2"]


async def test_file_bytes_are_bounded_too(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.demo.accounts.MAX_KEPT_FILE_BYTES", 10)
    old = await upload(client, b"x" * 6)
    new = await upload(client, b"y" * 6)
    assert (await client.get(f"/v1/files/{old['id']}")).status_code == 404
    assert (await client.get(f"/v1/files/{new['id']}")).status_code == 200


async def test_an_upload_puts_its_parts_together(client: httpx.AsyncClient) -> None:
    body = {"filename": "big.jsonl", "purpose": "batch", "bytes": 6, "mime_type": "text/jsonl"}
    created = (await client.post("/v1/uploads", json=body)).json()
    path = f"/v1/uploads/{created['id']}"
    ids = [
        (await client.post(f"{path}/parts", files={"data": ("data", part)})).json()["id"]
        for part in (b"def", b"abc")
    ]
    early = await client.post(f"{path}/complete", json={"part_ids": ids[:1]})
    assert early.status_code == 400
    done = await client.post(f"{path}/complete", json={"part_ids": [ids[1], ids[0]]})
    assert done.json()["status"] == "completed"
    file_id = done.json()["file"]["id"]
    assert (await client.get(f"/v1/files/{file_id}/content")).content == b"abcdef"
    again = await client.post(f"{path}/cancel")
    assert again.json()["error"]["message"] == "The upload is completed already."


async def test_an_upload_can_be_cancelled(client: httpx.AsyncClient) -> None:
    body = {"filename": "big", "purpose": "batch", "bytes": 6, "mime_type": "text/plain"}
    created = (await client.post("/v1/uploads", json=body)).json()
    cancelled = await client.post(f"/v1/uploads/{created['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    assert (await client.post("/v1/uploads/upload_x/cancel")).status_code == 404


def batch_line(custom_id: str, model: str) -> bytes:
    body = {"model": model, "messages": HELLO}
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}
    return orjson.dumps(line) + b"\n"


async def create_batch(client: httpx.AsyncClient, content: bytes) -> Json:
    file = await upload(client, content, purpose="batch")
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    created: Json = (await client.post("/v1/batches", json=body)).json()
    return created


async def test_a_batch_is_carried_out_when_it_is_looked_at(client: httpx.AsyncClient) -> None:
    lines = batch_line("good", "gpt-4o-mini") + batch_line("bad", "sim-error-500") + b"{}\n"
    created = await create_batch(client, lines)
    assert created["status"] == "validating"
    done = (await client.get(f"/v1/batches/{created['id']}")).json()
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    output = await client.get(f"/v1/files/{done['output_file_id']}/content")
    answers = [orjson.loads(line) for line in output.content.splitlines()]
    assert [answer["custom_id"] for answer in answers] == ["good", "bad", None]
    assert [answer["response"]["status_code"] for answer in answers] == [200, 500, 400]
    good = answers[0]["response"]["body"]
    assert good["choices"][0]["message"]["content"] == ANSWER
    assert [batch["id"] for batch in (await client.get("/v1/batches")).json()["data"]] == [
        created["id"]
    ]
    assert (await client.post(f"/v1/batches/{created['id']}/cancel")).status_code == 400


async def test_a_batch_that_waits_can_be_cancelled(client: httpx.AsyncClient) -> None:
    created = await create_batch(client, batch_line("a", "gpt-4o"))
    cancelled = (await client.post(f"/v1/batches/{created['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert (await client.get(f"/v1/batches/{created['id']}")).json() == cancelled


async def test_a_vector_store_finds_the_most_similar_file(client: httpx.AsyncClient) -> None:
    cats = await upload(client, b"The cat sat on the mat.", name="cats.txt")
    taxes = await upload(client, b"Income tax returns are due in May.", name="taxes.txt")
    body = {"name": "Papers", "file_ids": [cats["id"]]}
    store = (await client.post("/v1/vector_stores", json=body)).json()
    path = f"/v1/vector_stores/{store['id']}"
    assert store["file_counts"]["total"] == 1
    added = await client.post(f"{path}/files", json={"file_id": taxes["id"]})
    assert added.json()["vector_store_id"] == store["id"]
    found = (await client.post(f"{path}/search", json={"query": "when are taxes due"})).json()
    assert [result["filename"] for result in found["data"]] == ["taxes.txt", "cats.txt"]
    assert found["data"][0]["score"] > found["data"][1]["score"]
    one = await client.post(f"{path}/search", json={"query": "cat", "max_num_results": 1})
    assert (len(one.json()["data"]), one.json()["has_more"]) == (1, True)


async def test_vector_stores_and_their_files_can_be_managed(client: httpx.AsyncClient) -> None:
    file = await upload(client, b"x")
    store = (await client.post("/v1/vector_stores", json={"file_ids": [file["id"]]})).json()
    path = f"/v1/vector_stores/{store['id']}"
    renamed = await client.post(path, json={"name": "New", "id": "ignored"})
    assert (renamed.json()["name"], renamed.json()["id"]) == ("New", store["id"])
    files = (await client.get(f"{path}/files")).json()["data"]
    assert (await client.get(f"{path}/files/{file['id']}")).json() == files[0]
    assert (await client.delete(f"{path}/files/{file['id']}")).json()["deleted"] is True
    assert (await client.get(f"{path}/files/{file['id']}")).status_code == 404
    assert (await client.get(path)).json()["file_counts"]["total"] == 0
    assert len((await client.get("/v1/vector_stores")).json()["data"]) == 1
    assert (await client.delete(path)).json()["object"] == "vector_store.deleted"
    assert (await client.get(path)).status_code == 404


# ------------------------------------------------------------------------------------------ forms


def test_form_parts_keep_their_bytes_names_and_file_names() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a%22b.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--\x00\xff\r\n\r\n"
        b"--b\r\nContent-Disposition: form-data; filename*=UTF-8''%C3%BC.txt; name=file\r\n\r\n\r\n"
        b"--b--\r\n"
    )
    parts = parse_form('multipart/form-data; boundary="b"', body)
    assert [(part.name, part.filename, part.content) for part in parts] == [
        ("purpose", None, b"batch"),
        ("file", 'a"b.bin', b"\r\n--\x00\xff\r\n"),
        ("file", "ü.txt", b""),
    ]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x\r\n\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--"),
    ],
)
def test_a_malformed_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ProviderError, match="multipart"):
        parse_form(content_type, body)


# -------------------------------------------------------------------------------- faults on request


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529])
async def test_an_error_is_answered_when_the_model_asks_for_it(
    client: httpx.AsyncClient, status: int
) -> None:
    body = {"model": f"sim-error-{status}", "messages": HELLO, "stream": True}
    response = await client.post(CHAT, json=body)
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith("Simulated")
    assert response.headers.get("retry-after") == ("1" if status == 429 else None)


async def test_an_answer_is_delayed_when_the_model_asks_for_it(client: httpx.AsyncClient) -> None:
    for model in ("sim-delay-80", "sim-delay-80-error-500"):
        started = time.monotonic()
        await client.post(CHAT, json={"model": model, "messages": HELLO})
        assert time.monotonic() - started >= 0.08


async def test_stream_events_come_one_by_one_when_the_model_is_slow(
    live: httpx.AsyncClient,
) -> None:
    body = {"model": "sim-slow-30", "messages": HELLO, "stream": True, "max_tokens": 3}
    async with live.stream("POST", "/chat/completions", json=body) as response:
        started = time.monotonic()
        pieces = [(time.monotonic() - started, chunk) async for chunk in response.aiter_raw()]
    assert len(pieces) == 6  # the role, three tokens, the finish and [DONE]
    assert all(chunk.endswith(b"\n\n") for _, chunk in pieces)
    assert pieces[-1][0] >= 0.12


async def test_a_stream_is_cut_after_so_many_events_without_done(live: httpx.AsyncClient) -> None:
    body = {"model": "sim-cut-5", "messages": HELLO, "stream": True}
    received = b""
    async with live.stream("POST", "/chat/completions", json=body) as response:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for chunk in response.aiter_raw():
                received += chunk
            pytest.fail("the stream ended in order")
    assert received.count(b"data: {") == 5
    assert b"[DONE]" not in received


async def test_a_plain_answer_is_cut_inside_its_body(live: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await live.post("/chat/completions", json={"model": "sim-cut-5", "messages": HELLO})


@pytest.mark.parametrize("model", ["sim-slow-20-long-400", "sim-long-90000", "sim-delay-60000"])
async def test_an_answer_stops_when_the_client_leaves(server: DemoServer, model: str) -> None:
    body = orjson.dumps({"model": model, "messages": HELLO, "stream": True})
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer k\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    if "delay" not in model:
        await reader.readuntil(b"sim ")
    while server.app.open_calls == 0:
        await asyncio.sleep(0.005)
    writer.transport.abort()
    async with asyncio.timeout(20):
        while server.app.open_calls:
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------- the server


async def test_the_server_takes_a_free_port_and_gives_it_back() -> None:
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    levels = [logging.getLogger(name).level for name in ("uvicorn.error", "uvicorn.access")]
    server = await serve_demo()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.base_url}/models")).status_code == 401
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert [logging.getLogger(n).level for n in ("uvicorn.error", "uvicorn.access")] == levels
    await server.close()
    await server.close()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


async def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements(
    live: httpx.AsyncClient,
) -> None:
    times = []
    for _ in range(10):
        started = time.monotonic()
        await live.get("/models")
        times.append(time.monotonic() - started)
    # With Nagle's algorithm on, all but the first take 40 ms or more.
    assert min(times[1:]) < 0.03


async def test_a_taken_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await serve_demo("127.0.0.1", taken.getsockname()[1])


async def test_closing_the_server_ends_open_streams_at_once(
    server: DemoServer, live: httpx.AsyncClient
) -> None:
    body = {"model": "sim-slow-60000", "messages": HELLO, "stream": True}
    async with live.stream("POST", "/chat/completions", json=body) as response:
        events = response.aiter_raw()
        await anext(events)
        started = time.monotonic()
        await server.close()
        assert time.monotonic() - started < 20
        with pytest.raises(httpx.TransportError):
            await anext(events)
    assert server.app.open_calls == 0


async def test_each_server_has_accounts_of_its_own() -> None:
    first, second = await serve_demo(), await serve_demo()
    assert first.app is not second.app
    assert first.port != second.port
    await first.close()
    await second.close()


def test_importing_the_provider_imports_no_framework() -> None:
    code = (
        "import sys, aieye.demo;"
        "print([n for n in ('uvicorn', 'fastapi', 'starlette', 'pydantic') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"


# ---------------------------------------------------------------------------- OpenAI's own library


async def test_the_sdk_chats(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello there"}]
    )
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3 + count_tokens(ANSWER)


async def test_the_sdk_streams_a_chat(sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Hello there"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage = "", None
    async for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == ANSWER
    assert usage is not None
    assert usage.completion_tokens == count_tokens(ANSWER)


async def test_the_sdk_completes_in_both_forms(sdk: AsyncOpenAI) -> None:
    plain = await sdk.completions.create(model=INSTRUCT, prompt="Hello there")
    stream = await sdk.completions.create(model=INSTRUCT, prompt="Hello there", stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert plain.choices[0].text == text == ANSWER


async def test_the_sdk_responds_in_both_forms(sdk: AsyncOpenAI) -> None:
    plain = await sdk.responses.create(model="gpt-4o-mini", input="Hello there")
    assert plain.output_text == ANSWER
    assert (await sdk.responses.retrieve(plain.id)).output_text == ANSWER
    async with sdk.responses.stream(model="gpt-4o-mini", input="Hello there") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == ANSWER
    assert final.usage == plain.usage
    await sdk.responses.delete(plain.id)


async def test_the_sdk_embeds(sdk: AsyncOpenAI) -> None:
    # Unless told otherwise the library asks for base64 and decodes it.
    packed = await sdk.embeddings.create(model="text-embedding-3-small", input="Hello")
    plain = await sdk.embeddings.create(
        model="text-embedding-3-small", input="Hello", encoding_format="float"
    )
    assert packed.data[0].embedding == plain.data[0].embedding
    assert len(plain.data[0].embedding) == 1536


async def test_the_sdk_lists_models(sdk: AsyncOpenAI) -> None:
    models = [model.id async for model in sdk.models.list()]
    assert models == list(MODELS)
    assert (await sdk.models.retrieve("gpt-4o")).owned_by == "simulated"


async def test_the_sdk_keeps_files_uploads_batches_and_vector_stores(sdk: AsyncOpenAI) -> None:
    file = await sdk.files.create(file=("a.jsonl", batch_line("a", "gpt-4o")), purpose="batch")
    assert [stored.id async for stored in sdk.files.list()] == [file.id]
    assert (await sdk.files.content(file.id)).content == batch_line("a", "gpt-4o")
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert (await sdk.batches.retrieve(batch.id)).status == "completed"
    store = await sdk.vector_stores.create(name="S", file_ids=[file.id])
    assert [found.file_id async for found in sdk.vector_stores.search(store.id, query="x")] == [
        file.id
    ]
    uploaded = await sdk.uploads.upload_file_chunked(
        file=b"abcdef", filename="b.txt", bytes=6, mime_type="text/plain", purpose="user_data"
    )
    assert uploaded.file is not None
    assert (await sdk.files.delete(uploaded.file.id)).deleted


async def test_the_sdk_speaks_listens_draws_and_moderates(sdk: AsyncOpenAI) -> None:
    speech = await sdk.audio.speech.create(model="tts-1", input="Hello", voice="alloy")
    heard = await sdk.audio.transcriptions.create(
        model="whisper-1", file=("speech.wav", speech.content)
    )
    assert heard.text.startswith("Simulated transcription of: speech.wav")
    drawn = await sdk.images.generate(model="gpt-image-1", prompt="A cat")
    assert drawn.data is not None
    assert drawn.data[0].b64_json
    judged = await sdk.moderations.create(input="Hello")
    assert not judged.results[0].flagged


async def test_the_sdk_raises_the_errors_that_were_asked_for(sdk: AsyncOpenAI) -> None:
    async def ask(model: str) -> None:
        await sdk.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}]
        )

    with pytest.raises(openai.RateLimitError):
        await ask("sim-error-429")
    with pytest.raises(openai.AuthenticationError):
        await ask("sim-error-401")
    with pytest.raises(openai.InternalServerError):
        await ask("sim-error-500")
    with pytest.raises(openai.NotFoundError, match="sim-none"):
        await ask("sim-none")

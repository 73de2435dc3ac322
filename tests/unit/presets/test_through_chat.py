"""A completion that a chat model answers, and a chat that an older model answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from aieye.errors import InvalidRequest
from aieye.presets.engines import Engines, is_chat_name
from aieye.presets.streams import as_chat, as_completion
from aieye.presets.through_chat import MOST_PROMPTS, NotACompletion, chats_of, completion_of
from aieye.presets.through_completions import chat_of, completion_words

BODY: dict[str, Any] = {"model": "gpt-4o-mini", "prompt": "Why?", "max_tokens": 16, "logprobs": 0}


def chat_answer(text: str | None, *, index: int = 0, **more: Any) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": more.pop("refusal", None)}
    return orjson.dumps(
        {
            "id": "chatcmpl-7", "object": "chat.completion", "created": 5, "model": "gpt-4o-mini-1",
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": {
                "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
            **more,
        }
    )  # fmt: skip


def test_each_prompt_is_a_chat_of_its_own() -> None:
    asked = chats_of({**BODY, "prompt": ["a", "b"], "stop": ["\n"], "logprobs": 3})
    assert [one["messages"] for one in asked] == [
        [{"role": "user", "content": "a"}],
        [{"role": "user", "content": "b"}],
    ]
    assert {name: asked[0][name] for name in asked[0] if name != "messages"} == {
        "model": "gpt-4o-mini", "max_tokens": 16, "stop": ["\n"], "logprobs": True, "top_logprobs": 3,
    }  # fmt: skip
    assert "top_logprobs" not in chats_of(BODY)[0]


def test_a_model_that_reasons_is_asked_in_its_own_words() -> None:
    body = {**BODY, "model": "gpt-5-mini", "temperature": 1, "top_p": 0.5, "presence_penalty": 0}
    (asked,) = chats_of(body)
    assert asked["max_completion_tokens"] == 16
    assert asked["top_p"] == 0.5
    assert {"max_tokens", "temperature", "presence_penalty"}.isdisjoint(asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("best_of", 2), ("prompt", [[1, 2], [3]]), ("suffix", "end")),
        ("prompt", ["x"] * (MOST_PROMPTS + 1)),
    ],
)
def test_what_chat_cannot_do_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chats_of({**BODY, field: value})
    assert refused.value.param == field
    assert "gpt-4o-mini" in refused.value.message


def test_as_many_prompts_as_are_allowed_are_asked() -> None:
    assert len(chats_of({**BODY, "prompt": ["x"] * MOST_PROMPTS})) == MOST_PROMPTS


def test_the_answers_are_one_completion_with_the_sum_of_their_usage() -> None:
    body = {**BODY, "prompt": ["Why? ", "How? "], "echo": True}
    found = completion_of(body, [chat_answer("So."), chat_answer(None, refusal="No.")])
    assert found == {
        "id": "cmpl-7", "object": "text_completion", "created": 5, "model": "gpt-4o-mini-1",
        "choices": [
            {"text": "Why? So.", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "How? No.", "index": 1, "logprobs": None, "finish_reason": "stop"},
        ],
        "usage": {
            "prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }  # fmt: skip


LOGPROBS = {
    "content": [
        {"token": "So", "logprob": -0.5, "bytes": [83, 111], "top_logprobs": []},
        {"token": ".", "logprob": -1.5, "bytes": [46], "top_logprobs": []},
    ],
    "refusal": None,
}


def test_log_probabilities_are_in_the_older_shape() -> None:
    answer = orjson.loads(chat_answer("So."))
    answer["choices"][0]["logprobs"] = LOGPROBS
    (choice,) = completion_of(BODY, [orjson.dumps(answer)])["choices"]
    assert choice["logprobs"] == {
        "tokens": ["So", "."],
        "token_logprobs": [-0.5, -1.5],
        "top_logprobs": None,
        "text_offset": [4, 6],
    }
    LOGPROBS["content"][0]["top_logprobs"] = [{"token": "No", "logprob": -2, "bytes": []}]  # type: ignore[index] # a list, as made above
    answer["choices"][0]["logprobs"] = LOGPROBS
    (choice,) = completion_of(BODY, [orjson.dumps(answer)])["choices"]
    assert choice["logprobs"]["top_logprobs"] == [{"No": -2}, {}]


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"choices":[1]}', b'{"choices":[{}]}', b'{"choices":[{"message":null}]}',
     b'{"choices":[{"message":{},"logprobs":{"content":[{}]}}]}'],
)  # fmt: skip
def test_what_is_no_answer_is_the_providers_fault(answer: bytes) -> None:
    with pytest.raises(NotACompletion) as failed:
        completion_of(BODY, [answer])
    assert failed.value.status == 502


def chunk(delta: object, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return b"data: " + orjson.dumps({**body, "choices": [choice], **more}) + b"\n\n"


def read(frames: bytes) -> list[Any]:
    return [
        orjson.loads(frame.removeprefix(b"data: "))
        for frame in frames.split(b"\n\n")
        if frame and frame != b"data: [DONE]"
    ]


def test_a_chats_stream_is_a_completions_wherever_it_is_cut() -> None:
    usage = {"id": "chatcmpl-7", "choices": [], "usage": {"total_tokens": 5}}
    frames = (
        chunk({"role": "assistant", "content": ""}) + chunk({"content": "So"}) + chunk({"content": "."})
        + chunk({}, "stop") + b"data: " + orjson.dumps(usage) + b"\n\ndata: [DONE]\n\n"
    )  # fmt: skip
    for size in (1, 7, len(frames)):
        stream = as_completion("Why? ", echo=True)
        pieces = [frames[at : at + size] for at in range(0, len(frames), size)]
        said = b"".join(stream.feed(piece) for piece in pieces)
        assert said.endswith(b"data: [DONE]\n\n")
        *chunks, last = read(said)
        texts = [(one["choices"][0]["text"], one["choices"][0]["finish_reason"]) for one in chunks]
        assert texts == [("Why? ", None), ("So", None), (".", None), ("", "stop")]
        assert {one["object"] for one in chunks} == {"text_completion"}
        assert {one["id"] for one in chunks} == {"cmpl-7"}
        assert last["usage"] == {"total_tokens": 5}


def test_an_error_in_a_stream_stays_as_it_is() -> None:
    error = b'data: {"error":{"message":"No more."}}\n\n'
    assert as_completion("", echo=False).feed(error) == error


def test_a_completions_stream_is_a_chats() -> None:
    def piece(text: str, finish: str | None = None) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        body = {"id": "cmpl-7", "object": "text_completion", "created": 5, "model": "m"}
        return b"data: " + orjson.dumps({**body, "choices": [choice]}) + b"\n\n"

    said = as_chat().feed(piece("So") + piece(".") + piece("", "stop") + b"data: [DONE]\n\n")
    assert [one["choices"][0]["delta"] for one in read(said)] == [
        {"role": "assistant", "content": "So"},
        {"content": "."},
        {},
    ]
    assert read(said)[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_completion_is_a_chats_answer() -> None:
    logprobs = {
        "tokens": ["So"],
        "token_logprobs": [-0.5],
        "top_logprobs": None,
        "text_offset": [4],
    }
    answer = {
        "id": "cmpl-7", "object": "text_completion", "created": 5, "model": "m",
        "choices": [{"text": "So", "index": 0, "logprobs": logprobs, "finish_reason": "length"}],
        "usage": {"total_tokens": 5},
    }  # fmt: skip
    assert chat_of(orjson.dumps(answer)) == {
        "id": "chatcmpl-7", "object": "chat.completion", "created": 5, "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "So", "refusal": None},
                "logprobs": {
                    "content": [
                        {"token": "So", "logprob": -0.5, "bytes": [83, 111], "top_logprobs": []}
                    ],
                    "refusal": None,
                },
                "finish_reason": "length",
            }
        ],
        "usage": {"total_tokens": 5},
    }  # fmt: skip
    with pytest.raises(NotACompletion):
        chat_of(b'{"choices":[{}]}')


def test_a_chat_request_is_said_in_the_older_words() -> None:
    request = {"messages": [], "max_completion_tokens": 5, "logprobs": True, "top_logprobs": 2}
    assert completion_words(request) == {"max_tokens": 5, "logprobs": 2}
    assert completion_words({"logprobs": True, "stop": None}) == {"logprobs": 0}
    assert completion_words({"logprobs": False}) == {}


@pytest.mark.parametrize(
    ("name", "is_chat"),
    [
        ("gpt-4o-mini", True), ("gpt-3.5-turbo", True), ("gpt-5", True), ("o4-mini", True),
        ("openai/gpt-4o", True), ("claude-sonnet-4", True), ("chatgpt-4o-latest", True),
        ("gpt-3.5-turbo-instruct", False), ("gpt-3.5-turbo-instruct-0914", False),
        ("davinci", False), ("davinci-002", False), ("text-davinci-003", False),
        ("meta-llama/Llama-3-8b-chat", False), ("sim", False), ("gpt2", False),
    ],
)  # fmt: skip
def test_names_tell_which_models_only_chat(name: str, is_chat: bool) -> None:
    assert is_chat_name(name) is is_chat


def said(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message}})


def test_what_a_provider_says_of_a_model_counts_for_more_than_its_name() -> None:
    engines = Engines()
    chat = said("This is a chat model and not supported in the v1/completions endpoint.")
    older = said("This is not a chat model. Did you mean to use v1/completions?")
    assert not engines.is_chat_only("mine", "mine")
    assert engines.learn("mine", 404, chat, through_chat=False)
    assert engines.is_chat_only("mine", "mine")
    # Asked that way already: to ask again would help nobody.
    assert not engines.learn("mine", 404, chat, through_chat=True)
    assert engines.learn("mine", 404, older, through_chat=True)
    assert not engines.is_chat_only("mine", "mine")
    for status, body in ((200, chat), (500, chat), (404, b"<html>"), (404, b"{}"), (404, None)):
        assert not engines.learn("mine", status, body, through_chat=False)

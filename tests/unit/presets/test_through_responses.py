"""A chat preset at `/v1/responses`."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.errors import InvalidRequest
from aieye.presets.called import asked_of_embeddings, asked_of_responses
from aieye.presets.precedence import LockedField

SCHEMA: dict[str, Any] = {"name": "answer", "schema": {"type": "object"}, "strict": True}
FUNCTION: dict[str, Any] = {"name": "look_up", "parameters": {"type": "object"}}
PRESET: dict[str, Any] = {
    "model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief."}],
    "temperature": 0.5, "max_tokens": 100, "reasoning_effort": "low", "verbosity": "low",
    "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "look_up"}},
    "overridable": ["max_tokens", "reasoning_effort"],
}  # fmt: skip


def asked(request: dict[str, Any], **fields: Any) -> dict[str, Any]:
    (body,) = asked_of_responses({**PRESET, **fields}, request, "gpt-4o").asking.bodies
    return body


def test_a_preset_is_said_in_the_words_of_the_responses_api() -> None:
    assert asked({"model": "preset/x", "input": "Why?", "stream": True}) == {
        "model": "gpt-4o", "stream": True, "temperature": 0.5, "max_output_tokens": 100,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", **SCHEMA}},
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": {"type": "function", "name": "look_up"},
        "input": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"},
        ],
    }  # fmt: skip


def test_items_of_a_request_follow_the_presets() -> None:
    item = {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}
    parts = {"role": "user", "content": [{"type": "text", "text": "So:"}]}
    assert asked({"input": [item]}, messages=[parts])["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "So:"}]},
        item,
    ]


def test_who_decides_is_decided_by_chats_names() -> None:
    assert asked({"input": "a", "max_output_tokens": 5})["max_output_tokens"] == 5
    assert asked({"input": "a", "reasoning": {"effort": "high"}})["reasoning"] == {"effort": "high"}
    with pytest.raises(LockedField):
        asked({"input": "a", "temperature": 0})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": ["."]}, "model"),
        ({"seed": 1}, "model"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "model"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "model"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked({"input": "a"}, **fields)
    assert refused.value.param == param
    assert "/v1/chat/completions" in refused.value.message
    with pytest.raises(InvalidRequest):
        asked({"input": 5})


def test_the_two_fields_under_text_are_decided_each_by_itself() -> None:
    config = {"verbosity": "low", "response_format": {"type": "json_object"}}
    both = asked_of_responses(config, {"input": "a", "text": {"verbosity": "high"}}, "m")
    body = both.asking.bodies[0]
    assert body["text"] == {"verbosity": "high", "format": {"type": "json_object"}}
    with pytest.raises(LockedField) as refused:
        asked_of_responses(config, {"input": "a", "text": {"format": {"type": "text"}}}, "m")
    assert refused.value.param == "text.format"
    free = {**config, "overridable": ["response_format"]}
    other = asked_of_responses(free, {"input": "a", "text": {"format": {"type": "text"}}}, "m")
    assert other.asking.bodies[0]["text"] == {"verbosity": "low", "format": {"type": "text"}}
    # What is none at all is the model's to refuse.
    odd = asked_of_responses(config, {"input": "a", "text": "odd"}, "m")
    assert odd.asking.bodies[0]["text"] == "odd"


def test_a_call_of_embeddings_says_what_is_to_be_embedded() -> None:
    with pytest.raises(InvalidRequest, match="input is required") as refused:
        asked_of_embeddings({"model": "m"}, {"model": "preset/e"}, "m")
    assert refused.value.param == "input"

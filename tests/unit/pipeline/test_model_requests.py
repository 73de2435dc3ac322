"""Prompts as requests for a model, and values out of its answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from aieye.pipeline.model_requests import (
    NoValue,
    message_of_error,
    request_of,
    text_of_answer,
    value_of_text,
)
from aieye.prompts.content import Content

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}


def test_the_system_text_comes_first_and_parameters_go_as_they_are() -> None:
    params = {"system": "Be brief.", "temperature": 0, "max_tokens": 9, "seed": 1}
    request = request_of("p", Content("Hey {buddy}", "gpt-4o", params), {"buddy": "{x}"})
    assert request == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hey {x}"},
        ],
        "temperature": 0,
        "max_tokens": 9,
        "seed": 1,
    }


def test_a_call_can_ask_another_model() -> None:
    assert request_of("p", Content("Hey", "gpt-4o"), {}, model="o3")["model"] == "o3"


@pytest.mark.parametrize(
    ("more", "format_"),
    [
        ({}, None),
        ({"json_mode": True}, {"type": "json_object"}),
        (
            {"schema": SCHEMA, "json_mode": True},
            {"type": "json_schema", "json_schema": {"name": "a_prompt", "schema": SCHEMA}},
        ),
        (
            {"schema": {"name": "own", "schema": SCHEMA, "strict": True}},
            {
                "type": "json_schema",
                "json_schema": {"name": "own", "schema": SCHEMA, "strict": True},
            },
        ),
    ],
)
def test_json_is_asked_for_as_openai_has_it(more: dict[str, Any], format_: object) -> None:
    content = Content("Hey", "gpt-4o", **more)
    assert request_of("a_prompt", content, {}).get("response_format") == format_


def answer(**message: Any) -> bytes:
    return orjson.dumps({"choices": [{"message": {"role": "assistant", **message}}]})


def test_the_value_is_the_text_of_the_first_choice() -> None:
    assert text_of_answer(answer(content=" Hello \n")) == " Hello \n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answer(content=None, refusal="I cannot."), "the model refused: I cannot."),
        (answer(content=None, tool_calls=[{}]), "the answer has no text"),
        (answer(content=[{"type": "text"}]), "the answer has no text"),
        (b'{"choices": []}', "the answer has no text"),
        (b'{"choices": [{"message": "x"}]}', "the answer has no text"),
        (b"[]", "the answer has no text"),
        (b"<html>", "the answer has no text"),
    ],
)
def test_an_answer_without_text_says_why(body: bytes, why: str) -> None:
    with pytest.raises(NoValue, match=why):
        text_of_answer(body)


def test_with_a_schema_the_value_is_the_object_in_the_text() -> None:
    content = Content("Hey", "gpt-4o", schema=SCHEMA)
    assert value_of_text(content, '```json\n{"title": "A"}\n```') == {"title": "A"}
    assert value_of_text(Content("Hey", "gpt-4o", json_mode=True), '{"a": 1}') == '{"a": 1}'
    with pytest.raises(NoValue, match="is not JSON"):
        value_of_text(content, "Sure! Here it is")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "No."}}', "No."),
        (b'{"error": {"message": ""}}', None),
        (b'{"error": "No."}', None),
        (b"", None),
        (None, None),
    ],
)
def test_what_a_provider_says_of_an_error_is_found(body: bytes | None, message: str | None) -> None:
    assert message_of_error(body) == message

"""Which ids a body names, and which it only talks about."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from aieye.gateway.references import (
    answer_id,
    brought,
    continued,
    items_made,
    may_continue,
    may_refer,
    references,
)
from tests.fakes import chat

SCHEMA = {"type": "object", "examples": [{"file_id": "no"}], "properties": {"file_id": {}}}


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": "yes"},
        {"input": [{"content": [{"type": "input_file", "file_id": "yes"}]}]},
        {"prompt": {"variables": {"metadata": {"type": "input_file", "file_id": "yes"}}}},
        {"prompt": {"variables": {"parameters": {"type": "input_file", "file_id": "yes"}}}},
        {"tools": [{"type": "file_search", "vector_store_ids": ["yes"]}]},
        {"tools": [{"type": "code_interpreter", "container": {"file_ids": ["yes"]}}]},
        {"files": [{"file_id": "yes", "attributes": {"file_id": "no"}}]},
        {"file_id": "yes", "attributes": {"file_id": "no"}},
        {"input_file_id": "yes", "metadata": {"input_file_id": "no"}},
        {"text": {"format": {"schema": SCHEMA}}, "input": [{"file_id": "yes"}]},
    ],
)
def test_an_id_is_found_where_a_provider_reads_it(body: dict[str, Any]) -> None:
    assert may_refer(orjson.dumps(body))
    assert list(references(body)) == ["yes"]


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"file_id": "no", "more": [{"file_ids": ["no"]}]}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
        {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
        {"functions": [{"name": "f", "parameters": SCHEMA}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"file_id": {"not": "a text"}, "file_ids": [1]},
    ],
)
def test_what_clients_write_as_they_like_names_nothing(body: dict[str, Any]) -> None:
    assert list(references(body)) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"messages":[{"role":"tool","tool_call_id":"call_1"}]}', False),
        (rb'{"content":"caf\u00e9"}', False),
        (b'{"file_id":"x"}', True),
        (rb'{"file_i\u0064":"x"}', True),
        (rb'{"file\u005Fid":"x"}', True),
    ],
)
def test_a_quick_look_knows_most_bodies_that_name_nothing(body: bytes, expected: bool) -> None:
    assert may_refer(body) is expected


@pytest.mark.parametrize(
    "body",
    [
        {"conversation": "yes"},
        {"conversation": {"id": "yes"}},
        {"input": [{"type": "item_reference", "id": "yes"}]},
        {"input": ["x", {"id": "yes"}]},
        {"input": [{"type": "reasoning", "id": "yes", "encrypted_content": None}]},
        {"input": [{"type": "message", "id": "yes", "content": []}]},
        {"input": [{"type": "image_generation_call", "id": "yes", "result": "x"}]},
        {"input": [{"type": {}, "id": "yes", "content": "x"}]},
        {"tools": [{"type": "code_interpreter", "container": "yes"}]},
    ],
)
def test_what_a_response_goes_on_from_is_found(body: dict[str, Any]) -> None:
    assert may_continue(orjson.dumps(body))
    assert list(continued(body)) == ["yes"]


@pytest.mark.parametrize(
    "body",
    [
        {"conversation": None, "input": "text", "tools": None},
        {"input": [{"type": "message", "id": "no", "content": "x"}]},
        {"input": [{"role": "assistant", "id": "no", "content": [{"id": "no"}]}]},
        {"input": [{"type": "function_call", "id": "no", "arguments": "{}"}]},
        {"input": [{"type": "reasoning", "id": "no", "encrypted_content": "x"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"metadata": {"conversation": "no", "id": "no"}, "prompt": {"id": "no"}},
    ],
)
def test_what_says_all_that_it_stands_for_is_no_reference(body: dict[str, Any]) -> None:
    assert list(continued(body)) == []


def test_the_items_of_a_response_are_found_in_both_forms() -> None:
    message = {"id": "msg_1", "type": "message"}
    code = {"id": "ci_1", "type": "code_interpreter_call", "container_id": "cntr_1"}
    whole = chat.response_body() | {"output": [message, code, {"id": 7}, "x"]}
    events = [
        chat.frame({"type": "response.output_item.added", "item": item}, event="x")
        for item in (message, code)
    ]
    said = {"type": "response.output_text.delta", "delta": '"response.output_item.added" {"id":1}'}
    stream = b"".join([events[0], chat.frame(said), events[1]])

    assert list(items_made(orjson.dumps(whole))) == ["msg_1", "ci_1", "cntr_1"]
    assert list(items_made(stream)) == ["msg_1", "ci_1", "cntr_1"]
    assert list(items_made(stream.replace(b"\n", b"\r"))) == ["msg_1", "ci_1", "cntr_1"]
    assert list(items_made(orjson.dumps({"input": [message], "data": [message]}))) == []


@pytest.mark.parametrize("id_", ["resp_1", "chatcmpl-1", "gen-1234", "0f8e"])
def test_an_answers_id_is_found_in_every_form(id_: str) -> None:
    whole = chat.response_body(id_=id_)
    behind = {name: whole[name] for name in [*(set(whole) - {"id"}), "id"]}

    assert answer_id(orjson.dumps(whole)) == id_
    assert answer_id(orjson.dumps(behind)) == id_
    assert answer_id(b"".join(chat.response_frames(id_=id_))) == id_
    assert answer_id(b": hello\n\n" + chat.frame({"id": id_, "choices": []})) == id_


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"id":1}', b'{"id":"%b"}' % (b"x" * 201), b"data: [DONE]\n\n"]
)
def test_an_answer_without_an_id_has_none(body: bytes) -> None:
    assert answer_id(body) is None


def test_only_batches_and_uploads_bring_files() -> None:
    answer = {"output_file_id": "a", "error_file_id": None, "file": {"id": "b"}}

    assert list(brought("batches/{id}", answer)) == ["a"]
    assert list(brought("uploads/{id}/complete", answer)) == ["b"]
    for endpoint in ("files/{id}", "files/{id}/content", "vector_stores/{id}", "responses/{id}"):
        assert list(brought(endpoint, answer)) == []

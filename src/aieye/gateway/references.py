"""Where bodies name objects kept at a provider, and what such objects an answer tells of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from aieye.gateway.sse import iter_events

# Fields of request bodies that name such objects.
_ONE = frozenset(
    {"container_id", "file_id", "input_file_id", "previous_response_id", "vector_store_id"}
)
_MANY = frozenset({"file_ids", "vector_store_ids"})
# Their names as they stand in a body; an escape may stand for any letter of one.
_NAMES = re.compile(rb'"(?:%s)"|\\u00[567]' % "|".join(sorted(_ONE | _MANY)).encode())
# What is in all of them: looked for first, since that is twenty times quicker.
_MARKS = (b"_id", rb"\u00")
# What clients fill as they like, no provider reads ids there: by itself, and within a field. A name
# alone does not say so: a prompt's variable or a tool's may be called anything.
_FREE = frozenset({"metadata", "attributes"})
_FREE_WITHIN = {
    "tools": frozenset({"parameters"}),
    "functions": frozenset({"parameters"}),
    "response_format": frozenset({"schema"}),
    "text": frozenset({"schema"}),
    "files": frozenset({"attributes"}),
}
# How the fields begin by which a response goes on from what is stored.
_RESPONSE_MARKS = (b'"id"', b'"conversation"', b'"container"', rb"\u00")
# Items of a response's input that say by themselves, in this field, all that they stand for. What
# any other stands for, the provider may look up by its id.
_WHOLE = {
    "message": "content",
    "function_call": "arguments",
    "function_call_output": "output",
    "custom_tool_call": "input",
    "custom_tool_call_output": "output",
    "reasoning": "encrypted_content",
}
_ITEM_ADDED = b"response.output_item.added"
LONGEST_ID = 200
# An answer's id stands in the first of its events that has data; some send others before it.
_FIRST_EVENTS = 3


def may_refer(body: bytes) -> bool:
    """Whether a body may name such objects: a quick look that errs towards yes."""
    name, escape = _MARKS
    return (name in body or escape in body) and _NAMES.search(body) is not None


def references(body: dict[str, Any]) -> Iterator[str]:
    """The ids that a request's body names, wherever in it they stand."""
    for field, value in body.items():
        if field not in _FREE:
            yield from _within({field: value}, _FREE_WITHIN.get(field, frozenset()))


def _within(value: Any, free: frozenset[str]) -> Iterator[str]:
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, list):
            stack.extend(found)
        elif isinstance(found, dict):
            for name, inner in found.items():
                if name in _ONE and isinstance(inner, str):
                    yield inner
                elif name in _MANY and isinstance(inner, list):
                    yield from (one for one in inner if isinstance(one, str))
                elif name not in free:
                    stack.append(inner)


def may_continue(body: bytes) -> bool:
    """Whether `continued` may find anything: a quick look that errs towards yes."""
    return any(mark in body for mark in _RESPONSE_MARKS)


def continued(body: dict[str, Any]) -> Iterator[str]:
    """The ids of what a request for a response goes on from: items, a conversation, containers."""
    conversation = body.get("conversation")
    found = [conversation.get("id") if isinstance(conversation, dict) else conversation]
    found += [tool.get("container") for tool in _objects(body.get("tools"))]
    found += [item.get("id") for item in _objects(body.get("input")) if not _is_whole(item)]
    yield from (one for one in found if isinstance(one, str))


def _is_whole(item: dict[str, Any]) -> bool:
    kind = item.get("type") or ("message" if "role" in item else None)
    field = _WHOLE.get(kind) if isinstance(kind, str) else None
    return field is not None and bool(item.get(field))


def _objects(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def is_id(text: str) -> bool:
    """Whether a text may be an object's id."""
    return text.isascii() and text.isprintable() and 0 < len(text) <= LONGEST_ID


def id_of(answer: dict[str, Any]) -> str | None:
    """The id of the object that an answer is, if it has one."""
    found = answer.get("id")
    return found if isinstance(found, str) and is_id(found) else None


def answer_id(body: bytes) -> str | None:
    """The id of a stored response or completion, from its body or the beginning of its stream."""
    answer = read_answer(body)
    if answer is not None:
        return id_of(answer)
    for event in islice(iter_events(body), _FIRST_EVENTS):
        payload = read_answer(event.data) or {}
        response = payload.get("response")
        found = id_of(response if isinstance(response, dict) else payload)
        if found is not None:
            return found
    return None


def items_made(body: bytes) -> Iterator[str]:
    """The ids of what later responses can go on from, out of a response or events of its stream.

    What it was asked with is not among it: there a client may have written any id.
    """
    answer = read_answer(body)
    yield from items_of({"output": list(_items_added(body))} if answer is None else answer)


def items_of(response: dict[str, Any]) -> Iterator[str]:
    """As `items_made`, of a response that was read."""
    for item in _objects(response.get("output")):
        for external_id in (item.get("id"), item.get("container_id")):
            if isinstance(external_id, str) and is_id(external_id):
                yield external_id


def _items_added(frames: bytes) -> Iterator[dict[str, Any]]:
    """The items that complete events bring, found without a look at all the others."""
    at = frames.find(_ITEM_ADDED)
    while at >= 0:
        start = max(frames.rfind(b"\n", 0, at), frames.rfind(b"\r", 0, at)) + 1
        ends = frames.find(b"\n", at), frames.find(b"\r", at)
        end = min((one for one in ends if one >= 0), default=len(frames))
        event = read_answer(frames[start:end].removeprefix(b"data:")) or {}
        if event.get("type") == _ITEM_ADDED.decode():
            yield from _objects([event.get("item")])
        at = frames.find(_ITEM_ADDED, end)


def brought(endpoint: str, answer: dict[str, Any]) -> Iterator[str]:
    """The ids of the files that a finished batch or upload brings with it.

    Only their own endpoints say so: anything else may hold what a client wrote.
    """
    found: list[Any] = []
    if endpoint in {"batches", "batches/{id}", "batches/{id}/cancel"}:
        found = [answer.get("output_file_id"), answer.get("error_file_id")]
    elif endpoint == "uploads/{id}/complete" and isinstance(answer.get("file"), dict):
        found = [answer["file"].get("id")]
    yield from (one for one in found if isinstance(one, str) and is_id(one))


def read_answer(body: bytes) -> dict[str, Any] | None:
    """An answer that is a JSON object; None for any other."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None

"""Where bodies name objects kept at a provider, and what such objects an answer tells of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from aieye.gateway.sse import iter_events

# Fields of request bodies that name such objects.
_ONE = frozenset({"file_id", "input_file_id", "previous_response_id", "vector_store_id"})
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

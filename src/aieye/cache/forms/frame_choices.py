"""Chat and completions, from a body to chunks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aieye.cache.forms.reading import (
    EMPTY,
    CannotConvert,
    Object,
    as_object,
    as_objects,
    as_string,
    index_of,
)

_EVERY_CHUNK: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
_ORDER: Final = {"content": 1, "refusal": 2}


def frame_choices(
    answer: Object,
    kind: str,
    pieces_of: Callable[[Object], Iterator[Object]],
    include_usage: bool,
) -> Iterator[Object]:
    """The chunks that make up `answer`; `kind` is their `object`. Raises `CannotConvert`."""
    usage = answer.get("usage")
    if include_usage and not isinstance(usage, dict):
        raise CannotConvert("the answer has no usage")
    choices = as_objects(answer.get("choices") or [])
    if len({index_of(choice) for choice in choices}) != len(choices) or not choices:
        raise CannotConvert("the answer has no distinct choices")
    every = {key: answer[key] for key in _EVERY_CHUNK if key in answer} | {"object": kind}
    own = (*_EVERY_CHUNK, "choices", "usage")
    first = {key: value for key, value in answer.items() if key not in own}
    no_usage = {"usage": None} if include_usage else {}
    for choice in choices:
        for piece in pieces_of(choice):
            yield every | {"choices": [piece]} | no_usage | first
            first = {}
    if include_usage:
        yield every | {"choices": [], "usage": usage}


def chat_pieces(choice: Object) -> Iterator[Object]:
    """The deltas of one choice: its role, its texts, its calls, what else it has, its end."""
    message = as_object(choice.get("message"))
    if not isinstance(message.get("content"), str | None):
        raise CannotConvert("the content is not text")
    logprobs = choice.get("logprobs")
    no_logprobs = {"logprobs": None} if "logprobs" in choice else {}

    def piece(delta: Object) -> Object:
        return {"index": choice["index"], "delta": delta, **no_logprobs, "finish_reason": None}

    whole = {name for name, value in message.items() if name == "role" or value in EMPTY}
    opening = {"content": ""} if message.get("content") else {}
    yield piece({name: message[name] for name in message if name in whole} | opening)
    for name, value in sorted(message.items(), key=_generation_order):
        if name in whole:
            continue
        for delta in _deltas(name, value):
            spoken = name in ("content", "refusal") and logprobs is not None
            yield piece(delta) | ({"logprobs": logprobs} if spoken else {})
            logprobs = None if spoken else logprobs
    yield (
        piece({})
        | {name: value for name, value in choice.items() if name not in ("message", "logprobs")}
        | ({} if logprobs is None else {"logprobs": logprobs})
        | {"finish_reason": as_string(choice.get("finish_reason"))}
    )


def _generation_order(field: tuple[str, object]) -> int:
    """Reasoning and the like come before the content, calls and what is attached after it."""
    name, value = field
    return _ORDER.get(name, 0 if isinstance(value, str) else 3)


def _deltas(name: str, value: object) -> Iterator[Object]:
    """The deltas that carry one field of a message."""
    if name == "function_call":
        for piece in _function_pieces(as_object(value)):
            yield {name: piece}
    elif name == "tool_calls":
        for index, call in enumerate(as_objects(value)):
            yield from ({name: [piece]} for piece in _call_pieces(index, call))
    else:
        yield {name: value}


def _call_pieces(index: int, call: Object) -> Iterator[Object]:
    """A tool call: what it is, then what it is called with."""
    kind = "custom" if "custom" in call else "function"
    opening, *rest = _function_pieces(as_object(call.get(kind)))
    yield {"index": index, **call, kind: opening}
    for piece in rest:
        yield {"index": index, kind: piece}


def _function_pieces(function: Object) -> list[Object]:
    name = "input" if "input" in function else "arguments"
    text = as_string(function.get(name))
    return [function | {name: ""}, {name: text}]


def text_pieces(choice: Object) -> Iterator[Object]:
    """The chunks of one choice of a text completion: its text, its end."""
    end = {"text": "", "logprobs": None} if "logprobs" in choice else {"text": ""}
    text = {"text": as_string(choice.get("text"))}
    logprobs = {"logprobs": choice["logprobs"]} if "logprobs" in choice else {}
    yield {**text, "index": choice["index"], **logprobs, "finish_reason": None}
    yield choice | end | {"finish_reason": as_string(choice.get("finish_reason"))}

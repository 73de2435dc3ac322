"""Bodies and stream frames as OpenAI sends them, built from the few things that a test cares about.

A body is a dict, to be changed at will; a frame is the bytes of one server-sent event with its
blank line. The lists of frames end before `[DONE]`, which is `DONE`.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = dict[str, Any]

MODEL = "gpt-4o-mini"
CREATED = 1_760_000_000
FINGERPRINT = "fp_fake"
DONE = b"data: [DONE]\n\n"


def usage(prompt: int = 11, completion: int = 7, *, cached: int = 0, reasoning: int = 0) -> Json:
    """The `usage` of chat and completions, in tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def response_usage(input_: int = 11, output: int = 7, *, cached: int = 0) -> Json:
    """The `usage` of /v1/responses, in tokens."""
    return {
        "input_tokens": input_,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_ + output,
    }


def error_body(
    message: str = "The server had an error.",
    *,
    kind: str = "server_error",
    code: str | None = None,
    param: str | None = None,
) -> Json:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def frame(data: Json, *, event: str | None = None) -> bytes:
    """One server-sent event with a JSON payload."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + orjson.dumps(data) + b"\n\n"


def error_frame(message: str = "The server is overloaded.", *, event: str | None = None) -> bytes:
    """An error inside a stream that began with 200."""
    return frame(error_body(message, code="overloaded_error"), event=event)


def pieces(text: str) -> list[str]:
    """A text cut after its spaces, one piece for each delta."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + [words[-1]] if text else []


def last_user_text(request: Json) -> str:
    """What the caller said last: `messages`, `input` or `prompt`, whichever the request has."""
    said = request.get("messages", request.get("input", request.get("prompt", "")))
    while isinstance(said, list):
        users = [item for item in said if not isinstance(item, dict) or item.get("role") == "user"]
        said = (users or said or [""])[-1]
        if isinstance(said, dict):
            said = said.get("content", said.get("text", ""))
    return str(said)


# ------------------------------------------------------------------------------------------ chat


def chat_body(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = MODEL,
    id_: str = "chatcmpl-fake",
    finish: str = "stop",
    tool_calls: Sequence[Json] = (),
) -> Json:
    """A whole chat completion; without `usage` it has none."""
    message: Json = {"role": "assistant", "content": text, "refusal": None}
    if tool_calls:
        message |= {"content": None, "tool_calls": list(tool_calls)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    base = _base(id_, "chat.completion", model)
    return {**base, "choices": [choice]} | ({} if usage is None else {"usage": usage})


def chat_frames(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = MODEL,
    id_: str = "chatcmpl-fake",
    finish: str = "stop",
) -> list[bytes]:
    """A streamed chat completion; `usage` is sent as after `stream_options.include_usage`."""
    deltas: list[Json] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(text)]
    return _chat_frames(deltas, usage, model, id_, finish)


def tool_call(name: str, arguments: str, *, id_: str = "call_fake") -> Json:
    """A whole call of a function; `arguments` is JSON text."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_call_frames(
    name: str,
    arguments: str,
    *,
    usage: Json | None = None,
    model: str = MODEL,
    id_: str = "chatcmpl-fake",
) -> list[bytes]:
    """A streamed chat completion that calls a function, its arguments in several deltas."""
    opening = {"index": 0, **tool_call(name, "")}
    deltas: list[Json] = [{"role": "assistant", "content": None, "tool_calls": [opening]}]
    for piece in (arguments[at : at + 5] for at in range(0, len(arguments), 5)):
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    return _chat_frames(deltas, usage, model, id_, "tool_calls")


def _chat_frames(
    deltas: Sequence[Json], usage: Json | None, model: str, id_: str, finish: str
) -> list[bytes]:
    choices: list[Json] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish})
    return _frames(_base(id_, "chat.completion.chunk", model), choices, usage)


def _frames(base: Json, choices: Sequence[Json], usage: Json | None) -> list[bytes]:
    if usage is None:
        return [frame({**base, "choices": [choice]}) for choice in choices]
    return [
        *(frame({**base, "choices": [choice], "usage": None}) for choice in choices),
        frame({**base, "choices": [], "usage": usage}),
    ]


def _base(id_: str, kind: str, model: str) -> Json:
    named: Json = {"id": id_, "object": kind, "created": CREATED, "model": model}
    return {**named, "system_fingerprint": FINGERPRINT}


# ----------------------------------------------------------------------------------- completions


def completion_body(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = "gpt-3.5-turbo-instruct",
    id_: str = "cmpl-fake",
    finish: str = "stop",
) -> Json:
    """A whole text completion; without `usage` it has none."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    base = _base(id_, "text_completion", model)
    return {**base, "choices": [choice]} | ({} if usage is None else {"usage": usage})


def completion_frames(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = "gpt-3.5-turbo-instruct",
    id_: str = "cmpl-fake",
    finish: str = "stop",
) -> list[bytes]:
    """A streamed text completion."""
    choices: list[Json] = [
        {"text": piece, "index": 0, "logprobs": None, "finish_reason": None}
        for piece in pieces(text)
    ]
    choices.append({"text": "", "index": 0, "logprobs": None, "finish_reason": finish})
    return _frames(_base(id_, "text_completion", model), choices, usage)


# ------------------------------------------------------------------------------------- responses


def response_body(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = MODEL,
    id_: str = "resp_fake",
    status: str = "completed",
) -> Json:
    """A whole response with one message."""
    return {
        "id": id_,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(text, status, id_)],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def response_frames(
    text: str = "Hello.",
    *,
    usage: Json | None = None,
    model: str = MODEL,
    id_: str = "resp_fake",
) -> list[bytes]:
    """The event sequence of a streamed response; no `[DONE]` follows on this endpoint."""
    whole = response_body(text, usage=usage, model=model, id_=id_)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = _message(text, "completed", id_)
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    opened = {**item, "status": "in_progress", "content": []}
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": opened}),
        ("response.content_part.added", {**place, "part": _part("")}),
    ]
    for piece in pieces(text):
        events.append(("response.output_text.delta", {**place, "delta": piece, "logprobs": []}))
    events += [
        ("response.output_text.done", {**place, "text": text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": _part(text)}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": whole}),
    ]
    return [
        frame({"type": name, "sequence_number": number, **fields}, event=name)
        for number, (name, fields) in enumerate(events)
    ]


def _message(text: str, status: str, response_id: str) -> Json:
    id_ = "msg_" + response_id.removeprefix("resp_")
    message = {"id": id_, "type": "message", "status": status, "role": "assistant"}
    return {**message, "content": [_part(text)]}


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


# ------------------------------------------------------------------------------------ the others


def embedding_body(
    vectors: Sequence[Sequence[float]] = ((1.0, 0.0),),
    *,
    tokens: int = 5,
    model: str = "text-embedding-3-small",
    encoded: bool = False,
) -> Json:
    """A list of embeddings, as numbers or as base64 of 32-bit floats."""
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, encoded)}
        for index, vector in enumerate(vectors)
    ]
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": used}


def _vector(vector: Sequence[float], encoded: bool) -> str | list[float]:
    if not encoded:
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def models_body(*ids: str) -> Json:
    """The list of models."""
    data = [
        {"id": id_, "object": "model", "created": CREATED, "owned_by": "fake"}
        for id_ in ids or (MODEL,)
    ]
    return {"object": "list", "data": data}

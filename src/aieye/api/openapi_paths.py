"""The path items of what FastAPI does not route: OpenAI's API, and the original's two routes. Pure.

`/v1` follows the gateway's own table (`aieye.gateway.wire`), so that the document has exactly what
is served. Bodies are described as far as the gateway looks at them: the rest is OpenAI's affair and
passes through as it is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from aieye.api.openapi_originals import pipeline_paths
from aieye.api.openapi_saga import saga_paths
from aieye.errors import InvalidToken
from aieye.gateway import wire

TOKEN = "token"  # noqa: S105 - the name of a security scheme
_ERROR = {"$ref": "#/components/responses/Error"}
_ANY: dict[str, Any] = {"type": "object", "additionalProperties": True}
_BINARY = {"type": "string", "format": "binary"}
_MODEL = {"type": "string", "description": "A model, an alias, or `provider/model`."}
# Last parts of a path that are acts and not things.
_ACTS = frozenset({"cancel", "complete", "search", "content"})
# Requests that are forms, with the name of the field that holds the file.
_FORMS = {
    "audio/transcriptions": "file",
    "audio/translations": "file",
    "files": "file",
    "images/edits": "image",
    "images/variations": "image",
    "uploads/{id}/parts": "data",
}
_STREAMED = frozenset({"chat/completions", "completions", "responses"})
_HEADERS = {
    name: {"$ref": f"#/components/headers/{name}"}
    for name in ("x-request-id", "x-aieye-cache", "Cache-Status", "x-aieye-cost-usd")
}

_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
# By endpoint: what a request must have, an example of it, and of its answer.
_INFERENCE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "chat/completions": (
        {"messages": {"type": "array", "items": _ANY}},
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]},
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_763_640_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello!"},
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
        },
    ),
    "completions": (
        {"prompt": {}},
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Say hello."},
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1_763_640_000,
            "model": "gpt-3.5-turbo-instruct",
            "choices": [{"index": 0, "text": "Hello!", "logprobs": None, "finish_reason": "stop"}],
            "usage": _USAGE,
        },
    ),
    "responses": (
        {"input": {}},
        {"model": "gpt-4o-mini", "input": "Say hello."},
        {"id": "resp_1", "object": "response", "status": "completed", "output": []},
    ),
    "edits": (
        {"instruction": {"type": "string"}},
        {"model": "text-davinci-edit-001", "input": "helo", "instruction": "Correct it."},
        {"object": "edit", "choices": [{"index": 0, "text": "hello"}], "usage": _USAGE},
    ),
    "embeddings": (
        {"input": {}},
        {"model": "text-embedding-3-small", "input": "hello"},
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.01, -0.02]}],
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        },
    ),
    "moderations": (
        {"input": {}},
        {"model": "omni-moderation-latest", "input": "hello"},
        {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": False}]},
    ),
    "audio/speech": (
        {"input": {"type": "string"}, "voice": {}},
        {"model": "tts-1", "input": "Hello.", "voice": "alloy"},
        {},
    ),
    "images/generations": (
        {"prompt": {"type": "string"}},
        {"model": "gpt-image-1", "prompt": "An eye."},
        {"created": 1_763_640_000, "data": [{"url": "https://example.org/eye.png"}]},
    ),
}
_CHUNK_EXAMPLE = 'data: {"object":"chat.completion.chunk","choices":[]}\n\ndata: [DONE]\n\n'


def gateway_paths() -> dict[str, Any]:
    """The path items of `/v1`."""
    paths: dict[str, Any] = {}
    for method, served in wire.paths():
        template = served.removeprefix("/v1/")
        names = _parameters(template)
        is_inference = method == "POST" and template in _INFERENCE
        shown = _inference(template) if is_inference else _relayed(method, template, names)
        paths.setdefault(f"/v1/{_with_names(template, names)}", {})[method.lower()] = shown
    return paths


def original_paths() -> dict[str, Any]:
    """The path items of the original's routes."""
    shown = {"response": "Hello!", "cache_hit": False}
    answer = {
        "type": "object",
        "required": ["response", "cache_hit"],
        "properties": {"response": {"type": "string"}, "cache_hit": {"type": "boolean"}},
    }
    return {
        "/api/openai/{endpoint}/": {
            "post": _original("original_openai", "Ask for the text of an answer", answer, shown)
        },
        "/api/cache/{endpoint}/": {
            "post": _original(
                "original_cache",
                "Look up the text of a stored answer",
                {"type": "array", "items": answer},
                [{**shown, "cache_hit": True}],
            )
        },
        **pipeline_paths([{TOKEN: []}, {"session": []}]),
        **saga_paths([{TOKEN: []}]),
    }


def shared_components() -> dict[str, dict[str, Any]]:
    """What the path items refer to, by kind and name."""
    error = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "example": _ERROR_EXAMPLE}
    return {
        "securitySchemes": {
            TOKEN: {
                "type": "http",
                "scheme": "bearer",
                "description": "A public token (`aie_…`); under `/api/v1` of the scope `admin`.",
            }
        },
        "responses": {
            "Error": {
                "description": "OpenAI's error object, from the provider or from AI-Eye.",
                "headers": {"x-request-id": _HEADERS["x-request-id"]},
                "content": {"application/json": error},
            }
        },
        "headers": {
            name: {"description": text, "schema": {"type": "string"}, "example": example}
            for name, (text, example) in _HEADER_TEXTS.items()
        },
        "parameters": {
            name: {
                "name": header,
                "in": "header",
                "description": text,
                "schema": {"type": "string"},
                "example": example,
            }
            for name, (header, text, example) in _PARAMETER_TEXTS.items()
        },
    }


_ERROR_EXAMPLE = {
    "error": {
        "message": InvalidToken().message,
        "type": "invalid_request_error",
        "code": "invalid_api_key",
        "param": None,
    }
}
_HEADER_TEXTS = {
    "x-request-id": ("The call's id in the ledger.", "req_0193a5c2b4d87c3e9f10a2b3c4d5e6f7"),
    "x-aieye-cache": ("hit, miss, shared, bypass or refresh.", "miss"),
    "Cache-Status": ("The same as RFC 9211 has it.", "aieye; fwd=miss; stored"),
    "x-aieye-cost-usd": ("The cost in dollars, where known before the body.", "0.00027"),
}
_PARAMETER_TEXTS = {
    "CacheControl": (
        "Cache-Control",
        "`no-store`, `no-cache`, `max-age=N` or `only-if-cached`.",
        "max-age=3600",
    ),
    "IdempotencyKey": (
        "Idempotency-Key",
        "The same key and body give the same answer for 24 hours.",
        "8e03978e-40d5-43e8-bc93-6894a57f9324",
    ),
}

# By `response_format`: mp3, wav, opus, aac, flac, pcm; and what other providers say of any.
_SPEECH_TYPES = (
    "audio/mpeg", "audio/wav", "audio/ogg", "audio/opus", "audio/aac", "audio/flac", "audio/pcm",
    "application/octet-stream",
)  # fmt: skip


def _inference(name: str) -> dict[str, Any]:
    required, request, answer = _INFERENCE[name]
    content: dict[str, Any] = {"application/json": {"schema": _ANY, "example": answer}}
    properties: dict[str, Any] = {"model": _MODEL, **required}
    if name in _STREAMED:
        properties["stream"] = {"type": "boolean"}
        content["text/event-stream"] = {"schema": _ANY, "example": _CHUNK_EXAMPLE}
    if name == "audio/speech":
        content = {media_type: {"schema": _BINARY} for media_type in _SPEECH_TYPES}
    schema = {**_ANY, "required": ["model", *required], "properties": properties}
    return {
        "tags": ["openai"],
        "operationId": f"openai_{_identifier(name)}_create",
        "summary": f"OpenAI: create {name.replace('/', ' ')}",
        "security": [{TOKEN: []}],
        "parameters": [{"$ref": f"#/components/parameters/{known}"} for known in _PARAMETER_TEXTS],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": request}},
        },
        "responses": {
            "200": {"description": "The answer.", "headers": _HEADERS, "content": content},
            "default": _ERROR,
        },
    }


def _relayed(method: str, template: str, names: list[str]) -> dict[str, Any]:
    act = _act(method, template)
    operation: dict[str, Any] = {
        "tags": ["openai"],
        "operationId": f"openai_{_identifier(_things(template, act))}_{act}",
        "summary": f"OpenAI: {act} {' '.join(_things(template, act).split('/'))}",
        "security": [{TOKEN: []}],
        "parameters": [_path_parameter(name) for name in names],
        "responses": {
            "200": {
                "description": "The provider's answer.",
                "headers": {"x-request-id": _HEADERS["x-request-id"]},
                "content": _answer_of(template, method),
            },
            "default": _ERROR,
        },
    }
    if method == "POST":
        operation["parameters"].append({"$ref": "#/components/parameters/IdempotencyKey"})
        operation["requestBody"] = _body_of(template)
    return operation


def _body_of(template: str) -> dict[str, Any]:
    field = _FORMS.get(template)
    if field is None:
        return {"content": {"application/json": {"schema": _ANY, "example": {}}}}
    schema = {**_ANY, "required": [field], "properties": {field: _BINARY}}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _answer_of(template: str, method: str) -> dict[str, Any]:
    if template == "files/{id}/content":
        return {"application/octet-stream": {"schema": _BINARY}}
    example: dict[str, Any] = {"id": "id-1", "object": _things(template, "").split("/")[-1]}
    if method == "DELETE":
        example["deleted"] = True
    if method == "GET" and not template.endswith("}"):
        example = {"object": "list", "data": []}
    return {"application/json": {"schema": _ANY, "example": example}}


def _original(
    operation_id: str, summary: str, schema: dict[str, Any], shown: object
) -> dict[str, Any]:
    detail = {"type": "object", "properties": {"detail": {"type": "string"}}}
    fields = {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "tags": ["original"],
        "operationId": operation_id,
        "summary": summary,
        "description": "The body is OpenAI's, without `stream`; the last slash may be absent.",
        "security": [{TOKEN: []}],
        "parameters": [
            {
                "name": "endpoint",
                "in": "path",
                "required": True,
                "schema": {
                    "type": "string",
                    "enum": ["v1/chat/completions", "v1/completions", "v1/edits"],
                },
                "example": "v1/chat/completions",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {**_ANY, "required": ["model"], "properties": {"model": _MODEL}},
                    "example": _INFERENCE["chat/completions"][1],
                }
            },
        },
        "responses": {
            "200": {
                "description": "The text.",
                "content": {"application/json": {"schema": schema, "example": shown}},
            },
            "400": {
                "description": "What is wrong, a field's fault under its name.",
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [detail, fields]},
                        "example": {"model": ["This field is required."]},
                    }
                },
            },
            "default": {
                "description": "What is wrong.",
                "content": {
                    "application/json": {"schema": detail, "example": {"detail": "Invalid token."}}
                },
            },
        },
    }


def _act(method: str, template: str) -> str:
    last = template.rsplit("/", 1)[-1]
    if last in _ACTS:
        return last
    is_one = last.startswith("{")
    if method == "GET":
        return "get" if is_one else "list"
    if method == "DELETE":
        return "delete"
    return "update" if is_one else "create"


def _things(template: str, act: str) -> str:
    """The path without its ids and without the act at its end."""
    parts = [part for part in template.split("/") if not part.startswith("{")]
    if parts[-1] == act and len(parts) > 1:
        parts.pop()
    return "/".join(parts)


def _identifier(name: str) -> str:
    return name.replace("/", "_")


def _parameters(template: str) -> list[str]:
    """A name of its own for each id in the path: `file_id` behind `files`."""
    parts = template.split("/")
    names = []
    for before, part in pairwise(parts):
        if part.startswith("{"):
            names.append("model" if part == "{model}" else f"{_singular(before)}_id")
    return names


def _singular(name: str) -> str:
    return name.removesuffix("es") if name.endswith("ches") else name.removesuffix("s")


def _with_names(template: str, names: list[str]) -> str:
    left = iter(names)
    return re.sub(r"\{\w+\}", lambda _: f"{{{next(left)}}}", template)


def _path_parameter(name: str) -> dict[str, Any]:
    example = "gpt-4o-mini" if name == "model" else f"{name.removesuffix('_id')}-1"
    schema = {"type": "string", "maxLength": 200}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}

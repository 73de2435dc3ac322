"""A search as a chat answers it: the results are the text of the answer, as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from aieye.cache.forms import frame_body
from aieye.gateway.calls import Call, Reply
from aieye.gateway.replay import usd
from aieye.gateway.wire import Header
from aieye.presets.search import Found


def reply_of_search(found: Found, request: Mapping[str, Any], calls: Sequence[Call]) -> Reply:
    """The reply to a chat request. `calls` are those that the search made of models."""
    body = orjson.dumps(_answer(found, calls))
    headers = _headers(calls)
    if request.get("stream") is True:
        options = request.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
        return Reply(200, headers, frame_body("chat", body, include_usage=wants_usage))
    headers.append((b"content-type", b"application/json"))
    return Reply(200, headers, body)


def _answer(found: Found, calls: Sequence[Call]) -> Mapping[str, Any]:
    tokens = sum(call.record.tokens_input or 0 for call in calls)
    message = {"role": "assistant", "content": _text(found), "refusal": None}
    return {
        "id": f"chatcmpl-{calls[0].record.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": found.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens},
    }


def _text(found: Found) -> str:
    return orjson.dumps(found.as_json()["data"]).decode()


def _headers(calls: Sequence[Call]) -> list[Header]:
    query = calls[0].record
    headers = [
        (b"x-request-id", query.request_id.encode()),
        (b"x-aieye-cache", query.cache.encode()),
    ]
    costs = [call.record.cost_nano for call in calls]
    if None not in costs:
        headers.append((b"x-aieye-cost-usd", usd(sum(cost or 0 for cost in costs))))
    return headers

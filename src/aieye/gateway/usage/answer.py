"""A plain answer, read once: its usage, the model that answered and how it finished."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from aieye.gateway.usage.counts import milliseconds
from aieye.gateway.usage.figures import Usage, UsageExtras
from aieye.gateway.usage.normalise import normalise_usage

FINISH_COMPLETE: Final = "complete"
"""The finish of an answer whose shape has no finish reason: embeddings, images, transcriptions."""

FINISH_ERROR: Final = "error"
"""The finish of an answer that carries an error in place of content."""

_UNFINISHED: Final = frozenset(
    {FINISH_ERROR, "failed", "cancelled", "incomplete", "in_progress", "queued"}
)

# Below this, parsing the whole body costs less than looking for its parts: one embedding of 1,536
# numbers is about 30 KB of text.
_OUTLINE_BYTES: Final = 16_384


def usage_of_body(body: bytes) -> tuple[Usage | None, str | None, str | None]:
    """Read a plain answer once: its usage, the model that answered, and how it finished.

    The finish is the finish reason of a completion (of several choices, the first that is not
    `stop`), the status of a response or, when that is incomplete, the reason; `FINISH_COMPLETE`
    for shapes that know none; `FINISH_ERROR` for an error in a 200. It is None when the body is not
    a JSON object or a choice has no finish reason. See `is_complete`.
    """
    answer = _outline(body) if len(body) > _OUTLINE_BYTES else None
    if answer is None:
        answer = _load(body)
        if not isinstance(answer, dict):
            return None, None, None
    model = answer.get("model")
    usage = normalise_usage(answer.get("usage"), answer.get("service_tier"))
    if usage is None and "duration" in answer:
        usage = _usage_of_duration(answer)
    return usage, model if isinstance(model, str) and model else None, _finish(answer)


def is_complete(finish: str | None) -> bool:
    """Say whether a finish from `usage_of_body` is that of a whole answer.

    An answer that ended by length or by content filter is whole; one that failed, or still runs,
    is not.
    """
    return finish is not None and finish not in _UNFINISHED


def is_error_body(answer: object) -> bool:
    """Say whether an answer, parsed from JSON, carries an error in place of content.

    Some providers send `{"error": {...}}` with status 200 (OpenRouter, Anthropic's and vLLM's
    variants included). `"error": null`, which each of OpenAI's response objects has, is no error.
    """
    if not isinstance(answer, dict):
        return False
    if answer.get("object") == "error":
        return True
    return bool(answer.get("error")) and not (
        answer.get("choices") or answer.get("data") or answer.get("output")
    )


def _load(body: bytes) -> Any:
    """The JSON value; Python's own reader takes half a surrogate pair, which some providers send."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


def _outline(body: bytes) -> dict[str, Any] | None:
    """Read a long list answer without its list, `"data": true` in its place; None if unsure.

    Megabytes of embeddings or pictures stand between the first `[` and the last `]`. What is left
    parses as JSON only if the two brackets are at the top level of the object: inside a text or a
    deeper object quotes or braces would not match. Fields that stand between two lists are lost;
    the caller only asks for `usage` and `model`, so without them this is unsure.
    """
    start, end = body.find(b"["), body.rfind(b"]")
    if start < 0 or end < start:
        return None
    try:
        answer = orjson.loads(body[:start] + b"true" + body[end + 1 :])
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("data") is not True:
        return None
    if "usage" not in answer or ("model" not in answer and b'"model"' in body):
        return None
    return answer


def _finish(answer: dict[str, Any]) -> str | None:
    """Return how an answer finished; see `usage_of_body`."""
    choices = answer.get("choices")
    if choices and isinstance(choices, list) and answer.get("object") != "edit":
        return _finish_of_choices(choices)
    if is_error_body(answer):
        return FINISH_ERROR
    if answer.get("object") == "response":
        return _finish_of_response(answer)
    return None if choices == [] else FINISH_COMPLETE


def _finish_of_choices(choices: list[Any]) -> str | None:
    """Return the first finish reason that is not `stop`; None if a choice has none."""
    finish = "stop"
    for choice in choices:
        reason = choice.get("finish_reason") if isinstance(choice, dict) else None
        if not isinstance(reason, str) or not reason:
            return None
        if finish == "stop":
            finish = reason
    return finish


def _finish_of_response(answer: dict[str, Any]) -> str | None:
    """Return a response's status or why it is incomplete.

    https://platform.openai.com/docs/api-reference/responses/object
    """
    status = answer.get("status")
    if status == "incomplete":
        details = answer.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return reason if isinstance(reason, str) and reason else "incomplete"
    return status if isinstance(status, str) and status else None


def _usage_of_duration(answer: dict[str, Any]) -> Usage | None:
    """Return the usage of a verbose transcription, which states how long the audio was."""
    audio_ms = milliseconds(answer.get("duration")) if "text" in answer else 0
    return Usage(extras=UsageExtras(audio_ms=audio_ms)) if audio_ms else None

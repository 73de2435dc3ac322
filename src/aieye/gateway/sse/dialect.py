"""What the events of a stream mean, by the API that it answers."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import orjson

Dialect = Literal["chat", "completions", "responses", "other"]
"""What the events mean: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, any other."""

DONE: Final = b"[DONE]"
"""The data of the last event, in every dialect but `responses`."""

RESPONSE_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
OTHER_ENDS: Final = frozenset(
    {
        "speech.audio.done",
        "transcript.text.done",
        "image_generation.completed",
        "image_edit.completed",
    }
)
CONTENT_ENDINGS: Final = (".delta", ".partial_image", ".segment")
"""How the types of events end that carry what was generated."""


# What a model writes has its quotes escaped: it is never taken for a number of the stream.
_NUMBER: Final = re.compile(rb'"sequence_number": ?([0-9]{1,15})')


def number_after(frames: bytes) -> int:
    """The `sequence_number` of the event that follows these of a Responses stream; 0 for the first."""
    found = _NUMBER.findall(frames)
    return int(found[-1]) + 1 if found else 0


def error_frame(dialect: Dialect, error: dict[str, Any], *, sequence_number: int = 0) -> bytes:
    """Write an error as the last event of a stream that can no longer answer with a status.

    `error` is the inner object of OpenAI's error body: message, type, param, code. The Responses
    API has an event type of its own for it (https://platform.openai.com/docs/api-reference,
    "Streaming events", `error`), with the number of the event in its stream.
    """
    if dialect != "responses":
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
    event = {
        "type": "error",
        "code": error.get("code"),
        "message": error.get("message"),
        "param": error.get("param"),
        "sequence_number": sequence_number,
    }
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"

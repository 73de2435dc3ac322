"""What is sent and answered: a chat request of 2 KB, an answer of 1 KB, 100 events. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MODEL = "gpt-4o-mini"
PATH = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PROCESS = "/_saga/gpt3/process"
CALL = "/api/pipeline/call"
# A model that completes texts.
COMPLETES = "gpt-3.5-turbo-instruct"
REQUEST_BYTES = 2_048
# What a client that does not ask for usage receives of a stream: 99 chunks and `[DONE]`.
EVENTS = 100
# The nonce of the request that is sent again and again; unique ones start far above it.
SAME = 999_999_999_999
_NONCE_DIGITS = 16
_CREATED = 1_780_000_000
_FILLER = "the quick brown fox jumps over the lazy dog and asks what it was that it saw there; "
_ANSWERED_MODEL = f"{MODEL}-2024-07-18"
_USAGE = {
    "prompt_tokens": 470,
    "completion_tokens": 97,
    "total_tokens": 567,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


_COMPLETION: dict[str, Any] = {
    "max_tokens": 256,
    "temperature": 0.7,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
}


@dataclass(frozen=True, slots=True)
class Template:
    """A body with a gap for a number of fixed width, so that all bodies have one length; and where
    it is sent."""

    head: bytes
    tail: bytes
    path: str = PATH

    def body(self, nonce: int) -> bytes:
        return b"%b%0*d%b" % (self.head, _NONCE_DIGITS, nonce, self.tail)

    @property
    def size(self) -> int:
        return len(self.head) + _NONCE_DIGITS + len(self.tail)


def request(*, is_stream: bool = False, size: int = REQUEST_BYTES) -> Template:
    """A chat request of `size` bytes as an SDK sends it; streamed without asking for usage."""
    document: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You answer questions about animals, briefly."},
            {"role": "user", "content": f"Question {'0' * _NONCE_DIGITS}: "},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if is_stream:
        document["stream"] = True
    missing = size - len(_written(document))
    filler = (_FILLER * (missing // len(_FILLER) + 1))[:missing]
    document["messages"][1]["content"] += filler
    return split(_written(document))


def split(body: bytes, path: str = PATH) -> Template:
    """A body whose nonce is all zeros as a template."""
    head, tail = body.split(b"0" * _NONCE_DIGITS)
    return Template(head, tail, path)


def completion_request(text: str) -> Template:
    """A request of `/v1/completions` with `text` in front of a question, as `preset` asks it."""
    document = {"model": COMPLETES, "prompt": text + _question()} | _COMPLETION
    return split(_written(document), COMPLETIONS)


def preset(text: str) -> dict[str, Any]:
    """What is sent to make a configuration with `text` as its prompt."""
    config = {"engine_id": COMPLETES, "prompt": text} | _COMPLETION
    return {"name": "bench", "type": "completion", "config": config}


def process_request(preset_id: str) -> Template:
    """A request of `process` with the question alone."""
    return split(_written({"_id": preset_id, "text": _question()}), PROCESS)


def run_request(pipeline_id: int) -> Template:
    """A request to run a pipeline that takes one `text`, with the question."""
    return split(_written({"pipeline_id": pipeline_id, "args": {"text": _question()}}), CALL)


def _question() -> str:
    return f"Question {'0' * _NONCE_DIGITS}: {_FILLER * 10}"


def answer() -> bytes:
    """A `chat.completion` of about 1 KB."""
    return _written(
        {
            "id": "chatcmpl-BenchAnswer0000000000000000",
            "object": "chat.completion",
            "created": _CREATED,
            "model": _ANSWERED_MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": _FILLER * 5,
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_0123456789",
        }
    )


def completion_answer() -> bytes:
    """A `text_completion` of about 1 KB."""
    return _written(
        {
            "id": "cmpl-BenchAnswer00000000000000000",
            "object": "text_completion",
            "created": _CREATED,
            "model": COMPLETES,
            "choices": [
                {"text": _FILLER * 8, "index": 0, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": _USAGE,
        }
    )


def frames() -> list[bytes]:
    """A whole stream, one frame an item: role, 97 words, finish, usage, `[DONE]`."""
    words = [chunk({"content": f" word{number:02d}"}) for number in range(EVENTS - 3)]
    return [chunk({"role": "assistant", "content": ""}), *words, *last_frames()]


def last_frames() -> list[bytes]:
    """Finish, usage and `[DONE]`."""
    return [
        chunk({}, finish="stop"),
        frame(_written({**_envelope(), "choices": [], "usage": _USAGE})),
        frame(b"[DONE]"),
    ]


def chunk(delta: dict[str, str], *, finish: str | None = None) -> bytes:
    """A frame with a `chat.completion.chunk`."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return frame(_written({**_envelope(), "choices": [choice], "usage": None}))


def frame(data: bytes) -> bytes:
    """An event of a stream."""
    return b"data: %b\n\n" % data


def _envelope() -> dict[str, Any]:
    return {
        "id": "chatcmpl-BenchStream0000000000000000",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": _ANSWERED_MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def _written(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

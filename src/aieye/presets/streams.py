"""Streams of one API as those of the other, event by event as they come. Pure.

Only calls of presets that ask a model in another way than their caller did meet this; all others
get the provider's own bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import orjson

from aieye.gateway.sse import FrameSplitter, iter_events
from aieye.presets.apply import Body
from aieye.presets.through_chat import completion_id, text_logprobs
from aieye.presets.through_completions import chat_id, chat_logprobs

# The gateway has its own, smaller bound, and passes on nothing larger.
_MOST_EVENT_BYTES: Final = 1 << 31
# One choice of a chunk as the other API has it; None where there is nothing to say.
_Choose: TypeAlias = Callable[[Body], Body | None]


class Reshaped:
    """Feeds on the provider's bytes and gives those for the client."""

    def __init__(self, kind: str, name: Callable[[object], str], choose: _Choose) -> None:
        self._kind = kind
        self._name = name
        self._choose = choose
        self._splitter = FrameSplitter(_MOST_EVENT_BYTES)

    def feed(self, data: bytes) -> bytes:
        """The events that these bytes complete."""
        return b"".join(self._event(event.data) for event in iter_events(self._splitter.feed(data)))

    def _event(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b"data: [DONE]\n\n"
        try:
            chunk = orjson.loads(data)
            choices = chunk["choices"]
            kept = [one for choice in choices if (one := self._choose(choice)) is not None]
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            # An error, or something that nobody here knows: as it came.
            return b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"
        if choices and not kept:
            return b""
        shown = {**chunk, "id": self._name(chunk.get("id")), "object": self._kind, "choices": kept}
        return b"data: " + orjson.dumps(shown) + b"\n\n"


def as_completion(prompt: str, *, echo: bool) -> Reshaped:
    """A chat's stream as a completion's; with `echo` the prompt comes first in each choice."""
    offsets: dict[int, int] = {}

    def choose(choice: Body) -> Body | None:
        index, delta = choice["index"], choice.get("delta") or {}
        text = delta.get("content") or delta.get("refusal") or ""
        logprobs = text_logprobs(choice.get("logprobs"), offsets.get(index, len(prompt)))
        is_first = index not in offsets
        offsets[index] = offsets.get(index, len(prompt)) + len(text)
        if is_first and echo:
            text = prompt + text
        finish = choice.get("finish_reason")
        if not text and finish is None:
            return None
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}

    return Reshaped("text_completion", completion_id, choose)


def as_chat() -> Reshaped:
    """A completion's stream as a chat's."""
    begun: set[int] = set()

    def choose(choice: Body) -> Body:
        index = choice["index"]
        delta: dict[str, Any] = {"content": choice["text"]} if choice.get("text") else {}
        if index not in begun:
            begun.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        logprobs = chat_logprobs(choice.get("logprobs"))
        finish = choice.get("finish_reason")
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    return Reshaped("chat.completion.chunk", chat_id, choose)

"""What a model says while it says it: texts out of the events of a chat answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from aieye.gateway.sse import FrameSplitter, iter_events
from aieye.pipeline.limits import MAX_VALUE_BYTES
from aieye.pipeline.model_requests import NoValue, message_of_error

_MOST_EVENT_BYTES: Final = 16 << 20


class EndedBadly(Exception):
    """The answer broke off, or ended with an error, after it had begun; the message says so."""


class SaidTooMuch(Exception):
    """What was said is more than a value may be; the message says so."""


class StreamedText:
    """Reads a stream; `text` is what was said until now."""

    def __init__(self) -> None:
        self._left = MAX_VALUE_BYTES
        # Joined when somebody asks: to add to a text copies all of it.
        self._parts: list[str] = []
        self._refusal = ""
        self._is_done = False
        self._splitter = FrameSplitter(_MOST_EVENT_BYTES)

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def feed(self, chunk: bytes) -> Iterator[str]:
        """What these bytes add. Raises `EndedBadly`, `SaidTooMuch`."""
        for event in iter_events(self._splitter.feed(chunk)):
            if event.data == b"[DONE]":
                self._is_done = True
            elif said := self._read(event.data):
                self._parts.append(said)
                yield said

    def end(self) -> str:
        """All of the text. Raises `EndedBadly`, and `NoValue` where there was none."""
        if not self._is_done:
            raise EndedBadly("the answer broke off")
        text = self.text
        if not text and self._refusal:
            raise NoValue(f"the model refused: {self._refusal}")
        return text

    def _read(self, data: bytes) -> str:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            return ""
        if isinstance(chunk, dict) and chunk.get("error"):
            raise EndedBadly(message_of_error(data) or "the provider broke its answer off")
        try:
            delta = chunk["choices"][0]["delta"]
            said, refusal = delta.get("content"), delta.get("refusal")
        except (LookupError, TypeError, AttributeError):
            return ""
        if isinstance(refusal, str):
            self._take(refusal)
            self._refusal += refusal
        if not isinstance(said, str):
            return ""
        self._take(said)
        return said

    def _take(self, text: str) -> None:
        # At least as many bytes as characters: what it comes to exactly is counted at the end.
        self._left -= len(text)
        if self._left < 0:
            raise SaidTooMuch(f"the value is larger than {MAX_VALUE_BYTES:,} bytes")

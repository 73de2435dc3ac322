"""Large texts read as JSON in a thread; the steps that need them go on when they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from aieye.pipeline.apart import begin_apart
from aieye.pipeline.evaluation.frames import Flow, Frame
from aieye.pipeline.language.values import Json, Unconvertible, read_json


class NotRead(Exception):
    """The text has yet to be read: the step is to be done once more when it is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Reading:
    """The texts of one run that are being read, and those that were until somebody asks for them."""

    __slots__ = ("_flow", "_read", "_waiting", "_wake")

    def __init__(self, flow: Flow, wake: Callable[[], None]) -> None:
        self._flow = flow
        self._wake = wake
        # By identity. What was read holds its text, so that its identity stays its own.
        self._waiting: dict[int, list[tuple[Frame, int]]] = {}
        self._read: dict[int, tuple[str, Json | Unconvertible]] = {}

    def read(self, text: str) -> Json:
        """What the text holds, once. Raises `NotRead`, and `Unconvertible` if it is not JSON."""
        found = self._read.pop(id(text), None)
        if found is None:
            raise NotRead(text)
        if isinstance(found[1], Unconvertible):
            raise found[1]
        return found[1]

    def begin(self, text: str, frame: Frame, index: int) -> None:
        """Read the text, and let the step go on then."""
        waiting = self._waiting.setdefault(id(text), [])
        waiting.append((frame, index))
        if len(waiting) == 1:
            begin_apart(_read, text).add_done_callback(partial(self._end, text))

    def _end(self, text: str, reading: asyncio.Future[Json | Unconvertible]) -> None:
        self._read[id(text)] = text, reading.result()
        self._flow.ready += self._waiting.pop(id(text))
        self._wake()


def _read(text: str) -> Json | Unconvertible:
    try:
        return read_json(text)
    except Unconvertible as error:
        return error

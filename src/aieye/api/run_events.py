"""A run as server-sent events: its id, each step as it ends, then its result or its error."""

from __future__ import annotations

from typing import Final

import orjson

from aieye.api.rendering import error_body
from aieye.api.run_views import result_view, step_view
from aieye.api.runners import failure_of
from aieye.errors import AieyeError
from aieye.pipeline.run_record import Finished
from aieye.pipeline.trace import StepTrace
from aieye.run_stream import MEDIA_TYPE, RunStream

JSON: Final = "application/json"


class RunEvents(RunStream):
    """A run as programs are told of it: `run`, a `step` each, and at last `result` or `error`."""

    def begun(self) -> bytes:
        return _event("run", orjson.dumps({"run_id": self.run_id}))

    def step_ended(self, step: StepTrace, number: int) -> bytes:
        return _event("step", step_view(step).model_dump_json().encode(), number)

    async def ended(self, finished: Finished) -> bytes:
        if finished.failure is not None:
            return self.broken_off(failure_of(finished))
        return _event("result", result_view(finished).model_dump_json().encode())

    def broken_off(self, error: AieyeError) -> bytes:
        return _event("error", error_body(error))


def _event(name: str, data: bytes, number: int | None = None) -> bytes:
    id_ = b"" if number is None else b"id: %d\n" % number
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), id_, data)


def prefers_events(accept: str) -> bool:
    """Whether a request's `Accept` asks for events rather than for JSON, which it gets by default."""
    known: dict[str, tuple[int, float]] = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = _weight(parameters)
        for media_type in (MEDIA_TYPE, JSON):
            rank = _rank(media_range, media_type)
            if rank > known.get(media_type, (0, 0.0))[0]:
                known[media_type] = rank, weight
    return known.get(MEDIA_TYPE, (0, 0.0))[1] > known.get(JSON, (0, 0.0))[1]


def _rank(media_range: str, media_type: str) -> int:
    """How exactly a range means a type: RFC 9110, 12.5.1."""
    if media_range == media_type:
        return 3
    if media_range == media_type.partition("/")[0] + "/*":
        return 2
    return 1 if media_range == "*/*" else 0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0

"""A run as server-sent events: its id, each step as it ends, then its result or its error.

A stream has the status 200, whatever comes of the run; what is wrong before it begins has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum, auto
from typing import Any, Final, TypeAlias

import orjson
from fastapi import Request, Response

from aieye.api.rendering import error_body
from aieye.api.run_views import result_view, step_view
from aieye.api.runners import failure_of
from aieye.api.waiting import unless_gone
from aieye.errors import AieyeError
from aieye.pipeline.run_record import Finished
from aieye.pipeline.trace import StepTrace

MEDIA_TYPE: Final = "text/event-stream"
JSON: Final = "application/json"
# Nothing happens in a run for as long as a model thinks: what stands between may take that for the end.
QUIET_SECONDS: Final = 15.0
_STILL_THERE: Final = b": still running\n\n"


class Quiet(Enum):
    """Nothing has happened for a while."""

    QUIET = auto()


QUIET: Final = Quiet.QUIET
Told: TypeAlias = "asyncio.Queue[StepTrace | Quiet | None]"
Begin: TypeAlias = Callable[[Callable[[StepTrace], None]], Coroutine[Any, Any, Finished]]


class RunEvents(Response):
    """The answer to a call that is to be told as it goes on. The run ends when the client leaves.

    `begin` begins the run and is given what is to be told of each step.
    """

    media_type = MEDIA_TYPE

    def __init__(self, request: Request, run_id: str, begin: Begin) -> None:
        super().__init__(headers={"X-Run-Id": run_id, "Cache-Control": "no-store"})
        # A stream has no length.
        del self.headers["content-length"]
        self._request = request
        self._run_id = run_id
        self._begin = begin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told: Told = asyncio.Queue()

        def tell(step: StepTrace) -> None:
            if step.is_ended:
                told.put_nowait(step)

        run = asyncio.ensure_future(unless_gone(self._request, self._begin(tell)))
        run.add_done_callback(lambda _: told.put_nowait(None))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self._events(run, told):
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait({run})

    async def _events(self, run: asyncio.Future[Finished], told: Told) -> AsyncIterator[bytes]:
        yield _event("run", orjson.dumps({"run_id": self._run_id}))
        number = 0
        while (step := await _next(told, run)) is not None:
            if step is QUIET:
                yield _STILL_THERE
                continue
            number += 1
            yield _event("step", step_view(step).model_dump_json().encode(), number)
        try:
            finished = await run
            if finished.failure is not None:
                raise failure_of(finished)
        except AieyeError as error:
            yield _event("error", error_body(error))
        else:
            yield _event("result", result_view(finished).model_dump_json().encode())


async def _next(told: Told, run: asyncio.Future[Finished]) -> StepTrace | Quiet | None:
    """The next step that has ended; None at the end of the run."""
    timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, told.put_nowait, QUIET)
    try:
        while True:
            try:
                return await told.get()
            except asyncio.CancelledError:
                if run.done():
                    raise
                # The server's stop waits no longer; the run ends, and there is still an end to tell.
                if (own := asyncio.current_task()) is not None:
                    own.uncancel()
                run.cancel()
    finally:
        timer.cancel()


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

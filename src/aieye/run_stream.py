"""A run as a stream of server-sent events: that it has begun, each step as it ends, what came of it.

A stream has the status 200, whatever comes of the run; what is wrong before it begins has its own.
Programs and pages are told the same, each in their own words.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from fastapi import Request, Response

from aieye.errors import AieyeError
from aieye.pipeline.run_record import Finished
from aieye.pipeline.trace import StepTrace
from aieye.waiting import unless_gone

MEDIA_TYPE: Final = "text/event-stream"
# Nothing happens in a run for as long as a model thinks: what stands between may take that for the end.
QUIET_SECONDS: Final = 15.0
_STILL_THERE: Final = b": still running\n\n"


class Quiet(Enum):
    """Nothing has happened for a while."""

    QUIET = auto()


QUIET: Final = Quiet.QUIET
Told: TypeAlias = "asyncio.Queue[StepTrace | Quiet | None]"
Begin: TypeAlias = Callable[[Callable[[StepTrace], None]], Coroutine[Any, Any, Finished]]


class RunStream(Response, ABC):
    """The answer to a call that is to be told as it goes on. The run ends when the client leaves.

    `begin` begins the run and is given what is to be told of each step. What is told is for a subclass
    to write: each method gives whole events.
    """

    media_type = MEDIA_TYPE

    def __init__(self, request: Request, run_id: str, begin: Begin) -> None:
        super().__init__(headers={"X-Run-Id": run_id, "Cache-Control": "no-store"})
        # A stream has no length.
        del self.headers["content-length"]
        self.request = request
        self.run_id = run_id
        self._begin = begin

    @abstractmethod
    def begun(self) -> bytes:
        """That the run has begun."""

    @abstractmethod
    def step_ended(self, step: StepTrace, number: int) -> bytes:
        """A step that has ended, the `number`th, from 1."""

    @abstractmethod
    async def ended(self, finished: Finished) -> bytes:
        """That the run is over, with its value or its failure."""

    @abstractmethod
    def broken_off(self, error: AieyeError) -> bytes:
        """That the run could not go on, and has no record of why."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told: Told = asyncio.Queue()

        def tell(step: StepTrace) -> None:
            if step.is_ended:
                told.put_nowait(step)

        run = asyncio.ensure_future(unless_gone(self.request, self._begin(tell)))
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
        yield self.begun()
        number = 0
        while (step := await _next(told, run)) is not None:
            if step is QUIET:
                yield _STILL_THERE
                continue
            number += 1
            yield self.step_ended(step, number)
        try:
            finished = await run
        except AieyeError as error:
            yield self.broken_off(error)
        else:
            yield await self.ended(finished)


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

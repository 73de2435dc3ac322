"""Waiting for what takes long while a client waits too: given up when the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from aieye.errors import InvalidRequest, Unavailable
from aieye.gateway.calls import LEFT

STOPPING = "AI-Eye is being stopped; try again shortly."

ResultT = TypeVar("ResultT")


class ClientGone(InvalidRequest):
    """The connection ended in the middle of the request."""

    status, code = LEFT


class ShuttingDown(Unavailable):
    """The server was told to stop and does not wait any longer."""

    code = "shutting_down"


async def unless_gone(
    request: Request,
    work: Coroutine[Any, Any, ResultT],
    *,
    at_leaving: Callable[[], None] = lambda: None,
) -> ResultT:
    """Await `work`, and cancel it when the client leaves, after `at_leaving` was called.

    The request's body has to be read by then. Raises `ClientGone`, and `ShuttingDown` at the
    server's stop.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    has_left = False
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return await task
        has_left = True
        at_leaving()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise ClientGone("The client left before its answer was there.")
    except asyncio.CancelledError:
        if has_left:
            raise
        # The stop waits no longer, but there is still an answer to give.
        if (own := asyncio.current_task()) is not None:
            own.uncancel()
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            raise ShuttingDown(STOPPING) from None
        return task.result()
    finally:
        watcher.cancel()


async def _gone(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return

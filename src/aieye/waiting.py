"""Waiting for what takes long while a client waits too: given up when the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from aieye.errors import InvalidRequest, Unavailable
from aieye.gateway.calls import LEFT

# A call that still waits after this is watched for its client's leaving and noted as open in the
# ledger; quicker ones, which are most, never pay for either.
SLOW_SECONDS = 0.05
STOPPING = "AI-Eye is being stopped; try again shortly."
_GONE = "The client left before its answer was there."

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
    watch = _Watch(request, at_leaving)
    try:
        result = await work
    except asyncio.CancelledError:
        watch.go_on()
        if watch.has_left:
            raise ClientGone(_GONE) from None
        # The stop waits no longer, but there is still an answer to give.
        raise ShuttingDown(STOPPING) from None
    finally:
        watch.end()
    watch.go_on()
    if watch.has_left:
        raise ClientGone(_GONE)
    return result


class _Watch:
    """Cancels the task it is made in when the client leaves.

    Work that is done soon, as most is, pays for no watching.
    """

    __slots__ = (
        "_at_leaving",
        "_cancelled",
        "_handle",
        "_request",
        "_task",
        "_watcher",
        "has_left",
    )

    def __init__(self, request: Request, at_leaving: Callable[[], None]) -> None:
        self.has_left = False
        self._request = request
        self._at_leaving = at_leaving
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled = task.cancelling()
        self._watcher: asyncio.Task[None] | None = None
        self._handle = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._begin)

    def go_on(self) -> None:
        """Take back that the task was cancelled, by whomever: there is still something to say."""
        while self._task.cancelling() > self._cancelled:
            self._task.uncancel()

    def end(self) -> None:
        self._handle.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        self._at_leaving()
        self._task.cancel()

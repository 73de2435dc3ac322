"""Functions that run in the server itself: on its loop, in a thread, awaited.

What they raise, `SystemExit` included, fails their step and nothing else; what they do not give
back, nobody can take from them, which is why a plain function has to ask to run here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from aieye.functions.authoring import Context
from aieye.functions.errors import ArgumentRefused, FunctionFailed, FunctionTimeout
from aieye.functions.model import Function, Invoke
from aieye.functions.module import WrongArgument, explain
from aieye.functions.values import copy_json, to_json
from aieye.pipeline.language.values import Json

MOST_THREADS: Final = 32


def run_inline(function: Function, arguments: Mapping[str, Json]) -> Json:
    """What it returns. Raises `FunctionFailed`. There is no stopping it."""
    try:
        return to_json(_invoke(function)(_copied(arguments), None))
    except BaseException as error:
        # The function's own code: SystemExit too is its fault.
        raise _failure(function, error) from error


async def run_on_loop(
    function: Function, arguments: Mapping[str, Json], context: Context | None, seconds: float
) -> Json:
    """What it returns. Raises `FunctionFailed`, `FunctionTimeout`."""
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            value = to_json(await _invoke(function)(_copied(arguments), context))
    except BaseException as error:
        # The function's own code, unless it was its time or its caller that ended it.
        if limit.expired():
            raise FunctionTimeout(seconds) from error
        if task.cancelling() > cancelled_before:
            # Whoever called it gave up, whatever it made of that.
            raise asyncio.CancelledError from error
        raise _failure(function, error) from error
    if limit.expired():
        # It was told to end, and gave a value instead.
        raise FunctionTimeout(seconds)
    return value


class Threads:
    """A thread for each call, at most `MOST_THREADS` at once.

    One that never ends keeps its place, and does not keep the server from stopping.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST_THREADS)

    async def run(self, function: Function, arguments: Mapping[str, Json], seconds: float) -> Json:
        """What it returns. Raises `FunctionFailed`, `FunctionTimeout`."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Json] = loop.create_future()
        try:
            given = _copied(arguments)
        except RecursionError as error:
            raise _failure(function, error) from error

        def settle(value: Json, error: BaseException | None) -> None:
            self._places.release()
            if outcome.done():
                return
            if error is None:
                outcome.set_result(value)
            else:
                outcome.set_exception(_failure(function, error))

        def work() -> None:
            value: Json = None
            failed: BaseException | None = None
            try:
                value = to_json(_invoke(function)(given, None))
            except BaseException as error:  # noqa: BLE001 - as above
                failed = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, value, failed)

        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
                self._begin(function.name, work)
                return await outcome
        except TimeoutError as error:
            raise FunctionTimeout(seconds) from error

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        try:
            threading.Thread(target=work, name=f"function {name}", daemon=True).start()
        except RuntimeError as error:
            self._places.release()
            raise FunctionFailed(str(error)) from error


def _invoke(function: Function) -> Invoke:
    assert function.invoke is not None, f"{function.name} is not loaded here"
    return function.invoke


def _copied(arguments: Mapping[str, Json]) -> dict[str, Any]:
    return {name: copy_json(value) for name, value in arguments.items()}


def _failure(function: Function, error: BaseException) -> FunctionFailed:
    kind = ArgumentRefused if isinstance(error, WrongArgument) else FunctionFailed
    return kind(*explain(error, function.source))

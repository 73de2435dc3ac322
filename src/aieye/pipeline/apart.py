"""Work on large texts, in a thread: the server's loop has to serve others meanwhile.

What is small is done at once, for to hand it over would take longer.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

LARGE_SOURCE: Final = 4 << 10
"""Characters of a pipeline's text that take about a millisecond."""

MANY_NAMES: Final = 1_000
"""Names that take about a millisecond to be compared with one that is misspelt."""

# It is Python's own work, of which one thread at a time makes progress.
_MOST_AT_ONCE: Final = 2

Given = ParamSpec("Given")
Result = TypeVar("Result")


async def apart(
    is_heavy: bool,
    work: Callable[Given, Result],
    *args: Given.args,
    **kwargs: Given.kwargs,
) -> Result:
    """What pure `work` gives, in a thread if it is heavy. Raises what it raises."""
    if not is_heavy:
        return work(*args, **kwargs)
    return await begin_apart(work, *args, **kwargs)


def begin_apart(
    work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> asyncio.Future[Result]:
    """Begin the work in a thread; what cancels its future does not end it."""
    call = functools.partial(work, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(_pool(), call)


def is_large(source: str, names: Sized = ()) -> bool:
    """Whether the text of a pipeline is large, or what it is checked against."""
    return len(source) > LARGE_SOURCE or len(names) > MANY_NAMES


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="pipeline text")

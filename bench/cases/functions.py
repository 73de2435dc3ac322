"""What a function of a pipeline costs to call, where it runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from aieye.functions.loader import packaged_builtins
from aieye.functions.model import Function, Source
from aieye.functions.module import find_functions, load
from aieye.functions.running import run_inline
from aieye.functions.workers import Workers
from aieye.pipeline.language.values import Json
from bench import machine
from bench.report import Result, Row, Target
from bench.servers import Servers

_INLINE = Target(20, 8, is_ceiling=True)
_WORKER = Target(0.6, 0.25, is_ceiling=True)
_BATCHES = 100
_PLAIN = b"def foo(bar, fred):\n    return f'{bar} and {fred}'\n"
_GIVEN: dict[str, Json] = {"bar": "some text of a pipeline", "fred": 42}


def functions(servers: Servers) -> Iterator[Result]:
    """An inline function, and one in a worker process."""
    affinity = os.sched_getaffinity(0)
    # A worker process may run beside the server, as it does where both cores are the server's.
    os.sched_setaffinity(0, {machine.SERVER_CORE, machine.LOAD_CORE})
    try:
        inline, worker = uvloop.run(_measure(servers.directory))
    finally:
        os.sched_setaffinity(0, affinity)
    yield Row("inline function, one call", inline * 1e6, "µs", target=_INLINE)
    yield Row("function in a worker process, one call", worker * 1e3, "ms", target=_WORKER)


async def _measure(directory: Path) -> tuple[float, float]:
    """Seconds a call, inline and in a worker process."""
    uppercase = _builtin("uppercase")
    workers = Workers()
    try:
        source = Source("custom_bench.py", str(directory / "custom_bench.py"), _PLAIN, False)
        (foo,), _ = await workers.inspect(source)

        async def inline() -> None:
            run_inline(uppercase, {"s": "some text of a pipeline"})

        async def in_worker() -> None:
            await workers.call(foo, _GIVEN, 30)

        return await _seconds(inline, 1_000), await _seconds(in_worker, 20)
    finally:
        await workers.close()


async def _seconds(call: Callable[[], Awaitable[None]], times: int) -> float:
    """Seconds that a call takes: the least of many batches, since all that disturbs one only adds."""
    for _ in range(100):
        await call()
    taken = []
    for _ in range(_BATCHES):
        started = time.perf_counter()
        for _ in range(times):
            await call()
        taken.append((time.perf_counter() - started) / times)
        await asyncio.sleep(0)
    return min(taken)


def _builtin(name: str) -> Function:
    path = packaged_builtins()
    source = Source(path.name, str(path), path.read_bytes(), is_builtin=True)
    found, _ = find_functions(load(source), source)
    return next(function for function in found if function.name == name)

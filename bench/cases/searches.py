"""Documents ranked by nearness to a query, and whether the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import uvloop

from aieye.presets.corpora import Corpus
from aieye.presets.documents import Documents
from aieye.presets.embedding import load_numpy
from aieye.presets.search import rank
from bench import machine
from bench.report import Result, Row, Target
from bench.servers import Servers

_DIMENSIONS = 1_536
_FEW, _MANY = 200, 50_000
_TOP = 10
_SEARCHES = 40
_TICK_SECONDS = 0.001
_RANK_FEW = Target(1.0, 0.3, is_ceiling=True)
_RANK_MANY = Target(30, 15, is_ceiling=True)
_LAG = Target(5.0, 2.0, is_ceiling=True)


def searches(_servers: Servers) -> Iterator[Result]:
    """A search's own work, once vectors are loaded and the query's is there."""
    affinity = os.sched_getaffinity(0)
    # A product of matrices is made beside the event loop, where both cores are the server's.
    os.sched_setaffinity(0, {machine.SERVER_CORE, machine.LOAD_CORE})
    try:
        yield from uvloop.run(_measure())
    finally:
        os.sched_setaffinity(0, affinity)


async def _measure() -> list[Result]:
    ranking = await load_numpy("ranking")
    numbers = ranking.np.random.default_rng(4)

    def vectors(count: int) -> Any:
        return numbers.standard_normal((count, _DIMENSIONS), dtype="float32")

    queries = vectors(_SEARCHES)
    few, many = (Corpus(Documents(()), ranking.Matrix(vectors(count))) for count in (_FEW, _MANY))
    rows: list[Result] = []
    taken, _ = await _searches(few, queries, None)
    rows.append(Row(f"rank {_FEW} documents, all", taken * 1e3, "ms", target=_RANK_FEW))
    taken, lag = await _searches(many, queries, _TOP)
    name = f"rank {_MANY:,} documents of {_DIMENSIONS:,} dimensions"
    rows.append(Row(f"{name}, {_TOP} best", taken * 1e3, "ms", target=_RANK_MANY))
    idle = statistics.median([await _idle_lag(taken) for _ in range(_SEARCHES)])
    rows.append(Row(f"{name}, loop late", lag * 1e3, "ms", idle * 1e3, "a loop without work", _LAG))
    return rows


async def _idle_lag(seconds: float) -> float:
    """How late a loop is by itself on this machine at this time."""
    ticking = asyncio.create_task(_longest_lag())
    await asyncio.sleep(seconds)
    ticking.cancel()
    return await ticking


async def _searches(corpus: Corpus, queries: Any, top: int | None) -> tuple[float, float]:
    """The median of the seconds that a search takes, and of the longest that the loop was late in
    each, which one look by the rest of the machine does not decide."""
    taken, late = [], []
    for query in queries:
        ticking = asyncio.create_task(_longest_lag())
        await asyncio.sleep(0)
        started = time.perf_counter()
        await rank(corpus, query, top)
        taken.append(time.perf_counter() - started)
        ticking.cancel()
        late.append(await ticking)
    return statistics.median(taken), statistics.median(late)


async def _longest_lag() -> float:
    """Until it is cancelled, how late the latest tick was, in seconds."""
    longest = 0.0
    due = time.perf_counter() + _TICK_SECONDS
    try:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            longest = max(longest, time.perf_counter() - due)
            due = time.perf_counter() + _TICK_SECONDS
    except asyncio.CancelledError:
        return max(longest, time.perf_counter() - due)

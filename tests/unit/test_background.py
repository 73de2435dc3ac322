"""What runs beside the serving: a loop that ends is begun again, and readiness hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aieye import background
from aieye.background import Background


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.02)


class Loop:
    """Ends as often as it is told to, then goes on for ever."""

    def __init__(self, ends: list[Exception | None]) -> None:
        self._ends = ends
        self.began = 0
        self.runs = asyncio.Event()

    async def __call__(self) -> None:
        self.began += 1
        if not self._ends:
            self.runs.set()
            await asyncio.sleep(3600)
        end = self._ends.pop()
        if end is not None:
            raise end


@asynccontextmanager
async def running(**loops: Loop) -> AsyncIterator[Background]:
    kept = Background()
    async with kept.running(loops):
        yield kept


@pytest.mark.parametrize("end", [OSError("no"), KeyError("no"), None], ids=repr)
async def test_a_loop_that_ends_is_begun_again_and_is_a_fault_meanwhile(
    end: Exception | None,
) -> None:
    loop, other = Loop([end, end]), Loop([])
    async with running(pruning=loop, heartbeat=other) as kept, asyncio.timeout(20):
        assert kept.find_fault() is None
        await loop.runs.wait()
        assert kept.find_fault() == "failed and begun again: pruning"
        while kept.find_fault() is not None:
            await asyncio.sleep(0.01)
    assert (loop.began, other.began) == (3, 1)


async def test_all_loops_end_with_the_process() -> None:
    loop, failing = Loop([]), Loop([OSError("no")] * 10_000)
    async with running(one=loop, two=failing):
        await loop.runs.wait()
    assert {task for task in asyncio.all_tasks() if not task.done()} == {asyncio.current_task()}

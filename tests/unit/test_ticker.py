"""Many moments in the near future, one timer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aieye.gateway.ticker import TICK_SECONDS, Alarm, Ticker, ticker


@pytest.fixture
async def alarms() -> Ticker:
    return Ticker(asyncio.get_running_loop())


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_alarms_go_off_in_order_and_never_early(alarms: Ticker) -> None:
    loop = asyncio.get_running_loop()
    late: list[tuple[int, float]] = []
    for number, seconds in ((3, 0.09), (1, 0.02), (2, 0.05)):
        when = soon(seconds)
        alarms.call_at(when, lambda n=number, w=when: late.append((n, loop.time() - w)))  # type: ignore[misc] # a lambda's defaults
    await asyncio.sleep(0.3)
    assert [number for number, _ in late] == [1, 2, 3]
    assert min(seconds for _, seconds in late) >= 0


async def test_a_moment_that_has_passed_comes_at_the_next_tick(alarms: Ticker) -> None:
    called = asyncio.Event()
    alarms.call_at(soon(-5), called.set)
    await asyncio.wait_for(called.wait(), 1)


async def test_what_is_cancelled_never_comes(alarms: Ticker) -> None:
    called: list[str] = []
    first = alarms.call_at(soon(0.02), lambda: called.append("first"))
    when = soon(0.03)
    pair: dict[str, Alarm] = {}

    def call(name: str, other: str) -> None:
        called.append(name)
        pair[other].cancel()

    pair["one"] = alarms.call_at(when, lambda: call("one", "other"))
    pair["other"] = alarms.call_at(when, lambda: call("other", "one"))
    first.cancel()
    first.cancel()
    await asyncio.sleep(0.1)
    assert called in (["one"], ["other"])


async def test_an_alarm_may_set_the_next(alarms: Ticker) -> None:
    times: list[float] = []

    def again() -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 4:
            alarms.call_at(soon(0.02), again)

    again()
    await asyncio.sleep(0.4)
    assert len(times) == 4


async def test_a_call_back_that_fails_leaves_the_others_alone(alarms: Ticker) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: faults.append(told))
    called = asyncio.Event()

    def fail() -> None:
        raise ZeroDivisionError

    alarms.call_at(soon(0.01), fail)
    alarms.call_at(soon(0.05), called.set)
    await asyncio.wait_for(called.wait(), 1)
    assert isinstance(faults[0]["exception"], ZeroDivisionError)


async def test_nothing_ticks_when_nothing_is_due(
    alarms: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm = alarms.call_at(soon(60), lambda: None)
    assert len(alarms._due) == 1
    alarm.cancel()
    await asyncio.sleep(4 * TICK_SECONDS)
    assert (alarms._is_ticking, alarms._due) == (False, {})


async def test_a_loop_has_one(alarms: Ticker) -> None:
    assert ticker() is ticker()

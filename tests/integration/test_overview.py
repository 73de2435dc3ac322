"""The sums of a period are those of its rows, however they are cut, filtered and remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event, select

from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.tables import Call
from aieye.db.types import now, to_micros
from aieye.ledger.periods import before, cut
from aieye.ledger.queries import UsageFilters
from aieye.ledger.queries import ahead as ahead_module
from aieye.ledger.queries import overview as module
from aieye.ledger.queries.ahead import WINDOWS, Ahead
from aieye.ledger.queries.overview import Overview, overview
from aieye.ledger.queries.period_sums import (
    MOMENT_SECONDS,
    MOST_REMEMBERED,
    REMEMBERED_SECONDS,
    Amounts,
    Memory,
)
from aieye.ledger.rollups import DAY, HOUR
from tests.integration.ledger_api import Ledger, call, running_ledger
from tests.integration.test_queries import some_calls


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def seen(
    ledger: Ledger, seconds: int, *, ago: int = 0, memory: Memory | None = None,
    stack_by: str = "model", filters: UsageFilters | None = None, owner_id: int | None = None,
) -> Overview:  # fmt: skip
    moment = int(time.time())
    until = moment - ago
    this = cut(until - seconds, until, now=moment)
    async with ledger.database.read() as session:
        return await overview(
            session, memory or Memory(), this=this, before=before(this, until, now=moment),
            stack_by=stack_by, measure="requests", filters=filters or UsageFilters(),
            owner_id=owner_id, now=moment,
        )  # fmt: skip


def seconds_of(row: Call) -> int:
    return to_micros(row.created_at) // 1_000_000


def added(rows: list[Call]) -> Amounts:
    amounts = Amounts()
    for row in rows:
        amounts.calls += 1
        amounts.errors += (row.status or 0) >= 400 and row.status != 499
        amounts.hits += row.cache in {"hit", "shared"}
        amounts.asked += row.cache in {"hit", "shared", "miss"}
        # What was simulated has no cost that somebody could know.
        is_simulated = not row.provider_id and row.status not in {None, 500}
        amounts.unpriced += row.cost_nano is None and not is_simulated
        amounts.cost_nano += row.cost_nano or 0
        amounts.saved_nano += row.saved_nano or 0
        amounts.tokens_input += row.tokens_input or 0
        amounts.tokens_output += row.tokens_output or 0
    return amounts


CASES: list[tuple[UsageFilters, int | None, Callable[[Call], bool]]] = [
    (UsageFilters(), None, lambda _: True),
    (
        UsageFilters(model="a", cache="hit"),
        None,
        lambda row: (row.model, row.cache) == ("a", "hit"),
    ),
    (UsageFilters(token=1), 2, lambda row: (row.token_id, row.user_id) == (1, 2)),
]


@pytest.mark.parametrize("hours", [1, 5, 30, 7 * 24, 20 * 24])
async def test_a_period_is_what_adding_up_its_rows_gives(ledger: Ledger, hours: int) -> None:
    await ledger.settle(*some_calls(400, days=hours // 8 + 1))
    async with ledger.database.read() as session:
        rows = list(await session.scalars(select(Call)))
    memory = Memory()
    for ago, (filters, owner_id, passes) in product((0, 3 * HOUR + 17, 0), CASES):
        found = await seen(
            ledger, hours * HOUR, ago=ago, memory=memory, filters=filters, owner_id=owner_id
        )
        this, former = found.cut, found.before
        mine = [r for r in rows if this.since <= seconds_of(r) < this.until and passes(r)]
        assert found.whole.amounts == added(mine)
        length = min(this.until, -(-(int(time.time()) - ago) // 60) * 60) - this.since
        earlier = [
            r for r in rows if this.since - length <= seconds_of(r) < this.since and passes(r)
        ]
        assert abs(former.amounts.calls - len(earlier)) <= 1
        assert [bar.amounts for bar in found.bars] == [
            added([r for r in mine if at <= seconds_of(r) < at + this.step]) for at in this.bars
        ]
        assert {layer.value: layer.total for layer in found.layers} == {
            value: added([r for r in mine if r.model == value]) for value in {r.model for r in mine}
        }
        assert dict(found.tops["token"]) == {
            value: added([r for r in mine if r.token_id == value])
            for value in {r.token_id for r in mine} - {None}
        }
        assert (found.whole.p95_ms is None) == (not mine)


async def test_values_beyond_the_largest_are_one_layer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LAYERS", 1)
    await ledger.settle(call(model="a"), call(model="a"), call(model="b"), call(model=None))
    found = await seen(ledger, HOUR)
    assert [(layer.value, layer.total.calls) for layer in found.layers] == [("a", 2), (None, 2)]


async def test_what_is_long_over_is_read_once_and_what_is_not_each_time(ledger: Ledger) -> None:
    memory = Memory()
    await ledger.settle(call(now() - timedelta(days=3)), call())
    assert (await seen(ledger, 20 * DAY, memory=memory)).whole.amounts.calls == 2
    # No call comes so late; this one shows that nobody looks.
    await ledger.settle(call(now() - timedelta(days=3)), call())
    assert (await seen(ledger, 20 * DAY, memory=memory)).whole.amounts.calls == 3
    assert (await seen(ledger, 20 * DAY)).whole.amounts.calls == 4


async def test_what_is_over_for_an_hour_is_late_for_moments_at_most(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, ago = Memory(), timedelta(minutes=70)
    await ledger.settle(call(now() - ago), call())
    assert (await seen(ledger, DAY, memory=memory)).whole.amounts.calls == 2
    # Calls that took so long: one that took no time is seen at once.
    await ledger.settle(call(now() - ago), call(now() - ago), call())
    late = await seen(ledger, DAY, memory=memory)
    assert late.whole.amounts.calls == sum(bar.amounts.calls for bar in late.bars) == 3
    later = time.monotonic() + 10 * MOMENT_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (await seen(ledger, DAY, memory=memory)).whole.amounts.calls == 5


async def test_windows_looked_at_in_turn_read_no_more_than_the_hour_that_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within the first minutes of a day, and of an hour, what has just ended goes on too.
    memory, moment = Memory(), time.time() // DAY * DAY + DAY / 2 + HOUR / 2
    monkeypatch.setattr(time, "time", lambda: moment)
    await ledger.settle(*some_calls(100, days=30), call())
    windows = (DAY, 7 * DAY, 30 * DAY)
    for seconds in windows:
        await seen(ledger, seconds, memory=memory)
    read: list[str] = []
    event.listen(
        ledger.database.engine.sync_engine, "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: read.append(statement),
    )  # fmt: skip
    for seconds in windows:
        await seen(ledger, seconds, memory=memory)
    # Who and what had it, over time, and how long calls took.
    assert len([statement for statement in read if "rollups" in statement]) == 3 * len(windows)


async def test_two_who_look_at_once_read_what_is_over_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.time() // DAY * DAY + DAY / 2 + HOUR / 2
    monkeypatch.setattr(time, "time", lambda: moment)
    await ledger.settle(*some_calls(100, days=30), call())
    read: list[str] = []
    event.listen(
        ledger.database.engine.sync_engine, "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: read.append(statement),
    )  # fmt: skip
    counts = []
    for people in (1, 2):
        read.clear()
        memory = Memory()
        await asyncio.gather(*(seen(ledger, 30 * DAY, memory=memory) for _ in range(people)))
        counts.append(len([statement for statement in read if "rollups" in statement]))
    alone, together = counts
    # Each reads the hour that goes on: who and what had it, over time, and how long calls took.
    assert (alone > 20, together) == (True, alone + 3)


async def test_remembering_keeps_no_more_than_it_may(ledger: Ledger) -> None:
    memory = Memory()
    for number in range(300):
        memory.keep(number, "found", 1, weight=MOST_REMEMBERED // 100)
    memory.keep("newest", "found", 60, weight=MOST_REMEMBERED // 100)
    assert memory.find("newest") == "found"
    assert len([number for number in range(300) if memory.find(number)]) == 99


async def test_what_is_forgotten_anyway_makes_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.keep("block", "found", REMEMBERED_SECONDS)
    for number in range(3):
        memory.keep(number, "found", 1, weight=MOST_REMEMBERED // 4)
    moment = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    memory.keep("newest", "found", 1, weight=MOST_REMEMBERED // 2)
    assert [memory.find(key) for key in ("block", "newest", 2)] == ["found", "found", None]


async def test_whoever_looks_is_read_ahead_for_once_an_hour_and_a_failure_ends_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int | None] = []
    ahead = Ahead(ledger.database, Memory())

    async def overview_of(_session: object, _memory: object, **asked: Any) -> None:
        read.append(asked["owner_id"])
        if asked["owner_id"] == 1:
            raise DatabaseUnavailable("Away.")

    monkeypatch.setattr(ahead_module, "overview", overview_of)
    watching = asyncio.create_task(ahead.watch())
    for owner_id in (1, 2, 1, 2):
        ahead.expect(owner_id)
    async with asyncio.timeout(30):
        while read.count(None) < len(WINDOWS):
            await asyncio.sleep(0.01)
    watching.cancel()
    # Everybody's calls are expected when the watching begins.
    assert read == [1, *[2] * len(WINDOWS), *[None] * len(WINDOWS)]


async def test_what_was_read_ahead_is_not_read_when_somebody_looks(ledger: Ledger) -> None:
    memory = Memory()
    await ledger.settle(call(now() - timedelta(days=3)), call())
    await Ahead(ledger.database, memory).read(None)
    # No call comes so late; this one shows that nobody looks.
    await ledger.settle(call(now() - timedelta(days=3)))
    assert (await seen(ledger, 30 * DAY, memory=memory)).whole.amounts.calls == 2
    assert (await seen(ledger, 30 * DAY)).whole.amounts.calls == 3


async def test_what_is_remembered_is_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.keep("key", "found", REMEMBERED_SECONDS)
    assert memory.find("key") == "found"
    later = time.monotonic() + REMEMBERED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert memory.find("key") is None

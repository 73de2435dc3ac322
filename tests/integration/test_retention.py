"""What is past its time goes, and nothing else."""

from __future__ import annotations

import asyncio
import random
import threading
import zlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update

from aieye.cache.entry import Entry, Provenance
from aieye.cache.store import Store
from aieye.db.engine import Database
from aieye.db.tables import (
    CacheEntry,
    CacheTotals,
    Call,
    CallBody,
    Execution,
    ExecutionStep,
    IdempotentCall,
    Instance,
    LatencyRollup,
    LoginAttempt,
    Session,
    UsageRollup,
    User,
)
from aieye.db.types import now, to_micros
from aieye.ledger import retention, run_texts, texts
from aieye.ledger.queries import totals
from aieye.ledger.retention import keep_pruning, prune
from aieye.ledger.rollups import DAY, HOUR, MINUTE
from aieye.ledger.run_texts import NOT_KEPT
from aieye.settings import Settings, load_settings
from tests.integration.ledger_api import Ledger, call, entry, request, running_ledger
from tests.integration.statements import rows_of, watched

DAYS = timedelta(days=1)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def left(ledger: Ledger, column: Any, *conditions: Any) -> list[Any]:
    """What is left of a column, in its order."""
    async with ledger.database.read() as session:
        found = await session.scalars(select(column).where(*conditions).order_by(column))
        return list(found)


def settings(**values: Any) -> Settings:
    return load_settings(**values)


async def test_texts_go_after_their_days_and_rows_stay(ledger: Ledger) -> None:
    old, young = call(now() - 31 * DAYS), call(now() - 29 * DAYS)
    for record in (old, young):
        ledger.keep_body(record, b"asked", b"answered")
    await ledger.settle(old, young)
    counts = await prune(ledger.database, settings())
    assert counts["call_bodies"] == 1
    assert await left(ledger, CallBody.id) == [young.id]
    assert len(await left(ledger, Call.id)) == 2


RUN_TEXT = "what somebody said"


def run(name: str, started_at: datetime, *, steps: int = 1, status: str = "failed") -> list[Any]:
    """A run that failed as its steps did, with a text wherever one may be."""
    error = {"code": "E501", "message": RUN_TEXT, "hint": RUN_TEXT, "line": 1}
    execution = Execution(
        run_id=name, status=status, instance_id="i", started_at=started_at,
        arguments={"x": RUN_TEXT}, output=RUN_TEXT, error=error, tokens_input=5,
    )  # fmt: skip
    return [
        execution,
        *(
            ExecutionStep(
                number=number, path="f", name="f", kind="function",
                span_start=0, span_end=1, status="failed", attempts=1, arguments={"x": RUN_TEXT},
                output=RUN_TEXT, error={"code": "E501", "message": RUN_TEXT}, tokens_output=7,
            )
            for number in range(steps)
        ),
    ]  # fmt: skip


async def add_runs(ledger: Ledger, *runs: list[Any]) -> None:
    async with ledger.database.write() as session:
        for rows in runs:
            execution, steps = rows[0], rows[1:]
            session.add(execution)
            await session.flush()
            for step in steps:
                step.execution_id = execution.id
            session.add_all(steps)


async def test_texts_of_runs_go_after_their_days_and_what_they_used_stays(ledger: Ledger) -> None:
    await add_runs(ledger, run("old", now() - 31 * DAYS), run("young", now() - 29 * DAYS))
    assert (await prune(ledger.database, settings()))["executions"] == 1
    async with ledger.database.read() as session:
        old, young = await session.scalars(select(Execution).order_by(Execution.id))
        lost, whole = await session.scalars(
            select(ExecutionStep).order_by(ExecutionStep.execution_id)
        )
    gone = {"code": "E501", "message": NOT_KEPT}
    assert (old.arguments, old.output, old.tokens_input) == ({}, None, 5)
    assert old.error == {**gone, "hint": None, "line": 1}
    assert (lost.arguments, lost.output, lost.error, lost.tokens_output) == (None, None, gone, 7)
    assert (young.arguments, young.output) == ({"x": RUN_TEXT}, RUN_TEXT)
    assert (whole.arguments, whole.output) == ({"x": RUN_TEXT}, RUN_TEXT)
    assert RUN_TEXT in str(young.error)
    assert RUN_TEXT in str(whole.error)
    assert (await prune(ledger.database, settings()))["executions"] == 0


async def test_a_run_that_goes_on_loses_its_texts_when_it_is_over(ledger: Ledger) -> None:
    await add_runs(ledger, run("long", now() - DAYS, status="running"))
    nothing_kept = settings(ledger_retention_days=0)
    assert (await prune(ledger.database, nothing_kept))["executions"] == 0
    async with ledger.database.write() as session:
        await session.execute(update(Execution).values(status="done"))
    assert (await prune(ledger.database, nothing_kept))["executions"] == 1


async def test_many_runs_and_long_ones_lose_their_texts_a_few_at_a_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_texts, "CHUNK_RUNS", 3)
    monkeypatch.setattr(run_texts, "CHUNK_BYTES", 10_000)
    then = now() - 40 * DAYS
    steps = [1, 1, 1, 1, 1, 20, 6, 6]
    await add_runs(ledger, *(run(str(at), then, steps=count) for at, count in enumerate(steps)))
    async with ledger.database.write() as session:
        for table in (Execution, ExecutionStep):
            await session.execute(update(table).values(error=None))
    with watched(ledger.database) as done:
        assert (await prune(ledger.database, settings()))["executions"] == len(steps)
    assert rows_of(done, "UPDATE execution_steps SET") == [3, 2, 20, 6, 6]
    assert rows_of(done, "UPDATE executions SET") == [3, 2, 1, 1, 1]


async def test_of_many_that_prune_at_once_each_run_is_emptied_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_texts, "CHUNK_RUNS", 3)
    await add_runs(ledger, *(run(str(at), now() - 40 * DAYS) for at in range(20)))
    counts = await asyncio.gather(*(prune(ledger.database, settings()) for _ in range(4)))
    assert sum(count["executions"] for count in counts) == 20
    assert await left(ledger, Execution.has_texts) == [False] * 20


async def test_runs_that_hold_texts_are_found_without_looking_at_the_others(
    ledger: Ledger,
) -> None:
    plan = await plan_of_first(ledger, "FROM executions")
    assert "ix_executions_texts" in plan


async def test_with_no_days_texts_go_at_the_next_pruning(ledger: Ledger) -> None:
    record = call(now() - timedelta(milliseconds=1))
    ledger.keep_body(record, b"asked", None)
    await ledger.settle(record)
    await prune(ledger.database, settings(ledger_retention_days=0))
    assert await left(ledger, CallBody.id) == []


async def test_more_rows_than_fit_one_transaction_all_go(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "CHUNK_ROWS", 3)
    records = [call(now() - 40 * DAYS) for _ in range(10)]
    for record in records:
        ledger.keep_body(record, b"asked", None)
    await ledger.settle(*records)
    assert (await prune(ledger.database, settings()))["call_bodies"] == 10


async def test_writers_get_their_turn_between_chunks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "CHUNK_ROWS", 2)
    records = [call(now() - 40 * DAYS) for _ in range(60)]
    for record in records:
        ledger.keep_body(record, b"asked", None)
    await ledger.settle(*records)
    pruning = asyncio.create_task(prune(ledger.database, settings()))
    await asyncio.sleep(0.02)
    await ledger.settle(call())
    assert not pruning.done()
    await pruning


def idempotent(key: str, created_at: datetime) -> IdempotentCall:
    return IdempotentCall(
        token_id=1, path="/v1/x", key=key, body_digest="d", call_id="c", status=200, headers=None,
        body=b"", created_at=created_at,
    )  # fmt: skip


async def test_keys_sessions_attempts_and_dead_processes_go_after_their_time(
    ledger: Ledger,
) -> None:
    moment = now()
    async with ledger.database.write() as session:
        session.add(User(id=1, email="a@example.org", role="user", password_hash=None))
        await session.flush()
        for name, age in (("old", 25), ("young", 23)):
            then = moment - timedelta(hours=age)
            expires = moment + timedelta(hours=24 - age)
            session.add_all(
                [
                    idempotent(name, then),
                    Session(digest=name, user_id=1, csrf_token="c", expires_at=expires),
                    LoginAttempt(subject=name, failures=1, window_started_at=then),
                    Instance(id=name, started_at=then, seen_at=then),
                ]
            )
    await prune(ledger.database, settings())
    for column in (IdempotentCall.key, Session.digest, LoginAttempt.subject, Instance.id):
        assert await left(ledger, column) == ["young"], column


async def test_a_dead_process_is_remembered_while_calls_of_its_are_open(ledger: Ledger) -> None:
    async with ledger.database.write() as session:
        then = now() - 3 * DAYS
        session.add(Instance(id="instance-1", started_at=then, seen_at=then))
    record = call()
    ledger.book.open(record)
    await ledger.writer.durable()
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == ["instance-1"]
    await ledger.settle(record)
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == []


async def test_a_dead_process_is_remembered_while_runs_of_its_are_open(ledger: Ledger) -> None:
    async with ledger.database.write() as session:
        then = now() - 3 * DAYS
        session.add(Instance(id="instance-1", started_at=then, seen_at=then))
        session.add(Execution(run_id="a", status="running", arguments={}, instance_id="instance-1"))
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == ["instance-1"]
    async with ledger.database.write() as session:
        await session.execute(update(Execution).values(status="interrupted"))
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == []


async def test_expired_answers_go_and_the_cache_stays_counted(ledger: Ledger) -> None:
    store = Store(ledger.database, ledger.writer)
    past, future = (to_micros(now() + hours * timedelta(hours=1)) for hours in (-1, 1))
    kept = [entry("for ever"), entry("young", expires_at=future)]
    for one in (*kept, entry("old", expires_at=past), entry("older", expires_at=past - 1)):
        store.put(one, request(), is_kept=False)
    await ledger.writer.durable()
    assert (await prune(ledger.database, settings()))["cache_entries"] == 2
    async with ledger.database.read() as session:
        totals_row = (await session.scalars(select(CacheTotals))).one()
        count, size = (
            await session.execute(
                select(func.count(), func.sum(CacheEntry.size_bytes)).select_from(CacheEntry)
            )
        ).one()
    assert (totals_row.entries, totals_row.size_bytes) == (count, int(size))
    assert count == 2


async def test_minutes_go_after_35_days_and_hours_and_days_stay(ledger: Ledger) -> None:
    await ledger.settle(call(now() - 40 * DAYS), call(now() - 34 * DAYS))
    await prune(ledger.database, settings())
    for table in (UsageRollup, LatencyRollup):
        grains = await left(ledger, table.grain)
        assert grains == [MINUTE, HOUR, HOUR, DAY, DAY], table
    async with ledger.database.read() as session:
        found = await totals(session, since=now() - 60 * DAYS, owner_id=None)
    assert found.calls == 2


async def test_pruning_twice_removes_nothing_more(ledger: Ledger) -> None:
    await ledger.settle(call(now() - 40 * DAYS))
    await prune(ledger.database, settings())
    assert set((await prune(ledger.database, settings())).values()) == {0}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_database_that_is_away_is_waited_for(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.01)
    database = Database(empty_database_url)
    task = asyncio.create_task(keep_pruning(database, settings()))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    # What is cancelled in the middle of a statement still gives its connection back.
    await asyncio.wait({task})
    await database.close()


@pytest.mark.parametrize("size", [10, 20_000], ids=["plain", "compressed"])
async def test_a_text_that_a_stored_answer_gives_goes_from_the_ledger_only(
    ledger: Ledger, size: int
) -> None:
    record = call(now() - 31 * DAYS)
    answer = b'{"choices":[], "x":"' + b"y" * size + b'"}'
    ledger.keep_body(record, request(), answer)
    stored = entry(body=answer, provenance=Provenance(body_id=record.id))
    store = Store(ledger.database, ledger.writer)
    await store.start()
    store.put(stored, request(), is_kept=True)
    await ledger.settle(record)
    assert await store.find(stored.key) == stored
    assert await left(ledger, CacheEntry.body) == [b""]

    await prune(ledger.database, settings())

    assert await left(ledger, CallBody.id) == []
    assert await store.find(stored.key) == stored
    assert await left(ledger, CacheEntry.request) == [request()]
    await store.close()


DELETED = "DELETE FROM call_bodies"


async def keep_given(ledger: Ledger, number: int, answer: bytes, *, age: timedelta) -> list[Entry]:
    """Texts of that age, each given by a stored answer and kept with the ledger alone."""
    store, stored = Store(ledger.database, ledger.writer), []
    for one in range(number):
        record = call(now() - age)
        ledger.keep_body(record, request(), answer)
        stored.append(entry(str(one), body=answer, provenance=Provenance(body_id=record.id)))
        store.put(stored[-1], request(), is_kept=True)
    await ledger.writer.durable()
    return stored


async def given(ledger: Ledger) -> list[bytes]:
    """The keys of all answers that the cache can give."""
    store = Store(ledger.database, ledger.writer)
    await store.start()
    try:
        keys = await left(ledger, CacheEntry.key)
        return [key for key in keys if await store.find(key) is not None]
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("answer", "moved"),
    [(random.Random(1).randbytes(6_000), [3, 3, 1]), (b"y" * 60_000, [1] * 7)],
    ids=["as large as it lies there", "far larger than it lies there"],
)
async def test_a_transaction_moves_no_more_than_some_bytes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, answer: bytes, moved: list[int]
) -> None:
    stored = await keep_given(ledger, 7, answer, age=31 * DAYS)
    monkeypatch.setattr(texts, "CHUNK_BYTES", 20_000)
    with watched(ledger.database) as done:
        assert (await prune(ledger.database, settings()))["call_bodies"] == 7
    assert rows_of(done, DELETED) == moved
    assert await given(ledger) == sorted(one.key for one in stored)


async def test_texts_are_unpacked_in_a_thread_while_nobody_is_kept_from_writing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_given(ledger, 3, b"y" * 20_000, age=31 * DAYS)
    gate, unpack = ledger.database.gate, zlib.decompress
    seen: list[bool] = []

    def watch(text: bytes) -> bytes:
        is_free = gate is None or gate.try_acquire()
        if gate is not None and is_free:
            gate.release()
        seen.append(is_free and threading.current_thread() is not threading.main_thread())
        return unpack(text)

    monkeypatch.setattr(zlib, "decompress", watch)
    await prune(ledger.database, settings())
    assert seen == [True] * 6


async def test_of_many_that_prune_at_once_none_loses_an_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "CHUNK_ROWS", 3)
    stored = await keep_given(ledger, 40, b"answered", age=31 * DAYS)
    counts = await asyncio.gather(*(prune(ledger.database, settings()) for _ in range(4)))
    assert sum(count["call_bodies"] for count in counts) == 40
    assert await given(ledger) == sorted(one.key for one in stored)


async def test_a_damaged_text_does_not_hold_the_others_up(ledger: Ledger) -> None:
    await keep_given(ledger, 3, b"y" * 20_000, age=31 * DAYS)
    damaged = (await left(ledger, CallBody.id))[1]
    async with ledger.database.write() as session:
        statement = update(CallBody).where(CallBody.id == damaged).values(response=b"no zlib")
        await session.execute(statement)
    assert (await prune(ledger.database, settings()))["call_bodies"] == 3
    assert len(await given(ledger)) == 2


async def test_large_answers_that_expire_go_a_few_at_a_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK_BYTES", 25_000)
    store, past = Store(ledger.database, ledger.writer), to_micros(now()) - 1
    for number in range(5):
        one = entry(str(number), body=b"x" * 10_000, expires_at=past)
        store.put(one, request(), is_kept=False)
    await ledger.writer.durable()
    with watched(ledger.database) as done:
        assert (await prune(ledger.database, settings()))["cache_entries"] == 5
    assert rows_of(done, "DELETE FROM cache_entries") == [2, 2, 1]


async def test_old_texts_are_found_by_their_ids_alone(ledger: Ledger) -> None:
    await keep_given(ledger, 1, b"answered", age=31 * DAYS)
    plan = await plan_of_first(ledger, "FROM call_bodies")
    by_id = (
        "sqlite_autoindex_call_bodies_1 (id<?)" if ledger.database.is_sqlite else "pk_call_bodies"
    )
    assert by_id in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


async def plan_of_first(ledger: Ledger, part: str) -> str:
    """How the database finds what pruning asks it first with this in the statement."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if part in statement:
            asked.append((statement, values))

    event.listen(ledger.database.engine.sync_engine, "before_cursor_execute", note)
    await prune(ledger.database, settings())
    statement, values = asked[0]
    async with ledger.database.read() as session:
        if not ledger.database.is_sqlite:
            # A table this small is read whole, whatever indexes it has.
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            await session.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if ledger.database.is_sqlite else "EXPLAIN"
        connection = await session.connection()
        plan = await connection.exec_driver_sql(f"{explain} {statement}", values)
        return "\n".join(str(row) for row in plan)

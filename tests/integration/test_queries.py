"""Reading the ledger: pages of calls, and usage whose sums are those of the rows."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import delete, event, select

from aieye.db.engine import Database
from aieye.db.tables import Call, CallBody, Token, User
from aieye.db.types import now, to_micros
from aieye.errors import InvalidRequest, NotFound
from aieye.ledger.book import CallRecord
from aieye.ledger.queries import (
    CallFilters,
    Sums,
    UsageFilters,
    call_rows,
    find_calls,
    get_body,
    get_call,
    names_of,
    totals,
    usage,
    usage_sums,
)
from aieye.ledger.rollups import DAY, HOUR, MINUTE, latency_bin
from tests.crash.ledger import assert_sums_agree
from tests.installation import Installation
from tests.integration.ledger_api import Ledger, at_noon, call, running_ledger

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def ids_of(
    ledger: Ledger, filters: CallFilters | None = None, owner_id: int | None = None
) -> list[str]:
    async with ledger.database.read() as session:
        page = await find_calls(session, filters or CallFilters(), owner_id=owner_id)
    assert page.next_before is None
    return [found.call.id for found in page.calls]


# -- calls ------------------------------------------------------------------------------------


async def test_calls_come_newest_first_whatever_the_order_of_their_booking(ledger: Ledger) -> None:
    records = [call(now() - timedelta(minutes=number)) for number in range(5)]
    await ledger.settle(*random.sample(records, 5))
    assert await ids_of(ledger) == [record.id for record in records]


async def test_pages_neither_repeat_nor_hide_a_call_while_others_come_in(ledger: Ledger) -> None:
    records = [call(now() - timedelta(minutes=number)) for number in range(7)]
    await ledger.settle(*records)
    seen: list[str] = []
    before: str | None = None
    while True:
        async with ledger.database.read() as session:
            page = await find_calls(session, CallFilters(), owner_id=None, before=before, limit=3)
        seen += [found.call.id for found in page.calls]
        await ledger.settle(call())
        before = page.next_before
        if before is None:
            break
    assert seen == [record.id for record in records]


FILTERS: list[tuple[CallFilters, dict[str, Any]]] = [
    (CallFilters(token_id=1), {"token_id": 1}),
    (CallFilters(user_id=1), {"user_id": 1}),
    (CallFilters(provider_id=1), {"provider_id": 1}),
    (CallFilters(key_id=1), {"key_id": 1}),
    (CallFilters(model="a"), {"model": "a"}),
    (CallFilters(model="a"), {"model_asked": "a", "model": "b"}),
    (CallFilters(endpoint="embeddings"), {"endpoint": "embeddings"}),
    (CallFilters(status=404), {"status": 404}),
    (CallFilters(status_class=5), {"status": 502}),
    (CallFilters(cache="hit"), {"cache": "hit"}),
    (CallFilters(cost_state="unknown"), {"cost_state": "unknown", "cost_nano": None}),
    (CallFilters(is_stream=True), {"is_stream": True}),
    (CallFilters(pipeline="p"), {"pipeline": "p"}),
    (CallFilters(run_id="r"), {"run_id": "r"}),
    (CallFilters(latency_from_us=2_000_000), {"latency_us": 2_000_000}),
    (CallFilters(cost_from_nano=1_000_000), {"cost_nano": 1_000_000}),
    (CallFilters(tag=("team", "a")), {"tags": {"team": "a", "x": "y"}}),
    (CallFilters(token_id=1, status=404), {"token_id": 1, "status": 404}),
]


async def test_each_filter_finds_the_calls_that_it_names_and_no_others(ledger: Ledger) -> None:
    expected = []
    for number, (filters, fields) in enumerate(FILTERS):
        moment = MIDNIGHT + timedelta(minutes=number)
        wanted = call(moment, **fields)
        other = call(moment, token_id=2, user_id=2, provider_id=2, key_id=2, tags={"team": "b"})
        await ledger.settle(wanted, other)
        within = replace(filters, since=moment, until=moment + timedelta(minutes=1))
        expected.append((within, [wanted.id]))
    assert [(filters, await ids_of(ledger, filters)) for filters, _ in expected] == expected


TAGS: list[tuple[dict[str, str] | None, bool]] = [
    ({"team": "a"}, True),
    ({"x": "1", "team": "a"}, True),
    ({"team": "A"}, False),
    ({"team": "ab"}, False),
    ({"my team": "a"}, False),
    ({'x"team': "a"}, False),
    ({"x": '{"team":"a"'}, False),
    ({"x": ',"team":"a"'}, False),
    (None, False),
]


async def test_a_tag_is_found_by_its_whole_name_and_value(ledger: Ledger) -> None:
    records = [(call(tags=tags), is_found) for tags, is_found in TAGS]
    await ledger.settle(*(record for record, _ in records))
    found = await ids_of(ledger, CallFilters(tag=("team", "a")))
    assert set(found) == {record.id for record, is_found in records if is_found}


async def test_tags_with_quotes_and_other_signs_are_found(ledger: Ledger) -> None:
    tag = ('a"b%_', "c'd\\é\u2028")
    wanted = call(tags=dict([tag]))
    await ledger.settle(wanted, call(tags={"aXbYZ": "c"}))
    assert await ids_of(ledger, CallFilters(tag=tag)) == [wanted.id]


async def test_windows_of_time_that_touch_hold_each_call_once(ledger: Ledger) -> None:
    records = [call(MIDNIGHT + timedelta(milliseconds=number)) for number in range(6)]
    await ledger.settle(*records)
    edge = MIDNIGHT + timedelta(milliseconds=3)
    early = await ids_of(ledger, CallFilters(since=MIDNIGHT, until=edge))
    late = await ids_of(ledger, CallFilters(since=edge, until=MIDNIGHT + timedelta(seconds=1)))
    assert early == [record.id for record in reversed(records[:3])]
    assert late == [record.id for record in reversed(records[3:])]


async def test_a_page_ends_early_rather_than_look_at_every_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_rows, "SCAN_ROWS", 4)
    rare = call(now() - timedelta(hours=1), status=404)
    await ledger.settle(rare, *(call() for _ in range(10)))
    pages, before = [], None
    for _ in range(4):
        async with ledger.database.read() as session:
            page = await find_calls(session, CallFilters(status=404), owner_id=None, before=before)
        pages.append([found.call.id for found in page.calls])
        before = page.next_before
        if before is None:
            break
    assert pages == [[], [], [rare.id]]


async def test_a_call_comes_with_the_names_behind_its_ids(ledger: Ledger) -> None:
    async with ledger.database.write() as session:
        session.add(User(id=5, email="ada@example.org", role="user"))
        await session.flush()
        token = Token(
            id=7, user_id=5, name="ci", prefix="aie_1", digest="d", scope="proxy",
            deleted_at=now(), provider_key_id=None,
        )  # fmt: skip
        session.add(token)
    record = call(user_id=5, token_id=7)
    await ledger.settle(record)
    async with ledger.database.read() as session:
        found = await get_call(session, record.request_id, owner_id=None)
        assert (found.token_name, found.user, found.provider) == ("ci", "ada@example.org", None)
        assert await names_of(session, "token", {7, 8}) == {7: "ci"}
        assert await names_of(session, "model", {1}) == {}


async def test_a_user_finds_own_calls_only(ledger: Ledger) -> None:
    own, other, nobodys = call(user_id=1), call(user_id=2), call()
    await ledger.settle(own, other, nobodys)
    assert await ids_of(ledger, owner_id=1) == [own.id]
    assert await ids_of(ledger, CallFilters(user_id=2), owner_id=1) == []
    async with ledger.database.read() as session:
        assert (await get_call(session, own.id, owner_id=1)).call.id == own.id
        for hidden in (other.id, other.request_id, nobodys.id, "req_", "", "x" * 32, f"{own.id}0"):
            with pytest.raises(NotFound):
                await get_call(session, hidden, owner_id=1)
        with pytest.raises(NotFound):
            await get_body(session, other.id, owner_id=1)


@pytest.mark.parametrize("size", [1, 100_000], ids=["plain", "compressed"])
async def test_the_texts_of_a_call_are_those_that_were_kept(ledger: Ledger, size: int) -> None:
    record = call(user_id=1)
    ledger.keep_body(record, b'{"q":"' + b"x" * size + b'"}', "grüße \xff".encode("latin-1"))
    await ledger.settle(record)
    async with ledger.database.read() as session:
        body = await get_body(session, record.id, owner_id=1)
    assert body.request == '{"q":"' + "x" * size + '"}'
    assert body.response == "gr\ufffd\ufffde \ufffd"


async def test_texts_that_are_not_kept_or_no_more_are_none(ledger: Ledger) -> None:
    never, pruned = call(), call()
    ledger.keep_body(pruned, b"a", None)
    await ledger.settle(never, pruned)
    async with ledger.database.write() as session:
        await session.execute(delete(CallBody))
    async with ledger.database.read() as session:
        for record in (never, pruned):
            body = await get_body(session, record.id, owner_id=None)
            assert (body.request, body.response) == (None, None)


# -- usage ------------------------------------------------------------------------------------


def some_calls(count: int, *, days: int = 4, seed: int = 1) -> list[CallRecord]:
    """Calls of the last days with every kind of value, and None where it may be."""
    dice = random.Random(seed)
    return [
        call(
            now() - timedelta(seconds=dice.randrange(days * DAY)),
            token_id=dice.choice([None, 1, 2]),
            user_id=dice.choice([None, 1, 2]),
            provider_id=dice.choice([None, 1]),
            endpoint=dice.choice(["chat/completions", "embeddings"]),
            model=dice.choice([None, "a", "b", "c"]),
            pipeline=dice.choice([None, "p"]),
            status=dice.choice([200, 200, 429, 499]),
            cache=dice.choice(["hit", "miss"]),
            latency_us=dice.choice([0, 1_500, 640_000, 10**9]),
            tokens_input=dice.choice([None, 5, 10**9]),
            cost_nano=dice.choice([None, 1, 27_000, 10**15]),
            saved_nano=dice.choice([None, 7]),
        )
        for _ in range(count)
    ]


async def rows_of(ledger: Ledger) -> list[Call]:
    async with ledger.database.read() as session:
        return list(await session.scalars(select(Call)))


def added(rows: list[Call]) -> Sums:
    """The sums of rows, one after the other."""
    sums = Sums()
    for row in rows:
        sums.calls += 1
        sums.unpriced += row.cost_nano is None
        for name in ("tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning"):
            setattr(sums, name, getattr(sums, name) + (getattr(row, name) or 0))
        sums.cost_nano += row.cost_nano or 0
        sums.saved_nano += row.saved_nano or 0
        sums.latency_us += row.latency_us or 0
        sums.bins[latency_bin(row.latency_us or 0)] += 1
    return sums


def grouped(rows: list[Call], key: Callable[[Call], Any]) -> dict[Any, Sums]:
    groups: dict[Any, list[Call]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: added(members) for name, members in groups.items()}


VALUE: dict[str, Callable[[Call], Any]] = {
    "model": lambda row: row.model or "",
    "token": lambda row: row.token_id or 0,
    "user": lambda row: row.user_id or 0,
    "provider": lambda row: row.provider_id or 0,
    "pipeline": lambda row: row.pipeline or "",
    "status": lambda row: row.status or 0,
    "endpoint": lambda row: row.endpoint,
    "cache": lambda row: row.cache,
}


def seconds_of(row: Call) -> int:
    return to_micros(row.created_at) // 1_000_000


@pytest.mark.parametrize("grain", [HOUR, DAY])
@pytest.mark.parametrize(
    "group_by", [(), ("model",), ("status", "user"), ("token", "provider", "pipeline")], ids=str
)
async def test_usage_is_what_adding_up_the_rows_gives(
    ledger: Ledger, grain: int, group_by: tuple[str, ...]
) -> None:
    await ledger.settle(*some_calls(300))
    since, until = now() - timedelta(days=2, hours=7, minutes=13), now() - timedelta(minutes=95)
    async with ledger.database.read() as session:
        found = await usage(
            session, since=since, until=until, grain=grain, group_by=group_by, owner_id=None
        )
    assert found.since - to_micros(since) / 1_000_000 < MINUTE
    rows = [row for row in await rows_of(ledger) if found.since <= seconds_of(row) < found.until]
    assert 50 < len(rows) < 250

    def place(row: Call) -> Any:
        bucket = seconds_of(row) - seconds_of(row) % grain
        return bucket, tuple(VALUE[name](row) for name in group_by)

    shown = {(point.bucket, point.group): point.sums for point in found.points}
    assert shown == grouped(rows, place)
    assert dict(found.groups) == grouped(rows, lambda row: place(row)[1])
    assert found.totals == added(rows)
    assert [point.bucket for point in found.points] == sorted(p.bucket for p in found.points)


async def test_minutes_are_shown_by_the_minute(ledger: Ledger) -> None:
    await ledger.settle(*some_calls(60, days=1))
    async with ledger.database.read() as session:
        found = await usage(session, since=now() - timedelta(hours=10), grain=MINUTE, owner_id=None)
    rows = [row for row in await rows_of(ledger) if found.since <= seconds_of(row) < found.until]
    assert {point.bucket: point.sums for point in found.points} == grouped(
        rows, lambda row: seconds_of(row) - seconds_of(row) % MINUTE
    )


async def test_windows_that_touch_add_up_to_the_whole(ledger: Ledger) -> None:
    await ledger.settle(*some_calls(200))
    dice = random.Random(5)
    edges = sorted(now() - timedelta(seconds=dice.randrange(5 * DAY)) for _ in range(6))
    async with ledger.database.read() as session:
        parts = Sums()
        for since, until in pairwise(edges):
            parts.add(await totals(session, since=since, until=until, owner_id=None))
        whole = await totals(session, since=edges[0], until=edges[-1], owner_id=None)
        everything = await totals(session, since=now() - timedelta(days=5), owner_id=None)
    assert parts == whole
    assert everything == added(await rows_of(ledger))


async def test_each_filter_counts_the_calls_that_it_names(ledger: Ledger) -> None:
    await ledger.settle(*some_calls(100))
    rows = await rows_of(ledger)
    since = now() - timedelta(days=5)
    values = {"model": ("a", ""), "token": (1, 0), "user": (2,), "provider": (1,)}
    texts = {"pipeline": ("p",), "status": (429,), "endpoint": ("embeddings",), "cache": ("hit",)}
    async with ledger.database.read() as session:
        for name, value in ((n, v) for n, many in {**values, **texts}.items() for v in many):
            filters = UsageFilters(**{name: value})  # type: ignore[arg-type] # each has its type
            found = await totals(session, since=since, filters=filters, owner_id=None)
            assert found == added([row for row in rows if VALUE[name](row) == value]), name


async def test_a_user_counts_own_calls_only(ledger: Ledger) -> None:
    await ledger.settle(*some_calls(60))
    since = now() - timedelta(days=5)
    async with ledger.database.read() as session:
        found = await usage(session, since=since, group_by=["user"], owner_id=1)
        none = await totals(session, since=since, filters=UsageFilters(user=2), owner_id=1)
    own = [row for row in await rows_of(ledger) if row.user_id == 1]
    assert dict(found.groups) == {(1,): added(own)}
    assert none.calls == 0


async def test_groups_beyond_the_largest_are_one_so_that_the_sum_of_all_stays(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_sums, "MOST_GROUPS", 2)
    day = at_noon(days_ago=1)
    for count, model, user in ((4, "a", 1), (3, "b", 1), (2, "c", 1), (1, "d", 2)):
        await ledger.settle(*(call(day, model=model, user_id=user) for _ in range(count)))
    async with ledger.database.read() as session:
        one = await usage(
            session, since=day - timedelta(hours=1), group_by=["model"], owner_id=None
        )
        two = await usage(
            session, since=day - timedelta(hours=1), group_by=["user", "model"], owner_id=None
        )
    assert [(group, sums.calls) for group, sums in one.groups] == [
        (("a",), 4),
        (("b",), 3),
        (None, 3),
    ]
    assert [(group, sums.calls) for group, sums in two.groups] == [
        ((1, "a"), 4), ((1, "b"), 3), (None, 3),
    ]  # fmt: skip
    assert one.totals == two.totals == added(await rows_of(ledger))


async def test_a_cost_that_is_known_of_no_call_is_unknown_and_not_zero(ledger: Ledger) -> None:
    await ledger.settle(call(cost_nano=None, cost_state="unknown"))
    since = now() - timedelta(minutes=5)
    async with ledger.database.read() as session:
        assert (await totals(session, since=since, owner_id=None)).known_cost_nano is None
    await ledger.settle(call(cost_nano=5))
    async with ledger.database.read() as session:
        found = await totals(session, since=since, owner_id=None)
        nothing = await totals(session, since=since - timedelta(days=9), until=since, owner_id=None)
    assert (found.known_cost_nano, found.unpriced) == (5, 1)
    assert (nothing.known_cost_nano, nothing.calls, nothing.percentile_ms(0.5)) == (0, 0, None)


async def test_latencies_are_shown_by_their_mean_and_percentiles(ledger: Ledger) -> None:
    await ledger.settle(*(call(latency_us=number * 10_000) for number in range(1, 101)))
    async with ledger.database.read() as session:
        found = await totals(session, since=now() - timedelta(minutes=5), owner_id=None)
    assert found.mean_latency_ms == pytest.approx(505)
    for q, exact in ((0.5, 500), (0.95, 950)):
        shown = found.percentile_ms(q)
        assert shown is not None
        assert exact / 1.71 < shown < exact * 1.71


async def test_usage_reads_no_row_of_the_calls_themselves(ledger: Ledger) -> None:
    statements: list[str] = []
    engine = ledger.database.engine.sync_engine
    event.listen(
        engine, "before_cursor_execute", lambda *args: statements.append(args[2]), named=False
    )
    async with ledger.database.read() as session:
        since = now() - timedelta(days=40)
        await usage(session, since=since, group_by=["model"], owner_id=1)
        await totals(session, since=since, owner_id=None)
    assert sum("usage_rollups" in text for text in statements) > 2
    assert not any("FROM calls" in text or "JOIN calls" in text for text in statements)


@pytest.mark.parametrize("is_written", [False, True])
async def test_an_answer_that_was_withheld_counts_once_and_under_its_new_status(
    ledger: Ledger, database_url: str, is_written: bool
) -> None:
    record = call()
    ledger.book.settle(record)
    if is_written:
        await ledger.writer.durable()
    ledger.book.withhold(record, 503, "ledger_unavailable")
    await ledger.writer.durable()
    async with ledger.database.read() as session:
        found = await usage(
            session, since=now() - timedelta(hours=1), until=now() + timedelta(minutes=2),
            group_by=["status"], owner_id=None,
        )  # fmt: skip
        row = await session.get_one(Call, record.id)
    assert [(group, sums.calls, sums.cost_nano) for group, sums in found.groups] == [
        ((503,), 1, 27_000)
    ]
    assert dict(found.totals.bins) == {latency_bin(640_000): 1}
    assert (row.status, row.error, row.cost_nano) == (503, "ledger_unavailable", 27_000)
    assert_sums_agree(Installation(database_url))


REFUSED: list[dict[str, Any]] = [
    {"grain": 61},
    {"grain": MINUTE, "since": timedelta(days=20)},
    {"grain": MINUTE, "since": timedelta(days=40), "until": timedelta(days=39, hours=23)},
    {"grain": HOUR, "since": timedelta(days=365)},
    {"group_by": ["colour"]},
    {"group_by": ["model", "token", "user", "status"]},
]


async def test_what_cannot_be_served_is_refused(ledger: Ledger) -> None:
    async with ledger.database.read() as session:
        for question in REFUSED:
            values: dict[str, Any] = {"since": timedelta(hours=1), **question}
            for name in {"since", "until"} & values.keys():
                values[name] = now() - values[name]
            with pytest.raises(InvalidRequest):
                await usage(session, owner_id=None, **values)


async def test_a_window_of_years_is_shown_by_the_day_and_an_empty_one_is_empty(
    ledger: Ledger,
) -> None:
    async with ledger.database.read() as session:
        long = await usage(session, since=now() - timedelta(days=1_000), owner_id=None)
        empty = await usage(
            session, since=now(), until=now() - timedelta(days=1), group_by=["model"], owner_id=None
        )
    assert long.grain == DAY
    assert (empty.points, empty.totals.calls) == ([], 0)


async def test_before_minutes_are_kept_a_window_begins_with_a_whole_hour(ledger: Ledger) -> None:
    async with ledger.database.read() as session:
        found = await usage(session, since=now() - timedelta(days=36, minutes=7), owner_id=None)
    assert found.since % HOUR == 0

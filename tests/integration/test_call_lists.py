"""Calls for people: pages in both directions, a text found, files of a list, and what is new."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import event

from aieye.db.engine import Database
from aieye.db.types import now
from aieye.ledger import export, tail
from aieye.ledger.export import export_calls
from aieye.ledger.queries import CallFilters, CallPage, call_rows, call_texts, find_calls
from aieye.ledger.tail import Tail
from tests.integration.ledger_api import Ledger, call, running_ledger


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def page_of(
    ledger: Ledger, filters: CallFilters | None = None, *, limit: int = 3, **place: str | None
) -> CallPage:
    async with ledger.database.read() as session:
        return await find_calls(
            session, filters or CallFilters(), owner_id=None, limit=limit, **place
        )


def ids(page: CallPage) -> list[str]:
    return [found.call.id for found in page.calls]


@pytest.mark.parametrize("filters", [CallFilters(), CallFilters(status=200)], ids=["all", "some"])
async def test_the_way_back_goes_over_the_pages_that_the_way_there_went_over(
    ledger: Ledger, filters: CallFilters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_rows, "SCAN_ROWS", 100)
    records = [call(now() - timedelta(minutes=number)) for number in range(8)]
    await ledger.settle(*records)
    first = await page_of(ledger, filters)
    second = await page_of(ledger, filters, before=first.next_before)
    third = await page_of(ledger, filters, before=second.next_before)
    assert (first.next_after, third.next_before) == (None, None)
    back = await page_of(ledger, filters, after=third.next_after)
    assert ids(back) == ids(second)
    front = await page_of(ledger, filters, after=back.next_after)
    assert (ids(front), front.next_after) == (ids(first), None)
    assert front.next_before == first.next_before


async def test_the_way_back_ends_early_too_rather_than_look_at_every_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_rows, "SCAN_ROWS", 4)
    oldest = call(now() - timedelta(hours=2))
    rare = call(status=404)
    await ledger.settle(oldest, *(call(now() - timedelta(hours=1)) for _ in range(6)), rare)
    early = await page_of(ledger, CallFilters(status=404), after=oldest.id)
    assert ids(early) == []
    later = await page_of(ledger, CallFilters(status=404), after=early.next_after)
    assert (ids(later), later.next_after) == ([rare.id], None)


async def test_a_text_is_found_in_what_was_asked_and_answered_and_in_errors(
    ledger: Ledger,
) -> None:
    asked, answered, failed, long = call(), call(), call(error="Das Öl ist alle"), call()
    ledger.keep_body(asked, '{"q":"Wo ist das ÖL?"}'.encode(), None)
    # As a program without other letters than ASCII writes it.
    ledger.keep_body(answered, b"{}", b'{"a":"Das \\u00d6l ist hier"}')
    ledger.keep_body(long, b'{"q":"' + b"x" * 100_000 + 'öl"}'.encode(), None)
    other = call()
    ledger.keep_body(other, b'{"q":"Wasser"}', b"{}")
    await ledger.settle(asked, answered, failed, long, other)
    found = await page_of(ledger, CallFilters(text="öl"), limit=10)
    assert sorted(ids(found)) == sorted(one.id for one in (asked, answered, failed, long))
    for text in (asked.id, asked.request_id, f" {asked.request_id}"):
        assert ids(await page_of(ledger, CallFilters(text=text))) == [asked.id]
    assert ids(await page_of(ledger, CallFilters(text=asked.id, status=404))) == []


async def test_a_search_ends_early_and_goes_on_where_it_ended(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_texts, "SEARCH_ROWS", 4)
    monkeypatch.setattr(call_texts, "_CHUNK_ROWS", 2)
    rare = call(now() - timedelta(hours=1))
    ledger.keep_body(rare, b"needle", None)
    await ledger.settle(rare, *(call() for _ in range(5)))
    early = await page_of(ledger, CallFilters(text="needle"))
    assert (ids(early), early.next_before is None) == ([], False)
    rest = await page_of(ledger, CallFilters(text="needle"), before=early.next_before)
    assert (ids(rest), rest.next_before) == ([rare.id], None)


async def test_a_search_reads_no_more_bytes_than_it_may(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_texts, "SEARCH_BYTES", 1_000)
    for number in range(4):
        record = call(now() - timedelta(minutes=number))
        ledger.keep_body(record, b"x" * 400, None)
        await ledger.settle(record)
    page = await page_of(ledger, CallFilters(text="y"), limit=10)
    assert page.next_before is not None
    rest = await page_of(ledger, CallFilters(text="y"), before=page.next_before)
    assert (ids(rest), rest.next_before) == ([], None)


@pytest.mark.parametrize(
    "filters", [CallFilters(status=404), CallFilters(text="needle")], ids=["status", "text"]
)
@pytest.mark.parametrize("is_rising", [False, True], ids=["on", "back"])
async def test_each_end_of_what_is_looked_through_is_said_once(
    ledger: Ledger, filters: CallFilters, is_rising: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two SQLite takes the first, and walks from there over all that the second excludes.
    monkeypatch.setattr(call_rows, "SCAN_ROWS", 2)
    monkeypatch.setattr(call_texts, "_CHUNK_ROWS", 2)
    records = [call(now() - timedelta(minutes=number)) for number in range(8)]
    await ledger.settle(*records)
    windowed = replace(filters, since=now() - timedelta(hours=1), until=now() + timedelta(hours=1))
    with asked(ledger.database) as statements:
        if is_rising:
            await page_of(ledger, windowed, after=records[4].id)
        else:
            await page_of(ledger, windowed, before=records[4].id)
    assert statements
    for statement in statements:
        for side in "<>":
            assert len(re.findall(rf"calls\.id {side}", statement)) <= 1


@contextmanager
def asked(database: Database) -> Iterator[list[str]]:
    """What is read of the database meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


# -- files ------------------------------------------------------------------------------------


async def file_of(ledger: Ledger, form: export.Format, filters: CallFilters | None = None) -> bytes:
    parts = export_calls(ledger.database, filters or CallFilters(), owner_id=None, form=form)
    return b"".join([part async for part in parts])


async def test_a_file_holds_what_is_filtered_over_all_pages(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_CALLS", 2)
    wanted = [call(now() - timedelta(minutes=number), status=404) for number in range(5)]
    await ledger.settle(*wanted, call(), call())
    filters = CallFilters(status=404)
    rows = list(csv.DictReader(io.StringIO((await file_of(ledger, "csv", filters)).decode())))
    assert [row["request_id"] for row in rows] == [record.request_id for record in wanted]
    assert (rows[0]["cost_usd"], rows[0]["latency_ms"]) == ("0.000027", "640.0")
    calls = orjson.loads(await file_of(ledger, "json", filters))
    assert [one["request_id"] for one in calls] == [record.request_id for record in wanted]
    nothing = CallFilters(status=418)
    assert orjson.loads(await file_of(ledger, "json", nothing)) == []
    assert (await file_of(ledger, "csv", nothing)).count(b"\n") == 1


FORMULAS = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


async def test_no_cell_begins_as_a_formula_does(ledger: Ledger) -> None:
    await ledger.settle(*(call(error=text, model_asked=text) for text in FORMULAS))
    rows = list(csv.DictReader(io.StringIO((await file_of(ledger, "csv")).decode(), newline="")))
    assert sorted(row["model_asked"] for row in rows) == sorted(f"'{text}" for text in FORMULAS)
    for row in rows:
        assert not [value for value in row.values() if value.startswith(tuple("=+-@\t\r\n"))]


# -- what is new ------------------------------------------------------------------------------


async def test_who_watches_hears_of_calls_that_begin_and_that_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "EVERY_SECONDS", 0.02)
    before, under_way, done = call(), call(), call()
    await ledger.settle(before)
    watching = Tail(ledger.database)
    async with watching.listen() as listener, watching.listen() as other:
        assert await listener.wait(30) == [before.id]
        ledger.book.open(under_way)
        await ledger.settle(done)
        assert await heard(listener, 2) == sorted([under_way.id, done.id])
        # It may end long after it began.
        monkeypatch.setattr(tail, "LATE", timedelta(0))
        await ledger.settle(under_way)
        assert await listener.wait(30) == [under_way.id]
        assert await listener.wait(0.1) == []
        assert sorted({*await other.wait(30)}) == sorted([before.id, under_way.id, done.id])


async def test_who_does_not_fetch_holds_no_more_than_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "MOST_WAITING", 2)
    listener = tail.Listener()
    listener.tell(["a", "b", "c"])
    listener.tell(["d"])
    assert (await listener.wait(1), listener.missed) == (["c", "d"], 2)


async def heard(listener: tail.Listener, count: int) -> list[str]:
    ids: set[str] = set()
    while len(ids) < count:
        ids |= {*await listener.wait(30)}
    return sorted(ids)

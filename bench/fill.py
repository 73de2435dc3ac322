"""Fills a SQLite database with calls and cache entries as the gateway would have written them.

The rows come from the ledger's own book and the cache's own store; only the writer is another one,
which does without durability. The entries answer the first bodies of `Bodies(…, "stored", count)`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aieye.cache.entry import Entry, Provenance
from aieye.cache.key import cache_key, canonical, read_object
from aieye.cache.store import Store
from aieye.db.batches import Row, Target
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.ledger.book import EXACT, Book, CallRecord
from aieye.ledger.pricing import PriceBook
from bench.messages import MODEL, Template, answer, split
from bench.processes import NotMeasured

_BATCH = 20_000
_DAYS = 7
_CACHE_BYTES = 2**30
# The first provider, key, token and user of a new installation.
_FIRST = 1
_ENDPOINT, _NAMESPACE = "chat/completions", "default"
_ANSWERED_MODEL = f"{MODEL}-2024-07-18"
_COST_NANO = 128_700
_STATES = ("miss", "hit", "hit", "shared")


class BulkRows(GroupWriter):
    """Takes rows as the group writer does, and inserts them in large batches."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        # Nothing of the real one is used: no task, no thread, no durability.
        self._connection = connection
        self._puts: dict[Target, list[Row]] = {}
        self._sums: dict[Target, dict[Row, list[int]]] = {}
        self._before: list[Callable[[], None]] = []

    def before_commit(self, collect: Callable[[], None]) -> None:
        self._before.append(collect)

    def put(self, target: Target, key: Any, row: Row, *, lazy: bool = False) -> None:
        rows = self._puts.setdefault(target, [])
        rows.append(row)
        if len(rows) >= _BATCH:
            self._insert(target, rows)

    def add(self, target: Target, key: Row, amounts: Sequence[int]) -> None:
        kept = self._sums.setdefault(target, {}).setdefault(key, [0] * len(amounts))
        for index, amount in enumerate(amounts):
            kept[index] += amount

    def finish(self) -> None:
        """Insert what is left, the sums at last."""
        for collect in self._before:
            collect()
        for target, rows in self._puts.items():
            self._insert(target, rows)
        for target, sums in self._sums.items():
            self._insert(target, [(*key, *amounts) for key, amounts in sorted(sums.items())])

    def _insert(self, target: Target, rows: list[Row]) -> None:
        marks = ", ".join("?" * len(target.columns))
        self._connection.executemany(
            f"INSERT INTO {target.table.name} ({', '.join(target.columns)}) "
            f"VALUES ({marks}){target.conflict_clause()}",
            rows if target.prepare is None else map(target.prepare, rows),
        )
        rows.clear()


def fill(database: Path, *, calls: int, entries: int, template: Template) -> None:
    """Put so many calls and cache entries into a migrated database that nobody uses."""
    with in_bulk(database) as (connection, rows):
        _write_calls(rows, calls)
        _write_entries(rows, entries, database, template)
        rows.finish()
        _check(connection, calls, entries)


@contextmanager
def in_bulk(database: Path) -> Iterator[tuple[sqlite3.Connection, BulkRows]]:
    """A connection to a migrated database that nobody uses, and rows that go to it: one transaction
    without durability. A fault leaves the file unusable."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in (
            "journal_mode=OFF", "synchronous=OFF", f"cache_size={-_CACHE_BYTES // 1024}",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        yield connection, BulkRows(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _write_calls(rows: BulkRows, calls: int) -> None:
    book = Book(rows, "bench")
    price = PriceBook().price_for("openai", "http://127.0.0.1", MODEL, datetime.now(UTC))
    price_id = None if price is None else book.keep_price(price)
    body = answer()
    for number, moment in enumerate(_moments(calls)):
        state = _STATES[number % len(_STATES)]
        record = CallRecord(
            _ENDPOINT,
            token_id=_FIRST,
            user_id=_FIRST,
            provider_id=_FIRST,
            key_id=_FIRST,
            model_asked=MODEL,
            model=_ANSWERED_MODEL,
            status=200,
            cache=state,
            latency_us=700 + number * 7_919 % 900_000,
            tokens_input=470,
            tokens_cached=0,
            tokens_output=97,
            tokens_reasoning=0,
            cost_nano=_COST_NANO if state == "miss" else 0,
            saved_nano=None if state == "miss" else _COST_NANO,
            cost_state=EXACT,
            price_id=price_id,
            id=call_id(moment, number),
            created_at=moment,
        )
        if state == "miss":
            record.attempts = [{"provider": "openai", "key_id": _FIRST, "status": 200, "ms": 700}]
            if number % 40 == 0:
                record.body_id = record.id
                book.keep_body(record.id, record.created_at, b"{}", body)
        book.settle(record)


def _write_entries(rows: BulkRows, entries: int, database: Path, template: Template) -> None:
    store = Store(Database(f"sqlite+aiosqlite:///{database}"), rows)
    written = split(canonical(read_object(template.body(0))))
    body = answer()
    meta = Provenance(
        model=_ANSWERED_MODEL, key_id=_FIRST, cost_nano=_COST_NANO, tokens_input=470,
        tokens_cached=0, tokens_output=97, tokens_reasoning=0,
    )  # fmt: skip
    for number, moment in enumerate(_moments(entries)):
        request = written.body(number)
        store.put(
            Entry(
                key=cache_key(_ENDPOINT, _FIRST, _NAMESPACE, request),
                endpoint=_ENDPOINT,
                provider_id=_FIRST,
                namespace=_NAMESPACE,
                model=MODEL,
                is_stream=False,
                headers=((b"content-type", b"application/json"),),
                body=body,
                provenance=meta,
                created_at=moment,
                expires_at=None,
            ),
            request,
            is_kept=False,
        )


def _moments(count: int) -> Iterator[int]:
    """As many moments of the last days, in microseconds since 1970."""
    span = _DAYS * 86_400 * 1_000_000
    end = time.time_ns() // 1_000 - 60 * 1_000_000
    return (end - span + span * number // count for number in range(count))


def call_id(moment: int, number: int) -> str:
    """The form of a `uuid7`: sorted by time."""
    return f"{moment // 1_000:012x}7{number % 4_096:03x}8{number:015x}"


def _check(connection: sqlite3.Connection, calls: int, entries: int) -> None:
    found = [
        connection.execute(f"SELECT {what}").fetchone()[0]
        for what in (
            "count(*) FROM calls",
            "entries FROM cache_totals",
            "sum(calls) FROM usage_rollups WHERE grain = 86400",
        )
    ]
    if found != [calls, entries, calls]:
        raise NotMeasured(f"The database was not filled as it should be: {found}.")

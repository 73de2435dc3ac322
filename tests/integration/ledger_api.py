"""The API before a ledger and a cache: what calls leave behind, and who may look at it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from aieye.api import health
from aieye.cache.entry import Entry, Provenance
from aieye.cache.service import Cache, CacheLimits
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.types import now, to_micros
from aieye.ledger.book import EXACT, Book, CallRecord
from tests.integration.admin_api import AdminApi, running_admin_api

INSTANCE = "instance-1"


@dataclass
class Ledger:
    """A database that calls are booked in."""

    database: Database
    writer: GroupWriter
    book: Book

    def keep_body(self, record: CallRecord, request: bytes | None, response: bytes | None) -> None:
        """Keep the texts of a call that is settled later."""
        record.body_id = record.id
        self.book.keep_body(record.id, record.created_at, request, response)

    async def settle(self, *records: CallRecord) -> None:
        """Book calls that have ended; durable when this returns."""
        for record in records:
            self.book.settle(record)
        await self.writer.durable()


@dataclass
class LedgerApi(Ledger):
    """The same with the API before it."""

    api: AdminApi
    cache: Cache


@asynccontextmanager
async def running_ledger(database: Database) -> AsyncIterator[Ledger]:
    """The ledger's own writer over a migrated database."""
    writer = GroupWriter(database)
    await writer.start()
    try:
        yield Ledger(database, writer, Book(writer, INSTANCE))
    finally:
        await writer.close()


@asynccontextmanager
async def running_ledger_api(database_url: str, directory: Path) -> AsyncIterator[LedgerApi]:
    """The API over the migrated database at `database_url`, with its ledger and cache."""
    async with (
        running_admin_api(database_url, directory) as api,
        running_ledger(api.state.database) as ledger,
    ):
        stored = Cache(ledger.database, ledger.writer, CacheLimits(2**20, 2**30))
        await stored.start()
        api.state.writer, api.state.cache = ledger.writer, stored
        api.app.include_router(health.router)
        try:
            yield LedgerApi(ledger.database, ledger.writer, ledger.book, api, stored)
        finally:
            await stored.close()


def call(at: datetime | None = None, **fields: Any) -> CallRecord:
    """A finished call made `at` a moment (now), with plausible values for what is not given."""
    moment = at or now()
    values: dict[str, Any] = {
        "endpoint": "chat/completions",
        "model_asked": "gpt-4o-mini",
        "model": "gpt-4o-mini-2024-07-18",
        "status": 200,
        "cache": "miss",
        "latency_us": 640_000,
        "tokens_input": 100,
        "tokens_cached": 10,
        "tokens_output": 20,
        "tokens_reasoning": 5,
        "cost_nano": 27_000,
        "saved_nano": 0,
        "cost_state": EXACT,
        **fields,
    }
    record = CallRecord(**values)
    record.created_at = to_micros(moment)
    # A UUID of version 7: milliseconds, then the version and chance.
    record.id = f"{record.created_at // 1000:012x}7{secrets.token_hex(10)[:19]}"
    return record


def request(prompt: str = "Hello") -> bytes:
    """A chat request with this prompt, canonically written."""
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def entry(prompt: str = "Hello", **fields: Any) -> Entry:
    """A stored answer to a chat request with this prompt."""
    body = request(prompt)
    values: dict[str, Any] = {
        "key": sha256(body + repr(sorted(fields.items())).encode()).digest(),
        "endpoint": "chat/completions",
        "provider_id": 0,
        "namespace": "default",
        "model": "gpt-4o-mini",
        "is_stream": False,
        "headers": ((b"content-type", b"application/json"),),
        "body": b'{"choices":[]}',
        "provenance": Provenance(tokens_input=100, tokens_output=20, cost_nano=27_000),
        "created_at": to_micros(now()),
        "expires_at": None,
        **fields,
    }
    return Entry(**values)


def at_noon(*, days_ago: int = 0) -> datetime:
    """Noon UTC, some days ago (yesterday's and older ones are wholly in the past)."""
    today = now().replace(hour=12, minute=0, second=0, microsecond=0)
    return (today - timedelta(days=days_ago)).astimezone(UTC)

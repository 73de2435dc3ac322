"""The calls that pass a filter as a file, CSV or JSON, a page of the ledger at a time.

No session is open while a part goes out: a slow reader holds nothing. What comes in meanwhile is
newer than the first row and not in the file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import orjson

from aieye.db.engine import Database
from aieye.ledger.call_fields import call_fields
from aieye.ledger.queries import CallFilters, find_calls
from aieye.spreadsheets import MEDIA_TYPE, cell, csv_rows

Format = Literal["csv", "json"]
MEDIA_TYPES = {"csv": MEDIA_TYPE, "json": "application/json"}
COLUMNS = (
    "created_at", "request_id", "endpoint", "model_asked", "model", "status", "state", "error",
    "stream", "cache", "tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning",
    "cost_usd", "saved_usd", "cost_state", "latency_ms", "ttft_ms", "token_id", "token_name",
    "user", "provider", "key_id", "upstream_request_id", "pipeline", "run_id", "step", "tags",
    "attempts",
)  # fmt: skip
PAGE_CALLS = 500


async def export_calls(
    database: Database, filters: CallFilters, *, owner_id: int | None, form: Format
) -> AsyncIterator[bytes]:
    """The parts of the file, newest call first. Raises `DatabaseUnavailable`."""
    before: str | None = None
    is_first = True
    if form == "csv":
        yield csv_rows([COLUMNS])
    while True:
        async with database.read() as session:
            page = await find_calls(
                session, filters, owner_id=owner_id, before=before, limit=PAGE_CALLS
            )
        calls = [call_fields(found) for found in page.calls]
        if form == "csv":
            part = csv_rows(map(_cells, calls)) if calls else b""
        else:
            part = b"".join(
                (b"[\n" if is_first and number == 0 else b",\n") + orjson.dumps(call)
                for number, call in enumerate(calls)
            )
        if part:
            is_first = False
            yield part
        before = page.next_before
        if before is None:
            break
    if form == "json":
        yield b"[]\n" if is_first else b"\n]\n"


def _cells(call: dict[str, Any]) -> list[str]:
    return [cell(call[name]) for name in COLUMNS]

"""Looking for a text in what was asked and answered: newest or oldest first, up to a bound.

Texts lie compressed where they are long, so the database cannot look into them: they are read a
part at a time and looked at in a thread.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Call, CallBody
from aieye.ledger.queries.call_filters import Stretch, id_after

# What a page looks through before it ends early, and how much of it at a time.
SEARCH_ROWS = 10_000
SEARCH_BYTES = 16 * 2**20
_CHUNK_ROWS = 500
# Texts that are longer, as they are kept, are read one by one; of each its beginning is looked at.
_SHORT_BYTES = 2**15
_MOST_TEXT_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Found:
    """The ids of calls that have the text, in the order of the search; and `stopped_at`, the last
    one looked at where there was more than may be looked through, else None."""

    ids: Sequence[str]
    stopped_at: str | None


async def find_text(
    session: AsyncSession,
    text: str,
    stretch: Stretch,
    conditions: Sequence[ColumnElement[bool]],
    *,
    is_rising: bool,
    limit: int,
) -> Found:
    """The first `limit` calls of the stretch under `conditions` that have `text`."""
    needles = _needles(text)
    found: list[str] = []
    rows_left, bytes_left = SEARCH_ROWS, SEARCH_BYTES
    place: str | None = None
    while rows_left > 0 and bytes_left > 0:
        if place is not None:
            stretch = (
                stretch.narrowed(start=id_after(place))
                if is_rising
                else stretch.narrowed(stop=place)
            )
        rows = (await session.execute(_chunk(stretch, conditions, is_rising=is_rising))).all()
        looked = await asyncio.to_thread(_having, rows, needles)
        for row, has_text in zip(rows, looked, strict=True):
            place = row.id
            rows_left -= 1
            bytes_left -= row.size
            if has_text or (row.is_long and await _has_long(session, row.body_id, needles)):
                found.append(row.id)
            if len(found) >= limit or bytes_left <= 0:
                break
        if len(found) >= limit:
            return Found(found, None)
        if len(rows) < _CHUNK_ROWS and bytes_left > 0:
            return Found(found, None)
    return Found(found, place)


def _chunk(
    stretch: Stretch, conditions: Sequence[ColumnElement[bool]], *, is_rising: bool
) -> Select[*tuple[Any, ...]]:
    """The next calls with what is short of their texts; `is_long` says that there is more."""
    sizes = [func.coalesce(func.length(text), 0) for text in (CallBody.request, CallBody.response)]
    is_long = (sizes[0] > _SHORT_BYTES) | (sizes[1] > _SHORT_BYTES)
    statement = (
        select(
            Call.id,
            Call.error,
            Call.body_id,
            CallBody.is_compressed,
            case((~is_long, CallBody.request)).label("request"),
            case((~is_long, CallBody.response)).label("response"),
            (sizes[0] + sizes[1]).label("size"),
            is_long.label("is_long"),
        )
        .outerjoin(CallBody, CallBody.id == Call.body_id)
        .where(*stretch.conditions(), *conditions)
        .limit(_CHUNK_ROWS)
    )
    return statement.order_by(Call.id if is_rising else Call.id.desc())


def _having(rows: Sequence[Any], needles: Sequence[str]) -> list[bool]:
    return [
        _has(_lowered(row.request, row.response, is_compressed=row.is_compressed), needles)
        or (row.error is not None and _has((row.error.lower(),), needles))
        for row in rows
    ]


async def _has_long(session: AsyncSession, body_id: str, needles: Sequence[str]) -> bool:
    body = await session.get(CallBody, body_id)
    if body is None:
        return False
    texts = (body.request, body.response)
    return await asyncio.to_thread(
        lambda: _has(_lowered(*texts, is_compressed=body.is_compressed), needles)
    )


def _has(texts: Iterable[str], needles: Sequence[str]) -> bool:
    return any(needle in text for text in texts for needle in needles)


def _lowered(*stored: bytes | None, is_compressed: bool) -> Iterator[str]:
    for text in stored:
        if text is not None:
            yield _lower(text, is_compressed=is_compressed)


def _needles(text: str) -> tuple[str, ...]:
    """The text as it may stand in a JSON document: as it is, and escaped (in either case, since
    the escapes of a letter's cases are not those of one another)."""
    escaped = (
        json.dumps(form, ensure_ascii=is_ascii)[1:-1]
        for form in (text, text.lower(), text.upper())
        for is_ascii in (False, True)
    )
    return tuple(dict.fromkeys(form.lower() for form in (text, *escaped)))


def _lower(stored: bytes, *, is_compressed: bool) -> str:
    if is_compressed:
        try:
            stored = zlib.decompressobj().decompress(stored, _MOST_TEXT_BYTES)
        except zlib.error:
            return ""
    return stored[:_MOST_TEXT_BYTES].decode("utf-8", "replace").lower()

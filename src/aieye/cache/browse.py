"""Looking at what is stored: lists of entries, one with its texts, and what a purge would take.

Entries hold what anyone has asked: who may look is decided before this is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    case,
    cast,
    func,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.cache.texts import given, hashed
from aieye.db.tables import CacheEntry, CacheTotals, Call, CallBody, Provider
from aieye.errors import NotFound

Top = Literal["hits", "saved"]
# Of how many entries, used last, the most used ones are told, and how many a search reads.
LOOKED_AT = 3_000
SEARCHED = 2_000
# Larger ones are not searched: a part of a search is held in memory at once.
LARGEST_SEARCHED = 2**19
_MOST_MODELS = 100
_PART = 100
# Media types whose bytes are shown as text.
_TEXTS = ("application/json", "text/")

Entry = Row[Any]


@dataclass(frozen=True, slots=True)
class EntryFilters:
    """What entries must have; None is anything."""

    model: str | None = None
    namespace: str | None = None
    endpoint: str | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        for name in ("model", "namespace", "endpoint"):
            value = getattr(self, name)
            if value is not None:
                yield getattr(CacheEntry, name) == value


@dataclass(frozen=True, slots=True)
class EntryTexts:
    """An entry with the request as it was hashed and the response as it was stored; None when that
    is no text."""

    entry: Entry
    request: str
    response: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """How much some entries are, and how often they answered (not counted of all of them)."""

    entries: int
    size_bytes: int
    hits: int


@dataclass(frozen=True, slots=True)
class Searched:
    """Entries that have a text, newest first; `is_whole` where all were looked at."""

    entries: Sequence[Entry]
    is_whole: bool


def saved_nano(entry: Entry) -> int | None:
    """What the hits on an entry saved so far; None when the cost is unknown."""
    cost = entry.meta.get("cost_nano")
    return None if cost is None else int(cost) * int(entry.hits)


async def list_entries(
    session: AsyncSession, filters: EntryFilters, *, before: int | None = None, limit: int
) -> Sequence[Entry]:
    """Entries without their texts, the newest first, older than the id `before`."""
    statement = _select().where(*filters.conditions())
    if before is not None:
        statement = statement.where(CacheEntry.id < before)
    return (await session.execute(statement.order_by(CacheEntry.id.desc()).limit(limit))).all()


async def top_entries(
    session: AsyncSession, filters: EntryFilters, by: Top, *, limit: int
) -> Sequence[Entry]:
    """Those of the `LOOKED_AT` used last that had most hits, or saved most."""
    columns: list[Any] = [CacheEntry.id, CacheEntry.hits]
    if by == "saved":
        columns.append(_cost_nano(session.get_bind().dialect.name).label("cost_nano"))
    used_last = (
        select(*columns)
        .where(*filters.conditions())
        .order_by(CacheEntry.last_used_at.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    of = used_last.c
    measure = of.hits if by == "hits" else of.hits * func.coalesce(of.cost_nano, 0)
    best = (
        select(of.id).where(of.hits > 0).order_by(measure.desc(), of.id.desc()).limit(limit)
    )  # fmt: skip
    ids = (await session.scalars(best)).all()
    found = {row.id: row for row in await session.execute(_select().where(CacheEntry.id.in_(ids)))}
    return [found[id_] for id_ in ids if id_ in found]


async def find_text(
    session: AsyncSession, filters: EntryFilters, text: str, *, limit: int
) -> Searched:
    """The newest entries whose request or response has `text`, whatever its letters' case."""
    needle, found, before, looked_at = text.lower(), list[Entry](), None, 0
    while looked_at < SEARCHED and len(found) < limit:
        statement = _with_texts().where(
            CacheEntry.size_bytes <= LARGEST_SEARCHED, *filters.conditions()
        )
        if before is not None:
            statement = statement.where(CacheEntry.id < before)
        rows = (await session.execute(statement.order_by(CacheEntry.id.desc()).limit(_PART))).all()
        has = await asyncio.to_thread(lambda part: [_has(row, needle) for row in part], rows)
        found += [row for row, is_there in zip(rows, has, strict=True) if is_there]
        looked_at += len(rows)
        if len(rows) < _PART:
            return Searched(found[:limit], is_whole=len(found) <= limit)
        before = rows[-1].id
    return Searched(found[:limit], is_whole=False)


async def get_entry(session: AsyncSession, entry_id: int) -> Entry:
    """The entry without its texts. Raises `NotFound`."""
    return await _row(session, _select(), entry_id)


async def get_texts(session: AsyncSession, entry_id: int) -> EntryTexts:
    """The entry with its texts. Raises `NotFound`."""
    row = await _row(session, _with_texts(), entry_id)
    request, response = await asyncio.to_thread(_texts, row)
    is_text = row.content_type.startswith(_TEXTS)
    return EntryTexts(
        row,
        request.decode("utf-8", "replace"),
        response.decode("utf-8", "replace") if is_text else None,
    )


async def find_maker(session: AsyncSession, entry: Entry) -> str | None:
    """The id of the call whose answer it is; None where the ledger cannot tell.

    Both have the id of one text, which was drawn while that call was under way: it is looked for among
    the `LOOKED_AT` calls that began before.
    """
    text_id = entry.meta.get("body_id")
    if text_id is None:
        return None
    began_before = (
        select(Call.id, Call.body_id, Call.cache)
        .where(Call.id < text_id)
        .order_by(Call.id.desc())
        .limit(LOOKED_AT)
        .subquery()
    ).c
    # Calls that waited for the same answer have its text too.
    is_maker = case((began_before.cache == "miss", 0), else_=1)
    found = (
        select(began_before.id)
        .where(began_before.body_id == text_id)
        .order_by(is_maker, began_before.id.desc())
        .limit(1)
    )
    return (await session.scalars(found)).first()


async def measure(session: AsyncSession, filters: EntryFilters) -> Extent:
    """How much the entries are; of all of them from what is counted as they come and go."""
    conditions = tuple(filters.conditions())
    if not conditions:
        totals = (await session.scalars(select(CacheTotals))).one()
        return Extent(totals.entries, totals.size_bytes, 0)
    sums = select(
        func.count(),
        func.coalesce(func.sum(CacheEntry.size_bytes), 0),
        func.coalesce(func.sum(CacheEntry.hits), 0),
    ).where(*conditions)
    count, size, hits = (await session.execute(sums)).one()
    return Extent(count, int(size), int(hits))


async def list_models(session: AsyncSession) -> Sequence[str]:
    """The models that something is stored of: a step into the index for each, not all its rows."""
    first = select(func.min(CacheEntry.model).label("model")).cte("models", recursive=True)
    following = (
        select(func.min(CacheEntry.model)).where(CacheEntry.model > first.c.model).scalar_subquery()
    )
    models = first.union_all(select(following).where(first.c.model.is_not(None)))
    found = select(models.c.model).where(models.c.model.is_not(None)).limit(_MOST_MODELS)
    return (await session.scalars(found)).all()


def _cost_nano(dialect: str) -> ColumnElement[Any]:
    """What an entry's first answer cost, out of its JSON text; NULL where nobody knows."""
    text = type_coerce(CacheEntry.meta, Text)
    if dialect == "sqlite":
        return func.json_extract(text, "$.cost_nano")
    return cast(cast(text, JSON)["cost_nano"].as_string(), BigInteger)


def _select() -> Select[*tuple[Any, ...]]:
    """Entries without their texts, which may be large."""
    return select(
        CacheEntry.id,
        CacheEntry.key,
        CacheEntry.endpoint,
        CacheEntry.model,
        CacheEntry.namespace,
        CacheEntry.is_stream,
        CacheEntry.content_type,
        CacheEntry.hits,
        CacheEntry.size_bytes,
        CacheEntry.created_at,
        CacheEntry.last_used_at,
        CacheEntry.expires_at,
        CacheEntry.meta,
        CacheEntry.provider_id,
        Provider.name.label("provider"),
    ).outerjoin(Provider, Provider.id == CacheEntry.provider_id)


def _with_texts() -> Select[*tuple[Any, ...]]:
    return (
        _select()
        .add_columns(
            CacheEntry.request, CacheEntry.body, CallBody.request.label("kept_request"),
            CallBody.response, CallBody.is_compressed,
        )
        .outerjoin(CallBody, CallBody.id == CacheEntry.body_id)
    )  # fmt: skip


def _texts(row: Entry) -> tuple[bytes, bytes]:
    is_packed = bool(row.is_compressed)
    request = hashed(row.request, row.kept_request, row.model, is_compressed=is_packed)
    return request, given(row.body, row.response, is_compressed=is_packed)


def _has(row: Entry, needle: str) -> bool:
    request, response = _texts(row)
    texts = [request]
    if row.content_type.startswith(_TEXTS):
        texts.append(response)
    return any(needle in text.decode("utf-8", "replace").lower() for text in texts)


async def _row(session: AsyncSession, statement: Select[*tuple[Any, ...]], entry_id: int) -> Entry:
    row = (await session.execute(statement.where(CacheEntry.id == entry_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no cache entry {entry_id}.")
    return row

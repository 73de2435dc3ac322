"""Calls: pages by falling id, one call, and what was asked and answered in it.

Ids are UUIDs of version 7: their order is that of time, so a window of time is a range of ids.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Text, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Call, CallBody, PriceSnapshot, Provider, Token, User
from aieye.db.types import to_micros
from aieye.errors import NotFound

# A page looks at no more rows than this, however few of them pass the filters: it then ends early
# and goes on with the next. So no filter makes a page slow, and none needs an index of its own.
SCAN_ROWS = 50_000
_ID = re.compile(r"(?:req_)?([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilters:
    """What calls must have; None is anything. `since <= time < until`, to the millisecond.

    `model` is the one asked for or the one that answered, `status_class` the status' first digit,
    `tag` a name and its value; latency (microseconds) and cost (nano-dollars) are lower bounds.
    """

    token_id: int | None = None
    user_id: int | None = None
    provider_id: int | None = None
    key_id: int | None = None
    model: str | None = None
    endpoint: str | None = None
    status: int | None = None
    status_class: int | None = None
    cache: str | None = None
    cost_state: str | None = None
    state: str | None = None
    is_stream: bool | None = None
    pipeline: str | None = None
    run_id: str | None = None
    tag: tuple[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    latency_from_us: int | None = None
    cost_from_nano: int | None = None


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call with the names that its ids stand for, and the price it was booked at."""

    call: Call
    token_name: str | None
    user: str | None
    provider: str | None
    price: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls, newest first. `next_before` is where the next page begins, None after the last one.

    A page may be short, or empty, and still have a next one (`SCAN_ROWS`).
    """

    calls: Sequence[FoundCall]
    next_before: str | None


@dataclass(frozen=True, slots=True)
class FoundBody:
    """The texts of a call; None where nothing is kept (switched off, or past its retention)."""

    request: str | None
    response: str | None


async def find_calls(
    session: AsyncSession,
    filters: CallFilters,
    *,
    owner_id: int | None,
    before: str | None = None,
    limit: int = 100,
) -> CallPage:
    """The newest `limit` calls that pass the filters and whose id is less than `before`."""
    indexed = [*_within(filters, before), *_owned(filters, owner_id)]
    others = list(_conditions(filters, session.get_bind().dialect.name))
    floor = await _floor(session, indexed) if others else None
    if floor is not None:
        indexed.append(Call.id >= floor)
    statement = _select().where(*indexed, *others).order_by(Call.id.desc()).limit(limit + 1)
    found = [FoundCall(*row) for row in await session.execute(statement)]
    if len(found) > limit:
        return CallPage(found[:limit], found[limit - 1].call.id)
    return CallPage(found, floor)


async def get_call(session: AsyncSession, call_id: str, *, owner_id: int | None) -> FoundCall:
    """The call with an id or request id (`req_…`). Raises `NotFound`, also for another's."""
    match = _ID.fullmatch(call_id)
    statement = _select().where(Call.id == (match[1] if match else ""), *_owned(None, owner_id))
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("There is no such call.", param="call_id")
    return FoundCall(*row)


async def get_body(session: AsyncSession, call_id: str, *, owner_id: int | None) -> FoundBody:
    """What was asked and answered in a call. Raises `NotFound` when there is no such call."""
    found = await get_call(session, call_id, owner_id=owner_id)
    body_id = found.call.body_id
    body = None if body_id is None else await session.get(CallBody, body_id)
    if body is None:
        return FoundBody(None, None)
    return FoundBody(_text(body.request, body), _text(body.response, body))


def id_at(moment: datetime) -> str:
    """The least id that a call made at `moment` (to the millisecond) can have."""
    return f"{max(0, to_micros(moment) // 1000):012x}".ljust(32, "0")


def _select() -> Select[Any]:
    return (
        select(Call, Token.name, User.email, Provider.name, PriceSnapshot.body)
        .outerjoin(Token, Token.id == Call.token_id)
        .outerjoin(User, User.id == Call.user_id)
        .outerjoin(Provider, Provider.id == Call.provider_id)
        .outerjoin(PriceSnapshot, PriceSnapshot.id == Call.price_id)
    )


async def _floor(session: AsyncSession, indexed: list[ColumnElement[bool]]) -> str | None:
    """The last id that a page may look at; None when there are fewer calls than that."""
    statement = select(Call.id).where(*indexed).order_by(Call.id.desc())
    return await session.scalar(statement.offset(SCAN_ROWS - 1).limit(1))


def _within(filters: CallFilters, before: str | None) -> Iterator[ColumnElement[bool]]:
    if before is not None:
        yield Call.id < before
    if filters.since is not None:
        yield Call.id >= id_at(filters.since)
    if filters.until is not None:
        yield Call.id < id_at(filters.until)


def _owned(filters: CallFilters | None, owner_id: int | None) -> Iterator[ColumnElement[bool]]:
    """What the indexes by token and by user serve."""
    if owner_id is not None:
        yield Call.user_id == owner_id
    if filters is not None and filters.user_id is not None:
        yield Call.user_id == filters.user_id
    if filters is not None and filters.token_id is not None:
        yield Call.token_id == filters.token_id


def _conditions(filters: CallFilters, dialect: str) -> Iterator[ColumnElement[bool]]:
    """What no index serves."""
    equal: dict[Any, object] = {
        Call.provider_id: filters.provider_id,
        Call.key_id: filters.key_id,
        Call.endpoint: filters.endpoint,
        Call.status: filters.status,
        Call.cache: filters.cache,
        Call.cost_state: filters.cost_state,
        Call.state: filters.state,
        Call.is_stream: filters.is_stream,
        Call.pipeline: filters.pipeline,
        Call.run_id: filters.run_id,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.model is not None:
        yield or_(Call.model == filters.model, Call.model_asked == filters.model)
    if filters.status_class is not None:
        yield Call.status.between(filters.status_class * 100, filters.status_class * 100 + 99)
    if filters.latency_from_us is not None:
        yield Call.latency_us >= filters.latency_from_us
    if filters.cost_from_nano is not None:
        yield Call.cost_nano >= filters.cost_from_nano
    if filters.tag is not None:
        yield _is_tagged(filters.tag, dialect)


def _is_tagged(tag: tuple[str, str], dialect: str) -> ColumnElement[bool]:
    """Whether the compact JSON text of the tags has this member.

    A quote within a JSON text is escaped, so `"name":"value"` behind a comma or brace is a member.
    """
    position = func.instr if dialect == "sqlite" else func.strpos
    member = orjson.dumps({tag[0]: tag[1]}).decode()[1:-1]
    text = type_coerce(Call.tags, Text)
    return or_(position(text, f"{{{member}") > 0, position(text, f",{member}") > 0)


def _text(stored: bytes | None, body: CallBody) -> str | None:
    if stored is None:
        return None
    raw = zlib.decompress(stored) if body.is_compressed else stored
    return raw.decode("utf-8", "replace")

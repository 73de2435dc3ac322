"""Calls: pages by falling id, one call, and what was asked and answered in it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Call, CallBody, PriceSnapshot, Provider, Token, User
from aieye.errors import NotFound
from aieye.ledger.queries.call_filters import (
    CallFilters,
    Stretch,
    id_after,
    indexed,
    others,
)
from aieye.ledger.queries.call_texts import find_text

# A page looks at no more rows than this, however few of them pass the filters: it then ends early
# and goes on with the next. So no filter makes a page slow, and none needs an index of its own.
SCAN_ROWS = 20_000
_ID = re.compile(r"(?:req_)?([0-9a-f]{32})", re.ASCII)


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
    """Calls, newest first. `next_before` is where the next page begins, None after the last one;
    `next_after` is where the one before it ends, None where there is none or nobody asked.

    A page may be short, or empty, and still have a next one (`SCAN_ROWS`, `SEARCH_ROWS`).
    """

    calls: Sequence[FoundCall]
    next_before: str | None
    next_after: str | None = None


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
    after: str | None = None,
    ids: Collection[str] | None = None,
    limit: int = 100,
) -> CallPage:
    """The newest `limit` calls that pass the filters and whose id is less than `before`.

    With `after` instead, the oldest ones whose id is greater: the page that lies before the one
    that begins there. `ids` are those to choose from.
    """
    is_rising = after is not None
    stretch = Stretch.of(filters).narrowed(
        start=None if after is None else id_after(after), stop=before
    )
    conditions = [*indexed(filters, owner_id, ids)]
    filtered = list(others(filters, session.get_bind().dialect.name))
    end: str | None = None
    if filters.text is not None and (call_id := find_id(filters.text)) is not None:
        conditions.append(Call.id == call_id)
    elif filters.text is not None:
        looked = await find_text(
            session, filters.text, stretch, [*conditions, *filtered],
            is_rising=is_rising, limit=limit + 1,
        )  # fmt: skip
        conditions, filtered, end = [Call.id.in_(looked.ids)], [], looked.stopped_at
    elif filtered and ids is None:
        end = await _end(session, [*stretch.conditions(), *conditions], is_rising=is_rising)
        if end is not None:
            stretch = (
                stretch.narrowed(stop=id_after(end)) if is_rising else stretch.narrowed(start=end)
            )
    statement = (
        _select()
        .where(*stretch.conditions(), *conditions, *filtered)
        .order_by(Call.id if is_rising else Call.id.desc())
        .limit(limit + 1)
    )
    found = [FoundCall(*row) for row in await session.execute(statement)]
    if len(found) > limit:
        found, end = found[:limit], found[limit - 1].call.id
    if not is_rising:
        return CallPage(found, end, found[0].call.id if found and before is not None else None)
    found.reverse()
    return CallPage(found, found[-1].call.id if found else None, end)


async def get_call(session: AsyncSession, call_id: str, *, owner_id: int | None) -> FoundCall:
    """The call with an id or request id (`req_…`). Raises `NotFound`, also for another's."""
    statement = _select().where(Call.id == (find_id(call_id) or ""))
    if owner_id is not None:
        statement = statement.where(Call.user_id == owner_id)
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


def _select() -> Select[Any]:
    return (
        select(Call, Token.name, User.email, Provider.name, PriceSnapshot.body)
        .outerjoin(Token, Token.id == Call.token_id)
        .outerjoin(User, User.id == Call.user_id)
        .outerjoin(Provider, Provider.id == Call.provider_id)
        .outerjoin(PriceSnapshot, PriceSnapshot.id == Call.price_id)
    )


async def _end(
    session: AsyncSession, conditions: Sequence[ColumnElement[bool]], *, is_rising: bool
) -> str | None:
    """The last id that a page may look at; None when there are fewer calls than that."""
    statement = select(Call.id).where(*conditions)
    statement = statement.order_by(Call.id if is_rising else Call.id.desc())
    return await session.scalar(statement.offset(SCAN_ROWS - 1).limit(1))


def find_id(text: str) -> str | None:
    """The id that a text is: bare, or as the client was told it (`req_…`)."""
    match = _ID.fullmatch(text.strip())
    return match[1] if match else None


def _text(stored: bytes | None, body: CallBody) -> str | None:
    if stored is None:
        return None
    raw = zlib.decompress(stored) if body.is_compressed else stored
    return raw.decode("utf-8", "replace")

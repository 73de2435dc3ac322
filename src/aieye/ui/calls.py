"""Calls: the list with its filters, the ones that come in meanwhile, and files of what is listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count
from typing import Literal

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.sessions import SESSION_COOKIE, find_session
from aieye.db.cursors import encode_cursor, text_after
from aieye.headers import STOPPING
from aieye.ledger import export
from aieye.ledger.call_fields import provider_name
from aieye.ledger.queries import CallFilters, FoundCall, find_calls
from aieye.ledger.tail import Listener
from aieye.ui.call_choices import find_choices, find_names, find_provider, named
from aieye.ui.call_columns import COLUMNS, Column, chosen_columns
from aieye.ui.call_filters import LABELS, read_filters
from aieye.ui.key_names import key_names
from aieye.ui.lists import Cursor
from aieye.ui.pages import PageRoute, page, part
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# What a page holds within its weight; the next ones come as rows alone.
ROWS = 30
RANGE = "30d"
# How often a stream looks whether anybody is still signed in.
SESSION_SECONDS = 15
MOST_AT_ONCE = 50


@router.get("/calls")
async def show_calls(visitor: RequireUser, cursor: Cursor = None, newer: Cursor = None) -> Response:
    """The list, newest first; `cursor` leads to older calls, `newer` back."""
    here = visitor.here
    if any(not value for _, value in here.params):
        # A form sends what was left empty as well.
        empty = {name: None for name, value in here.params if not value}
        return RedirectResponse(here(**empty, cursor=cursor or None), 303)
    asked = read_filters(here.as_dict)
    period = visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        if "provider" in asked.faults:
            provider_id = await find_provider(session, visitor, asked.typed["provider"])
            if provider_id is not None:
                return RedirectResponse(here(provider=provider_id), 303)
        found = await find_calls(
            session,
            asked.within(period),
            owner_id=visitor.owner_id,
            before=text_after(cursor),
            after=text_after(newer),
            limit=ROWS,
        )
        names = await find_names(session, visitor, asked.filters)
        keys = await _key_names(session, visitor, found.calls)
    more, back = found.next_before, found.next_after
    calls = found.calls
    is_first = cursor is None and newer is None
    return page(
        visitor.request,
        "calls.html",
        status=422 if asked.faults else 200,
        period=period,
        asked=asked,
        chips=[(name, label, named(names, name, value)) for name, label, value in asked.applied],
        labels=LABELS,
        columns=_columns(visitor),
        key_names=keys,
        calls=calls,
        older=None if more is None else encode_cursor(more),
        newer=None if back is None else encode_cursor(back),
        is_first=is_first,
        is_live=is_first and period.name is not None and not asked.faults,
        after=calls[0].call.id if calls else "",
        searched_back_to=more,
        provider_name=provider_name,
    )


@router.get("/calls/filter")
async def choose_filters(visitor: RequireUser) -> Response:
    """All filters, with what can be chosen."""
    asked = read_filters(visitor.here.as_dict)
    async with visitor.state.database.read() as session:
        choices = await find_choices(session, visitor, asked.filters)
    here = visitor.here
    return page(
        visitor.request, "calls_filter.html", asked=asked, choices=choices, labels=LABELS,
        back=here("/calls"), bare=here("/calls", **dict.fromkeys(LABELS)),
    )  # fmt: skip


@router.get("/calls/columns")
async def choose_columns(visitor: RequireUser) -> Response:
    """All columns."""
    here = visitor.here
    return page(
        visitor.request, "calls_columns.html", columns=_columns(visitor), all_columns=COLUMNS,
        back=here("/calls"), usual=here("/calls", cols=None),
    )  # fmt: skip


@router.get("/calls/export")
async def export_calls(visitor: RequireUser, form: Literal["csv", "json"] = "csv") -> Response:
    """What the list shows with these filters, all of it, as a file."""
    asked = read_filters(visitor.here.as_dict)
    if asked.faults:
        return await show_calls(visitor)
    parts = export.export_calls(
        visitor.state.database,
        asked.within(visitor.exact_range(RANGE)),
        owner_id=visitor.owner_id,
        form=form,
    )
    name = f"calls-{visitor.now:%Y%m%d-%H%M%S}.{form}"
    return StreamingResponse(
        parts,
        media_type=export.MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/calls/live")
async def watch_calls(visitor: RequireUser, after: str = "") -> Response:
    """Rows of the list as calls begin and end: events `rows`, each `{"rows": {id: html}}`."""
    asked = read_filters(visitor.here.as_dict)
    last = visitor.request.headers.get("last-event-id") or after
    return StreamingResponse(
        _events(visitor, asked.within(visitor.exact_range(RANGE)), last if last.isalnum() else ""),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _events(visitor: Visitor, filters: CallFilters, after: str) -> AsyncIterator[bytes]:
    request = visitor.request
    # At once, so that the browser knows that it is heard.
    yield b": watching\n\n"
    async with visitor.state.tail.listen() as listener:
        if after:
            yield await _rows(visitor, filters, after=after)
        for second in count(1):
            if request.scope["state"].get(STOPPING):
                return
            if second % SESSION_SECONDS == 0:
                if not await _is_signed_in(request):
                    yield b"event: over\ndata: {}\n\n"
                    return
                yield b": still here\n\n"
            ids = await listener.wait(1)
            if ids:
                yield await _rows(visitor, filters, ids=ids, listener=listener)


async def _rows(
    visitor: Visitor, filters: CallFilters, *, ids: Sequence[str] | None = None,
    after: str | None = None, listener: Listener | None = None,
) -> bytes:  # fmt: skip
    """An event with the rows of calls; nothing where none of them is on the list."""
    async with visitor.state.database.read() as session:
        found = await find_calls(
            session, filters, owner_id=visitor.owner_id, ids=ids, after=after, limit=MOST_AT_ONCE
        )
        keys = await _key_names(session, visitor, found.calls)
    missed = 0 if listener is None else listener.missed
    # Of more than that the newest matter, but `after` gives the oldest.
    missed += found.next_after is not None
    if not found.calls and not missed:
        return b""
    data = {"rows": {call.call.id: _row(visitor, call, keys) for call in found.calls[::-1]}}
    if missed:
        data["missed"] = {"calls": str(missed)}
    newest = f"id: {found.calls[0].call.id}\n" if found.calls else ""
    return f"{newest}event: rows\ndata: {orjson.dumps(data).decode()}\n\n".encode()


def _row(visitor: Visitor, call: FoundCall, keys: Mapping[int, str]) -> str:
    return part(
        visitor.request, "calls_rows.html", "rows", calls=[call], columns=_columns(visitor),
        key_names=keys, provider_name=provider_name,
    )  # fmt: skip


def _columns(visitor: Visitor) -> Sequence[Column]:
    return chosen_columns(visitor.here, is_administrator=visitor.is_administrator)


async def _key_names(
    session: AsyncSession, visitor: Visitor, calls: Sequence[FoundCall]
) -> Mapping[int, str]:
    """What the keys are called that the rows name, for whom keys are no secret."""
    is_shown = visitor.is_administrator and any(one.name == "key" for one in _columns(visitor))
    ids = {one.call.key_id for one in calls if one.call.key_id is not None} if is_shown else ()
    return await key_names(session, ids)


async def _is_signed_in(request: Request) -> bool:
    """To look on is no use of a session: one that nobody uses ends."""
    database = request.app.state.aieye.database
    cookie = request.cookies.get(SESSION_COOKIE, "")
    return await find_session(database, cookie, is_use=False) is not None

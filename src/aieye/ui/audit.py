"""Audit: who changed what, with what it was before; the list as a file. For administrators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from aieye.access import audit_log
from aieye.access.audit_log import ActFilters
from aieye.db.cursors import number_after
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import AuditEntry
from aieye.errors import InvalidRequest
from aieye.spreadsheets import MEDIA_TYPE
from aieye.ui.links import Here
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, page
from aieye.ui.ranges import Range
from aieye.ui.session import RequireAdministrator, Visitor
from aieye.ui.shell import paths_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGE = "30d"
FILTERS: Mapping[str, str] = {
    "actor": "Who", "action": "Did", "object_type": "What", "object_id": "Its id",
}  # fmt: skip
_LONGEST = 254
# Where a thing is shown, by its kind in the log: the page's path less the id.
_PLACES = {
    "user": "users", "token": "tokens", "provider": "providers", "key": "keys", "route": "routes",
    "prompt": "prompts", "function": "functions", "pipeline": "pipelines", "preset": "presets",
    "cache_entry": "cache", "price": "settings/prices",
}  # fmt: skip


@router.get("/audit")
async def show_audit(visitor: RequireAdministrator, cursor: Cursor = None) -> Response:
    """The acts, newest first."""
    here = visitor.here
    if any(not value for _, value in here.params):
        # A form sends what was left empty as well.
        empty = {name: None for name, value in here.params if not value}
        return RedirectResponse(here(**empty, cursor=cursor or None), 303)
    period = visitor.range(RANGE)
    asked = _asked(here)
    async with visitor.state.database.read() as session:
        acts = await audit_log.list_acts(
            session, _within(asked, period), before=number_after(cursor), limit=PAGE + 1
        )
        values = await audit_log.find_values(session)
    return page(
        visitor.request,
        "audit.html",
        period=period,
        acts=acts[:PAGE],
        next=next_cursor(acts),
        asked=asked,
        labels=FILTERS,
        values=values,
        api_path=_api_path(asked, period),
        name_of=name_of,
    )


@router.get("/audit/export")
async def export_audit(visitor: RequireAdministrator) -> Response:
    """All acts that pass the filters, as a file for spreadsheets."""
    asked, period = _asked(visitor.here), visitor.exact_range(RANGE)
    name = f"audit-{visitor.now:%Y%m%d-%H%M%S}.csv"
    return StreamingResponse(
        audit_log.export_acts(visitor.state.database, _within(asked, period)),
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/audit/{id}")
async def show_act(
    visitor: RequireAdministrator,
    entry_id: Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID)],
) -> Response:
    """One act: what it changed, and from what."""
    async with visitor.state.database.read() as session:
        act = await audit_log.get_act(session, entry_id)
        changes = await audit_log.find_changes(session, act)
    return page(
        visitor.request, "audit_act.html", act=act, changes=changes, name_of=name_of,
        place=_place(visitor, act),
    )  # fmt: skip


def name_of(act: AuditEntry) -> str:
    """What the thing of an act was called then; empty where it has only its id."""
    named = (act.details.get(key) for key in ("name", "alias", "email", "model", "namespace"))
    return next((one for one in named if isinstance(one, str) and one), "")


def _asked(here: Here) -> Mapping[str, str]:
    """The filters in the URL. Raises `InvalidRequest`."""
    asked = {name: here.get(name).strip() for name in FILTERS if here.get(name).strip()}
    for name, text in asked.items():
        if len(text) > _LONGEST or not text.isprintable():
            raise InvalidRequest(
                f"{name} should be printable and at most {_LONGEST} characters long.", param=name
            )
    return asked


def _within(asked: Mapping[str, str], period: Range) -> ActFilters:
    until = None if period.name is not None else period.until
    return ActFilters(**asked, since=period.since, until=until)  # type: ignore[arg-type] # texts only


def _api_path(asked: Mapping[str, str], period: Range) -> str:
    times = {"since": f"{period.since:%Y-%m-%dT%H:%M:%SZ}"}
    if period.name is None:
        times["until"] = f"{period.until:%Y-%m-%dT%H:%M:%SZ}"
    return f"/api/v1/audit?{urlencode({**asked, **times})}"


def _place(visitor: Visitor, act: AuditEntry) -> str | None:
    """The page of the act's thing; None where there is none, or the thing is gone."""
    place = _PLACES.get(act.object_type)
    if place is None or act.object_id == "*" or act.action.endswith((".delete", ".purge")):
        return None
    pattern = re.compile(rf"/{place}/\{{\w+\}}")
    if not any(pattern.fullmatch(path) for path in paths_of(visitor.request)):
        return None
    # The pages of functions go by their names.
    thing = name_of(act) if act.object_type == "function" else ""
    return f"/{place}/{quote(thing or act.object_id, safe='')}"

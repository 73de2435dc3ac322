"""`/api/v1/audit`: who changed what, for administrators. Rows are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, BaseModel

from aieye.access.audit_log import ActFilters, get_act, list_acts
from aieye.api.deps import CurrentAdministrator, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import Id, Label, PathId, View, answers, page_example
from aieye.db.rows import LARGEST_ID

router = resource_router("audit")

EXAMPLE = {
    "id": 42,
    "at": "2026-11-20T09:30:00.125000Z",
    "actor_user_id": 1,
    "actor": "ada@example.org",
    "action": "token.create",
    "object_type": "token",
    "object_id": "7",
    "details": {"name": "ci", "scope": "proxy"},
    "ip": "192.0.2.1",
    "request_id": "req_0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
}


class AuditView(View):
    """One act, with what was changed; never a secret."""

    id: int
    at: datetime
    actor_user_id: int | None
    actor: str
    action: str
    object_type: str
    object_id: str
    details: dict[str, Any]
    ip: str
    request_id: str


class AuditPage(Page[AuditView]):
    """A part of the list of acts."""


class AuditQuery(BaseModel):
    """What acts must be; `actor_user_id` is null in the acts of the command line."""

    actor_user_id: Id | None = None
    actor: Label | None = None
    action: Label | None = None
    object_type: Label | None = None
    object_id: Label | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def filters(self) -> ActFilters:
        return ActFilters(**self.model_dump())


@router.get(
    "", operation_id="audit_list", summary="List what was changed",
    responses=answers(page_example(EXAMPLE), 400, 403),
)  # fmt: skip
async def list_audit(
    caller: CurrentAdministrator,
    session: Reading,
    page: CurrentPaging,
    query: Annotated[AuditQuery, Query()],
) -> AuditPage:
    """The newest act first."""
    acts = await list_acts(
        session, query.filters(), before=page.after_id(LARGEST_ID), limit=page.fetch
    )
    return AuditPage.of(acts, page)


@router.get(
    "/{id}", operation_id="audit_get", summary="Get an act", responses=answers(EXAMPLE, 403, 404)
)
async def get_audit(entry_id: PathId, caller: CurrentAdministrator, session: Reading) -> AuditView:
    """One act."""
    return AuditView.model_validate(await get_act(session, entry_id))

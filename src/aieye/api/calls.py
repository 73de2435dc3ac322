"""`/api/v1/calls`: the ledger, a row a client call, and what was asked and answered in it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from aieye.access.audit import Actor
from aieye.api.deps import CurrentActor, Reading
from aieye.api.paging import CurrentPaging, Page, Paging
from aieye.api.resources import resource_router
from aieye.api.schemas import Label, answers, page_example
from aieye.db.cursors import BadCursor, encode_cursor
from aieye.db.rows import LARGEST_ID
from aieye.ledger import queries
from aieye.ledger.call_fields import call_fields
from aieye.ledger.queries import CallFilters, FoundCall

router = resource_router("calls")

NANO = 1_000_000_000
ID_EXAMPLE = "req_0193a5c2b4d87c3e9f10a2b3c4d5e6f7"
EXAMPLE = {
    "id": ID_EXAMPLE.removeprefix("req_"),
    "request_id": ID_EXAMPLE,
    "created_at": "2026-11-20T09:30:00.125000Z",
    "endpoint": "chat/completions",
    "model": "gpt-4o-mini-2024-07-18",
    "model_asked": "gpt-4o-mini",
    "status": 200,
    "state": "done",
    "error": None,
    "stream": False,
    "cache": "miss",
    "tokens_input": 1000,
    "tokens_cached": 0,
    "tokens_output": 200,
    "tokens_reasoning": 0,
    "cost_usd": "0.00027",
    "saved_usd": "0",
    "cost_state": "exact",
    "price": {"provider": "openai", "model": "gpt-4o-mini"},
    "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    "latency_ms": 812.4,
    "ttft_ms": 641.9,
    "token_id": 1,
    "token_name": "ci",
    "user": "ada@example.org",
    "provider": "openai",
    "key_id": 1,
    "upstream_request_id": "req_8f7e6d5c",
    "run_id": None,
    "pipeline": None,
    "step": None,
    "tags": {"team": "search"},
    "attempts": [],
}
BODY_EXAMPLE = {
    "id": EXAMPLE["id"],
    "request": '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}',
    "response": '{"choices":[{"message":{"role":"assistant","content":"Hello!"}}]}',
}

Number = Annotated[int, Field(ge=0, le=LARGEST_ID)]
CallId = Annotated[
    str,
    Path(alias="id", max_length=64, description="`req_…` or the bare id.", examples=[ID_EXAMPLE]),
]


class CallView(BaseModel):
    """One call. Money is dollars as a decimal text, null where unknown; times are milliseconds."""

    id: str
    request_id: str
    created_at: datetime
    endpoint: str
    model: str | None
    model_asked: str | None
    status: int | None
    state: str
    error: str | None
    stream: bool
    cache: str
    tokens_input: int | None
    tokens_cached: int | None
    tokens_output: int | None
    tokens_reasoning: int | None
    cost_usd: str | None
    saved_usd: str | None
    cost_state: str
    price: dict[str, Any] | None
    usage: dict[str, Any] | None
    latency_ms: float | None
    ttft_ms: float | None
    token_id: int | None
    token_name: str | None
    user: str | None
    provider: str | None
    key_id: int | None
    upstream_request_id: str | None
    run_id: str | None
    pipeline: str | None
    step: str | None
    tags: dict[str, str]
    attempts: list[dict[str, Any]]


class CallViews(Page[CallView]):
    """A part of the list of calls."""


class CallBodyView(BaseModel):
    """The texts of a call; null where nothing is kept."""

    id: str
    request: str | None
    response: str | None


class CallQuery(BaseModel):
    """What calls must have."""

    token_id: Number | None = None
    user_id: Number | None = None
    provider_id: Number | None = None
    key_id: Number | None = None
    model: Label | None = Field(None, description="The model asked for, or that answered.")
    endpoint: Label | None = None
    status: int | None = Field(None, ge=100, le=599)
    status_class: Literal["1xx", "2xx", "3xx", "4xx", "5xx"] | None = None
    cache: Literal["hit", "miss", "shared", "bypass", "refresh"] | None = None
    state: Literal["open", "done", "interrupted"] | None = None
    cost_state: Literal["exact", "estimated", "unknown"] | None = None
    stream: bool | None = None
    pipeline: Label | None = None
    run_id: Label | None = None
    tag: Label | None = Field(None, pattern="^[^=]+=", description="A tag as `name=value`.")
    text: Label | None = Field(
        None, description="A text in the request, the response or the error, or the call's id."
    )
    since: AwareDatetime | None = None
    until: AwareDatetime | None = Field(None, description="Calls before this moment.")
    min_latency_ms: float | None = Field(None, ge=0, le=1e9)
    min_cost_usd: Decimal | None = Field(None, ge=0, le=1_000_000)

    def filters(self) -> CallFilters:
        """The ledger's form of these."""
        latency, cost = self.min_latency_ms, self.min_cost_usd
        name, _, value = (self.tag or "").partition("=")
        return CallFilters(
            **self.model_dump(include=_SAME_NAMES),
            is_stream=self.stream,
            status_class=int(self.status_class[0]) if self.status_class else None,
            tag=(name, value) if self.tag else None,
            latency_from_us=None if latency is None else round(latency * 1000),
            cost_from_nano=None if cost is None else int(cost * NANO),
        )


_SAME_NAMES = CallQuery.model_fields.keys() & set(CallFilters.__slots__) - {"tag", "status_class"}


@router.get(
    "",
    operation_id="calls_list",
    summary="List calls, newest first",
    responses=answers(page_example(EXAMPLE), 400, 401, 403, 422),
)
async def list_calls(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    query: Annotated[CallQuery, Query()],
) -> CallViews:
    """A page may hold fewer calls than asked for, or none, and still have a `next_cursor`: with
    filters, a page looks at 20,000 calls at most, for a text at 10,000."""
    before = _before(page)
    found = await queries.find_calls(
        session, query.filters(), owner_id=owner_of(caller), before=before, limit=page.limit
    )
    more = found.next_before
    return CallViews(
        data=[shown(call) for call in found.calls],
        has_more=more is not None,
        next_cursor=None if more is None else encode_cursor(more),
    )


@router.get(
    "/{id}",
    operation_id="calls_get",
    summary="Get a call",
    responses=answers(EXAMPLE, 401, 403, 404),
)
async def get_call(caller: CurrentActor, session: Reading, call_id: CallId) -> CallView:
    """One call, by its id or by the `x-request-id` that the client got."""
    return shown(await queries.get_call(session, call_id, owner_id=owner_of(caller)))


@router.get(
    "/{id}/body",
    operation_id="calls_body",
    summary="Get what was asked and answered",
    responses=answers(BODY_EXAMPLE, 401, 403, 404),
)
async def get_call_body(caller: CurrentActor, session: Reading, call_id: CallId) -> CallBodyView:
    """The texts as they were kept, without secrets; gone after the retention time."""
    owner_id = owner_of(caller)
    found = await queries.get_call(session, call_id, owner_id=owner_id)
    body = await queries.get_body(session, found.call.id, owner_id=owner_id)
    return CallBodyView(id=found.call.id, request=body.request, response=body.response)


def owner_of(caller: Actor) -> int | None:
    """Whose calls `caller` sees: a user's own (an id that nobody has without one), or all."""
    if caller.is_administrator:
        return None
    return 0 if caller.user_id is None else caller.user_id


def shown(found: FoundCall) -> CallView:
    """A call as programs see it."""
    return CallView(**call_fields(found))


def _before(page: Paging) -> str | None:
    key = page.after_text()
    if key is not None and not key.isalnum():
        raise BadCursor
    return key

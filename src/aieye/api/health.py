"""`/healthz`, `/readyz` and `/metrics`: what watches over the process asks for.

Alive is not ready: a process whose database is away stays alive, since a restart would not help.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel

from aieye.api.deps import BEARER, COOKIE, CurrentState, actor, administrator
from aieye.api.schemas import answers
from aieye.installation import find_faults

router = APIRouter(tags=["health"])

METRICS_EXAMPLE = "# TYPE aieye_requests_in_flight gauge\naieye_requests_in_flight 3.0\n"


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether calls may be sent here, and if not, why."""

    status: Literal["ready", "not_ready"]
    reasons: list[str]


@router.get(
    "/healthz", operation_id="health", summary="Whether the process is alive",
    responses=answers({"status": "ok"}),
)  # fmt: skip
async def get_health() -> Health:
    """Answers as long as the process runs; looks at nothing else."""
    return Health()


@router.get(
    "/readyz", operation_id="readiness", summary="Whether calls may be sent here",
    responses={
        **answers({"status": "ready", "reasons": []}),
        503: {
            "description": "Not ready",
            "model": Readiness,
            "content": {
                "application/json": {
                    "example": {"status": "not_ready", "reasons": ["the database does not answer"]}
                }
            },
        },
    },
)  # fmt: skip
async def get_readiness(state: CurrentState, response: Response) -> Readiness:
    """Ready: the database answers and has this version's schema, the ledger can be written, the
    files of functions have been looked at, the event loop runs in time, and the process is not
    about to stop."""
    reasons = await find_faults(state)
    response.status_code = 503 if reasons else 200
    response.headers["Cache-Control"] = "no-store"
    return Readiness(status="not_ready" if reasons else "ready", reasons=reasons)


async def scraper(
    request: Request,
    state: CurrentState,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    cookie: Annotated[str | None, Depends(COOKIE)],
) -> None:
    """Who may read the metrics: an administrator; on a loopback address, anybody.

    Raises `Unauthenticated`, `Forbidden`.
    """
    if not state.settings.is_loopback:
        await administrator(await actor(request, state, bearer, cookie))


@router.get(
    "/metrics", operation_id="metrics", summary="Figures for Prometheus",
    response_class=Response, dependencies=[Depends(scraper)],
    responses={200: {"content": {"text/plain": {"example": METRICS_EXAMPLE}}}},
)  # fmt: skip
async def get_metrics(state: CurrentState) -> Response:
    """Asks for an administrator's token unless the service is bound to a loopback address.

    With several workers the figures are those of all, by the label `worker`.
    """
    if state.colleagues is None:
        body, media_type = state.metrics.render()
    else:
        body, media_type = await state.colleagues.render()
    return Response(body, media_type=media_type)

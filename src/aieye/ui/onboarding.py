"""The first steps: a key, a token, a first request, each ticked as soon as it is true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Response
from sqlalchemy import select

from aieye.db.tables import Call, Token
from aieye.ui.pages import NEVER_SWAPPED, PageRoute, go, is_fragment, page
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

HIDDEN_COOKIE = "steps"
_YEAR_SECONDS = int(timedelta(days=365).total_seconds())


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The first request that arrived."""

    id: str
    model: str
    status: int | None
    latency_us: int | None


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """How far somebody is. `needs_key` is asked of administrators only; others cannot add one."""

    needs_key: bool
    has_provider: bool
    has_key: bool
    has_token: bool
    first: FirstCall | None

    @property
    def count(self) -> int:
        """How many steps there are."""
        return 3 if self.needs_key else 2

    @property
    def done(self) -> int:
        """How many of them are done."""
        return (self.needs_key and self.has_key) + self.has_token + (self.first is not None)

    @property
    def is_done(self) -> bool:
        return self.done == self.count

    @property
    def mark(self) -> str:
        """How far that is, in few letters: while it stays the same, the page stays as it is."""
        done = (self.has_provider, self.has_key, self.has_token, self.first is not None)
        return "".join("ny"[one] for one in done)

    @property
    def is_watched(self) -> bool:
        """Whether something may happen that the page should show by itself."""
        return self.first is None


async def find_first_steps(visitor: Visitor) -> FirstSteps | None:
    """What the overview shows on top; None once all is done or the visitor has hidden it."""
    if visitor.request.cookies.get(HIDDEN_COOKIE) == "hidden":
        return None
    steps = await _look(visitor)
    return None if steps.is_done else steps


@router.get("/first-steps")
async def show_first_steps(visitor: RequireUser) -> Response:
    """The steps: a page, and the part of the overview that asks for itself every few seconds.

    What shows the same already (`seen`) stays, with what is unfolded and marked in it.
    """
    steps = await _look(visitor)
    request = visitor.request
    if is_fragment(request) and request.query_params.get("seen") == steps.mark:
        return Response(None, NEVER_SWAPPED)
    return page(visitor.request, "first_steps.html", steps=steps)


@router.post("/first-steps/hide")
async def hide_first_steps(visitor: RequireUser) -> Response:
    """Not again, in this browser."""
    done = go(visitor.request, "/")
    done.set_cookie(
        HIDDEN_COOKIE, "hidden", max_age=_YEAR_SECONDS, path="/", samesite="lax",
        secure=visitor.state.settings.base_url.startswith("https://"),
    )  # fmt: skip
    return done


async def _look(visitor: Visitor) -> FirstSteps:
    calls = select(Call.id, Call.model, Call.status, Call.latency_us).where(Call.state != "open")
    tokens = select(Token.id).where(Token.deleted_at.is_(None), Token.disabled_at.is_(None))
    if visitor.owner_id is not None:
        calls = calls.where(Call.user_id == visitor.owner_id)
        tokens = tokens.where(Token.user_id == visitor.owner_id)
    async with visitor.state.database.read() as session:
        call = (await session.execute(calls.order_by(Call.id).limit(1))).one_or_none()
        has_token = await session.scalar(tokens.limit(1)) is not None
    directory = visitor.state.directory
    return FirstSteps(
        needs_key=visitor.is_administrator,
        has_provider=any(not one.is_simulated for one in directory.current.providers.values()),
        has_key=not directory.is_keyless,
        has_token=has_token,
        first=None if call is None else FirstCall(
            f"req_{call.id}", call.model or "unknown model", call.status, call.latency_us
        ),
    )  # fmt: skip

"""One call: what was asked and answered, how long each part took, what it cost and why it missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import CacheEntry, Call
from aieye.errors import NotFound
from aieye.gateway.usage import Usage, normalise_usage
from aieye.ledger import copy_as
from aieye.ledger.book import OPEN
from aieye.ledger.call_fields import provider_name
from aieye.ledger.pricing import PriceLine, breakdown
from aieye.ledger.queries import FoundBody, FoundCall, get_body, get_call
from aieye.ui import reading, show
from aieye.ui.charts import Span
from aieye.ui.key_names import key_names
from aieye.ui.pages import PageRoute, page
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

View = Literal["text", "json", "raw"]
Language = Literal["", "curl", "python", "javascript"]
# What a page shows of a text; the whole is a file.
MOST_CHARACTERS = 6_000
# What is repeated as code on the page.
MOST_COPIED = 200_000


@router.get("/calls/{id}")
async def show_call(
    visitor: RequireUser,
    id: str,  # noqa: A002 - as in the path
    view: View = "text",
    code: Language = "",
    why: bool = False,
) -> Response:
    """A call as a drawer or a page; `why` says why it was not answered from the cache."""
    state = visitor.state
    async with state.database.read() as session:
        found = await get_call(session, id, owner_id=visitor.owner_id)
        body = await get_body(session, id, owner_id=visitor.owner_id)
        key = await _cache_key(session, found.call) if visitor.is_administrator else None
        names = await key_names(session, _key_ids(found.call)) if visitor.is_administrator else {}
    explanation = await state.cache.explain(found.call.id) if why else None
    call = found.call
    return page(
        visitor.request,
        "call.html",
        found=found,
        call=call,
        provider_name=provider_name(found),
        body=body,
        absent=why_absent(call, body, keeps_texts=state.settings.ledger_bodies),
        view=view,
        asked=reading.asked(body.request),
        answered=reading.answered(body.response),
        shown=_shown(body, view),
        spans=phases(call),
        attempts=call.attempts or [],
        lines=_lines(found),
        code=_code(visitor, found, body, code),
        language=code,
        can_copy=reading.parsed(body.request) is not None,
        key=key,
        key_names=names,
        explanation=explanation,
        asked_why=why,
    )


@router.get("/calls/{id}/{part}.txt")
async def show_text(
    visitor: RequireUser,
    id: str,  # noqa: A002 - as in the path
    part: Literal["request", "response"],
) -> Response:
    """The whole text as it was kept, as a file: browsers show nothing of it as a page."""
    async with visitor.state.database.read() as session:
        body = await get_body(session, id, owner_id=visitor.owner_id)
    text = body.request if part == "request" else body.response
    if text is None:
        raise NotFound("The text is not kept.")
    name = f"{id[:40]}-{part}.txt" if id.replace("_", "").isalnum() else f"{part}.txt"
    return Response(
        text.encode("utf-8", "replace"),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as the page shows it; `is_cut` where that is not the whole."""

    text: str | None
    is_cut: bool


def phases(call: Call) -> Sequence[Span]:
    """How the time of a call went by, in ms from its beginning; () as long as it is under way.

    What the attempts do not account for before the first byte is AI-Eye's own: waiting to be let in,
    the look-up, the pauses between attempts.
    """
    if call.latency_us is None:
        return ()
    total = call.latency_us / 1000
    attempts = [one for one in call.attempts or [] if isinstance(one.get("ms"), int | float)]
    first = total if call.ttft_us is None else min(total, call.ttft_us / 1000)
    at_provider = sum(one["ms"] for one in attempts)
    own = max(0.0, first - at_provider)
    if not attempts:
        word = {"hit": "From the cache", "shared": "With another call"}.get(call.cache, "AI-Eye")
        spans = [Span(word, 0, first, colour=2 if call.cache in {"hit", "shared"} else 0)]
    else:
        spans = [Span("Queue and look-up", 0, own, colour=0)]
        at = own
        for number, attempt in enumerate(attempts, 1):
            is_last = number == len(attempts)
            word = "First token" if is_last and call.ttft_us is not None else f"Attempt {number}"
            if len(attempts) == 1 and call.ttft_us is None:
                word = "Provider"
            length = max(0.0, min(attempt["ms"], total - at))
            failed = "error" in attempt or attempt.get("status", 200) >= 400
            said = (
                f"status {attempt['status']}" if "status" in attempt else attempt.get("error", "")
            )
            spans.append(Span(word, at, length, colour=3 if failed else 1, note=said))
            at += length
    if call.ttft_us is not None and total - first > 0:
        spans.append(Span("Answer", first, total - first, colour=4))
    return [*spans, Span("Total", 0, total, colour=0)]


def why_absent(call: Call, body: FoundBody, *, keeps_texts: bool) -> str:
    """Why there is no text of a call where one could be."""
    if call.state == OPEN:
        return "Under way."
    if body.request is not None or body.response is not None:
        is_refused = body.request is None
        return (
            "Not kept: the call was refused before anybody was asked."
            if is_refused
            else "None came."
        )
    if call.body_id is not None:
        return "Not kept any longer: texts are removed when their days are over."
    return "None was kept of this call." if keeps_texts else "Not kept: AIEYE_LEDGER_BODIES is off."


async def _cache_key(session: AsyncSession, call: Call) -> tuple[int, str] | None:
    """The entry that the call left or was answered by: its id and its key."""
    if call.body_id is None or call.cache == "bypass":
        return None
    row = (
        await session.execute(
            select(CacheEntry.id, CacheEntry.key).where(CacheEntry.body_id == call.body_id).limit(1)
        )
    ).one_or_none()
    return None if row is None else (row.id, row.key.hex())


def _key_ids(call: Call) -> set[int]:
    """The provider's keys that were tried, and the one that paid."""
    tried = [attempt.get("key_id") for attempt in call.attempts or []]
    return {one for one in (call.key_id, *tried) if one is not None}


def _shown(body: FoundBody, view: View) -> dict[str, Shown]:
    texts = {"request": body.request, "response": body.response}
    if view == "json":
        texts = {name: _pretty(text) for name, text in texts.items()}
    return {
        name: Shown(
            None if text is None else text[:MOST_CHARACTERS], len(text or "") > MOST_CHARACTERS
        )
        for name, text in texts.items()
    }


def _pretty(text: str | None) -> str | None:
    """A text laid out, where it is JSON or events of JSON; else as it is."""
    if text is None:
        return None
    if reading.is_stream(text):
        return "\n".join(show.json(event) for event in reading.events(text)) or text
    value = reading.parsed(text)
    return text if value is None else show.json(value, indent=2)


def _lines(found: FoundCall) -> Sequence[PriceLine]:
    """The bill of a call; () where nothing is known of its price or its use."""
    call = found.call
    if found.price is None or call.tokens_input is None:
        return ()
    stated = normalise_usage(call.usage)
    counted = Usage(
        input=call.tokens_input,
        output=call.tokens_output or 0,
        cached=call.tokens_cached or 0,
        reasoning=call.tokens_reasoning or 0,
    )
    return breakdown(found.price, stated or counted)


def _code(visitor: Visitor, found: FoundCall, body: FoundBody, language: Language) -> str | None:
    request: Any = body.request
    parameters = copy_as.parameters_of(request)
    if not language or parameters is None or len(request) > MOST_COPIED:
        return None
    base_url = f"{visitor.state.settings.base_url}/v1"
    if language == "curl":
        return copy_as.as_curl(base_url, found.call.endpoint, request)
    write = copy_as.as_python if language == "python" else copy_as.as_javascript
    return write(base_url, found.call.endpoint, parameters)

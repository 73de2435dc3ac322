"""Why a recorded call was not answered from the cache, told by the entries that there are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.cache.explain import Explanation, nearest
from aieye.cache.key import canonical, read_object
from aieye.cache.texts import hashed
from aieye.db.engine import Database
from aieye.db.tables import CacheEntry, Call, CallBody, Provider, Route, Token
from aieye.errors import NotFound

NEWEST = 200
_REASONS = {
    "hit": "The call was answered from the cache.",
    "shared": "The call shared the answer of an identical call that was under way.",
    "refresh": "The call asked for a fresh answer (no-cache, or mode refresh).",
    "bypass": "The cache was not asked: the endpoint or the request cannot be cached, the token's "
    "cache is switched off, or the call said no-store.",
}
_NO_BODY = "The request's text was not kept, so it cannot be compared with stored ones."
_NONE = "Nothing is stored for this model in the token's namespace."
_SAME = (
    "An entry for exactly this request is stored: it came later, was too old for the call, or lies "
    "under another provider or endpoint."
)
_NEAREST = "No stored request is the same; the nearest one differs in the fields below."


async def explain(database: Database, call_id: str) -> Explanation:
    """Explain the call. Raises `NotFound`."""
    async with database.read() as session:
        call = await session.get(Call, call_id)
        if call is None:
            raise NotFound("There is no such call.")
        if call.cache != "miss":
            return Explanation(call_id, _REASONS.get(call.cache, _REASONS["bypass"]))
        request = await _request(session, call)
        if request is None:
            return Explanation(call_id, _NO_BODY)
        namespace = await session.scalar(
            select(Token.cache_namespace).where(Token.id == call.token_id)
        )
        place = _Place(namespace, call.endpoint, call.model_asked, call.model)
        candidates = await _candidates(session, place)
    # The entry that the call itself left behind explains nothing.
    others = [(entry_id, body) for entry_id, body, made_by in candidates if made_by != call.body_id]
    return await _compared(call_id, request, others)


async def explain_request(
    database: Database, text: bytes, *, endpoint: str, namespace: str
) -> Explanation:
    """What a request with the body `text` would be held against. Raises `NotJson`."""
    document = read_object(text)
    model = document.get("model")
    async with database.read() as session:
        place = _Place(namespace, endpoint, model if isinstance(model, str) else None, None)
        candidates = await _candidates(session, place)
    request = await asyncio.to_thread(canonical, document)
    return await _compared("", request, [(entry_id, body) for entry_id, body, _ in candidates])


async def _compared(
    call_id: str, request: bytes, others: Sequence[tuple[int, bytes]]
) -> Explanation:
    if not others:
        return Explanation(call_id, _NONE)
    found = await asyncio.to_thread(nearest, request, others)
    if found is None:
        return Explanation(call_id, _NONE)
    return Explanation(call_id, _NEAREST if found.differing else _SAME, found)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a request looks for its answer; `model` is that of a call's answer, where there is one."""

    namespace: str | None
    endpoint: str
    model_asked: str | None
    model: str | None


async def _request(session: AsyncSession, call: Call) -> bytes | None:
    body = None if call.body_id is None else await session.get(CallBody, call.body_id)
    if body is None or body.request is None:
        return None
    return hashed(b"", body.request, "", is_compressed=body.is_compressed) or None


async def _candidates(session: AsyncSession, place: _Place) -> list[tuple[int, bytes, str | None]]:
    names = await _names(session, place.model_asked)
    rows = await session.execute(
        select(
            CacheEntry.id,
            CacheEntry.request,
            CacheEntry.model,
            CacheEntry.meta,
            CallBody.request.label("kept"),
            CallBody.is_compressed,
        )
        .outerjoin(CallBody, CallBody.id == CacheEntry.body_id)
        .where(
            CacheEntry.model.in_({*names, place.model} - {None}),
            CacheEntry.namespace == place.namespace,
            CacheEntry.endpoint == place.endpoint,
        )
        .order_by(CacheEntry.id.desc())
        .limit(NEWEST)
    )
    return await asyncio.to_thread(_read_candidates, rows.all(), names, place.model_asked or "")


async def _names(session: AsyncSession, asked: str | None) -> frozenset[str]:
    """The names under which providers are asked for what a client asks for by one name: an alias
    has its targets', `provider/model` the model's."""
    if asked is None:
        return frozenset()
    targets = await session.scalar(select(Route.targets).where(Route.alias == asked))
    if targets is not None:
        return frozenset(target["model"] for target in targets)
    name, _, model = asked.partition("/")
    of_provider = select(Provider.id).where(Provider.name == name, Provider.deleted_at.is_(None))
    if model and await session.scalar(of_provider) is not None:
        return frozenset({model})
    return frozenset({asked})


def _read_candidates(
    rows: Sequence[Row[Any]], names: frozenset[str], asked: str
) -> list[tuple[int, bytes, str | None]]:
    """Entries' ids, their requests, and the texts that they came with.

    Requests name the model as the call did where that is what it comes to: no difference, then.
    """
    return [
        (
            row.id,
            hashed(
                row.request,
                row.kept,
                asked if row.model in names else row.model,
                is_compressed=bool(row.is_compressed),
            ),
            row.meta.get("body_id"),
        )
        for row in rows
    ]

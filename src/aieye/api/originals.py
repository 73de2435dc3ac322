"""The original AI-Eye's two routes: `POST /api/openai/{endpoint}/` and `POST /api/cache/{endpoint}/`.

Their shapes are the original's; the engine, the cache's entries and the ledger are those of `/v1`.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from aieye.access.snapshot import SCOPES, Grant
from aieye.api.bodies import read_body
from aieye.api.openai import STOPPED
from aieye.api.rendering import note_denial
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import read_object, write_json
from aieye.errors import AieyeError, InvalidRequest, Unauthenticated
from aieye.gateway.calls import LEFT, Call
from aieye.gateway.faults import UpstreamError
from aieye.gateway.service import CacheMiss
from aieye.gateway.wire import CHAT, COMPLETIONS, EDITS, Header, Match, header
from aieye.ledger.book import EXACT, CallRecord
from aieye.state import State
from aieye.telemetry import request_id
from aieye.waiting import SLOW_SECONDS, unless_gone

router = APIRouter(tags=["original"])
_ENDPOINTS = {f"v1/{endpoint.name}": endpoint for endpoint in (CHAT, COMPLETIONS, EDITS)}
_ONLY = Controls("only", is_explicit=True)


class InvalidData(InvalidRequest):
    """The original's word for an endpoint it does not know and for a body without content."""

    code = "invalid_data"

    def __init__(self) -> None:
        super().__init__("Invalid data")


@router.post("/api/openai/{endpoint:path}", include_in_schema=False)
async def post_openai(request: Request, endpoint: str) -> Response:
    """Ask the provider, or the cache: `{"response": text, "cache_hit": bool}`."""
    return await _answer(request, endpoint, only_cached=False)


@router.post("/api/cache/{endpoint:path}", include_in_schema=False)
async def post_cache(request: Request, endpoint: str) -> Response:
    """What the cache holds: `[{"response": text, "cache_hit": true}]` or `[]`; asks no provider."""
    return await _answer(request, endpoint, only_cached=True)


async def _answer(request: Request, endpoint: str, *, only_cached: bool) -> Response:
    state: State = request.app.state.aieye
    record = CallRecord("unknown")
    request_id.set(record.request_id)
    own = {"x-request-id": record.request_id}
    grant: Grant | None = None
    state.metrics.began()
    try:
        grant = await grant_of(state, request.headers.get("authorization", ""))
        call = await _read(request, state, endpoint, grant, record, only_cached=only_cached)
        return _json(200, await _ask(request, state, call, only_cached=only_cached), own)
    except AieyeError as error:
        note_denial(request, error)
        if grant is not None and record.status is None:
            record.cost_nano, record.cost_state = 0, EXACT
            error = await state.gateway.accounts.settle_refused(grant, record, error)
        record.status = record.status or error.status
        return _json(error.status, said(error), {**error.headers, **own})
    except Exception:
        # Our own fault, told where all of them are: here it only gets its row.
        if grant is not None and record.status is None:
            await state.gateway.accounts.settle_refused(grant, record, AieyeError(""))
        raise
    finally:
        state.metrics.ended(record)


async def _read(
    request: Request,
    state: State,
    endpoint: str,
    grant: Grant,
    record: CallRecord,
    *,
    only_cached: bool,
) -> Call:
    """The call that is meant. Raises `AieyeError` for what cannot be asked here."""
    scope = dict(request.scope)
    limit = state.settings.max_json_bytes
    body = await read_body(scope, dict(scope["headers"]), request.receive, limit)
    known = _ENDPOINTS.get(endpoint.strip("/"))
    if known is None or not body.strip():
        raise InvalidData
    record.endpoint = known.name
    document = read_object(body)
    if not document:
        raise InvalidData
    if document.get("stream"):
        raise InvalidRequest("This route does not stream; use /v1/chat/completions.")
    if document.get("model") is None:
        raise InvalidRequest("This field is required.", param="model")
    if only_cached and isinstance(document.get("cache"), dict):
        # Whatever else the body asks of the cache, this route never calls a provider.
        body = write_json({**document, "cache": {**document["cache"], "mode": "only"}})
    return Call(
        Match(known, f"/{known.name}"),
        grant,
        body,
        record,
        controls=_ONLY if only_cached else DEFAULT,
        cancelled_as=STOPPED,
        restate=partial(_restate, record, only_cached),
    )


async def _ask(
    request: Request, state: State, call: Call, *, only_cached: bool
) -> dict[str, Any] | list[dict[str, Any]]:
    noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, _note_open, state, call.record)
    try:
        reply = await unless_gone(
            request, state.relay.infer(call), at_leaving=partial(_note_leaving, call)
        )
    except CacheMiss:
        if only_cached:
            return []
        raise
    finally:
        noting.cancel()
    text = _read_reply(reply.status, reply.body or b"", reply.headers)
    found = {"response": text, "cache_hit": call.record.cache == "hit"}
    return [found] if only_cached else found


def _restate(record: CallRecord, only_cached: bool, body: bytes | None) -> None:
    """Book what is answered here, where `/v1` would answer something else."""
    if body is None:
        if only_cached and record.error == CacheMiss.code:
            record.status, record.error = 200, None
        return
    try:
        _read_reply(record.status or 0, body)
    except AieyeError as error:
        record.status, record.error = error.status, record.error or error.code


def _read_reply(status: int, body: bytes, headers: list[Header] | None = None) -> str:
    """The text of the provider's answer. Raises `ProviderRefused`, `Unreadable`."""
    if status >= 400:
        raise ProviderRefused(status, body, headers)
    return _text(body)


def _note_leaving(call: Call) -> None:
    call.cancelled_as = LEFT


def _note_open(state: State, record: CallRecord) -> None:
    """Should the process end now, the ledger says of a slow call that it was under way."""
    if record.status is None:
        state.gateway.book.open(record)


class ProviderRefused(AieyeError):
    """The provider's 4xx keep their status and say when to try again; its own troubles are 502."""

    type = "upstream_error"
    code = "upstream_error"

    def __init__(self, status: int, body: bytes, headers: list[Header] | None = None) -> None:
        later = header(headers or [], b"retry-after")
        super().__init__(
            _provider_message(body) or f"The provider answered {status}.",
            headers={"Retry-After": later.decode("latin-1")} if later else None,
        )
        self.status = status if status < 500 else 502  # type: ignore[misc] # per answer here


class Unreadable(UpstreamError):
    """The provider's answer has no text where this route looks for it."""

    code = "unreadable_answer"


async def grant_of(state: State, authorization: str) -> Grant:
    """The original's texts for what is wrong with a token."""
    kind, _, secret = authorization.strip().partition(" ")
    if kind.lower() not in {"bearer", "token"}:
        raise Unauthenticated("Authentication credentials were not provided.")
    if not secret.strip():
        raise Unauthenticated("Invalid token header. No credentials provided.")
    grant = await state.directory.know_grant(secret.strip())
    if grant is None or grant.scope < SCOPES["proxy"]:
        raise Unauthenticated("Invalid token.")
    if grant.expires_at is not None and grant.expires_at <= time.time_ns() // 1000:
        raise Unauthenticated("The token has expired.")
    return grant


def _text(body: bytes) -> str:
    """The text of the first choice of a chat answer, a completion or an edit."""
    try:
        choice = orjson.loads(body)["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise Unreadable("The provider's answer has no text.") from error
    return str(text or "").strip()


def _provider_message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:1000]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ""


def said(error: AieyeError) -> dict[str, Any]:
    """A fault of one field under its name, any other as `detail`."""
    if error.status == 400 and error.param:
        return {error.param.partition(".")[0]: [error.message]}
    return {"detail": error.message}


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")

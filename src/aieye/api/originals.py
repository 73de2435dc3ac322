"""The original AI-Eye's two routes: `POST /api/openai/{endpoint}/` and `POST /api/cache/{endpoint}/`.

Their shapes are the original's; the engine, the cache's entries and the ledger are those of `/v1`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from aieye.access.snapshot import SCOPES, Grant
from aieye.api.openai import SLOW_SECONDS, STOPPED, STOPPING, ShuttingDown
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import read_object, write_json
from aieye.errors import AieyeError, InvalidRequest, PayloadTooLarge, Unauthenticated
from aieye.gateway.calls import LEFT, Call, Reply
from aieye.gateway.service import CacheMiss
from aieye.gateway.wire import CHAT, COMPLETIONS, EDITS, Header, Match, header
from aieye.ledger.book import CallRecord
from aieye.state import State
from aieye.telemetry import request_id

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
    state.metrics.began()
    try:
        grant = _grant(state, request.headers.get("authorization", ""))
        name = endpoint.strip("/")
        body = await _body(request, state.settings.max_json_bytes)
        known = _ENDPOINTS.get(name)
        if known is None:
            if only_cached and read_object(body):
                return _json(200, [], own)
            raise InvalidData
        record.endpoint = known.name
        match = Match(known, f"/{known.name}")
        controls = _ONLY if only_cached else DEFAULT
        call = Call(match, grant, body, record, controls=controls, cancelled_as=STOPPED)
        content = await _call(request, state, call, only_cached=only_cached)
        return _json(200, content, own)
    except AieyeError as error:
        return _json(error.status, {"detail": error.message}, {**error.headers, **own})
    finally:
        state.metrics.ended(record)


async def _call(
    request: Request, state: State, call: Call, *, only_cached: bool
) -> dict[str, Any] | list[dict[str, Any]]:
    document = read_object(call.body)
    if not document:
        raise InvalidData
    if document.get("stream"):
        raise InvalidRequest("This route does not stream; use /v1/chat/completions.")
    if only_cached and isinstance(document.get("cache"), dict):
        # Whatever else the body asks of the cache, this route never calls a provider.
        call.body = write_json({**document, "cache": {**document["cache"], "mode": "only"}})
    noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, _note_open, state, call.record)
    try:
        reply = await _unless_gone(request, call, state.relay.infer(call))
    except CacheMiss:
        if only_cached:
            return []
        raise
    finally:
        noting.cancel()
    body = reply.body or b""
    if reply.status >= 400:
        raise ProviderRefused(reply.status, body, reply.headers)
    found = {"response": _text(body), "cache_hit": call.record.cache == "hit"}
    return [found] if only_cached else found


def _note_open(state: State, record: CallRecord) -> None:
    """Should the process end now, the ledger says of a slow call that it was under way."""
    if record.status is None:
        state.gateway.book.open(record)


class ProviderRefused(AieyeError):
    """The provider's 4xx keep their status and say when to try again; its own troubles are 502."""

    def __init__(self, status: int, body: bytes, headers: list[Header] | None = None) -> None:
        later = header(headers or [], b"retry-after")
        super().__init__(
            _provider_message(body) or f"The provider answered {status}.",
            headers={"Retry-After": later.decode("latin-1")} if later else None,
        )
        self.status = status if status < 500 else 502  # type: ignore[misc] # per answer here


async def _unless_gone(request: Request, call: Call, work: Coroutine[Any, Any, Reply]) -> Reply:
    """Await `work`, and cancel it when the client leaves. Raises `ShuttingDown` at the server's stop."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            call.cancelled_as = LEFT
            task.cancel()
        return await task
    except asyncio.CancelledError:
        if call.cancelled_as is LEFT:
            raise
        # The stop waits no longer, but there is still an answer to give.
        if (own := asyncio.current_task()) is not None:
            own.uncancel()
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            raise ShuttingDown(STOPPING) from None
        return task.result()
    finally:
        watcher.cancel()


async def _gone(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def _grant(state: State, authorization: str) -> Grant:
    """The original's texts for what is wrong with a token."""
    kind, _, secret = authorization.strip().partition(" ")
    if kind.lower() not in {"bearer", "token"}:
        raise Unauthenticated("Authentication credentials were not provided.")
    if not secret.strip():
        raise Unauthenticated("Invalid token header. No credentials provided.")
    grant = state.directory.find_grant(secret.strip())
    if grant is None or grant.scope < SCOPES["proxy"]:
        raise Unauthenticated("Invalid token.")
    if grant.expires_at is not None and grant.expires_at <= time.time_ns() // 1000:
        raise Unauthenticated("The token has expired.")
    return grant


async def _body(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise PayloadTooLarge(f"The request's body is larger than {limit} bytes.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise PayloadTooLarge(f"The request's body is larger than {limit} bytes.")
    if not body.strip():
        raise InvalidData
    return bytes(body)


def _text(body: bytes) -> str:
    """The text of the first choice of a chat answer, a completion or an edit."""
    try:
        choice = orjson.loads(body)["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise ProviderRefused(502, b"") from error
    return str(text or "").strip()


def _provider_message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:1000]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ""


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")

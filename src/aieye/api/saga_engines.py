"""The engines of the GPT3 Proxy: what a preset may name as its `engine_id`."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import Response

from aieye.api.originals import ProviderRefused, Unreadable
from aieye.api.saga_callers import Asked
from aieye.gateway.calls import Call
from aieye.gateway.wire import match
from aieye.ledger.book import CallRecord

# These are called, not named by presets.
_CALLABLE: Final = ("preset/", "pipeline/")


async def engines(asked: Asked) -> Response:
    """`[{owner, ready, id, object}]`. Raises `ProviderRefused`, `Unreadable`, and what calls raise."""
    endpoint = match("GET", "/v1/models")
    record = CallRecord(endpoint.endpoint.name)
    reply = await asked.state.relay.handle(Call(endpoint, asked.grant, b"", record))
    body = reply.body or b""
    if reply.status >= 400:
        raise ProviderRefused(reply.status, body, reply.headers)
    found = [
        {
            "owner": str(model.get("owned_by") or "unknown"),
            "ready": True,
            "id": model["id"],
            "object": "engine",
        }
        for model in _models(body)
    ]
    own = {"x-request-id": record.request_id}
    return Response(orjson.dumps(found), headers=own, media_type="application/json")


def _models(body: bytes) -> list[dict[str, Any]]:
    """The models of a provider's list, which some give bare."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable("The provider's list of models is not JSON.") from error
    data = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(data, list):
        raise Unreadable("The provider's list of models has no models.")
    return [
        one
        for one in data
        if isinstance(one, dict)
        and isinstance(one.get("id"), str)
        and not one["id"].startswith(_CALLABLE)
    ]

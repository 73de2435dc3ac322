"""Whose a streamed answer is while it streams."""

from __future__ import annotations

import pytest

from tests.fakes import chat
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    json_answer,
    stream_then_silence,
)
from tests.faults.harness import MODEL, Gateway

pytestmark = pytest.mark.live


async def test_a_response_is_its_callers_while_it_streams(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    ada = await gateway.add_token(user_id=await gateway.add_user("ada@example.org"))
    ben = await gateway.add_token(user_id=await gateway.add_user("ben@example.org"))
    begun = stream_then_silence(chat.response_frames("one two three")[:4])

    async def answer(request: Received, connection: Connection) -> None:
        part = begun if request.streamed else json_answer(200, chat.response_body())
        await part(request, connection)

    upstream.default = answer
    body = {"model": MODEL, "input": "hi", "stream": True}
    headers = {"authorization": f"Bearer {ada}"}
    async with gateway.client.stream("POST", "/v1/responses", json=body, headers=headers) as reply:
        async for _ in reply.aiter_bytes():
            break
        path = "/v1/responses/resp_fake"
        own = await gateway.get(path, token=ada)
        cancelled = await gateway.ask({}, path=f"{path}/cancel", token=ada)
        theirs = await gateway.get(path, token=ben)

    assert (own.status_code, cancelled.status_code, theirs.status_code) == (200, 200, 404)

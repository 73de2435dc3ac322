"""Each request's id: in its answer, in every line that is logged meanwhile, and in the audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import uuid_utils

from aieye.telemetry.logs import request_id

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

HEADER = "x-request-id"


class RequestId:
    """Gives an id to each request of `app`; an answer that bears one already keeps it.

    What a client sent under that name is not taken over: it could be anybody else's.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = f"req_{uuid_utils.uuid7().hex}"
        request_id.set(given)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                if not any(name.lower() == HEADER.encode() for name, _ in headers):
                    message["headers"] = [*headers, (HEADER.encode(), given.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)

"""Routes of programs in front of the framework, whose layers cost more than all the rest of them.

They are also the framework's, which answers any other method there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from aieye.api.original_pipelines import post_call
from aieye.api.rendering import render_crash
from aieye.api.saga import PREFIX, post_process
from aieye.telemetry.requests import RequestId

_Endpoint = Callable[[Request], Awaitable[Response]]

# Each reads its own body, no longer than it may be, and renders its own errors.
_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    path + slash: endpoint
    for path, endpoint in ((f"{PREFIX}process", post_process), ("/api/pipeline/call", post_call))
    for slash in ("", "/")
}


class Front:
    """Answers a POST to these paths itself and leaves everything else to `app`."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._own = RequestId(self._answer)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_own = scope["type"] == "http" and scope["path"] in _ENDPOINTS
        is_own = is_own and scope["method"] == "POST"
        await (self._own if is_own else self._app)(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            response = await _ENDPOINTS[scope["path"]](request)
        except Exception as error:  # noqa: BLE001 - told and logged by `render_crash`
            # The last resort, as the framework's: the client is told, and the log says where.
            response = await render_crash(request, error)
        await response(scope, receive, send)

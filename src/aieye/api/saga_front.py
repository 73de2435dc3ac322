"""`POST /_saga/gpt3/process` in front of the framework, whose layers cost more than all the rest of it.

The route is also the framework's, which answers any other method there.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request

from aieye.api.rendering import render_crash
from aieye.api.saga import PREFIX, post_process
from aieye.telemetry.requests import RequestId

_PATHS: Final = frozenset({f"{PREFIX}process", f"{PREFIX}process/"})


class ProcessFront:
    """Answers `process` itself and leaves everything else to `app`."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._process = RequestId(self._answer)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_process = (
            scope["type"] == "http" and scope["path"] in _PATHS and scope["method"] == "POST"
        )
        await (self._process if is_process else self._app)(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            response = await post_process(request)
        except Exception as error:  # noqa: BLE001 - told and logged by `render_crash`
            # The last resort, as the framework's: the client is told, and the log says where.
            response = await render_crash(request, error)
        await response(scope, receive, send)

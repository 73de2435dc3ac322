"""What people see where no page was reached: an address that is none, a method, a fault of ours.

Programs go on getting what `aieye.api` answers: whoever asks below their paths, or takes no page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from aieye.telemetry import request_id
from aieye.ui.pages import render_failure
from aieye.ui.session import find_signed_in

Handler = Callable[[Request, Any], Awaitable[Response]]

_OF_PROGRAMS = ("/api/", "/v1/", "/_saga/", "/static/")
_SAID = {404: "There is no such page.", 405: "This page cannot be used like that."}


def add_handlers(app: FastAPI) -> None:
    """Put pages before the handlers that `app` has already, for whoever reads pages."""
    for kind, render in ((HTTPException, _render_http), (Exception, _render_crash)):
        before: Any = app.exception_handlers[kind]
        app.add_exception_handler(kind, _choosing(render, before))


def _choosing(render: Handler, otherwise: Handler) -> Handler:
    async def handle(request: Request, error: Any) -> Response:
        # The other one writes the log too.
        answer = await otherwise(request, error)
        return await render(request, error) if _is_for_people(request) else answer

    return handle


def _is_for_people(request: Request) -> bool:
    path = request.scope["path"]
    return "text/html" in request.headers.get("accept", "").lower() and not path.startswith(
        _OF_PROGRAMS
    )


async def _render_http(request: Request, error: HTTPException) -> Response:
    # Whoever is signed in keeps the frame, and with it the way on.
    await find_signed_in(request)
    said = _SAID.get(error.status_code, str(error.detail))
    return render_failure(request, error.status_code, said, error.headers)


async def _render_crash(request: Request, _error: Exception) -> Response:
    current = request_id.get()
    headers = {"x-request-id": current} if current else None
    return render_failure(request, 500, "Something went wrong on the server.", headers)

"""What stands in front of the framework: which requests it takes, and what it says of its own faults."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from aieye.api.front import Front

PATHS = ("/api/pipeline/call", "/api/pipeline/call/", "/_saga/gpt3/process", "/_saga/gpt3/process/")


class Framework(FastAPI):
    """Notes what it is asked. It has no state: whatever needs one fails."""

    asked: bool = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked = True


async def ask(app: FastAPI, method: str, path: str) -> list[dict[str, Any]]:
    """The messages of the answer."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await Front(app)(scope, receive, send)
    return messages


@pytest.mark.parametrize("path", PATHS)
async def test_a_fault_of_ours_is_answered_with_its_requests_id(path: str) -> None:
    app = Framework()
    start, body = await ask(app, "POST", path)
    assert not app.asked
    assert start["status"] == 500
    (given,) = (value for name, value in start["headers"] if name == b"x-request-id")
    said = orjson.loads(body["body"])
    assert given.decode() in (said.get("detail") or said["msg"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/pipeline/call"), ("POST", "/api/pipeline/args")]
)
async def test_everything_else_is_left_to_the_framework(method: str, path: str) -> None:
    app = Framework()
    assert await ask(app, method, path) == []
    assert app.asked

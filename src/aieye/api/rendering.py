"""Errors as programs read them: OpenAI's error object, and never what the caller had sent.

On the originals' routes it is their `{"detail": …}` or `{"_success": false, "msg": …}`. Each failure
has its request's id.
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from traceback import extract_tb
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from aieye.errors import AieyeError
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.telemetry import DENIED, RequestId, denials, request_id
from aieye.telemetry.loggers import get_logger

log = get_logger()

_INVALID = "invalid_request_error"
_WRONG = {409, 422}
# A longer field name, or one of other characters, may be a secret that was put in the wrong place.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}", re.ASCII)
# Of what is wrong with a request so much is told.
_MOST_TOLD = 5


def add_error_handlers(app: FastAPI) -> None:
    """Render every failure of `app`'s routes, under the id that its request is given."""
    app.add_middleware(RequestId)
    app.add_exception_handler(AieyeError, render_error)
    app.add_exception_handler(RequestValidationError, render_invalid)
    app.add_exception_handler(HTTPException, render_http)
    app.add_exception_handler(Exception, render_crash)


def error_body(error: AieyeError) -> bytes:
    """OpenAI's error object for `error`, as JSON; beside it what is wrong with a pipeline."""
    more = {}
    if (diagnostics := diagnostics_of(error)) is not None:
        more = {"diagnostics": diagnostics}
    return _body(error.message, error.type, error.code, error.param, **more)


def diagnostics_of(error: AieyeError) -> list[dict[str, Any]] | None:
    """What is wrong with a pipeline, where the error is about one."""
    match error:
        case InvalidPipeline():
            return [found.as_dict() for found in error.diagnostics]
        case RunFailed():
            return [error.diagnostic.as_dict()]
    return None


async def render_error(request: Request, error: Exception) -> Response:
    """Answer with an `AieyeError`'s own status, headers and message."""
    assert isinstance(error, AieyeError)
    if error.status >= 500:
        log.warning("request_failed", code=error.code, status=error.status)
    note_denial(request, error)
    path = request.scope["path"]
    if is_saga(path):
        return saga_error(error)
    if _is_original(path):
        return _response(error.status, orjson.dumps({"detail": error.message}), error.headers)
    return _response(error.status, error_body(error), error.headers)


def saga_error(error: AieyeError) -> Response:
    """As the GPT3 Proxy says it, whose only word for what is wrong with a request is 400."""
    status = 400 if error.status in _WRONG else error.status
    return _response(status, _saga_body(error.message), error.headers)


def note_denial(request: Request, error: AieyeError) -> None:
    """Log that a caller was refused for who they are, if that is what the error says."""
    if error.status in DENIED:
        ip = request.client.host if request.client else ""
        path = request.scope["path"]
        denials.note(error.status, error.code, method=request.method, path=path, ip=ip)


async def render_invalid(request: Request, error: Exception) -> Response:
    """Answer 422 with the fields that are wrong, and why; `param` is the first of them."""
    assert isinstance(error, RequestValidationError)
    param, message = explain_invalid(error.errors(), error.body)
    if param is None and not _says_json(request):
        message = "The body is not read as JSON: send the header `Content-Type: application/json`."
    return _response(422, _body(message, _INVALID, "unprocessable", param))


async def render_http(request: Request, error: Exception) -> Response:
    """Answer with what the framework itself refused: 404, 405, 413 and the like."""
    assert isinstance(error, HTTPException)
    if is_saga(request.scope["path"]):
        return _response(error.status_code, _saga_body(error.detail), error.headers)
    if _is_original(request.scope["path"]):
        return _response(error.status_code, orjson.dumps({"detail": error.detail}), error.headers)
    status = HTTPStatus(error.status_code)
    kind = _INVALID if status < 500 else "server_error"
    code = status.phrase.lower().replace(" ", "_")
    said = _what_to_do(request, error) if error.detail == status.phrase else error.detail
    return _response(status, _body(said, kind, code, None), error.headers)


async def render_crash(request: Request, error: Exception) -> Response:
    """Answer 500 to a fault of ours; the log gets the place, since a message may hold anything."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-5:]]
    log.error("request_crashed", error=type(error).__name__, places=places)
    current = request_id.get()
    hint = f" (request {current})" if current else ""
    message = f"Something went wrong on the server{hint}."
    if is_saga(request.scope["path"]):
        body = _saga_body(message)
    elif _is_original(request.scope["path"]):
        body = orjson.dumps({"detail": message})
    else:
        body = _body(message, AieyeError.type, AieyeError.code, None)
    # A crash is answered outside of what puts the id into all other answers.
    return _response(500, body, {"x-request-id": current} if current else None)


def explain_invalid(problems: Sequence[Any], body: Any = None) -> tuple[str | None, str]:
    """What a validation found, in a text: the first fields, each with what is wrong with it, and the
    first one's name. `body` is what was read, the text itself where that is no JSON."""
    first: Mapping[str, Any] = problems[0]
    if first["type"] == "json_invalid":
        return None, _misread(first, body)
    # Of a field that may be of several kinds each has its fault: the first is told. There may be as many
    # as a body holds.
    fields: dict[Any, Mapping[str, Any]] = {}
    for problem in problems:
        fields.setdefault(problem["loc"][:2], problem)
    named = [_named(problem) for problem in islice(fields.values(), _MOST_TOLD)]
    told = [f"{param}: {why}" if param else why for param, why in named]
    if len(fields) > _MOST_TOLD:
        told.append(f"and {len(fields) - _MOST_TOLD} more")
    return named[0][0], "; ".join(told)


def _named(problem: Mapping[str, Any]) -> tuple[str | None, str]:
    """The field that a problem is about, and what is wrong with it."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "timezone_aware":
        message = "should name its time zone, such as 2026-11-20T00:00:00Z"
    return ".".join(_shown(part) for part in problem["loc"][1:]) or None, message


def _misread(problem: Mapping[str, Any], text: Any) -> str:
    """That a body is no JSON, and where, as `/v1` says it; the framework knows the place in `text`."""
    before = str(text)[: problem["loc"][-1]]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    why = problem["ctx"]["error"]
    return f"The body is not JSON: {why} (line {line}, column {column})."


def _what_to_do(request: Request, error: HTTPException) -> str:
    """What the framework only names."""
    match error.status_code:
        case 404:
            return "There is no such URL here: /openapi.json lists those that there are."
        case 405:
            takes = (error.headers or {}).get("Allow", "other methods")
            return f"{request.method} is not for this URL: it takes {takes}."
    return error.detail


def is_saga(path: str) -> bool:
    """Whether the GPT3 Proxy's clients call there."""
    return path.startswith("/_saga/")


def _saga_body(message: str) -> bytes:
    return orjson.dumps({"_success": False, "msg": _encodable(message)})


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _is_original(path: str) -> bool:
    """Whether the original AI-Eye's clients call there."""
    return path.startswith("/api/") and not path.startswith("/api/v1")


def _shown(part: str | int) -> str:
    return str(part) if isinstance(part, int) or _FIELD.fullmatch(part) else "…"


def _body(message: str, kind: str, code: str | None, param: str | None, **more: Any) -> bytes:
    error = {"message": _encodable(message), "type": kind, "code": code, "param": param}
    return orjson.dumps({"error": error, **more})


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which no encoder takes."""
    return text.encode("utf-8", "replace").decode()


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")

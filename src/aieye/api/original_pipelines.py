"""The original AI-Eye's routes about pipelines: arguments, calls, lists, logs and executions.

Each with and without a trailing slash, by a public token or by a session. Their shapes are the
original's; contract and reasons are those of `/api/v1`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from fastapi import APIRouter, Request, Response

from aieye.access.snapshot import PipelineInfo
from aieye.api.bodies import read_body
from aieye.api.original_views import arguments_view, entries_view, execution_view, meta_view
from aieye.api.originals import InvalidData, grant_of, said
from aieye.api.rendering import diagnostics_of, note_denial
from aieye.api.runners import Caller, by_grant, by_session, failure_of
from aieye.cache.key import read_object
from aieye.db.rows import LARGEST_ID
from aieye.errors import AieyeError, InvalidRequest, NotFound
from aieye.pipeline import executions
from aieye.pipeline import service as pipelines
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.values import Unconvertible, read_json, text_of
from aieye.pipeline.run_record import Finished
from aieye.state import State
from aieye.waiting import unless_gone

router = APIRouter(tags=["original"])

MOST_BYTES: Final = 2**20
_REQUIRED: Final = "This field is required."
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


class FieldFault(InvalidRequest):
    """A field is missing or wrong; `param` names it."""

    code = "invalid_field"


class NotFoundHere(AieyeError):
    """What the original answered 400 to, although it is just not there."""

    status = 400
    type = "invalid_request_error"
    code = "not_found"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with its caller; `headers` go out with the answer, whatever it is."""

    request: Request
    state: State
    caller: Caller
    headers: dict[str, str]


_Handler = Callable[[_Asked], Awaitable[object]]


async def get_args(request: Request) -> Response:
    """`{"success": true, "response": [names]}` of a pipeline, with types and defaults in `params`."""
    return await _answer(request, _args)


async def post_call(request: Request) -> Response:
    """Run a pipeline: `{"success": true, "response": text}`."""
    return await _answer(request, _call)


async def get_pipelines(request: Request) -> Response:
    """The caller's own pipelines."""
    return await _answer(request, _list)


async def post_logs(request: Request) -> Response:
    """The caller's newest run of a pipeline, with its steps."""
    return await _answer(request, _logs)


async def get_execution(request: Request) -> Response:
    """The steps of one run."""
    return await _answer(request, _execution)


for _path, _method, _endpoint in (
    ("/api/pipeline/args", "GET", get_args),
    ("/api/pipeline/call", "POST", post_call),
    ("/api/pipelines", "GET", get_pipelines),
    ("/api/pipeline/logs", "POST", post_logs),
    ("/api/execution/{execution_id}", "GET", get_execution),
):
    for _slash in ("", "/"):
        router.add_api_route(_path + _slash, _endpoint, methods=[_method], include_in_schema=False)


# -- the routes --------------------------------------------------------------------------------


async def _args(asked: _Asked) -> object:
    query = asked.request.query_params
    if "pipeline_id" in query:
        info = _get(asked, _whole(query["pipeline_id"], "pipeline_id"))
    elif name := query.get("pipeline_name"):
        info = asked.state.pipelines.get_named(name, asked.caller.actor)
    else:
        raise FieldFault(_REQUIRED, param="pipeline_name")
    plan = await asked.state.pipelines.plan(info)
    return arguments_view(plan.parameters)


async def _call(asked: _Asked) -> object:
    body = await _body(asked)
    info = _get(asked, _whole(_required(body, "pipeline_id"), "pipeline_id"))
    arguments = body.get("args", {})
    if not isinstance(arguments, dict):
        raise FieldFault("Expected a dictionary of items.", param="args")
    caller = asked.caller
    if caller.is_session:
        caller = caller.with_key(asked.state, _key_id(asked.state, body))
    finished = await unless_gone(
        asked.request, asked.state.pipelines.run(info, arguments, caller.grant)
    )
    asked.headers["X-Run-Id"] = finished.run_id
    if finished.failure is not None:
        raise failure_of(finished)
    return _said(asked.request, finished)


async def _list(asked: _Asked) -> object:
    actor = asked.caller.actor
    async with asked.state.database.read() as session:
        found = await pipelines.list_pipelines(
            session, actor=actor, tag=asked.request.query_params.get("tag"), user_id=actor.user_id
        )
    return [
        {"id": one.id, "name": one.name, "body": one.source, "tags": list(one.tags)}
        for one in found
    ]


async def _logs(asked: _Asked) -> object:
    pipeline_id = _whole(_required(await _body(asked), "pipeline_id"), "pipeline_id")
    async with asked.state.database.read() as session:
        row = await executions.find_latest(session, pipeline_id, user_id=asked.caller.actor.user_id)
        if row is None:
            raise NotFoundHere("PipelineExecutionLog was not found")
        steps = await executions.list_steps(session, row.id)
    return {"pipeline_execution": execution_view(row), "call_entries": entries_view(steps)}


async def _execution(asked: _Asked) -> object:
    given = asked.request.path_params["execution_id"]
    # What is no number is nobody's execution.
    execution_id = int(given) if given.isascii() and given.isdigit() and len(given) < 12 else 0
    async with asked.state.database.read() as session:
        try:
            row = await executions.get_execution(session, execution_id, actor=asked.caller.actor)
        except executions.NoSuchExecution as error:
            message = "A PipelineExecutionLog with the provided ID does not exist."
            raise NotFound(message) from error
        steps = await executions.list_steps(session, row.id)
    return {"execution_id": row.id, "call_entries": entries_view(steps)}


# -- reading and answering ---------------------------------------------------------------------


async def _answer(request: Request, handler: _Handler) -> Response:
    state: State = request.app.state.aieye
    headers: dict[str, str] = {}
    try:
        asked = _Asked(request, state, await _caller(request, state), headers)
        return _json(200, await handler(asked), headers)
    except (InvalidPipeline, RunFailed) as error:
        body = {"success": False, "error": error.message, "diagnostics": diagnostics_of(error)}
        # What is nobody else's fault is 400 here.
        return _json(400 if error.status == 422 else error.status, body, headers)
    except AieyeError as error:
        note_denial(request, error)
        return _json(error.status, said(error), {**error.headers, **headers})


async def _caller(request: Request, state: State) -> Caller:
    """By token where there is an `Authorization` header, so that no session widens one."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return by_grant(await grant_of(state, authorization), request)
    return await by_session(request, state)


async def _body(asked: _Asked) -> Mapping[str, Any]:
    """The request's JSON. Raises `InvalidData` for none."""
    request = asked.request
    scope = dict(request.scope)
    raw = await read_body(scope, dict(scope["headers"]), request.receive, MOST_BYTES)
    if not raw.strip():
        raise InvalidData
    # Strictly first; then with the numbers that steps compute with, not as they were written.
    read_object(raw)
    try:
        body = read_json(raw.decode())
    except Unconvertible as error:
        raise InvalidRequest(f"The body cannot be read: {error}.") from error
    return cast(Mapping[str, Any], body)


def _key_id(state: State, body: Mapping[str, Any]) -> int | None:
    """The key that a session chose; None where no key is kept that it could choose, and what serves
    by default serves it too. Raises `FieldFault`."""
    if body.get("openaikey_id") is None and not state.directory.current.keys:
        return None
    return _whole(_required(body, "openaikey_id"), "openaikey_id")


def _get(asked: _Asked, pipeline_id: int) -> PipelineInfo:
    return asked.state.pipelines.get(pipeline_id, asked.caller.actor)


def _required(body: Mapping[str, Any], name: str) -> Any:
    if body.get(name) is None:
        raise FieldFault(_REQUIRED, param=name)
    return body[name]


def _whole(value: Any, name: str) -> int:
    """An id, as a number or, as forms send it, as digits. Raises `FieldFault`."""
    text = str(value) if type(value) in {int, str} else ""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > LARGEST_ID:
        raise FieldFault("A valid integer is required.", param=name)
    return int(text)


def _said(request: Request, finished: Finished) -> dict[str, Any]:
    query = request.query_params
    is_typed = query.get("typed", "").lower() in _TRUE
    said_: dict[str, Any] = {
        "success": True,
        "response": finished.value if is_typed else text_of(finished.value),
    }
    if query.get("meta", "").lower() in _TRUE:
        said_ |= meta_view(finished)
    return said_


def _json(status: int, content: object, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")

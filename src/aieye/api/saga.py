"""The GPT3 Proxy's routes, `/_saga/gpt3/…`: engines, configurations, and processing by them.

Each with and without a trailing slash; a body is JSON whatever its content type says, so that
`curl -d` works. An error is `{"_success": false, "msg": …}`; what `/api/v1` calls 409 or 422 is 400
here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import orjson
from fastapi import APIRouter, Request, Response

from aieye.access.snapshot import Grant
from aieye.access.uses import InUse
from aieye.api.bodies import read_body
from aieye.api.preset_models import ENDPOINT
from aieye.api.rendering import note_denial, saga_error
from aieye.api.saga_callers import MOST_BYTES, Asked, Process, grant_of_request
from aieye.api.saga_engines import engines
from aieye.api.saga_models import process_model
from aieye.api.saga_search import process_search
from aieye.cache.key import NotJson, read_object
from aieye.db.types import to_micros
from aieye.errors import AieyeError, Conflict, InvalidRequest, NotFound
from aieye.ledger.book import EXACT, CallRecord
from aieye.presets import service as presets
from aieye.presets.models import Preset, PresetType
from aieye.state import State, change

router = APIRouter(tags=["original"])

PREFIX: Final = "/_saga/gpt3/"
_REQUEST_ID: Final = "x-request-id"
_MADE_HERE: Final = ("completion", "search")
# What a configuration that is carried over may come with: these are said anew.
_SAID_ANEW: Final = {"_success", "createdAt", "updatedAt"}

PROCESSES: dict[PresetType, Process] = {
    "completion": process_model,
    "chat": process_model,
    "embeddings": process_model,
    "search": process_search,
}
"""How presets are processed, by their type."""

_Handler = Callable[[Asked], Awaitable[object]]


class FieldFault(InvalidRequest):
    """A field is missing or wrong; `param` names it."""

    code = "invalid_field"


async def get_engines(request: Request) -> Response:
    """The provider's models and the administrators' aliases."""
    return await _answer(request, engines)


async def get_configs(request: Request) -> Response:
    """The presets that the caller may use, what was changed last first."""
    return await _answer(request, _configs)


async def post_create(request: Request) -> Response:
    """Make a preset for a completion or a search."""
    return await _answer(request, _create)


async def post_update(request: Request) -> Response:
    """Say anew what a preset is called and holds."""
    return await _answer(request, _update)


async def post_delete(request: Request) -> Response:
    """Remove a preset."""
    return await _answer(request, _delete)


async def post_process(request: Request) -> Response:
    """Process a text by a preset. What is refused before any model is asked has its row too."""
    return await _answer(request, _process, refused_as=ENDPOINT)


for _name, _method, _endpoint in (
    ("engines", "GET", get_engines),
    ("configs", "GET", get_configs),
    ("create", "POST", post_create),
    ("update", "POST", post_update),
    ("delete", "POST", post_delete),
    ("process", "POST", post_process),
):
    for _slash in ("", "/"):
        router.add_api_route(
            f"{PREFIX}{_name}{_slash}", _endpoint, methods=[_method], include_in_schema=False
        )


async def _answer(request: Request, handle: _Handler, *, refused_as: str | None = None) -> Response:
    """The answer in these routes' shape. With `refused_as` a refusal is booked as of that endpoint."""
    state: State = request.app.state.aieye
    grant: Grant | None = None
    try:
        grant = await grant_of_request(request, state)
        document = {} if request.method == "GET" else await _read(request)
        answer = await handle(Asked(request, state, grant, document))
    except AieyeError as error:
        note_denial(request, error)
        if grant is not None and refused_as is not None and _REQUEST_ID not in error.headers:
            error = await _booked(state, grant, refused_as, error)
        return saga_error(error)
    if isinstance(answer, Response):
        return answer
    return Response(orjson.dumps(answer), media_type="application/json")


async def _booked(state: State, grant: Grant, endpoint: str, error: AieyeError) -> AieyeError:
    """What to answer with, once a refusal has its row: one that no call of a model has one for."""
    record = CallRecord(endpoint)
    record.cost_nano, record.cost_state = 0, EXACT
    error = await state.gateway.accounts.settle_refused(grant, record, error)
    error.headers[_REQUEST_ID] = record.request_id
    return error


async def _read(request: Request) -> Mapping[str, Any]:
    scope = dict(request.scope)
    body = await read_body(scope, dict(scope["headers"]), request.receive, MOST_BYTES)
    read_object(body)
    try:
        # The strict reading keeps numbers as they are written; here they are what they mean.
        return cast(Mapping[str, Any], orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise NotJson("The body is not JSON: half of a surrogate pair, or too deep.") from error


# -- the routes --------------------------------------------------------------------------------


async def _configs(asked: Asked) -> object:
    async with asked.state.database.read() as session:
        rows = await presets.list_newest(session, actor=asked.actor)
    return [
        {
            "name": row.name, "_id": row.uid, "type": row.type,
            "updatedAt": _milliseconds(row.updated_at),
        }
        for row in rows
    ]  # fmt: skip


async def _create(asked: Asked) -> object:
    said = _known(asked.document, {"name", "type", "config", "_id"} | _SAID_ANEW, "")
    type_ = said.get("type")
    if type_ not in _MADE_HERE:
        raise FieldFault(
            "type should be completion or search; others are made at /api/v1/presets.",
            param="type",
        )
    uid = None if said.get("_id") is None else _text(said, "_id")
    async with change(asked.state) as session:
        preset = await presets.create_preset(
            session,
            name=_text(said, "name"),
            type_=cast(PresetType, type_),
            config=_given(said, "config"),
            uid=uid,
            any_name=True,
            actor=asked.actor,
        )
        config = await presets.shown_config(session, preset)
    return {
        "_success": True,
        "createdAt": _milliseconds(preset.created_at),
        **_view(preset, config),
    }


async def _update(asked: Asked) -> object:
    said = _known(asked.document, {"_id", "body"}, "")
    uid, body = _text(said, "_id"), _given(said, "body")
    if not isinstance(body, dict):
        raise FieldFault("body should be an object with name, type and config.", param="body")
    body = _known(body, {"name", "type", "config", "_id"} | _SAID_ANEW, "body.")
    if body.get("_id", uid) != uid:
        raise FieldFault("body._id is another one than _id: an _id stays.", param="body._id")
    changes = presets.PresetChanges(
        name=_text(body, "name", "body."),
        type=cast(PresetType, _text(body, "type", "body.")),
        config=_given(body, "config", "body."),
    )
    try:
        async with change(asked.state) as session:
            preset = await presets.update_preset(
                session, uid, changes, any_name=True, actor=asked.actor
            )
            config = await presets.shown_config(session, preset)
    except InUse as error:
        raise _in_use(error, "PATCH", uid) from error
    return {"_success": True, **_view(preset, config)}


async def _delete(asked: Asked) -> object:
    uid = _text(_known(asked.document, {"_id"}, ""), "_id")
    try:
        async with change(asked.state) as session:
            await presets.delete_preset(session, uid, actor=asked.actor)
    except InUse as error:
        raise _in_use(error, "DELETE", uid) from error
    return {"msg": "deleted", "_success": True}


async def _process(asked: Asked) -> object:
    uid = _text(asked.document, "_id")
    preset = asked.state.presets.find(uid)
    grant = asked.grant
    if preset is None or not preset.may_be_used_by(
        grant.user_id, is_administrator=grant.is_administrator
    ):
        raise NotFound(f"There is no preset {uid[:100]!r}.", param="_id")
    process = PROCESSES.get(preset.type)
    if process is None:
        raise InvalidRequest(f"Presets of the type {preset.type} are not processed here yet.")
    return await process(asked, preset)


def _in_use(error: InUse, method: str, uid: str) -> Conflict:
    """The refusal with what helps here, where nothing is forced."""
    return Conflict(
        f"{error.reason} Change those pipelines first, or insist with "
        f"{method} /api/v1/presets/{uid}?force=true."
    )


# -- values ------------------------------------------------------------------------------------


def _view(preset: Preset, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": preset.name,
        "_id": preset.uid,
        "type": preset.type,
        "config": config,
        "updatedAt": _milliseconds(preset.updated_at),
    }


def _milliseconds(moment: datetime) -> int:
    return to_micros(moment) // 1000


def _known(said: Mapping[str, Any], names: set[str], place: str) -> Mapping[str, Any]:
    """Refuse what nobody reads: it is a name written wrong, or something that is not done here."""
    for name in said:
        if name not in names:
            allowed = ", ".join(sorted(names - _SAID_ANEW))
            raise FieldFault(
                f"{place}{name[:60]!r} is no field here; there are {allowed}.",
                param=place + name[:60],
            )
    return said


def _given(said: Mapping[str, Any], name: str, place: str = "") -> Any:
    if said.get(name) is None:
        raise FieldFault(f"{place}{name} is required.", param=place + name)
    return said[name]


def _text(said: Mapping[str, Any], name: str, place: str = "") -> str:
    value = _given(said, name, place)
    if not isinstance(value, str):
        raise FieldFault(f"{place}{name} should be text.", param=place + name)
    return value

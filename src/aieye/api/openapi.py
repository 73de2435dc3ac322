"""The document at `/openapi.json` (OpenAPI 3.1): every route for programs, however it is served.

FastAPI describes its own routes; what is served beside it (`/v1`) or by hand (the original's
routes) comes from `aieye.api.openapi_paths`. The committed copy is `docs/openapi.json`; a test
(`tests/integration/test_openapi.py`) says when it drifts, and writes it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from aieye import __version__
from aieye.access.snapshot import Grant
from aieye.api.openapi_examples import complete_examples
from aieye.api.openapi_paths import gateway_paths, original_paths, shared_components
from aieye.api.openapi_pipelines import add_pipelines
from aieye.api.schemas import ErrorBody
from aieye.db.types import now, to_micros
from aieye.state import State

DESCRIPTION = (
    "A gateway for the OpenAI API with a response cache, a ledger of calls and prices. Programs "
    "call `/v1` as they would call OpenAI; `/api/v1` is for administration."
)
_TAGS = {
    "openai": "OpenAI's API, passed on as it is: any OpenAI client works.",
    "original": "The routes of the original AI-Eye.",
    "health": "For what watches over the process.",
}
_METHODS = ("get", "post", "put", "patch", "delete")


def install(app: FastAPI) -> None:
    """Serve the document at `/openapi.json`, to anybody; it is made when first asked for.

    A caller with a token gets the pipelines that they may use as operations of their own besides.
    """
    app.state.document = None
    app.get("/openapi.json", include_in_schema=False)(_serve_document)


# Not made anew for each application: FastAPI remembers thousands of handlers, and so all they hold.
async def _serve_document(request: Request) -> Response:
    app: FastAPI = request.app
    if app.state.document is None:
        # In a thread: it builds each route that nobody has asked yet.
        app.state.document = await asyncio.to_thread(document, app)
    described: dict[str, Any] = app.state.document
    grant = await _find_grant(request)
    if grant is not None:
        state: State = app.state.aieye
        found = await state.pipelines.list_arguments(
            grant.user_id, is_administrator=grant.is_administrator
        )
        described = add_pipelines(described, found)
    return Response(orjson.dumps(described), media_type="application/json")


async def _find_grant(request: Request) -> Grant | None:
    """Who asks, if they say so: nobody is refused here."""
    secret = request.headers.get("authorization", "").partition(" ")[2].strip()
    state: State | None = getattr(request.app.state, "aieye", None)
    grant = None if state is None or not secret else await state.directory.know_grant(secret)
    if grant is None or (grant.expires_at is not None and grant.expires_at <= to_micros(now())):
        return None
    return grant


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of `app`'s routes and of those served beside them."""
    described = get_openapi(
        title="AI-Eye",
        version=__version__,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        servers=[{"url": "/", "description": "This server."}],
    )
    described["paths"] = {**gateway_paths(), **original_paths(), **described.get("paths", {})}
    _add_components(described.setdefault("components", {}))
    for media in _media_types(described):
        _describe_events(media)
    complete_examples(described)
    return described


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a document with its path and method."""
    for path, item in described["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _add_components(components: dict[str, Any]) -> None:
    schemas = components.setdefault("schemas", {})
    error = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in {**error.pop("$defs"), "ErrorBody": error}.items():
        schemas.setdefault(name, schema)
    for kind, named in shared_components().items():
        components.setdefault(kind, {}).update(named)


def _media_types(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for _, _, operation in operations(described):
        for response in operation.get("responses", {}).values():
            yield from response.get("content", {}).values()


def _describe_events(media: dict[str, Any]) -> None:
    """OpenAPI 3.1 has no `itemSchema`: there the schema of an event stream is that of an event."""
    event = media.pop("itemSchema", None)
    if event is not None:
        media.setdefault("schema", event)

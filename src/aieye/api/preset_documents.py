"""`/api/v1/presets/{id}/documents`, `…/index` and `…/search`: searches with up to 50,000 documents.

Documents come as JSON Lines and are read as they come. Their vectors are computed from then on, at
the expense of who sends them; a search meanwhile is told how far that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect

from aieye.access.audit import Actor
from aieye.api.authored import VersionNumber
from aieye.api.bodies import check_head
from aieye.api.deps import CurrentActor, CurrentState, Reading
from aieye.api.presets import PathUid
from aieye.api.resources import resource_router
from aieye.api.runners import grant_of_caller
from aieye.api.schemas import View, WriteModel, answers, error_answers
from aieye.api.searches import search
from aieye.errors import NotFound, PayloadTooLarge, Unprocessable
from aieye.presets import repository
from aieye.presets import service as presets
from aieye.presets.document_lines import DocumentLines, PackedDocuments
from aieye.presets.documents import Documents, load_documents
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.search import Progress
from aieye.state import State, change
from aieye.waiting import ClientGone

router = resource_router("presets")

JSON_LINES: Final = "application/x-ndjson"
# What is read and packed at once, beside the event loop.
_PIECE_BYTES: Final = 256 * 1024
_DEFAULT_TOP: Final = 10
_MOST_TOP: Final = 1_000
_LINES: Final = '"A shark eats swimmers."\n{"text": "A ship sinks in the ice."}\n'
_INDEX_EXAMPLE: Final = {
    "version": 2,
    "documents": 50_000,
    "indexed": 12_800,
    "state": "indexing",
    "model": "text-embedding-3-small",
    "provider": "openai",
    "error": "…",
}
_RESULTS_EXAMPLE: Final[dict[str, Any]] = {
    "data": [
        {
            "score": 61.274, "document": 0, "object": "search_result",
            "text": "A shark eats swimmers.",
        },
    ],
    "model": "text-embedding-3-small",
    "object": "list",
}  # fmt: skip


class IndexView(View):
    """How many of a search's documents have vectors. While that is not all, `state` is `indexing`, or
    `waiting` for the next search, with the `error` that it had to stop for, if any."""

    version: int
    documents: int
    indexed: int
    state: Literal["indexed", "indexing", "waiting"]
    model: str = Field(description="The model that embeds.")
    provider: str
    error: str | None


class SearchRequest(WriteModel):
    """What to search for."""

    text: str = Field(min_length=1, max_length=100_000)
    top_k: Annotated[int, Field(ge=1, le=_MOST_TOP)] = _DEFAULT_TOP
    with_text: bool = Field(default=False, description="Whether results have their texts.")
    documents: list[str] | None = Field(
        default=None, description="What to search in, where the preset has no documents."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Jaws", "top_k": 3, "with_text": True}]}
    )


class SearchResult(View):
    """A document by its number from 0; its score is 100 times the cosine."""

    score: float
    document: int
    object: Literal["search_result"] = "search_result"
    text: str | None = Field(default=None, description="There if it was asked for.")


class SearchResults(View):
    """The nearest documents, the best first; with the same score, by their numbers."""

    data: list[SearchResult]
    model: str = Field(description="The model that embedded the query.")
    object: Literal["list"] = "list"


@router.put(
    "/{id}/documents", operation_id="presets_replace_documents", summary="Send a search's documents",
    responses=answers(_INDEX_EXAMPLE, 404, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "JSON Lines, at most 50,000 and 128 MiB: on each a string, or an object "
            "whose `text` is one.",
            "content": {JSON_LINES: {"schema": {"type": "string"}, "example": _LINES}},
        }
    },
)  # fmt: skip
async def replace_documents(
    request: Request, preset_id: PathUid, caller: CurrentActor, state: CurrentState
) -> IndexView:
    """They take the place of those that the preset has, in a new version, and are indexed from now
    on, at your expense. A document that any search has had before keeps its vector."""
    payer = Payer(grant_of_caller(request, state, caller))
    async with state.database.read() as session:
        old = await presets.get_own_search(session, preset_id, actor=caller)
    # What cannot be embedded need not be sent.
    state.search.space(old, payer)
    packed = await _receive(request, state)
    async with change(state) as session:
        documents_id = await repository.store_packed(session, packed)
        preset = await presets.replace_documents(
            session, preset_id, documents_id, packed.count, actor=caller
        )
    state.search.begin_indexing(preset, payer)
    return await _index(state, preset, payer)


@router.get(
    "/{id}/documents", operation_id="presets_get_documents", summary="Get a search's documents",
    response_class=Response,
    responses={
        200: {"content": {JSON_LINES: {"schema": {"type": "string"}, "example": _LINES}}},
        **error_answers(404),
    },
)  # fmt: skip
async def get_documents(
    preset_id: PathUid,
    caller: CurrentActor,
    session: Reading,
    state: CurrentState,
    version: Annotated[VersionNumber | None, Query(description="The newest if left out.")] = None,
) -> Response:
    """JSON Lines, a string on each."""
    preset = await _get_search(session, preset_id, caller, version)
    if preset.documents_id is None:
        return Response(b"", media_type=JSON_LINES)
    documents = await load_documents(state.database, preset.documents_id)
    return StreamingResponse(_lines(documents), media_type=JSON_LINES)


@router.get(
    "/{id}/index", operation_id="presets_get_index", summary="See how far documents are indexed",
    responses=answers(_INDEX_EXAMPLE, 404),
)  # fmt: skip
async def get_index(
    request: Request,
    preset_id: PathUid,
    caller: CurrentActor,
    session: Reading,
    state: CurrentState,
    version: Annotated[VersionNumber | None, Query(description="The newest if left out.")] = None,
) -> IndexView:
    """Nothing is asked of a provider by that."""
    preset = await _get_search(session, preset_id, caller, version)
    return await _index(state, preset, Payer(grant_of_caller(request, state, caller)))


@router.post(
    "/{id}/search", operation_id="presets_search", summary="Search a preset's documents",
    responses=answers(_RESULTS_EXAMPLE, 404), response_model_exclude_none=True,
)  # fmt: skip
async def search_preset(
    request: Request, preset_id: PathUid, body: SearchRequest, caller: CurrentActor,
    state: CurrentState, response: Response,
) -> SearchResults:  # fmt: skip
    """By meaning, in the version that runs. Until all documents are indexed the answer is 503, with
    how far that is; it goes on meanwhile."""
    preset = state.presets.find(preset_id)
    if preset is None or not preset.may_be_used_by(
        caller.user_id, is_administrator=caller.is_administrator
    ):
        raise NotFound(f"There is no preset {preset_id!r}.")
    _check_type(preset)
    grant = grant_of_caller(request, state, caller)
    found, headers = await search(
        request, state, grant, preset, body.text,
        documents=body.documents, top_k=body.top_k, with_text=body.with_text,
    )  # fmt: skip
    response.headers.update(headers)
    return SearchResults.model_validate(found.as_json())


async def _get_search(
    session: AsyncSession, preset_id: str, caller: Actor, version: int | None
) -> Preset:
    preset = await presets.get_preset(session, preset_id, actor=caller, version=version)
    _check_type(preset)
    return preset


def _check_type(preset: Preset) -> None:
    if preset.type != "search":
        raise Unprocessable(f"A {preset.type} preset has no documents.", param="type")


async def _receive(request: Request, state: State) -> PackedDocuments:
    """The documents in a request's body. Raises `InvalidDocuments`, `PayloadTooLarge`."""
    limit = state.settings.max_upload_bytes
    check_head(dict(request.scope["headers"]), limit)
    reading, piece, size = DocumentLines(), bytearray(), 0
    try:
        async for chunk in request.stream():
            piece += chunk
            size += len(chunk)
            if size > limit:
                raise PayloadTooLarge(f"The body is larger than the {limit} bytes allowed here.")
            if len(piece) >= _PIECE_BYTES:
                await asyncio.to_thread(reading.feed, bytes(piece))
                piece.clear()
    except ClientDisconnect as error:
        raise ClientGone("The client left before its request was complete.") from error

    def finish() -> PackedDocuments:
        reading.feed(bytes(piece))
        return reading.end()

    return await asyncio.to_thread(finish)


async def _lines(documents: Documents) -> AsyncIterator[bytes]:
    for part in documents.parts:
        yield part + b"\n"


async def _index(state: State, preset: Preset, payer: Payer) -> IndexView:
    space = state.search.space(preset, payer)
    progress: Progress = await state.search.progress(preset, space)
    return IndexView(
        version=preset.version,
        documents=progress.total,
        indexed=progress.done,
        state=progress.state,
        model=space.model,
        provider=space.provider.name,
        error=progress.error,
    )

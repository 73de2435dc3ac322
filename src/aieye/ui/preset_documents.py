"""The documents of a search: looked through by number, sent as a file, and how far they are embedded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from aieye.db.cursors import encode_cursor, number_after
from aieye.errors import AieyeError, NotFound, PayloadTooLarge, Unprocessable
from aieye.presets import repository
from aieye.presets import service as presets
from aieye.presets.document_lines import MOST_DOCUMENTS, DocumentLines, PackedDocuments
from aieye.presets.documents import load_documents, read_some
from aieye.presets.models import Preset
from aieye.ui.fields import Upload
from aieye.ui.forms import no_errors
from aieye.ui.lists import PAGE, Cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.preset_index import index_of, payer_of
from aieye.ui.saving import changing
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

JSON_LINES: Final = "application/x-ndjson"
_PIECE_BYTES: Final = 256 * 1024
LONGEST_SHOWN: Final = 2_000


@router.get("/presets/{uid}/documents")
async def show_documents(uid: str, visitor: RequireUser, cursor: Cursor = None) -> Response:
    """A part of them, from a number on."""
    return await _page(visitor, uid, start=number_after(cursor) or 0)


@router.post("/presets/{uid}/documents")
async def send_documents(uid: str, visitor: RequireUser) -> Response:
    """Put those of a file in their place, as a new version; they are embedded from then on."""
    fields = await visitor.fields()
    payer = payer_of(visitor)
    try:
        file = next((one for one in fields.files.get("file", ()) if one.filename), None)
        if file is None:
            raise Unprocessable("Choose a file.", param="file")
        async with visitor.state.database.read() as session:
            old = await presets.get_own_search(session, uid, actor=visitor.actor)
        # What cannot be embedded need not be read.
        visitor.state.search.space(old, payer)
        packed = await _packed(
            file, visitor.state.settings.max_upload_bytes, is_plain=fields.get("form") == "plain"
        )
        async with changing(visitor.state) as session:
            documents_id = await repository.store_packed(session, packed)
            preset = await presets.replace_documents(
                session, uid, documents_id, packed.count, actor=visitor.actor
            )
    except AieyeError as error:
        if error.status in {403, 404} and error.param is None:
            raise
        return await _page(visitor, uid, error=error)
    visitor.state.search.begin_indexing(preset, payer)
    said = f"{packed.count:,} documents are version {preset.newest}, and are being embedded."
    return go(visitor.request, f"/presets/{uid}", toast=said)


@router.get("/presets/{uid}/documents/export")
async def export_documents(uid: str, visitor: RequireUser) -> Response:
    """All of them as a file, JSON Lines."""
    preset = await _get(visitor, uid)
    name = {"Content-Disposition": f'attachment; filename="documents-{preset.uid}.jsonl"'}
    if preset.documents_id is None:
        return Response(b"", media_type=JSON_LINES, headers=name)
    documents = await load_documents(visitor.state.database, preset.documents_id)
    lines = (part + b"\n" for part in documents.parts)
    return StreamingResponse(lines, media_type=JSON_LINES, headers=name)


@router.get("/presets/{uid}/index")
async def show_index(uid: str, visitor: RequireUser) -> Response:
    """How many are embedded; the preset's page asks while that goes on."""
    preset = await _get(visitor, uid)
    served = visitor.state.presets.find(uid) or preset
    return page(
        visitor.request, "preset_index.html", preset=preset, index=await index_of(visitor, served)
    )


async def _get(visitor: Visitor, uid: str) -> Preset:
    async with visitor.state.database.read() as session:
        preset = await presets.get_preset(session, uid, actor=visitor.actor)
    if preset.type != "search":
        raise NotFound(f"A {preset.type} preset has no documents.")
    return preset


async def _packed(file: Upload, most: int, *, is_plain: bool) -> PackedDocuments:
    """The documents of a file. Raises `InvalidDocuments`, which names the line, `PayloadTooLarge`."""
    reading = DocumentLines(is_plain=is_plain)
    size = 0
    try:
        while piece := await file.read(_PIECE_BYTES):
            size += len(piece)
            if size > most:
                raise PayloadTooLarge(f"The file is larger than the {most:,} bytes allowed here.")
            await asyncio.to_thread(reading.feed, piece)
        return await asyncio.to_thread(reading.end)
    except AieyeError as error:
        error.param = "file"
        raise


async def _page(
    visitor: Visitor, uid: str, *, start: int = 0, error: AieyeError | None = None
) -> Response:
    preset = await _get(visitor, uid)
    shown: Sequence[str] = ()
    if preset.documents_id is not None:
        shown = await read_some(visitor.state.database, preset.documents_id, start, PAGE)
    total = preset.document_count or 0
    errors = dict(no_errors("file"))
    if error is not None:
        errors["file"] = error.message
    return page(
        visitor.request,
        "preset_documents.html",
        status=error.status if error else 200,
        preset=preset,
        may_change=visitor.actor.may_see(preset.user_id),
        rows=[(start + n, text[:LONGEST_SHOWN], len(text)) for n, text in enumerate(shown)],
        start=start,
        total=total,
        next=start + PAGE < total,
        next_cursor=encode_cursor(start + PAGE),
        most=MOST_DOCUMENTS,
        errors=errors,
    )

"""The editor of a pipeline: its text checked as it is typed, formatted, completed, and saved without
losing what others did. All but the completion works without scripts, by the form's own buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import APIRouter, Response

from aieye.access.authored import get_changeable
from aieye.access.uses import InUse
from aieye.db.tables import Pipeline
from aieye.errors import AieyeError
from aieye.pipeline import service as pipelines
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.models import SavedPipeline
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.marks import with_fix
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.pipeline_editor import formatted, look
from aieye.ui.pipelines import SAMPLE
from aieye.ui.saving import ChangedMeanwhile, changing, differences, require_version, version_of
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FIELDS: Final = ("name", "source", "tags")
_FORCE_WORDS: Final = " Add force=true to go on."
_MOST_COMPLETIONS: Final = 60
_LONGEST_PREFIX: Final = 100


@router.get("/pipelines/new")
async def show_new(visitor: RequireUser) -> Response:
    """An empty form; `?source=` begins it with a text."""
    source = visitor.here.get("source") or SAMPLE
    typed = {"name": "", "source": source, "tags": ""}
    return await _form(visitor, None, typed)


@router.post("/pipelines/new")
async def create(visitor: RequireUser) -> Response:
    """Save it as a new one, or do to its text what the button said."""
    fields = await visitor.fields()
    if fields.get("act", "save") != "save":
        return await _worked_on(visitor, None, fields)
    state = visitor.state
    try:
        async with changing(state) as session:
            saved = await pipelines.create_pipeline(
                session, state.function_catalogue(), actor=visitor.actor, **_changes(fields)
            )
    except AieyeError as error:
        return await _form(visitor, None, fields, error)
    return go(visitor.request, f"/pipelines/{saved.id}", toast=f"“{saved.name}” is saved.")


@router.get("/pipelines/{pipeline_id}/edit")
async def show_edit(pipeline_id: int, visitor: RequireUser) -> Response:
    """The newest version in the editor, `?version=` an older one."""
    number = visitor.here.get("version")
    version = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None
    saved, row = await _saved(visitor, pipeline_id, version)
    return await _form(visitor, row, stored_values(saved))


@router.post("/pipelines/{pipeline_id}/edit")
async def save(pipeline_id: int, visitor: RequireUser) -> Response:
    """Save what differs: another text is a new version. Or do to the text what the button said."""
    fields = await visitor.fields()
    saved, row = await _saved(visitor, pipeline_id)
    if fields.get("act", "save") not in {"save", "force"}:
        return await _worked_on(visitor, row, fields)
    state, wanted = visitor.state, _changes(fields)
    try:
        async with changing(state) as session:
            # A row of a change that fails can be read no more: the form shows the one from before.
            current = await pipelines.get_row(session, pipeline_id, actor=visitor.actor)
            require_version(current, fields)
            changes = {key: value for key, value in wanted.items() if value != _stored(saved)[key]}
            changed = await pipelines.update_pipeline(
                session, state.function_catalogue(), pipeline_id,
                cast(pipelines.PipelineChanges, changes),
                actor=visitor.actor, force=fields.get("act") == "force",
            )  # fmt: skip
    except AieyeError as error:
        if error.status in {403, 404}:
            raise
        return await _form(visitor, row, fields, error)
    said = f"“{changed.name}” is saved" + (
        f" as version {changed.version}." if changed.version != saved.version else "."
    )
    return go(visitor.request, f"/pipelines/{pipeline_id}", toast=said)


async def _worked_on(visitor: Visitor, row: Pipeline | None, fields: Fields) -> Response:
    """The form with its text checked, formatted or with a fix made."""
    typed, act = dict(fields), fields.get("act", "")
    source = typed.get("source", "")
    if act == "format":
        typed["source"] = formatted(source) or source
    elif act.startswith("fix:"):
        state = visitor.state
        async with state.database.read() as session:
            checked = await pipelines.check_source(
                session, state.function_catalogue(), source, actor=visitor.actor,
                name=fields.text("name") or None,
            )  # fmt: skip
        typed["source"] = with_fix(source, checked.diagnostics, act.removeprefix("fix:"))
    return await _form(visitor, row, typed)


async def _saved(
    visitor: Visitor, pipeline_id: int, version: int | None = None
) -> tuple[SavedPipeline, Pipeline]:
    state = visitor.state
    async with state.database.read() as session:
        saved = await pipelines.get_pipeline(
            session, state.function_catalogue(), pipeline_id, actor=visitor.actor, version=version
        )
        row = await get_changeable(session, Pipeline, pipeline_id, actor=visitor.actor)
    return saved, row


def stored_values(saved: SavedPipeline) -> dict[str, str]:
    """The pipeline as its form shows it."""
    return {
        "name": saved.name,
        "source": saved.source,
        "tags": ", ".join(saved.tags),
    }


def _stored(saved: SavedPipeline) -> dict[str, Any]:
    return {"name": saved.name, "source": saved.source, "tags": list(saved.tags)}


def _changes(fields: Fields) -> dict[str, Any]:
    tags = [tag.strip() for tag in fields.get("tags", "").split(",") if tag.strip()]
    return {
        "name": fields.text("name"),
        "source": fields.get("source", ""),
        "tags": tags,
    }


async def _form(
    visitor: Visitor,
    row: Pipeline | None,
    typed: Mapping[str, str],
    error: AieyeError | None = None,
) -> Response:
    errors = errors_of(error, *FIELDS) if error else no_errors(*FIELDS)
    if isinstance(error, InvalidPipeline):
        # Said at its place, with its line, under the text.
        errors = {**errors, "form": "", "source": "This cannot be saved as it is: see below."}
    if isinstance(error, InUse):
        errors = {**errors, "form": error.message.removesuffix(_FORCE_WORDS)}
    if isinstance(error, ChangedMeanwhile) and row is not None:
        saved, row = await _saved(visitor, row.id)
        errors = {**errors, **differences(stored_values(saved), typed)}
    typed = dict.fromkeys(FIELDS, "") | dict(typed)
    looked = await look(visitor, typed["source"], typed["name"].strip())
    return page(
        visitor.request, "pipeline_form.html", status=error.status if error else 200,
        pipeline=row, typed=typed, errors=errors, looked=looked,
        row_version=version_of(row) if row else "", may_force=isinstance(error, InUse),
        is_invalid=isinstance(error, InvalidPipeline),
    )  # fmt: skip

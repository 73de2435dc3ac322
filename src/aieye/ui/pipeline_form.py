"""The editor of a pipeline: its text checked as it is typed, formatted, completed, and saved without
losing what others did. All but the completion works without scripts, by the form's own buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from aieye.access.authored import get_changeable, owner_of_new
from aieye.access.uses import InUse
from aieye.db.tables import Pipeline
from aieye.errors import AieyeError
from aieye.pipeline import service as pipelines
from aieye.pipeline.checking import Checked
from aieye.pipeline.completing import describe_callable, find_callables
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.models import SavedPipeline
from aieye.ui import plan_picture
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.marks import Mark, marks_of, with_fix
from aieye.ui.pages import PageRoute, go, page, part
from aieye.ui.pipelines import SAMPLE
from aieye.ui.saving import ChangedMeanwhile, changing, differences, require_version, version_of
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FIELDS: Final = ("name", "source", "tags")
_FORCE_WORDS: Final = " Add force=true to go on."
_MOST_COMPLETIONS: Final = 60
_LONGEST_PREFIX: Final = 100


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in the text of the form; `picture` is empty where there is no plan."""

    marks: Sequence[Mark] = ()
    arguments: Sequence[str] = ()
    picture: str = ""
    steps_left_out: int = 0
    is_looked: bool = False

    @property
    def errors(self) -> int:
        return sum(one.severity == "error" for one in self.marks)


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


@router.post("/pipelines/check")
async def check(visitor: RequireUser) -> Response:
    """What is wrong with a text, for the editor: its marks, and the parts of the page beside it."""
    fields = await visitor.fields()
    looked = await look(visitor, fields.get("source", ""), fields.text("name"))
    request = visitor.request
    return JSONResponse(
        {
            "diagnostics": [one.as_json() for one in looked.marks],
            "parts": {
                name: part(request, "pipeline_form.html", name, looked=looked)
                for name in ("problems", "picture")
            },
        }
    )


@router.post("/pipelines/format")
async def format_source(visitor: RequireUser) -> Response:
    """A text in its canonical form; without `source` where it is none of the language."""
    source = (await visitor.fields()).get("source", "")
    formatted = _formatted(source)
    return JSONResponse({} if formatted is None else {"source": formatted})


@router.get("/pipelines/names")
async def complete(visitor: RequireUser, q: str = "", name: str = "") -> Response:
    """What a pipeline of the visitor's may call: what begins with `q`, or what is called `name`."""
    state = visitor.state
    async with state.database.read() as session:
        owner_id = await owner_of_new(session, visitor.actor)
        found = await find_callables(
            session, state.function_catalogue(), owner_id, prefix=q[:_LONGEST_PREFIX],
            name=name[:_LONGEST_PREFIX], limit=_MOST_COMPLETIONS,
        )  # fmt: skip
    docs = {one.name: one.doc for one in state.functions.current.values()}
    return JSONResponse([describe_callable(one, docs.get(one.name, "")) for one in found])


async def look(visitor: Visitor, source: str, name: str = "") -> Looked:
    """What saving the text would find, and its plan."""
    state = visitor.state
    async with state.database.read() as session:
        checked = await pipelines.check_source(
            session, state.function_catalogue(), source, actor=visitor.actor, name=name or None
        )
    picture, left_out = await _picture(visitor, checked)
    marks = marks_of(checked.diagnostics, source, name)
    return Looked(marks, checked.arguments, picture, left_out, is_looked=True)


async def _picture(visitor: Visitor, checked: Checked) -> tuple[str, int]:
    tree, analysis = checked.tree, checked.analysis
    if tree is None or analysis is None or not analysis.is_valid:
        return "", 0
    try:
        plan = await visitor.state.pipelines.plan_of_tree(tree, analysis, visitor.actor)
    except AieyeError:
        # What it calls cannot run by now: the text itself is in order.
        return "", 0
    picture = plan_picture.picture_of(plan)
    drawn = plan_picture.draw(picture, title=plan_picture.describe(picture))
    return drawn, picture.left_out


async def _worked_on(visitor: Visitor, row: Pipeline | None, fields: Fields) -> Response:
    """The form with its text checked, formatted or with a fix made."""
    typed, act = dict(fields), fields.get("act", "")
    source = typed.get("source", "")
    if act == "format":
        typed["source"] = _formatted(source) or source
    elif act.startswith("fix:"):
        state = visitor.state
        async with state.database.read() as session:
            checked = await pipelines.check_source(
                session, state.function_catalogue(), source, actor=visitor.actor,
                name=fields.text("name") or None,
            )  # fmt: skip
        typed["source"] = with_fix(source, checked.diagnostics, act.removeprefix("fix:"))
    return await _form(visitor, row, typed)


def _formatted(source: str) -> str | None:
    try:
        return format_pipeline(parse(source))
    except InvalidPipeline:
        return None


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
    )  # fmt: skip

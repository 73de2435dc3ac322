"""`/api/v1/pipelines`: prompts and functions composed, checked when saved, in versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field, field_validator

from aieye.access import uses
from aieye.api.authored import (
    BaseVersion,
    CallableName,
    Dependants,
    Difference,
    Force,
    HeadVersion,
    LabelWrite,
    RollBack,
    VersionNumber,
    difference_of,
)
from aieye.api.deps import Changing, CurrentActor, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.schemas import (
    Answers,
    Deleted,
    ErrorBody,
    Id,
    Label,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.pipeline import service as pipelines
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.language.tree import write_tree
from aieye.pipeline.models import SavedPipeline

router = APIRouter(prefix="/pipelines", tags=["pipelines"])

# The language says itself how much is too much, with a diagnostic.
Source = Annotated[str, Field(description="The text of a pipeline.")]
Tag = Annotated[Label, Field(max_length=pipelines.MAX_TAG_CHARACTERS)]
Tags = Annotated[list[Tag], Field(max_length=pipelines.MAX_TAGS)]

DIAGNOSTIC = {
    "code": "W609",
    "severity": "warning",
    "message": "positional argument after a keyword",
    "line": 1,
    "column": 14,
    "end_line": 1,
    "end_column": 15,
    "offset": 13,
    "length": 1,
    "hint": "use keywords",
}
EXAMPLE = {
    "id": 14,
    "name": "greet",
    "version": 1,
    "args": ["buddy"],
    "diagnostics": [],
    "source": "uppercase(prompt_buddy(buddy))",
    "tags": ["demo"],
    "shared": False,
    "user_id": 1,
    "latest_version": 1,
    "served_version": 1,
    "labels": {"production": 1},
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}
CHECK_EXAMPLE = {
    "diagnostics": [DIAGNOSTIC],
    "args": ["x", "y"],
    "tree": "(call two (x= (name x)) (#1 (name y)))",
    "source": "two(x=x, y)\n",
}
SOURCE: dict[str, Any] = {"source": "uppercase(prompt_buddy(buddy))"}


class DiagnosticView(View):
    """What was found in a text, and where: lines and columns from 1, offsets from 0.

    A code with E is an error, one with W a warning. What stands nowhere has no place.
    """

    code: str
    severity: str
    message: str
    line: int | None
    column: int | None
    end_line: int | None
    end_column: int | None
    offset: int | None
    length: int | None
    hint: str | None


class InvalidPipelineBody(ErrorBody):
    """The body of an error; of a pipeline that is refused it says all that is wrong."""

    diagnostics: list[DiagnosticView] | None = None


INVALID: Answers = {422: {"model": InvalidPipelineBody}}


class PipelineCreate(WriteModel):
    """A pipeline to save."""

    name: CallableName
    source: Source
    tags: Tags = Field(default_factory=list)
    shared: bool = Field(default=False, description="Whether everybody may use it.")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "greet", **SOURCE, "tags": ["demo"]}]}
    )


class PipelineUpdate(WriteModel):
    """What of a pipeline is to change; `tags` replaces all of them."""

    name: CallableName = omittable()
    source: Source = omittable()
    tags: Tags = omittable()
    shared: bool = omittable()

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["demo", "new"]}]})


class PipelineCheck(WriteModel):
    """A text to look at, as if it was saved under `name`."""

    source: Source
    name: Label | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [SOURCE]})


class PipelineFormat(WriteModel):
    """A text to write canonically."""

    source: Source

    model_config = ConfigDict(json_schema_extra={"examples": [SOURCE]})


class PipelineView(View):
    """A pipeline as one of its versions says (`version`), mostly its newest (`latest_version`).

    `args` is what it asks for, in order. `served_version` is what runs: the one that the label
    `production` names, else the newest.
    """

    id: int
    name: str
    version: int
    args: list[str]
    diagnostics: list[DiagnosticView] = Field(
        description="As it was saved, in lists; as it is now, where one pipeline is asked for."
    )
    source: str
    tags: list[str]
    shared: bool
    user_id: int
    latest_version: int
    served_version: int
    labels: dict[str, int] = Field(description="Versions by their labels.")
    created_at: datetime
    updated_at: datetime


class PipelinePage(Page[PipelineView]):
    """A part of the list of pipelines, or of the versions of one."""

    @field_validator("data", mode="before")
    @classmethod
    def _views(cls, data: Sequence[SavedPipeline]) -> list[PipelineView]:
        return [_view(pipeline) for pipeline in data]


class CheckedView(View):
    """What saving a text would find; `tree` and `source` are null after a syntax error."""

    diagnostics: list[DiagnosticView]
    args: list[str]
    tree: str | None
    source: str | None = Field(description="Written canonically.")


class FormattedView(View):
    """A text, written canonically."""

    source: str


@router.post(
    "/check", operation_id="pipelines_check", summary="Check a text",
    responses=answers(CHECK_EXAMPLE),
)  # fmt: skip
async def check_pipeline(
    body: PipelineCheck, caller: CurrentActor, state: CurrentState, session: Reading
) -> CheckedView:
    """Says all that is wrong with a text, which is not saved."""
    checked = await pipelines.check_source(
        session, state.function_catalogue(), body.source, actor=caller, name=body.name
    )
    tree = checked.tree
    return CheckedView(
        diagnostics=[DiagnosticView.model_validate(one) for one in checked.diagnostics],
        args=checked.arguments,
        tree=None if tree is None else write_tree(tree),
        source=None if tree is None else format_pipeline(tree),
    )


@router.post(
    "/format", operation_id="pipelines_format", summary="Write a text canonically",
    responses={**answers({"source": "f(x, y=1)\n"}), **INVALID},
)  # fmt: skip
async def format_source(body: PipelineFormat, _caller: CurrentActor) -> FormattedView:
    """The same pipeline in the one form that is written so by everybody; comments are kept."""
    return FormattedView(source=format_pipeline(parse(body.source)))


@router.get(
    "", operation_id="pipelines_list", summary="List pipelines",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_pipelines(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    name: Annotated[Label | None, Query(description="Only of this name.")] = None,
    tag: Annotated[Label | None, Query(description="Only with this tag.")] = None,
    user_id: Annotated[Id | None, Query(description="Only this user's.")] = None,
) -> PipelinePage:
    """Your own pipelines and those that are shared, the oldest first; all for administrators."""
    rows = await pipelines.list_pipelines(
        session, actor=caller, name=name, tag=tag, user_id=user_id,
        after=page.after_id(), limit=page.fetch,
    )  # fmt: skip
    return PipelinePage.of(rows, page)


@router.post(
    "", operation_id="pipelines_create", summary="Save a pipeline", status_code=201,
    responses={**answers(EXAMPLE, 409, status=201), **INVALID},
)  # fmt: skip
async def create_pipeline(
    body: PipelineCreate, caller: CurrentActor, state: CurrentState, session: Changing
) -> PipelineView:
    """It is checked first: a text with an error is refused with all that is wrong."""
    pipeline = await pipelines.create_pipeline(
        session, state.function_catalogue(), actor=caller, **body.model_dump()
    )
    return _view(pipeline)


@router.get(
    "/{id}", operation_id="pipelines_get", summary="Get a pipeline",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def get_pipeline(
    pipeline_id: PathId,
    caller: CurrentActor,
    state: CurrentState,
    session: Reading,
    version: Annotated[VersionNumber | None, Query(description="The newest if left out.")] = None,
) -> PipelineView:
    """One pipeline, as a version says; what it calls may be gone by now, and then it says so."""
    pipeline = await pipelines.get_pipeline(
        session, state.function_catalogue(), pipeline_id, actor=caller, version=version
    )
    return _view(pipeline)


@router.patch(
    "/{id}", operation_id="pipelines_update", summary="Change a pipeline",
    responses={**answers(EXAMPLE, 404, 409), **INVALID},
)  # fmt: skip
async def update_pipeline(
    pipeline_id: PathId, body: PipelineUpdate, caller: CurrentActor, state: CurrentState,
    session: Changing, force: Force = False,
) -> PipelineView:  # fmt: skip
    """What is left out stays. Another text, or one that means something else, is a new version."""
    changes = pipelines.PipelineChanges(**body.model_dump(exclude_unset=True))  # type: ignore[typeddict-item] # the model has the same fields
    pipeline = await pipelines.update_pipeline(
        session, state.function_catalogue(), pipeline_id, changes, actor=caller, force=force
    )
    return _view(pipeline)


@router.delete(
    "/{id}", operation_id="pipelines_delete", summary="Delete a pipeline",
    responses=answers({"id": 14, "deleted": True}, 404, 409),
)  # fmt: skip
async def delete_pipeline(
    pipeline_id: PathId, caller: CurrentActor, session: Changing, force: Force = False
) -> Deleted:
    """Pipelines that call it fail from then on, with an error that says why. Its runs stay."""
    await pipelines.delete_pipeline(session, pipeline_id, actor=caller, force=force)
    return Deleted(id=pipeline_id)


@router.get(
    "/{id}/versions", operation_id="pipelines_list_versions",
    summary="List a pipeline's versions", responses=answers(page_example(EXAMPLE), 404),
)  # fmt: skip
async def list_versions(
    pipeline_id: PathId, caller: CurrentActor, session: Reading, page: CurrentPaging
) -> PipelinePage:
    """The pipeline as each version says, the oldest first."""
    rows = await pipelines.list_versions(
        session, pipeline_id, actor=caller, after=page.after_id(), limit=page.fetch
    )
    return PipelinePage.of(rows, page, key=lambda pipeline: pipeline.shown_version)


@router.get(
    "/{id}/diff", operation_id="pipelines_diff", summary="Compare two versions of a pipeline",
    responses=answers(Difference.EXAMPLE, 404),
)  # fmt: skip
async def diff_pipeline(
    pipeline_id: PathId,
    caller: CurrentActor,
    state: CurrentState,
    session: Reading,
    base: BaseVersion = None,
    head: HeadVersion = None,
) -> Difference:
    """What differs, the text line by line."""
    functions = state.function_catalogue()
    other = await pipelines.get_pipeline(
        session, functions, pipeline_id, actor=caller, version=head
    )
    older = base or max(1, other.shown_version - 1)
    one = await pipelines.get_pipeline(session, functions, pipeline_id, actor=caller, version=older)
    return difference_of(
        (one.shown_version, one.source, {"args": _args(one)}),
        (other.shown_version, other.source, {"args": _args(other)}),
    )


@router.post(
    "/{id}/rollback", operation_id="pipelines_roll_back", summary="Roll a pipeline back",
    responses={**answers(EXAMPLE, 404), **INVALID},
)  # fmt: skip
async def roll_back_pipeline(
    pipeline_id: PathId, body: RollBack, caller: CurrentActor, state: CurrentState,
    session: Changing,
) -> PipelineView:  # fmt: skip
    """Makes a new version that says, and means, what an older one does."""
    pipeline = await pipelines.roll_back(
        session, state.function_catalogue(), pipeline_id, body.version, actor=caller
    )
    return _view(pipeline)


@router.post(
    "/{id}/labels", operation_id="pipelines_label", summary="Label a version of a pipeline",
    responses={**answers(EXAMPLE, 404), **INVALID},
)  # fmt: skip
async def label_pipeline(
    pipeline_id: PathId, body: LabelWrite, caller: CurrentActor, state: CurrentState,
    session: Changing,
) -> PipelineView:  # fmt: skip
    """A label names one version. The one that is called `production` is the one that runs."""
    pipeline = await pipelines.label_version(
        session, state.function_catalogue(), pipeline_id, body.label, body.version, actor=caller
    )
    return _view(pipeline)


@router.get(
    "/{id}/dependants", operation_id="pipelines_list_dependants", summary="Who calls a pipeline",
    responses=answers(Dependants.EXAMPLE, 404),
)  # fmt: skip
async def list_dependants(
    pipeline_id: PathId, caller: CurrentActor, session: Reading
) -> Dependants:
    """The pipelines that call it, as far as you may see them; `hidden` counts the others."""
    await pipelines.get_row(session, pipeline_id, actor=caller)
    found = await uses.find_dependants(session, "pipeline", pipeline_id)
    return Dependants.of(found, caller)


def _args(pipeline: SavedPipeline) -> list[str]:
    return [argument.name for argument in pipeline.arguments]


def _view(pipeline: SavedPipeline) -> PipelineView:
    values: dict[str, Any] = {name: getattr(pipeline, name) for name in _SHOWN}
    return PipelineView.model_validate(
        {
            **values,
            "version": pipeline.shown_version,
            "latest_version": pipeline.version,
            "args": _args(pipeline),
        }
    )


_SHOWN = (
    *("id", "name", "user_id", "source", "tags", "shared", "diagnostics", "served_version"),
    *("labels", "created_at", "updated_at"),
)

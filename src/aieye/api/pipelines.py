"""`/api/v1/pipelines`: prompts and functions composed, checked when saved, in versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import ConfigDict, Field, field_validator
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.api.authored import CallableName, Force, LabelWrite, VersionNumber
from aieye.api.deps import Changing, CurrentActor, CurrentState, Reading
from aieye.api.named import PipelineId, identify_pipeline
from aieye.api.paging import CurrentPaging, Page
from aieye.api.pipeline_checks import INVALID, SOURCE, DiagnosticView, Source
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    Id,
    Label,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.api.versions import Versioned, add_version_routes
from aieye.pipeline import service as pipelines
from aieye.pipeline.models import SavedPipeline
from aieye.state import State

router = resource_router("pipelines")

Tag = Annotated[Label, Field(max_length=pipelines.MAX_TAG_CHARACTERS)]
Tags = Annotated[list[Tag], Field(max_length=pipelines.MAX_TAGS)]

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
    pipeline_id: PipelineId,
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
    pipeline_id: PipelineId, body: PipelineUpdate, caller: CurrentActor, state: CurrentState,
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
    pipeline_id: PipelineId, caller: CurrentActor, session: Changing, force: Force = False
) -> Deleted:
    """Pipelines that call it fail from then on, with an error that says why. Its runs stay."""
    await pipelines.delete_pipeline(session, pipeline_id, actor=caller, force=force)
    return Deleted(id=pipeline_id)


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


class PipelineVersions(Versioned[SavedPipeline]):
    """The versions of pipelines."""

    kind = "pipeline"
    identify = staticmethod(identify_pipeline)
    view = PipelineView
    page = PipelinePage
    example = EXAMPLE
    refusals = INVALID

    async def get(
        self, state: State, session: AsyncSession, row_id: int, caller: Actor, version: int | None
    ) -> SavedPipeline:
        return await pipelines.get_pipeline(
            session, state.function_catalogue(), row_id, actor=caller, version=version
        )

    async def list_versions(
        self, session: AsyncSession, row_id: int, caller: Actor, *, after: int | None, limit: int
    ) -> Sequence[SavedPipeline]:
        return await pipelines.list_versions(
            session, row_id, actor=caller, after=after, limit=limit
        )

    async def roll_back(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        version: int,
        *,
        force: bool,
    ) -> SavedPipeline:
        return await pipelines.roll_back(
            session, state.function_catalogue(), row_id, version, actor=caller, force=force
        )

    async def label(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        body: LabelWrite,
        *,
        force: bool,
    ) -> SavedPipeline:
        return await pipelines.label_version(
            session,
            state.function_catalogue(),
            row_id,
            body.label,
            body.version,
            actor=caller,
            force=force,
        )

    def show(self, saved: SavedPipeline) -> PipelineView:
        return _view(saved)

    def compared(self, saved: SavedPipeline) -> tuple[str, Mapping[str, Any]]:
        return saved.source, {"args": _args(saved)}


add_version_routes(router, PipelineVersions())

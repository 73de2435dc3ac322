"""`/api/v1/presets`: predefined configurations, their versions and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, field_validator
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.api.authored import CallableName, Force, LabelWrite, VersionNumber
from aieye.api.deps import Changing, CurrentActor, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import Id, Label, View, WriteModel, answers, omittable, page_example
from aieye.api.versions import Versioned, add_version_routes
from aieye.presets import service as presets
from aieye.presets.comparing import said_by
from aieye.presets.models import Preset, PresetType
from aieye.presets.repository import get_id
from aieye.state import State

router = resource_router("presets")

EXAMPLE: Final = {
    "id": "LSFAz3YBJerddQVL4fIL",
    "name": "answers",
    "type": "chat",
    "config": {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "You are brief."}],
        "temperature": 0.2,
    },
    "shared": False,
    "callable": True,
    "document_count": 0,
    "user_id": 1,
    "version": 2,
    "latest_version": 2,
    "served_version": 1,
    "labels": {"production": 1},
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}
_CREATE_EXAMPLE: Final[dict[str, Any]] = {
    name: EXAMPLE[name] for name in ("name", "type", "config")
}

PathUid = Annotated[str, Path(alias="id", max_length=20, examples=["LSFAz3YBJerddQVL4fIL"])]
Config = Annotated[
    dict[str, Any],
    Field(
        description="What it says; which fields there are depends on the type. What is left out "
        "has its default, and what is null counts as left out."
    ),
]


class PresetCreate(WriteModel):
    """A new preset. Its fields by type are in docs/presets.md."""

    name: CallableName
    type: PresetType
    config: Config
    shared: bool = Field(default=False, description="Whether everybody may use it.")

    model_config = ConfigDict(json_schema_extra={"examples": [_CREATE_EXAMPLE]})


class PresetUpdate(WriteModel):
    """What of a preset is to change; `config` replaces all of it, but for documents that it does
    not show, which are more than 200."""

    name: CallableName = omittable()
    config: Config = omittable()
    shared: bool = omittable()

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"config": {"model": "gpt-4o-mini", "temperature": 0}}]}
    )


class PresetView(View):
    """A preset as one of its versions says (`version`), mostly its newest (`latest_version`).

    `served_version` is what runs: the one that the label `production` names, else the newest. Up to
    200 documents of a search are in its `config`, but not in lists.
    """

    id: str
    name: str
    type: PresetType
    config: dict[str, Any]
    shared: bool
    callable: bool = Field(
        description="Whether it holds its name: `preset/NAME` and pipelines then mean it."
    )
    document_count: int | None = Field(description="Of a search; null of any other.")
    user_id: int
    version: int
    latest_version: int
    served_version: int
    labels: dict[str, int] = Field(description="Versions by their labels.")
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Shown:
    """A preset with the configuration that is shown of it."""

    preset: Preset
    config: Mapping[str, Any]

    @property
    def id(self) -> int:
        return self.preset.id

    @property
    def shown_version(self) -> int:
        return self.preset.version


class PresetPage(Page[PresetView]):
    """A part of the list of presets, or of the versions of one."""

    @field_validator("data", mode="before")
    @classmethod
    def _views(cls, data: Sequence[_Shown]) -> list[PresetView]:
        return [_view(one) for one in data]


class DeletedPreset(View):
    """The preset is gone."""

    id: str
    deleted: Literal[True] = True


@router.get(
    "", operation_id="presets_list", summary="List presets",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_presets(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    name: Annotated[Label | None, Query(description="Only of this name.")] = None,
    type_: Annotated[PresetType | None, Query(alias="type", description="Only of it.")] = None,
    user_id: Annotated[Id | None, Query(description="Only this user's.")] = None,
) -> PresetPage:
    """Your own presets and those that are shared, the oldest first; all for administrators."""
    rows = await presets.list_presets(
        session, actor=caller, name=name, type_=type_, user_id=user_id,
        after=page.after_id(), limit=page.fetch,
    )  # fmt: skip
    return PresetPage.of([_Shown(row, row.config) for row in rows], page)


@router.post(
    "", operation_id="presets_create", summary="Make a preset", status_code=201,
    responses=answers(EXAMPLE, 409, status=201),
)  # fmt: skip
async def create_preset(body: PresetCreate, caller: CurrentActor, session: Changing) -> PresetView:
    """It is called by its id, as the model `preset/NAME`, and in pipelines by its name, which nothing
    else may have."""
    preset = await presets.create_preset(
        session, name=body.name, type_=body.type, config=body.config, shared=body.shared,
        actor=caller,
    )  # fmt: skip
    return _view(await _shown(session, preset))


@router.get(
    "/{id}", operation_id="presets_get", summary="Get a preset", responses=answers(EXAMPLE, 404)
)
async def get_preset(
    preset_id: PathUid,
    caller: CurrentActor,
    session: Reading,
    version: Annotated[VersionNumber | None, Query(description="The newest if left out.")] = None,
) -> PresetView:
    """One preset, as a version says."""
    preset = await presets.get_preset(session, preset_id, actor=caller, version=version)
    return _view(await _shown(session, preset))


@router.patch(
    "/{id}", operation_id="presets_update", summary="Change a preset",
    responses=answers(EXAMPLE, 404, 409),
)  # fmt: skip
async def update_preset(
    preset_id: PathUid, body: PresetUpdate, caller: CurrentActor, session: Changing,
    force: Force = False,
) -> PresetView:  # fmt: skip
    """What is left out stays. Another configuration makes a new version; the type stays."""
    changes = presets.PresetChanges(**body.model_dump(exclude_unset=True))  # type: ignore[typeddict-item] # the model has the same fields
    preset = await presets.update_preset(session, preset_id, changes, actor=caller, force=force)
    return _view(await _shown(session, preset))


@router.delete(
    "/{id}", operation_id="presets_delete", summary="Delete a preset",
    responses=answers({"id": EXAMPLE["id"], "deleted": True}, 404, 409),
)  # fmt: skip
async def delete_preset(
    preset_id: PathUid, caller: CurrentActor, session: Changing, force: Force = False
) -> DeletedPreset:
    """Pipelines that call it fail from then on, with an error that says why."""
    await presets.delete_preset(session, preset_id, actor=caller, force=force)
    return DeletedPreset(id=preset_id)


async def _shown(session: AsyncSession, preset: Preset) -> _Shown:
    return _Shown(preset, await presets.shown_config(session, preset))


def _view(shown: _Shown) -> PresetView:
    preset = shown.preset
    return PresetView(
        **{name: getattr(preset, name) for name in _SAME},
        id=preset.uid,
        config=dict(shown.config),
        callable=preset.is_callable,
        latest_version=preset.newest,
    )


_SAME: Final = (
    *("name", "type", "shared", "document_count", "user_id", "version", "served_version"),
    *("labels", "created_at", "updated_at"),
)


async def _row_id(preset_id: PathUid, caller: CurrentActor, state: CurrentState) -> int:
    """The number of the preset's row; whether `caller` may see it is asked with its version."""
    async with state.database.read() as session:
        return await get_id(session, preset_id)


class PresetVersions(Versioned[_Shown]):
    """The versions of presets."""

    kind = "preset"
    view = PresetView
    page = PresetPage
    example = EXAMPLE
    identify = staticmethod(_row_id)

    async def get(
        self, state: State, session: AsyncSession, row_id: int, caller: Actor, version: int | None
    ) -> _Shown:
        preset = await presets.get_preset(session, row_id, actor=caller, version=version)
        return await _shown(session, preset)

    async def list_versions(
        self, session: AsyncSession, row_id: int, caller: Actor, *, after: int | None, limit: int
    ) -> Sequence[_Shown]:
        rows = await presets.list_versions(session, row_id, actor=caller, after=after, limit=limit)
        return [_Shown(row, row.config) for row in rows]

    async def roll_back(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        version: int,
        *,
        force: bool,
    ) -> _Shown:
        return await _shown(
            session, await presets.roll_back(session, row_id, version, actor=caller)
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
    ) -> _Shown:
        preset = await presets.label_version(
            session, row_id, body.label, body.version, actor=caller
        )
        return await _shown(session, preset)

    def show(self, saved: _Shown) -> PresetView:
        return _view(saved)

    def compared(self, saved: _Shown) -> tuple[str, Mapping[str, Any]]:
        return said_by(saved.preset, saved.config)


add_version_routes(router, PresetVersions())

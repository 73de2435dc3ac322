"""`/api/v1/prompts`: texts with variables, their versions and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import ConfigDict, Field, field_validator
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.api.authored import CallableName, Force, LabelWrite, VersionNumber
from aieye.api.deps import Changing, CurrentActor, Reading
from aieye.api.named import PromptId, identify_prompt
from aieye.api.paging import CurrentPaging, Page
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
from aieye.prompts import service as prompts
from aieye.prompts.content import MAX_BODY_CHARACTERS, Content
from aieye.prompts.models import SavedPrompt, fields_of
from aieye.state import State

router = resource_router("prompts")

Body = Annotated[str, Field(min_length=1, max_length=MAX_BODY_CHARACTERS)]
Description = Annotated[str, Field(max_length=prompts.MAX_DESCRIPTION_CHARACTERS)]
JsonSchema = Annotated[
    dict[str, Any] | None,
    Field(description="A JSON schema that the answer fits, which is then read as an object."),
]

EXAMPLE = {
    "id": 1,
    "name": "prompt_buddy",
    "body": "Hey {buddy}",
    "variables": ["buddy"],
    "model": "gpt-4o-mini",
    "description": "Greets somebody",
    "params": {"temperature": 0.2, "max_tokens": 100, "system": "You are brief."},
    "json_mode": False,
    "schema": {"type": "object"},
    "shared": False,
    "user_id": 1,
    "version": 2,
    "latest_version": 2,
    "served_version": 1,
    "labels": {"production": 1},
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}


class PromptParams(WriteModel):
    """How the model is asked. Any other parameter of a chat is passed on as it is."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    system: str | None = Field(default=None, description="The text of the first message.")

    model_config = ConfigDict(extra="allow")


class PromptCreate(WriteModel):
    """A new prompt. `{name}` in its body is a variable; `{{` and `}}` stand for braces."""

    name: CallableName
    body: Body
    model: Label
    description: Description = ""
    params: PromptParams = Field(default_factory=PromptParams)
    json_mode: bool = False
    schema_: JsonSchema = Field(default=None, alias="schema")
    shared: bool = Field(default=False, description="Whether everybody may use it.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "prompt_buddy",
                    "body": "Hey {buddy}",
                    "model": "gpt-4o-mini",
                    "params": {"temperature": 0.2, "max_tokens": 100},
                }
            ]
        }
    )


class PromptUpdate(WriteModel):
    """What of a prompt is to change; `params` replaces all of them."""

    name: CallableName = omittable()
    body: Body = omittable()
    model: Label = omittable()
    description: Description = omittable()
    params: PromptParams = omittable()
    json_mode: bool = omittable()
    schema_: JsonSchema = omittable(alias="schema")
    shared: bool = omittable()

    model_config = ConfigDict(json_schema_extra={"examples": [{"body": "Hello {buddy}"}]})


class PromptView(View):
    """A prompt as one of its versions says (`version`), mostly its newest (`latest_version`).

    `served_version` is what runs: the one that the label `production` names, else the newest.
    """

    id: int
    name: str
    body: str
    variables: list[str] = Field(description="Of the body, in order of first appearance.")
    model: str
    description: str
    params: dict[str, Any]
    json_mode: bool
    schema_: JsonSchema = Field(alias="schema")
    shared: bool
    user_id: int
    version: int
    latest_version: int
    served_version: int
    labels: dict[str, int] = Field(description="Versions by their labels.")
    created_at: datetime
    updated_at: datetime


class PromptPage(Page[PromptView]):
    """A part of the list of prompts, or of the versions of one."""

    @field_validator("data", mode="before")
    @classmethod
    def _views(cls, data: Sequence[SavedPrompt]) -> list[PromptView]:
        return [_view(prompt) for prompt in data]


@router.get(
    "", operation_id="prompts_list", summary="List prompts",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_prompts(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    name: Annotated[Label | None, Query(description="Only of this name.")] = None,
    user_id: Annotated[Id | None, Query(description="Only this user's.")] = None,
) -> PromptPage:
    """Your own prompts and those that are shared, the oldest first; all for administrators."""
    rows = await prompts.list_prompts(
        session, actor=caller, name=name, user_id=user_id, after=page.after_id(), limit=page.fetch
    )
    return PromptPage.of(rows, page)


@router.post(
    "", operation_id="prompts_create", summary="Make a prompt", status_code=201,
    responses=answers(EXAMPLE, 409, status=201),
)  # fmt: skip
async def create_prompt(body: PromptCreate, caller: CurrentActor, session: Changing) -> PromptView:
    """Pipelines call it by its name, which nothing else may have."""
    content = Content(body.body, body.model, _params(body.params), body.json_mode, body.schema_)
    prompt = await prompts.create_prompt(
        session,
        name=body.name,
        content=content,
        description=body.description,
        shared=body.shared,
        actor=caller,
    )
    return _view(prompt)


@router.get(
    "/{id}", operation_id="prompts_get", summary="Get a prompt", responses=answers(EXAMPLE, 404)
)
async def get_prompt(
    prompt_id: PromptId,
    caller: CurrentActor,
    session: Reading,
    version: Annotated[VersionNumber | None, Query(description="The newest if left out.")] = None,
) -> PromptView:
    """One prompt, as a version says."""
    return _view(await prompts.get_prompt(session, prompt_id, actor=caller, version=version))


@router.patch(
    "/{id}", operation_id="prompts_update", summary="Change a prompt",
    responses=answers(EXAMPLE, 404, 409),
)  # fmt: skip
async def update_prompt(
    prompt_id: PromptId, body: PromptUpdate, caller: CurrentActor, session: Changing,
    force: Force = False,
) -> PromptView:  # fmt: skip
    """What is left out stays. Another body, model or parameter makes a new version."""
    values = body.model_dump(exclude_unset=True, by_alias=True)
    changes = prompts.PromptChanges(**values)  # type: ignore[typeddict-item] # the model has the same fields
    if "params" in changes:
        changes["params"] = _params(body.params)
    prompt = await prompts.update_prompt(session, prompt_id, changes, actor=caller, force=force)
    return _view(prompt)


@router.delete(
    "/{id}", operation_id="prompts_delete", summary="Delete a prompt",
    responses=answers({"id": 1, "deleted": True}, 404, 409),
)  # fmt: skip
async def delete_prompt(
    prompt_id: PromptId, caller: CurrentActor, session: Changing, force: Force = False
) -> Deleted:
    """Pipelines that call it fail from then on, with an error that says why."""
    await prompts.delete_prompt(session, prompt_id, actor=caller, force=force)
    return Deleted(id=prompt_id)


def _view(prompt: SavedPrompt) -> PromptView:
    return PromptView.model_validate(
        {
            **{name: getattr(prompt, name) for name in _SHOWN},
            "body": prompt.content.body,
            "variables": prompt.content.variables,
            **fields_of(prompt.content),
            "version": prompt.shown_version,
            "latest_version": prompt.version,
        }
    )


_SHOWN = (
    *("id", "name", "user_id", "description", "shared", "served_version", "labels"),
    *("created_at", "updated_at"),
)


def _params(params: PromptParams) -> dict[str, Any]:
    return params.model_dump(exclude_unset=True)


class PromptVersions(Versioned[SavedPrompt]):
    """The versions of prompts."""

    kind = "prompt"
    identify = staticmethod(identify_prompt)
    view = PromptView
    page = PromptPage
    example = EXAMPLE

    async def get(
        self, state: State, session: AsyncSession, row_id: int, caller: Actor, version: int | None
    ) -> SavedPrompt:
        return await prompts.get_prompt(session, row_id, actor=caller, version=version)

    async def list_versions(
        self, session: AsyncSession, row_id: int, caller: Actor, *, after: int | None, limit: int
    ) -> Sequence[SavedPrompt]:
        return await prompts.list_versions(session, row_id, actor=caller, after=after, limit=limit)

    async def roll_back(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        version: int,
        *,
        force: bool,
    ) -> SavedPrompt:
        return await prompts.roll_back(session, row_id, version, actor=caller, force=force)

    async def label(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        body: LabelWrite,
        *,
        force: bool,
    ) -> SavedPrompt:
        return await prompts.label_version(
            session, row_id, body.label, body.version, actor=caller, force=force
        )

    def show(self, saved: SavedPrompt) -> PromptView:
        return _view(saved)

    def compared(self, saved: SavedPrompt) -> tuple[str, Mapping[str, Any]]:
        return saved.content.body, fields_of(saved.content)


add_version_routes(router, PromptVersions())

"""`/api/v1/providers`: where calls go. Their keys are at `/api/v1/keys`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, SecretStr, model_validator

from aieye.access import providers
from aieye.access.providers import LONGEST_BASE_URL
from aieye.access.texts import LONGEST_SECRET
from aieye.api.deps import Changing, CurrentAdministrator, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.db.tables import Provider

router = resource_router("providers")

BaseUrl = Annotated[str, Field(min_length=1, max_length=LONGEST_BASE_URL)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_SECRET)]

EXAMPLE = {
    "id": 1,
    "name": "openai",
    "base_url": "https://api.openai.com/v1",
    "is_default": True,
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}


class ProviderCreate(WriteModel):
    """A new provider, with its first key if there is one."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    base_url: BaseUrl
    key: Secret | None = Field(default=None, description="Stored sealed and never shown.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "openai", "base_url": "https://api.openai.com/v1", "key": "sk-…"}]
        }
    )


class ProviderUpdate(WriteModel):
    """What of a provider is to change. Another base URL wipes its keys and needs a new one."""

    base_url: BaseUrl = omittable()
    key: Secret = omittable(description="The only key from now on; goes with base_url.")
    is_default: Literal[True] = omittable()

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"base_url": "https://eu.api.openai.com/v1", "key": "sk-…"}]
        }
    )

    @model_validator(mode="after")
    def _key_goes_with_base_url(self) -> ProviderUpdate:
        if "key" in self.model_fields_set and "base_url" not in self.model_fields_set:
            raise ValueError("key goes with base_url; a provider's keys are at /api/v1/keys")
        return self


class ProviderView(View):
    """A provider; `is_default` is what is in effect, marked or not."""

    id: int
    name: str
    base_url: str
    is_default: bool
    created_at: datetime
    updated_at: datetime


class ProviderPage(Page[ProviderView]):
    """A part of the list of providers."""


@router.get(
    "", operation_id="providers_list", summary="List providers",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_providers(
    _caller: CurrentAdministrator, session: Reading, page: CurrentPaging
) -> ProviderPage:
    """The providers, the oldest first."""
    rows = await providers.list_providers(session, after=page.after_id(), limit=page.fetch)
    default = await providers.find_default(session)
    return ProviderPage.of([_view(row, default) for row in rows], page)


@router.post(
    "", operation_id="providers_create", summary="Add a provider", status_code=201,
    responses=answers(EXAMPLE, 409, status=201),
)  # fmt: skip
async def create_provider(
    body: ProviderCreate, caller: CurrentAdministrator, state: CurrentState, session: Changing
) -> ProviderView:
    """The name is unique, and `demo` is kept for the simulated provider."""
    provider = await providers.create_provider(
        session, name=body.name, base_url=body.base_url, actor=caller
    )
    if body.key is not None:
        await providers.add_key(
            session,
            state.cipher,
            provider_id=provider.id,
            name="default",
            secret=body.key.get_secret_value(),
            actor=caller,
        )
    return _view(provider, await providers.find_default(session))


@router.get(
    "/{id}", operation_id="providers_get", summary="Get a provider",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def get_provider(
    provider_id: PathId, _caller: CurrentAdministrator, session: Reading
) -> ProviderView:
    """One provider."""
    provider = await providers.get_provider(session, provider_id)
    return _view(provider, await providers.find_default(session))


@router.patch(
    "/{id}", operation_id="providers_update", summary="Change a provider",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def update_provider(
    provider_id: PathId,
    body: ProviderUpdate,
    caller: CurrentAdministrator,
    state: CurrentState,
    session: Changing,
) -> ProviderView:
    """Another base URL needs `key` when keys are stored (422 `key_required`)."""
    provider = await providers.get_provider(session, provider_id)
    if "base_url" in body.model_fields_set:
        await providers.change_base_url(
            session,
            state.cipher,
            provider_id=provider_id,
            base_url=body.base_url,
            secret=body.key.get_secret_value() if "key" in body.model_fields_set else None,
            actor=caller,
        )
    if "is_default" in body.model_fields_set:
        await providers.mark_default(session, provider_id=provider_id, actor=caller)
    return _view(provider, await providers.find_default(session))


@router.delete(
    "/{id}", operation_id="providers_delete", summary="Delete a provider",
    responses=answers({"id": 1, "deleted": True}, 404, 409),
)  # fmt: skip
async def delete_provider(
    provider_id: PathId, caller: CurrentAdministrator, session: Changing
) -> Deleted:
    """Its keys are wiped. While a route sends to it, it stays (409)."""
    await providers.delete_provider(session, provider_id=provider_id, actor=caller)
    return Deleted(id=provider_id)


def _view(provider: Provider, default: Provider | None) -> ProviderView:
    shown = ProviderView.model_validate(provider)
    return shown.model_copy(update={"is_default": provider is default})

"""`/api/v1/keys`: providers' keys. They are written and never read: only `last4` is shown."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import ConfigDict, Field

from aieye.access import provider_keys
from aieye.api.deps import Changing, CurrentAdministrator, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.providers import Secret
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    Id,
    Label,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.gateway.probe import Result, probe_key

router = resource_router("keys")

Name = Annotated[Label, Field(max_length=100)]

EXAMPLE = {
    "id": 1,
    "provider_id": 1,
    "name": "team key",
    "last4": "x3fQ",
    "is_active": True,
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}

TEST_EXAMPLE = {
    "id": 1,
    "result": "works",
    "status": 200,
    "message": "",
    "models": 84,
    "latency_ms": 312,
}


class KeyCreate(WriteModel):
    """A new key of a provider."""

    provider_id: Id
    name: Name
    key: Secret = Field(description="Stored sealed and never shown.")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"provider_id": 1, "name": "team key", "key": "sk-…"}]}
    )


class KeyUpdate(WriteModel):
    """What of a key is to change; `key` replaces the secret."""

    name: Name = omittable()
    is_active: bool = omittable()
    key: Secret = omittable(description="Stored sealed and never shown.")

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})


class KeyView(View):
    """A key without its secret, of which `last4` is known unless the key is very short."""

    id: int
    provider_id: int
    name: str
    last4: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class KeyTest(View):
    """What the provider said; `status` is null when it said nothing."""

    id: int
    result: Result
    status: int | None
    message: str
    models: int | None = Field(description="How many models there are, where the key works.")
    latency_ms: int


class KeyPage(Page[KeyView]):
    """A part of the list of keys."""


@router.get(
    "", operation_id="keys_list", summary="List providers' keys",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_keys(
    _caller: CurrentAdministrator,
    session: Reading,
    page: CurrentPaging,
    provider_id: Annotated[Id | None, Query(description="Only this provider's.")] = None,
) -> KeyPage:
    """The keys, the oldest first: the order in which a provider's keys are tried."""
    rows = await provider_keys.list_keys(
        session, provider_id=provider_id, after=page.after_id(), limit=page.fetch
    )
    return KeyPage.of(rows, page)


@router.post(
    "", operation_id="keys_create", summary="Add a key", status_code=201,
    responses=answers(EXAMPLE, 404, status=201),
)  # fmt: skip
async def create_key(
    body: KeyCreate, caller: CurrentAdministrator, state: CurrentState, session: Changing
) -> KeyView:
    """The key is stored sealed, for its provider's present base URL only."""
    key = await provider_keys.add_key(
        session,
        state.cipher,
        provider_id=body.provider_id,
        name=body.name,
        secret=body.key.get_secret_value(),
        actor=caller,
    )
    return KeyView.model_validate(key)


@router.get("/{id}", operation_id="keys_get", summary="Get a key", responses=answers(EXAMPLE, 404))
async def get_key(key_id: PathId, _caller: CurrentAdministrator, session: Reading) -> KeyView:
    """One key, without its secret."""
    return KeyView.model_validate(await provider_keys.get_key(session, key_id))


@router.patch(
    "/{id}", operation_id="keys_update", summary="Change a key", responses=answers(EXAMPLE, 404)
)
async def update_key(
    key_id: PathId,
    body: KeyUpdate,
    caller: CurrentAdministrator,
    state: CurrentState,
    session: Changing,
) -> KeyView:
    """What is left out stays as it is."""
    if "key" in body.model_fields_set:
        await provider_keys.replace_key(
            session, state.cipher, key_id=key_id, secret=body.key.get_secret_value(), actor=caller
        )
    changes = body.model_dump(exclude_unset=True, exclude={"key"})
    key = await provider_keys.update_key(session, key_id=key_id, actor=caller, **changes)
    return KeyView.model_validate(key)


@router.post(
    "/{id}/test", operation_id="keys_test", summary="Test a key",
    responses=answers(TEST_EXAMPLE, 404, 409),
)  # fmt: skip
async def test_key(key_id: PathId, caller: CurrentAdministrator, state: CurrentState) -> KeyTest:
    """Asks the provider for its models with the key, which costs nothing."""
    found = await probe_key(
        state.database, state.cipher, state.gateway.client, key_id, actor=caller
    )
    return KeyTest.model_validate({"id": key_id, **asdict(found)})


@router.delete(
    "/{id}", operation_id="keys_delete", summary="Delete a key",
    responses=answers({"id": 1, "deleted": True}, 404),
)  # fmt: skip
async def delete_key(key_id: PathId, caller: CurrentAdministrator, session: Changing) -> Deleted:
    """The secret is wiped. Tokens that are pinned to the key reach nothing from then on."""
    await provider_keys.delete_key(session, key_id=key_id, actor=caller)
    return Deleted(id=key_id)

"""`/api/v1/tokens`: users manage their own public tokens, administrators everybody's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field

from aieye.access import tokens
from aieye.access.snapshot import DEFAULT_NAMESPACE
from aieye.api.deps import Changing, CurrentActor, CurrentState, Reading, own_id
from aieye.api.paging import CurrentPaging, Page
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
from aieye.db.tables import Token

router = resource_router("tokens")

Scope = Literal["proxy", "runs", "admin"]
Name = Annotated[Label, Field(max_length=100)]
Namespace = Annotated[Label, Field(max_length=64)]
Models = Annotated[list[Label], Field(min_length=1, max_length=100)]

EXAMPLE = {
    "id": 1,
    "name": "laptop",
    "prefix": "aie_x7Kp2mQz",
    "user_id": 1,
    "scope": "proxy",
    "cache_namespace": "default",
    "cache_enabled": True,
    "provider_key_id": 3,
    "models": ["gpt-4o-mini"],
    "expires_at": "2027-11-20T12:00:00Z",
    "disabled": False,
    "former_until": "2026-11-21T12:00:00Z",
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}
SECRET_EXAMPLE = {**EXAMPLE, "token": "aie_x7Kp2mQz_…"}


class TokenCreate(WriteModel):
    """A new token. A cache namespace and a provider key are an administrator's to set.

    Made with a token that has limits (models, namespace, provider key, expiry), it keeps to them.
    """

    name: Name
    scope: Scope = "proxy"
    user_id: Id | None = Field(default=None, description="Whose it is: yours if left out.")
    expires_at: AwareDatetime | None = None
    cache_namespace: Namespace = DEFAULT_NAMESPACE
    cache_enabled: bool = True
    provider_key_id: Id | None = None
    models: Models | None = Field(default=None, description="The only models it may call.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "laptop", "scope": "proxy", "models": ["gpt-4o-mini"]}]
        }
    )


class TokenUpdate(WriteModel):
    """What of a token is to change. Only an administrator takes a limit away."""

    name: Name = omittable()
    scope: Scope = omittable()
    expires_at: AwareDatetime | None = omittable()
    disabled: bool = omittable()
    cache_namespace: Namespace = omittable()
    cache_enabled: bool = omittable()
    provider_key_id: Id | None = omittable()
    models: Models | None = omittable()

    model_config = ConfigDict(json_schema_extra={"examples": [{"disabled": True}]})


class TokenRoll(WriteModel):
    """How to change over to a new secret."""

    grace_seconds: Annotated[int, Field(ge=0, le=tokens.LONGEST_GRACE_SECONDS)] = Field(
        default=0, description="How long the old secret works beside the new one."
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 86400}]})


class TokenView(View):
    """A token without its secret, of which only `prefix` is known."""

    id: int
    name: str
    prefix: str
    user_id: int
    scope: Scope
    cache_namespace: str
    cache_enabled: bool
    provider_key_id: int | None
    models: list[str] | None
    expires_at: datetime | None
    disabled: Annotated[
        bool, Field(validation_alias="disabled_at"), BeforeValidator(lambda at: at is not None)
    ]
    former_until: datetime | None = Field(
        description="Until when the secret before the last roll works beside the present one."
    )
    created_at: datetime
    updated_at: datetime


class TokenSecret(TokenView):
    """A token with its secret, which is shown this once."""

    token: str


class TokenPage(Page[TokenView]):
    """A part of the list of tokens."""


@router.get(
    "", operation_id="tokens_list", summary="List tokens",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_tokens(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    user_id: Annotated[Id | None, Query(description="Only this user's.")] = None,
) -> TokenPage:
    """The tokens that you may see, the oldest first."""
    rows = await tokens.list_tokens(
        session, actor=caller, user_id=user_id, after=page.after_id(), limit=page.fetch
    )
    return TokenPage.of(rows, page)


@router.post(
    "", operation_id="tokens_create", summary="Make a token", status_code=201,
    responses=answers(SECRET_EXAMPLE, 403, 404, status=201),
)  # fmt: skip
async def create_token(
    body: TokenCreate, caller: CurrentActor, state: CurrentState, session: Changing
) -> TokenSecret:
    """The answer holds the secret, which is never shown again."""
    values = body.model_dump(exclude={"user_id"})
    token, secret = await tokens.create_token(
        session,
        state.directory.digest,
        user_id=body.user_id or own_id(caller),
        actor=caller,
        **values,
    )
    return _with_secret(token, secret)


@router.get(
    "/{id}", operation_id="tokens_get", summary="Get a token", responses=answers(EXAMPLE, 404)
)
async def get_token(token_id: PathId, caller: CurrentActor, session: Reading) -> TokenView:
    """One token, without its secret."""
    return TokenView.model_validate(await tokens.get_token(session, token_id, actor=caller))


@router.patch(
    "/{id}", operation_id="tokens_update", summary="Change a token",
    responses=answers(EXAMPLE, 403, 404),
)  # fmt: skip
async def update_token(
    token_id: PathId, body: TokenUpdate, caller: CurrentActor, session: Changing
) -> TokenView:
    """What is left out stays as it is."""
    changes = tokens.TokenChanges(**body.model_dump(exclude_unset=True))  # type: ignore[typeddict-item] # the model has the same fields
    return TokenView.model_validate(
        await tokens.update_token(session, token_id, changes, actor=caller)
    )


@router.post(
    "/{id}/roll", operation_id="tokens_roll", summary="Give a token a new secret",
    responses=answers(SECRET_EXAMPLE, 403, 404),
)  # fmt: skip
async def roll_token(
    token_id: PathId,
    caller: CurrentActor,
    state: CurrentState,
    session: Changing,
    body: TokenRoll | None = None,
) -> TokenSecret:
    """The answer holds the new secret, which is never shown again. Without a grace time the old one
    ends at once; one that still worked from a roll before always does."""
    grace = 0 if body is None else body.grace_seconds
    return _with_secret(
        *await tokens.roll_token(
            session, state.directory.digest, token_id, actor=caller, grace_seconds=grace
        )
    )


@router.delete(
    "/{id}", operation_id="tokens_delete", summary="Delete a token",
    responses=answers({"id": 1, "deleted": True}, 404),
)  # fmt: skip
async def delete_token(token_id: PathId, caller: CurrentActor, session: Changing) -> Deleted:
    """The token ends at once and for good; its calls stay in the ledger."""
    await tokens.delete_token(session, token_id, actor=caller)
    return Deleted(id=token_id)


def _with_secret(token: Token, secret: str) -> TokenSecret:
    return TokenSecret.model_construct(**dict(TokenView.model_validate(token)), token=secret)

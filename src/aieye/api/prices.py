"""`/api/v1/prices`: administrators' own prices, which go before the package's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, ConfigDict, Field

from aieye.api.deps import Changing, CurrentAdministrator, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    Label,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.ledger import overrides

router = resource_router("prices")

Rate = Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$", examples=["2.5"])]

EXAMPLE = {
    "id": 1,
    "provider": "openai",
    "model": "gpt-4o-mini*",
    "rates": {
        "input": "0.15",
        "cached_input": "0.075",
        "cache_write": "0.15",
        "output": "0.6",
        "per_request": "0",
    },
    "effective_from": "2026-11-20T00:00:00Z",
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}


class Rates(WriteModel):
    """Dollars per million tokens, and per request, as decimal text. Null is unknown, not free."""

    input: Rate | None = None
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    output: Rate | None = None
    per_request: Rate | None = None


class PriceCreate(WriteModel):
    """A price from a date on (now if left out), at one provider or, with null, at all."""

    model: Label = Field(description="A name, or the start of one and `*`.")
    provider: Label | None = None
    rates: Rates
    effective_from: AwareDatetime | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "gpt-4o-mini", "rates": {"input": "0.15", "output": "0.6"}}]
        }
    )


class PriceUpdate(WriteModel):
    """What of a price is to change; `rates` replaces all of them."""

    model: Label = omittable()
    provider: Label | None = omittable()
    rates: Rates = omittable()
    effective_from: AwareDatetime = omittable()

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rates": {"input": "0.1", "output": "0.4"}}]}
    )


class PriceView(View):
    """An administrator's price."""

    id: int
    provider: str | None
    model: str
    rates: Rates
    effective_from: datetime
    created_at: datetime
    updated_at: datetime


class PricePage(Page[PriceView]):
    """A part of the list of prices."""


@router.get(
    "", operation_id="prices_list", summary="List own prices",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_prices(
    _caller: CurrentAdministrator,
    session: Reading,
    page: CurrentPaging,
    model: Annotated[Label | None, Query(description="Only of this model, as written.")] = None,
) -> PricePage:
    """The prices, the oldest first."""
    rows = await overrides.list_overrides(
        session, model=model, after=page.after_id(), limit=page.fetch
    )
    return PricePage.of(rows, page)


@router.post(
    "", operation_id="prices_create", summary="Set a price", status_code=201,
    responses=answers(EXAMPLE, status=201),
)  # fmt: skip
async def create_price(
    body: PriceCreate, caller: CurrentAdministrator, session: Changing
) -> PriceView:
    """It replaces the package's price of the model whole; calls booked before keep theirs."""
    price = await overrides.create_override(
        session,
        model=body.model,
        provider=body.provider,
        rates=body.rates.model_dump(exclude_none=True),
        effective_from=body.effective_from,
        actor=caller,
    )
    return PriceView.model_validate(price)


@router.get(
    "/{id}", operation_id="prices_get", summary="Get a price", responses=answers(EXAMPLE, 404)
)
async def get_price(price_id: PathId, _caller: CurrentAdministrator, session: Reading) -> PriceView:
    """One price."""
    return PriceView.model_validate(await overrides.get_override(session, price_id))


@router.patch(
    "/{id}", operation_id="prices_update", summary="Change a price",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def update_price(
    price_id: PathId, body: PriceUpdate, caller: CurrentAdministrator, session: Changing
) -> PriceView:
    """What is left out stays as it is. Calls booked before keep their price."""
    changes = overrides.PriceChanges(**body.model_dump(exclude_unset=True))  # type: ignore[typeddict-item] # the model has the same fields
    if "rates" in body.model_fields_set:
        changes["rates"] = body.rates.model_dump(exclude_none=True)
    return PriceView.model_validate(
        await overrides.update_override(session, price_id, changes, actor=caller)
    )


@router.delete(
    "/{id}", operation_id="prices_delete", summary="Delete a price",
    responses=answers({"id": 1, "deleted": True}, 404),
)  # fmt: skip
async def delete_price(
    price_id: PathId, caller: CurrentAdministrator, session: Changing
) -> Deleted:
    """The package's price is in effect again."""
    await overrides.delete_override(session, price_id, actor=caller)
    return Deleted(id=price_id)

"""`/api/v1/prices`: administrators' own prices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.admin_api import AdminApi, error_of, running_admin_api

PRICES = "/api/v1/prices"
RATES = {"input": "0.15", "output": "0.6"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        await running.provider("openai")
        yield running


async def make_price(api: AdminApi, **body: Any) -> Any:
    answer = await api.administrator.client.post(
        PRICES, json={"model": "gpt-4o-mini", "rates": RATES} | body
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_price_is_in_effect_at_once_and_from_now_on(api: AdminApi) -> None:
    before = datetime.now(UTC)
    made = await make_price(api)
    assert made["provider"] is None
    assert made["rates"] == {
        **RATES,
        "cached_input": None,
        "cache_write": None,
        "per_request": None,
    }
    (price,) = api.state.directory.current.prices
    assert (price["model"], price["rates"]) == ("gpt-4o-mini", RATES)
    assert before <= price["effective_from"] <= datetime.now(UTC)
    assert (await api.administrator.client.get(f"{PRICES}/{made['id']}")).json() == made


async def test_rates_have_one_written_form(api: AdminApi) -> None:
    rates = {"input": "002.500", "output": "0.000001", "cached_input": "0", "cache_write": "100"}
    await make_price(api, rates=rates)
    assert api.state.directory.current.prices[0]["rates"] == {
        "input": "2.5",
        "output": "0.000001",
        "cached_input": "0",
        "cache_write": "100",
    }


async def test_moments_come_back_in_utc(api: AdminApi) -> None:
    made = await make_price(api, effective_from="2026-01-01T01:00:00+01:00")
    assert made["effective_from"] == "2026-01-01T00:00:00Z"


async def test_lists_are_of_one_model_if_asked(api: AdminApi) -> None:
    first, second = await make_price(api), await make_price(api, model="o3*", provider="openai")
    listed = await api.administrator.client.get(PRICES, params={"model": "o3*"})
    assert listed.json()["data"] == [second]
    listed = await api.administrator.client.get(PRICES)
    assert [row["id"] for row in listed.json()["data"]] == [first["id"], second["id"]]
    error_of(await api.administrator.client.get(PRICES, params={"model": "\0"}), 422)


async def test_a_change_leaves_the_rest_but_rates_are_replaced_whole(api: AdminApi) -> None:
    made = await make_price(api, provider="openai")
    path = f"{PRICES}/{made['id']}"
    body = {"rates": {"per_request": "0.01"}}
    changed = (await api.administrator.client.patch(path, json=body)).json()
    assert (changed["provider"], changed["model"]) == ("openai", "gpt-4o-mini")
    assert api.state.directory.current.prices[0]["rates"] == {"per_request": "0.01"}
    lifted = (await api.administrator.client.patch(path, json={"provider": None})).json()
    assert lifted["provider"] is None
    await api.administrator.client.delete(path)
    assert not api.state.directory.current.prices
    error_of(await api.administrator.client.get(path), 404)
    assert (await api.actions())[-4:] == [
        *("price.create", "price.update", "price.update", "price.delete"),
    ]


async def test_wrong_values_are_refused_and_named(api: AdminApi) -> None:
    wrong: tuple[tuple[dict[str, Any], str | None], ...] = (
        ({"model": ""}, "model"),
        ({"model": "a\0"}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"model": "a*b"}, "model"),
        ({"provider": "nobody"}, "provider"),
        ({"provider": "a\0"}, "provider"),
        ({"rates": {}}, "rates"),
        ({"rates": {"input": None}}, "rates"),
        ({"rates": {"input": 0.15}}, "rates.input"),
        ({"rates": {"input": "-1"}}, "rates.input"),
        ({"rates": {"input": "1e9"}}, "rates.input"),
        ({"rates": {"input": "NaN"}}, "rates.input"),
        ({"rates": {"input": "1.0000001"}}, "rates.input"),
        ({"rates": {"input": "9999999"}}, "rates.input"),
        ({"rates": {"input": "١"}}, "rates.input"),
        ({"rates": {"input": "1\n"}}, "rates.input"),
        ({"rates": {"inputs": "1"}}, "rates.inputs"),
        ({"effective_from": "2026-01-01"}, "effective_from"),
        ({"effective_from": "2026-01-01T00:00:00"}, "effective_from"),
        ({"effective_from": "0001-01-01T00:00:00+14:00"}, "effective_from"),
        ({"effective_from": "9999-12-31T23:59:59-14:00"}, "effective_from"),
        ({"effective_from": 10**30}, "effective_from"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
    )
    made = await make_price(api)
    for change, param in wrong:
        body = {"model": "x", "rates": RATES} | change
        answer = await api.administrator.client.post(PRICES, json=body)
        assert error_of(answer, 422)["param"] == param, change
        answer = await api.administrator.client.patch(f"{PRICES}/{made['id']}", json=change)
        assert error_of(answer, 422)["param"] == param, change
    assert (await api.administrator.client.get(PRICES)).json()["data"] == [made]

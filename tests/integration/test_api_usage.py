"""`/api/v1/usage`: series with names, money as text, and everybody's own share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aieye.db.types import now
from tests.integration.admin_api import error_of
from tests.integration.ledger_api import LedgerApi, call, running_ledger_api

USAGE = "/api/v1/usage"


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        yield ledger


async def usage(ledger: LedgerApi, **query: Any) -> dict[str, Any]:
    answer = await ledger.api.administrator.client.get(USAGE, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_last_day_is_shown_by_the_hour(ledger: LedgerApi) -> None:
    await ledger.settle(
        call(), call(cost_nano=None, cost_state="unknown"), call(now() - timedelta(days=2))
    )
    found = await usage(ledger)
    assert (found["object"], found["has_more"], found["next_cursor"]) == ("list", False, None)
    assert (found["grain"], found["group_by"]) == (3600, [])
    (point,) = found["data"]
    assert point["at"].endswith(":00:00Z")
    assert point["group"] == {}
    assert (point["calls"], point["unpriced"], point["cost_usd"]) == (2, 1, "0.000027")
    assert (point["tokens_input"], point["tokens_output"]) == (200, 40)
    assert point["latency_mean_ms"] == 640
    assert 640 / 1.71 < point["latency_p50_ms"] <= point["latency_p95_ms"] < 640 * 1.71
    assert found["totals"] == {name: point[name] for name in found["totals"]}


async def test_a_cost_that_nobody_knows_is_null(ledger: LedgerApi) -> None:
    await ledger.settle(call(cost_nano=None, cost_state="unknown"))
    assert (await usage(ledger))["totals"]["cost_usd"] is None


async def test_groups_bear_the_names_of_what_they_are(ledger: LedgerApi) -> None:
    ada = ledger.api.ada
    provider = await ledger.api.provider("openai")
    await ledger.settle(
        call(user_id=ada.id, token_id=ada.token_id, provider_id=provider["id"]), call(model=None)
    )
    found = await usage(ledger, group_by="token,user,provider")
    assert sorted((one["group"] for one in found["groups"]), key=str) == [
        {
            "token_id": ada.token_id, "token_name": "admin token", "user_id": ada.id,
            "user": ada.email, "provider_id": provider["id"], "provider": "openai",
        },
        {
            "token_id": None, "token_name": None, "user_id": None, "user": None,
            "provider_id": None, "provider": None,
        },
    ]  # fmt: skip
    models = await usage(ledger, group_by=["model", "status"])
    assert {str(one["group"]["model"]) for one in models["groups"]} == {
        "gpt-4o-mini-2024-07-18", "None",
    }  # fmt: skip
    assert {one["group"]["status"] for one in models["groups"]} == {200}


async def test_the_simulated_provider_is_named_while_it_serves(ledger: LedgerApi) -> None:
    ledger.api.state.directory.set_demo("http://127.0.0.1:9/v1", forced=True)
    await ledger.api.state.directory.refresh()
    await ledger.settle(call(provider_id=0))
    (group,) = (await usage(ledger, group_by="provider"))["groups"]
    assert group["group"] == {"provider_id": None, "provider": "demo"}


async def test_a_window_a_grain_and_filters_choose_what_counts(ledger: LedgerApi) -> None:
    moment = now() - timedelta(days=40)
    await ledger.settle(call(moment, cache="hit"), call(moment, cache="miss"), call())
    window = {"since": (moment - timedelta(days=1)).isoformat(), "until": now().isoformat()}
    found = await usage(ledger, grain="day", cache="hit", **window)
    assert (found["grain"], found["totals"]["calls"]) == (86_400, 1)
    assert found["data"][0]["at"].startswith(moment.date().isoformat())
    assert (await usage(ledger, grain="86400", **window))["totals"]["calls"] == 3


async def test_everything_since_ever_can_be_asked_for(ledger: LedgerApi) -> None:
    await ledger.settle(call(), call(now() - timedelta(days=400)))
    found = await usage(ledger, since="1970-01-01T00:00:00Z")
    assert (found["grain"], found["totals"]["calls"]) == (86_400, 2)


async def test_users_count_their_own_calls(ledger: LedgerApi) -> None:
    api = ledger.api
    await ledger.settle(call(user_id=api.ada.id), call(user_id=api.ben.id), call())
    for client, calls in ((api.ada.client, 1), (api.administrator.client, 3)):
        assert (await client.get(USAGE)).json()["totals"]["calls"] == calls
    answer = await api.ada.client.get(USAGE, params={"user_id": api.ben.id})
    assert answer.json()["totals"]["calls"] == 0
    error_of(await api.anonymous.get(USAGE), 401)
    error_of(await api.proxy.get(USAGE), 403)


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ({"grain": "week"}, 422, "grain"),
        ({"group_by": "colour"}, 400, "group_by"),
        ({"since": "2026-11-20"}, 422, "since"),
        ({"since": "2020-01-01T00:00:00Z", "grain": "minute"}, 400, "grain"),
        ({"since": "2020-01-01T00:00:00Z", "grain": "hour"}, 400, "grain"),
        ({"since": "0001-01-01T00:00:00Z"}, 400, "since"),
        ({"model": "a\0b"}, 422, "model"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_cannot_be_shown_is_refused(
    ledger: LedgerApi, query: dict[str, Any], status: int, param: str
) -> None:
    answer = await ledger.api.administrator.client.get(USAGE, params=query)
    assert error_of(answer, status)["param"] == param


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_moment_without_its_time_zone_is_refused_with_an_example(ledger: LedgerApi) -> None:
    answer = await ledger.api.administrator.client.get(USAGE, params={"since": "2026-11-20"})
    assert "such as 2026-11-20T00:00:00Z" in error_of(answer, 422)["message"]

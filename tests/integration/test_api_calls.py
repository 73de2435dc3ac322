"""`/api/v1/calls`: rows as programs rely on them, filters, pages, and whose calls they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aieye.api.calls import CallView
from aieye.db.types import now
from tests.integration.admin_api import error_of
from tests.integration.ledger_api import LedgerApi, call, running_ledger_api

CALLS = "/api/v1/calls"
# The names that clients rely on.
ROW = {
    *("id", "request_id", "created_at", "endpoint", "model", "status", "cache", "tokens_input"),
    *("tokens_output", "tokens_cached", "cost_usd", "saved_usd", "cost_state", "latency_ms"),
    *("ttft_ms", "token_id", "token_name", "user", "provider", "run_id", "tags", "attempts"),
}


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        yield ledger


async def test_a_call_is_shown_with_all_that_clients_rely_on(ledger: LedgerApi) -> None:
    ada = ledger.api.ada
    record = call(
        user_id=ada.id, token_id=ada.token_id, provider_id=0, ttft_us=12_345, latency_us=1_234_567,
        saved_nano=5, tags={"team": "search"}, attempts=[{"status": 429}],
        usage={"prompt_tokens": 100},
    )  # fmt: skip
    await ledger.settle(record)
    answer = await ada.client.get(f"{CALLS}/{record.request_id}")
    assert answer.status_code == 200
    row = answer.json()
    assert row.keys() > ROW
    assert row["request_id"] == f"req_{row['id']}" == record.request_id
    assert (row["cost_usd"], row["saved_usd"]) == ("0.000027", "0.000000005")
    assert (row["latency_ms"], row["ttft_ms"]) == (1234.567, 12.345)
    assert (row["user"], row["token_name"], row["provider"]) == (ada.email, "admin token", "demo")
    assert (row["tags"], row["attempts"]) == ({"team": "search"}, [{"status": 429}])
    assert row["created_at"].endswith("Z")
    assert (await ada.client.get(f"{CALLS}/{record.id}")).json() == row
    assert (await ada.client.get(CALLS)).json()["data"] == [row]


async def test_what_is_not_known_of_a_call_is_null_and_never_zero(ledger: LedgerApi) -> None:
    unknown = dict.fromkeys(
        ("model", "status", "cost_nano", "saved_nano", "tokens_input", "tokens_output")
    )
    await ledger.settle(call(cost_state="unknown", **unknown))
    (row,) = (await ledger.api.administrator.client.get(CALLS)).json()["data"]
    assert {row[name] for name in ("cost_usd", "saved_usd", "tokens_input", "model")} == {None}
    assert (row["tags"], row["attempts"], row["cost_state"]) == ({}, [], "unknown")


async def test_pages_lead_through_all_calls_newest_first(ledger: LedgerApi) -> None:
    records = [call(now() - timedelta(minutes=number)) for number in range(5)]
    await ledger.settle(*records)
    seen, cursor = [], None
    for _ in range(3):
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await ledger.api.administrator.client.get(CALLS, params=query)).json()
        assert page["object"] == "list"
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
    assert seen == [record.id for record in records]
    assert cursor is None


@pytest.mark.parametrize(
    "query",
    [
        {"status_class": "4xx"}, {"status": 429}, {"stream": "true"}, {"tag": "team=a=b"},
        {"min_latency_ms": 5000.5}, {"min_cost_usd": "0.5"}, {"model": "gpt-4o"}, {"cache": "hit"},
        {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}, {"state": "done"},
    ],
    ids=str,
)  # fmt: skip
async def test_filters_find_the_call_that_has_everything(
    ledger: LedgerApi, query: dict[str, Any]
) -> None:
    wanted = call(
        datetime(2020, 1, 1, 12, tzinfo=UTC), status=429, is_stream=True, tags={"team": "a=b"},
        latency_us=5_000_500, cost_nano=500_000_000, model="gpt-4o", cache="hit",
    )  # fmt: skip
    others = [] if "state" in query else [call()]
    await ledger.settle(wanted, *others)
    page = (await ledger.api.administrator.client.get(CALLS, params=query)).json()
    assert [row["id"] for row in page["data"]] == [wanted.id]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "x"}, "status"), ({"status_class": "9xx"}, "status_class"),
        ({"since": "yesterday"}, "since"), ({"since": "2026-11-20T00:00:00"}, "since"),
        ({"tag": "team"}, "tag"), ({"model": "a\0"}, "model"), ({"token_id": 2**31}, "token_id"),
        ({"min_cost_usd": "NaN"}, "min_cost_usd"), ({"min_latency_ms": "inf"}, "min_latency_ms"),
        ({"limit": 1001}, "limit"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_filter_that_means_nothing_is_refused(
    ledger: LedgerApi, query: dict[str, Any], param: str
) -> None:
    answer = await ledger.api.administrator.client.get(CALLS, params=query)
    assert error_of(answer, 422)["param"] == param


@pytest.mark.parametrize("cursor", ["x", "aTE", "c2EnYg", "s"])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_cursor_of_another_list_is_refused(ledger: LedgerApi, cursor: str) -> None:
    answer = await ledger.api.administrator.client.get(CALLS, params={"cursor": cursor})
    assert error_of(answer, 400)["param"] == "cursor"


async def test_users_see_their_own_calls_and_administrators_all(ledger: LedgerApi) -> None:
    api = ledger.api
    own, other = call(user_id=api.ada.id), call(user_id=api.ben.id)
    ledger.keep_body(other, b"asked", b"answered")
    await ledger.settle(own, other)
    listed = (await api.ada.client.get(CALLS)).json()["data"]
    assert [row["id"] for row in listed] == [own.id]
    assert len((await api.administrator.client.get(CALLS)).json()["data"]) == 2
    assert (await api.ada.client.get(CALLS, params={"user_id": api.ben.id})).json()["data"] == []
    for path in (f"{CALLS}/{other.id}", f"{CALLS}/{other.id}/body", f"{CALLS}/nothing"):
        assert error_of(await api.ada.client.get(path), 404)["code"] == "not_found"
    for path in (CALLS, f"{CALLS}/{own.id}", f"{CALLS}/{own.id}/body"):
        error_of(await api.anonymous.get(path), 401)
        error_of(await api.proxy.get(path), 403)


async def test_the_texts_of_a_call_are_its_owners_to_read(ledger: LedgerApi) -> None:
    ada = ledger.api.ada
    kept, not_kept = call(user_id=ada.id), call(user_id=ada.id)
    ledger.keep_body(kept, b'{"q":1}', b'{"a":2}' * 5_000)
    await ledger.settle(kept, not_kept)
    answer = await ada.client.get(f"{CALLS}/{kept.request_id}/body")
    assert answer.json() == {"id": kept.id, "request": '{"q":1}', "response": '{"a":2}' * 5_000}
    answer = await ada.client.get(f"{CALLS}/{not_kept.id}/body")
    assert answer.json() == {"id": not_kept.id, "request": None, "response": None}


def test_every_promised_field_is_in_the_document() -> None:
    assert CallView.model_fields.keys() >= ROW

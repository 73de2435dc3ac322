"""`/api/v1/audit` and `/api/v1/settings`: for administrators, and without anything secret."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aieye import __version__
from aieye.api import settings as settings_api
from aieye.settings import Settings, load_settings
from tests.integration.admin_api import error_of
from tests.integration.ledger_api import LedgerApi, call, entry, request, running_ledger_api

AUDIT, SETTINGS = "/api/v1/audit", "/api/v1/settings"
CANARY = "Zk7canaryQ2x9Lm4Vb8Tn1Rw6Yp3Hs5D-canary"


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        yield ledger


async def test_an_act_is_shown_with_who_did_what_to_what(ledger: LedgerApi) -> None:
    api = ledger.api
    provider = await api.provider("openai")
    client = api.administrator.client
    (act,) = (await client.get(AUDIT, params={"action": "provider.create"})).json()["data"]
    assert (act["actor"], act["actor_user_id"]) == (api.administrator.email, api.administrator.id)
    assert (act["object_type"], act["object_id"]) == ("provider", str(provider["id"]))
    assert (await client.get(f"{AUDIT}/{act['id']}")).json() == act
    error_of(await client.get(f"{AUDIT}/{2**31 - 1}"), 404)


async def test_an_act_bears_the_id_that_its_request_was_answered_with(ledger: LedgerApi) -> None:
    client = ledger.api.administrator.client
    answer = await client.post("/api/v1/tokens", json={"name": "ci"})
    given = answer.headers["x-request-id"]
    assert re.fullmatch("req_[0-9a-f]{32}", given)
    assert (await client.get(AUDIT)).json()["data"][0]["request_id"] == given
    # Errors have one too, and what a client sends under that name is nobody's id.
    for path in ("/api/v1/nothing", "/api/v1/tokens/x", f"{AUDIT}/{2**31 - 1}"):
        answer = await client.get(path, headers={"x-request-id": "mine"})
        assert answer.status_code >= 400
        assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_acts_come_newest_first_page_by_page(ledger: LedgerApi) -> None:
    client = ledger.api.administrator.client
    expected = [entry.id for entry in reversed(await ledger.api.audit())]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(AUDIT, params=query)).json()
        seen += [act["id"] for act in page["data"]]
        cursor = page["next_cursor"]
    assert seen == expected
    assert len(seen) > 4


async def test_acts_are_found_by_actor_object_and_time(ledger: LedgerApi) -> None:
    api = ledger.api
    await api.provider("openai")
    client = api.administrator.client

    async def count(**query: object) -> int:
        answer = await client.get(AUDIT, params={key: str(value) for key, value in query.items()})
        return len(answer.json()["data"])

    assert await count(object_type="provider") == 1
    assert await count(actor_user_id=api.ben.id) == 0
    assert await count(object_type="token", object_id=api.ada.token_id) == 1
    assert await count(since="2020-01-01T00:00:00Z") == len(await api.audit())
    assert await count(until="2020-01-01T00:00:00Z") == 0


@pytest.mark.parametrize("path", [AUDIT, f"{AUDIT}/1", SETTINGS])
async def test_only_administrators_may_look(ledger: LedgerApi, path: str) -> None:
    error_of(await ledger.api.ada.client.get(path), 403)
    error_of(await ledger.api.proxy.get(path), 403)
    error_of(await ledger.api.anonymous.get(path), 401)


async def test_the_settings_come_with_what_they_led_to(ledger: LedgerApi) -> None:
    await ledger.settle(call(), call())
    ledger.cache.keep(entry(), request(), is_kept=False)
    await ledger.writer.durable()
    await ledger.api.provider("openai")
    found = (await ledger.api.administrator.client.get(SETTINGS)).json()
    kind = "sqlite" if ledger.database.is_sqlite else "postgresql"
    assert (found["version"], found["database"]) == (__version__, kind)
    assert (found["calls"], found["cache_entries"]) == (2, 1)
    assert found["database_bytes"] > 10_000
    assert found["cache_bytes"] > 0
    assert (found["default_provider"], found["is_demo"]) == ("openai", False)
    assert found["settings"]["AIEYE_LEDGER_RETENTION_DAYS"] == 30
    assert set(found["settings"]) == {
        str(field.validation_alias or f"AIEYE_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def test_no_secret_of_the_settings_is_shown() -> None:
    settings = load_settings(
        secret_key=CANARY,
        admin_email="ada@example.org",
        admin_password=CANARY,
        OPENAI_API_KEY=CANARY,
        OPENAI_BASE_URL=f"https://user:{CANARY}@example.org/v1",
        redis_url=f"redis://:{CANARY}@redis:6379/0",
        database_url=f"postgresql+asyncpg://aieye:{CANARY}@db/aieye",
    )
    shown = settings_api.shown(settings)
    assert "canary" not in repr(shown)
    assert shown["AIEYE_SECRET_KEY"] == shown["OPENAI_API_KEY"] == settings_api.MASK
    assert shown["AIEYE_DATABASE_URL"] == "postgresql+asyncpg://aieye:[redacted]@db/aieye"


def test_a_secret_that_is_not_set_is_shown_as_not_set() -> None:
    shown = settings_api.shown(load_settings())
    assert shown["AIEYE_ADMIN_PASSWORD"] is None
    assert shown["AIEYE_DATABASE_URL"] == "sqlite+aiosqlite:///data/aieye.db"

"""Alive, ready, and the figures: who may ask, and that the answers are true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from aieye.db.engine import Database
from aieye.settings import load_settings
from aieye.telemetry.metrics import Metrics
from tests.integration.admin_api import error_of
from tests.integration.ledger_api import LedgerApi, call, running_ledger_api


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[LedgerApi]:
    async with running_ledger_api(database_url, tmp_path) as ledger:
        ledger.api.state.metrics = Metrics()
        yield ledger


async def reasons(ledger: LedgerApi) -> list[str]:
    """Why the process is not ready; [] when it is."""
    answer = await ledger.api.anonymous.get("/readyz")
    body = answer.json()
    is_ready = body["status"] == "ready"
    assert answer.status_code == (200 if is_ready else 503)
    assert is_ready == (body["reasons"] == [])
    assert answer.headers["cache-control"] == "no-store"
    found: list[str] = body["reasons"]
    return found


async def test_a_process_in_order_is_alive_and_ready(ledger: LedgerApi) -> None:
    alive = await ledger.api.anonymous.get("/healthz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert await reasons(ledger) == []


async def test_without_its_database_a_process_is_alive_and_not_ready(ledger: LedgerApi) -> None:
    state = ledger.api.state
    own = state.database
    state.database = Database("postgresql+asyncpg://user:canary@127.0.0.1:1/none")
    try:
        assert await reasons(ledger) == ["the database does not answer"]
        assert (await ledger.api.anonymous.get("/healthz")).status_code == 200
    finally:
        await state.database.close()
        state.database = own
    assert await reasons(ledger) == []


async def test_a_schema_of_another_version_is_not_ready(ledger: LedgerApi) -> None:
    async with ledger.database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert await reasons(ledger) == ["the database has another version's schema"]
    async with ledger.database.write() as session:
        await session.execute(text("DROP TABLE alembic_version"))
    assert await reasons(ledger) == ["the database does not answer"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_the_app_checks_keeps_it_from_being_ready(ledger: LedgerApi) -> None:
    faults: list[str | None] = [None, None]
    for place in range(2):
        ledger.api.state.ready_checks.append(lambda place=place: faults[place])  # type: ignore[misc] # its own place
    assert await reasons(ledger) == []
    faults[:] = ["the ledger cannot be written", "the process is about to stop"]
    assert await reasons(ledger) == faults
    faults[:] = [None, None]
    assert await reasons(ledger) == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_on_a_loopback_address_anybody_reads_the_figures(ledger: LedgerApi) -> None:
    metrics = ledger.api.state.metrics
    metrics.began()
    metrics.ended(call())
    answer = await ledger.api.anonymous.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'aieye_requests_total{cache="miss"' in answer.text


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_elsewhere_the_figures_are_for_administrators(
    ledger: LedgerApi, tmp_path: Path
) -> None:
    api = ledger.api
    api.state.settings = load_settings(
        data_dir=tmp_path, host="0.0.0.0", public_url="http://aieye.example.org"
    )
    error_of(await api.anonymous.get("/metrics"), 401)
    error_of(await api.proxy.get("/metrics"), 403)
    error_of(await api.ada.client.get("/metrics"), 403)
    assert (await api.administrator.client.get("/metrics")).status_code == 200
    assert (await api.anonymous.get("/healthz")).status_code == 200
    assert (await api.anonymous.get("/readyz")).status_code == 200

"""A database that takes no changes: pages and the API show what is there, and say why nothing is saved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import text, update

from aieye.access.sessions import SEEN_EVERY
from aieye.db.engine import Database, DatabaseReadOnly
from aieye.db.tables import Session, UsageDimension, UsageRollup
from aieye.db.types import now
from aieye.state import change
from aieye.ui import site
from tests.integration.test_page_access import ENDLESS, OWN, House, house
from tests.integration.test_pages_handing_out import see, send, version
from tests.integration.test_pages_owned import make
from tests.servers import DatabaseKind

__all__ = ["house"]


@pytest.fixture
def database_kind() -> DatabaseKind:
    return "postgresql"


@asynccontextmanager
async def taking_no_changes(url: str) -> AsyncIterator[None]:
    """Somebody tells the database so; who is connected has to connect anew."""
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
    name = await connection.fetchval("SELECT quote_ident(current_database())")

    async def tell(setting: str) -> None:
        await connection.execute(f"ALTER DATABASE {name} {setting}")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    try:
        await tell("SET default_transaction_read_only = on")
        yield
    finally:
        await tell("RESET default_transaction_read_only")
        await connection.close()


async def call_something(house: House) -> None:
    """A call of a model that no chart has shown yet."""
    bucket = int(now().timestamp()) // 60 * 60
    async with change(house.state) as session:
        session.add(UsageDimension(
            id=1, token_id=1, user_id=1, provider_id=1, model="gpt-9", pipeline="",
            endpoint="chat/completions", status=200, cache="miss",
        ))  # fmt: skip
        for grain in (60, 3600, 86_400):
            key = {"grain": grain, "bucket": bucket // grain * grain, "dimension_id": 1}
            names = {column.name for column in UsageRollup.__table__.columns} - set(key)
            session.add(UsageRollup(**key, **dict.fromkeys(names, 1)))
        # Whoever was not seen lately is noted to be there now.
        await session.execute(update(Session).values(last_seen_at=now() - 2 * SEEN_EVERY))


async def test_pages_are_shown_and_changes_are_refused_with_the_reason(
    house: House, database_url: str
) -> None:
    administrator = house.administrator
    places = [await make(house, kind, f"a_{kind}", "root") for kind in ("prompt", "preset")]
    await make(house, "pipeline", "a_pipeline", "root", source="a_prompt()")
    await call_something(house)
    paths = [
        one.path
        for one in site.find_pages()
        if one.method == "GET" and "{" not in one.path and not ENDLESS.search(one.path)
    ]
    async with taking_no_changes(database_url):
        for path in (*paths, *places, "/pipelines/1", "/functions/uppercase", "/pipelines/1/edit"):
            shown = await administrator.client.get(path, headers={"accept": "text/html"})
            assert shown.status_code < 500, (path, shown.text)
        edited = {"name": "a_prompt", "body": "Hello.", "model": "gpt-4o"}
        stored = version(await see(administrator, f"{places[0]}/edit"))
        for path, fields in (
            (f"{places[0]}/edit", {**edited, "version": stored}),
            ("/tokens/new", {"name": "laptop", "scope": "proxy"}),
        ):
            refused = await send(administrator, path, **fields)
            assert refused.status_code == 503, (path, refused.text)
            assert "The database takes no changes at the moment" in refused.text, path
        headers = {**OWN, "x-csrftoken": administrator.csrf_token}
        answer = await administrator.client.post(
            "/api/v1/tokens", json={"name": "laptop"}, headers=headers
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_read_only")
    saved = await send(administrator, "/tokens/new", name="laptop", scope="proxy")
    assert saved.status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_file_that_takes_no_changes_says_so_too(database_url: str) -> None:
    database = Database(database_url)
    try:
        with pytest.raises(DatabaseReadOnly):
            await _change_nothing(database)
    finally:
        await database.close()


async def _change_nothing(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("PRAGMA query_only = on"))
        await session.execute(update(Session).values(ip=""))

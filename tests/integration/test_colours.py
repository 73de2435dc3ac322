"""Colours of charts: the same name has the same one, whenever and beside whatever it is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from aieye.db.engine import Database
from aieye.db.tables import ChartName
from aieye.ui.colours import MOST_REMEMBERED, find_colours


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def colours_of(database: Database, *models: str) -> list[int]:
    found = await find_colours(database, {"model": models})
    return [found["model"][model] for model in models]


async def test_who_came_first_keeps_its_colour_in_every_chart(database: Database) -> None:
    models = [f"model-{number}" for number in range(8)]
    assert await colours_of(database, *models[:2]) == [1, 2]
    assert await colours_of(database, *reversed(models)) == [3, 4, 5, 6, 7, 8, 2, 1]
    for number, model in enumerate(models):
        for other in models[:number]:
            alone, beside = (
                await colours_of(database, model),
                await colours_of(database, other, model),
            )
            assert alone[0] == beside[1] != beside[0]


async def test_a_token_and_a_model_that_are_named_alike_are_two(database: Database) -> None:
    await colours_of(database, "other", "1")
    found = await find_colours(database, {"model": ["1"], "token": ["1"]})
    assert found == {"model": {"1": 2}, "token": {"1": 1}}


async def test_made_up_names_fill_no_database_and_have_a_colour_all_the_same(
    database: Database,
) -> None:
    for number in range(0, 3 * MOST_REMEMBERED, 8):
        await colours_of(database, *(f"model-{n}" for n in range(number, number + 8)))
    async with database.read() as session:
        kept = await session.scalar(select(func.count()).select_from(ChartName))
    assert kept is not None
    assert MOST_REMEMBERED <= kept < MOST_REMEMBERED + 8
    once = await colours_of(database, "never seen before")
    assert once == await colours_of(database, "never seen before")

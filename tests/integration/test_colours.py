"""Colours of charts: the same name has the same one, whenever and beside whatever it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, func, select

from aieye.db.engine import Database
from aieye.db.tables import ChartName, UsageDimension
from aieye.ui.colours import MOST_REMEMBERED, find_colours


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def called(database: Database, *models: str, status: int = 200, token_id: int = 0) -> None:
    """Calls of the models are on record, so far as colours ask."""
    async with database.write() as session:
        kept = await session.scalar(select(func.count()).select_from(UsageDimension)) or 0
        for number, model in enumerate(models, kept + 1):
            session.add(
                UsageDimension(
                    id=number, token_id=token_id, user_id=1, provider_id=1, model=model, pipeline="",
                    endpoint="chat/completions", status=status, cache="miss",
                )
            )  # fmt: skip


async def colours_of(database: Database, *models: str, is_administrator: bool = True) -> list[int]:
    found = await find_colours(database, {"model": models}, is_administrator=is_administrator)
    return [found["model"][model] for model in models]


async def remembered(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(ChartName.value).order_by(ChartName.id)))


async def test_who_came_first_keeps_its_colour_in_every_chart(database: Database) -> None:
    models = [f"model-{number}" for number in range(8)]
    await called(database, *models)
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
    await called(database, "other", "1", token_id=1)
    await colours_of(database, "other", "1")
    shown = {"model": ["1"], "token": ["1"]}
    found = await find_colours(database, shown, is_administrator=True)
    assert found == {"model": {"1": 2}, "token": {"1": 1}}


async def test_names_fill_no_database_and_have_a_colour_all_the_same(database: Database) -> None:
    names = [f"model-{number}" for number in range(MOST_REMEMBERED + 20)]
    await called(database, *names)
    for number in range(0, len(names), 12):
        await colours_of(database, *names[number : number + 12])
    assert await remembered(database) == names[:MOST_REMEMBERED]
    once = await colours_of(database, "never seen before")
    assert once == await colours_of(database, "never seen before")


async def test_made_up_names_take_no_places(database: Database) -> None:
    await called(database, "real", "another")
    await called(database, "refused", status=404)
    await called(database, "left", status=499)
    # Whoever has a token looks as often as they like.
    await colours_of(database, "another", is_administrator=False)
    await colours_of(database, "refused", "left", "never called", "real")
    assert await remembered(database) == ["real"]
    assert await colours_of(database, "real", is_administrator=False) == [1]


async def test_first_looks_at_the_same_moment_agree(database: Database) -> None:
    for turn in range(4):
        names = [f"model-{turn}-{number}" for number in range(8)]
        await called(database, *names)
        looks = [names, names[::-1]] * 4
        found = await asyncio.gather(*(colours_of(database, *look) for look in looks))
        by_name = [
            dict(zip(look, seen, strict=True)) for look, seen in zip(looks, found, strict=True)
        ]
        assert by_name == [dict(zip(names, await colours_of(database, *names), strict=True))] * 8


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_who_only_looks_has_colours_while_nothing_can_be_written(database: Database) -> None:
    await called(database, "real", "new")
    await colours_of(database, "real")

    def refuse_changes(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    event.listen(database.engine.sync_engine, "checkout", refuse_changes)
    real, new = await colours_of(database, "real", "new")
    assert (real, await remembered(database)) == (1, ["real"])
    assert 1 < new <= 8

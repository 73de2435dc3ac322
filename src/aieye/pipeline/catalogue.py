"""What the owner of a pipeline may use, as definitions that pipelines are checked against.

That is every function, the owner's own prompts and pipelines, and those that are shared; being an
administrator adds nothing. Of each the version counts that runs.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import (
    Pipeline,
    PipelineUse,
    PipelineVersion,
    Preset,
    Prompt,
    PromptVersion,
)
from aieye.pipeline.language.catalogue import Catalogue, Definition, Parameter
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.preset_calls import INPUT
from aieye.pipeline.stored import Reference, read_arguments

_TEXT = Type("str")
# All that may be a name, in strings and comments too.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What is read at once takes some milliseconds.
_IDS_AT_ONCE: Final = 1_000


async def catalogue_of(
    session: AsyncSession, functions: Catalogue, owner_id: int, source: str
) -> dict[str, Definition]:
    """What the user may use, by name. Of what `source` does not name, the parameters are not read.

    There may be tens of thousands: all is done in parts, between which the loop serves others.
    """
    named = frozenset(_NAME.findall(source))
    found: dict[str, Definition] = {}
    async for prompts in _prompts_of(session, owner_id, named):
        found.update((one.name, one) for one in prompts)
    async for presets in _presets_of(session, owner_id):
        found.update((one.name, one) for one in presets)
    async for pipelines in _pipelines_of(session, owner_id, named):
        found.update((one.name, one) for one in pipelines)
    return found | dict(functions)


async def _prompts_of(
    session: AsyncSession, owner_id: int, named: Collection[str]
) -> AsyncIterator[list[Definition]]:
    usable = _usable(Prompt, owner_id)
    ids: list[int] = []
    async for rows in _in_parts(session, select(Prompt.id, Prompt.name).where(usable), Prompt.id):
        ids += [id_ for id_, name in rows if name in named]
        yield [Definition(name, "prompt", (), id_) for id_, name in rows if name not in named]
    for some in _parts(ids):
        statement = _prompts().where(usable, Prompt.id.in_(some))
        yield [_prompt(row) for row in await session.execute(statement)]


async def _presets_of(session: AsyncSession, owner_id: int) -> AsyncIterator[list[Definition]]:
    statement = _presets().where(_usable(Preset, owner_id), Preset.is_callable)
    async for rows in _in_parts(session, statement, Preset.id):
        yield [_preset(row) for row in rows]


async def _pipelines_of(
    session: AsyncSession, owner_id: int, named: Collection[str]
) -> AsyncIterator[list[Definition]]:
    # One that is being saved has no version yet.
    usable = _usable(Pipeline, owner_id) & (Pipeline.served_version > 0)
    names: dict[int, str] = {}
    statement = select(Pipeline.id, Pipeline.name).where(usable)
    async for rows in _in_parts(session, statement, Pipeline.id):
        names.update((id_, name) for id_, name in rows)
    calls = await _calls(session)
    for ids in _parts(list(names)):
        yield [
            Definition(names[id_], "pipeline", (), id_, _seen_calls(id_, calls, names))
            for id_ in ids
            if names[id_] not in named
        ]
        await asyncio.sleep(0)
    for ids in _parts([id_ for id_, name in names.items() if name in named]):
        statement_of = _pipelines().where(usable, Pipeline.id.in_(ids))
        yield [
            _pipeline(row, _seen_calls(row.id, calls, names))
            for row in await session.execute(statement_of)
        ]


async def _in_parts(
    session: AsyncSession, statement: Select[int, str], id_of: InstrumentedAttribute[int]
) -> AsyncIterator[Sequence[Row[int, str]]]:
    """The rows of a statement, whose first column is the id, in the order of their ids."""
    last = 0
    while True:
        part = statement.where(id_of > last).order_by(id_of).limit(_IDS_AT_ONCE)
        rows = (await session.execute(part)).all()
        yield rows
        if len(rows) < _IDS_AT_ONCE:
            return
        last = rows[-1][0]
        await asyncio.sleep(0)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many at a time as fit into one question."""
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield ids[start : start + _IDS_AT_ONCE]


async def definitions_of(
    session: AsyncSession, functions: Catalogue, owner_id: int, references: Collection[Reference]
) -> Mapping[Reference, Definition]:
    """Those of `references` that are still there for the user, under whatever name."""
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for kind, id_ in references:
        wanted[kind].add(id_)
    found = [one for one in functions.values() if one.id in wanted["function"]]
    if ids := wanted["prompt"]:
        prompts = _prompts().where(_usable(Prompt, owner_id), Prompt.id.in_(ids))
        found += [_prompt(row) for row in await session.execute(prompts)]
    if ids := wanted["preset"]:
        presets = _presets().where(_usable(Preset, owner_id), Preset.id.in_(ids))
        found += [_preset(row) for row in await session.execute(presets)]
    if ids := wanted["pipeline"]:
        pipelines = _pipelines().where(_usable(Pipeline, owner_id), Pipeline.id.in_(ids))
        found += [_pipeline(row) for row in await session.execute(pipelines)]
    return {(one.kind, one.id): one for one in found if isinstance(one.id, int)}


async def definitions_like(
    session: AsyncSession, owner_id: int, text: str, *, is_whole: bool = False, limit: int
) -> Sequence[Definition]:
    """Prompts, presets and pipelines that the user may use and whose names begin with `text`, by name;
    with `is_whole` the one that is called so."""
    if not text.isprintable():
        return []
    found: list[Definition] = []
    for table, select_, define in (
        (Prompt, _prompts(), _prompt),
        (Preset, _presets().where(Preset.is_callable), _preset),
        (Pipeline, _pipelines(), _pipeline),
    ):
        named = table.name == text if is_whole else table.name.startswith(text, autoescape=True)
        rows = await session.execute(
            select_.where(_usable(table, owner_id), named).order_by(table.name).limit(limit)
        )
        found += [define(row) for row in rows]
    return sorted(found, key=lambda one: one.name)[:limit]


def _usable(table: type[Prompt | Preset | Pipeline], owner_id: int) -> ColumnElement[bool]:
    return table.deleted_at.is_(None) & or_(table.is_shared, table.user_id == owner_id)


def _prompts() -> Select[int, str, list[str]]:
    return select(Prompt.id, Prompt.name, PromptVersion.variables).join(
        PromptVersion,
        (PromptVersion.prompt_id == Prompt.id) & (PromptVersion.number == Prompt.served_version),
    )


def _presets() -> Select[int, str]:
    return select(Preset.id, Preset.name)


def _pipelines() -> Select[int, str, list[dict[str, Any]]]:
    return select(Pipeline.id, Pipeline.name, PipelineVersion.arguments).join(
        PipelineVersion,
        (PipelineVersion.pipeline_id == Pipeline.id)
        & (PipelineVersion.number == Pipeline.served_version),
    )


def _prompt(row: Row[int, str, list[str]]) -> Definition:
    id_, name, variables = row
    return Definition(name, "prompt", tuple(Parameter(one, _TEXT) for one in variables), id_)


def _preset(row: Row[int, str]) -> Definition:
    id_, name = row
    return Definition(name, "preset", (Parameter(INPUT, _TEXT),), id_)


def _pipeline(row: Row[int, str, list[dict[str, Any]]], calls: tuple[str, ...] = ()) -> Definition:
    id_, name, arguments = row
    return Definition(name, "pipeline", read_arguments(arguments), id_, calls)


async def _calls(session: AsyncSession) -> Mapping[int, list[int]]:
    """Which pipelines each pipeline calls, whoever owns them."""
    rows = await session.execute(
        select(PipelineUse.pipeline_id, PipelineUse.object_id)
        .join(
            Pipeline,
            (Pipeline.id == PipelineUse.pipeline_id)
            & (Pipeline.served_version == PipelineUse.number),
        )
        .where(PipelineUse.kind == "pipeline", Pipeline.deleted_at.is_(None))
    )
    found: defaultdict[int, list[int]] = defaultdict(list)
    for caller, callee in rows:
        found[caller].append(callee)
    return found


def _seen_calls(
    caller: int, calls: Mapping[int, list[int]], names: Mapping[int, str]
) -> tuple[str, ...]:
    """What a pipeline calls among those that have names here.

    Others' private pipelines are passed through: a circle is found although it leads through them,
    and they are not named.
    """
    seen: set[int] = set()
    waiting = list(calls.get(caller, ()))
    while waiting:
        callee = waiting.pop()
        if callee not in seen:
            seen.add(callee)
            if callee not in names:
                waiting += calls.get(callee, ())
    return tuple(sorted(names[callee] for callee in seen if callee in names))

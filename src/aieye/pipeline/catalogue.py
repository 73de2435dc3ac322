"""What the owner of a pipeline may use, as definitions that pipelines are checked against.

That is every function, the owner's own prompts and pipelines, and those that are shared; being an
administrator adds nothing. Of each the version counts that runs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import orjson
from sqlalchemy import ColumnElement, Row, Select, Text, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import (
    CallableName,
    Pipeline,
    PipelineUse,
    PipelineVersion,
    Preset,
    Prompt,
    PromptVersion,
)
from aieye.pipeline.apart import apart, is_large
from aieye.pipeline.language.catalogue import Catalogue, Definition, Parameter
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.preset_calls import INPUT
from aieye.pipeline.stored import Reference, read_arguments

MoreP = ParamSpec("MoreP")
ResultT = TypeVar("ResultT")
AnyT = TypeVar("AnyT")

_TEXT = Type("str")
# All that may be a name, in strings and comments too.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What is read at once takes some milliseconds.
_IDS_AT_ONCE: Final = 10_000
_ROWS_AT_ONCE: Final = 1_000

_Kept = Literal["prompt", "preset", "pipeline"]
# What a name stands for of which no more is read, and its id.
_Unread = tuple[_Kept, int]


class NotAllRead(Exception):
    """Somebody asks for every name there is, which were not read."""


class _Usable(Mapping[str, Definition]):
    """What the user may use, by name. Of most of it at most names are read, which others are compared
    with: what they stand for is made of those that are asked for. Without `is_whole` there are those
    alone that a text names, and going through it raises `NotAllRead`."""

    def __init__(self, functions: Catalogue, *, is_whole: bool) -> None:
        self._functions = functions
        self._is_whole = is_whole
        self._found: dict[str, Definition | _Unread] = {}
        self._pipelines: dict[int, str] = {}
        self._calls: Mapping[int, list[int]] = {}

    def __getitem__(self, name: str) -> Definition:
        if (function := self._functions.get(name)) is not None:
            return function
        found = self._found[name]
        if not isinstance(found, Definition):
            kind, id_ = found
            calls = self.calls_of(id_) if kind == "pipeline" else ()
            found = self._found[name] = Definition(name, kind, (), id_, calls)
        return found

    def __iter__(self) -> Iterator[str]:
        if not self._is_whole:
            raise NotAllRead
        yield from self._functions
        yield from (name for name in self._found if name not in self._functions)

    def __len__(self) -> int:
        return len(self._found) + len(self._functions)

    def add_names(self, kind: _Kept, ids: Mapping[int, str]) -> None:
        self._found.update({name: (kind, id_) for id_, name in ids.items()})

    def add(self, definitions: Iterable[Definition]) -> None:
        self._found.update((one.name, one) for one in definitions)

    def add_calls(self, names: Mapping[int, str], calls: Mapping[int, list[int]]) -> None:
        """Which pipelines each pipeline calls, and the names that are known."""
        self._pipelines, self._calls = dict(names), calls

    def calls_of(self, pipeline_id: int) -> tuple[str, ...]:
        return _seen_calls(pipeline_id, self._calls, self._pipelines)


async def against_usable(
    session: AsyncSession,
    functions: Catalogue,
    owner_id: int,
    source: str,
    work: Callable[Concatenate[str, Catalogue, MoreP], ResultT],
    *args: MoreP.args,
    **kwargs: MoreP.kwargs,
) -> ResultT:
    """What pure `work` gives for `source` and what the user may use, in a thread if that is heavy.

    Most texts are in order, and then what they name is all that is read: the names of all others serve
    to say what a misspelt one may mean.
    """
    for is_whole in (False, True):
        usable = await catalogue_of(session, functions, owner_id, source, is_whole=is_whole)
        is_heavy = is_large(source, usable if is_whole else ())
        with suppress(NotAllRead):
            return await apart(is_heavy, work, source, usable, *args, **kwargs)
    raise AssertionError("all was read")


async def catalogue_of(
    session: AsyncSession, functions: Catalogue, owner_id: int, source: str, *, is_whole: bool
) -> Catalogue:
    """What the user may use, by name: all of it if `is_whole`, else what `source` names. Of what it does
    not name, the parameters are not read.

    There may be tens of thousands: all is done in parts, between which the loop serves others.
    """
    named = frozenset(_NAME.findall(source))
    held = await _held(session, named)
    found = _Usable(functions, is_whole=is_whole)
    if is_whole or held["prompt"]:
        await _add_prompts(found, session, owner_id, held["prompt"], is_whole)
    if is_whole or held["preset"]:
        await _add_presets(found, session, owner_id, held["preset"], is_whole)
    if is_whole or held["pipeline"]:
        await _add_pipelines(found, session, owner_id, held["pipeline"])
    return found


async def _held(session: AsyncSession, names: Collection[str]) -> Mapping[str, list[int]]:
    """By kind the ids of what holds one of the names."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for some in _parts(sorted(names)):
        statement = select(CallableName.kind, CallableName.object_id)
        for kind, id_ in await session.execute(statement.where(CallableName.name.in_(some))):
            found[kind].append(id_)
    return found


async def _add_prompts(
    found: _Usable, session: AsyncSession, owner_id: int, named: Sequence[int], is_whole: bool
) -> None:
    usable = _usable(Prompt, owner_id)
    if is_whole:
        names = await _names(session, select(Prompt.id, Prompt.name).where(usable), Prompt.id)
        found.add_names("prompt", names)
    for ids in _parts(named):
        statement = _prompts().where(usable, Prompt.id.in_(ids))
        found.add([_prompt(row) for row in await session.execute(statement)])


async def _add_presets(
    found: _Usable, session: AsyncSession, owner_id: int, named: Sequence[int], is_whole: bool
) -> None:
    statement = _presets().where(_usable(Preset, owner_id), Preset.is_callable)
    if is_whole:
        found.add_names("preset", await _names(session, statement, Preset.id))
    for ids in _parts(named):
        rows = await session.execute(statement.where(Preset.id.in_(ids)))
        found.add([_preset(id_, name) for id_, name in rows])


async def _add_pipelines(
    found: _Usable, session: AsyncSession, owner_id: int, named: Sequence[int]
) -> None:
    # One that is being saved has no version yet.
    usable = _usable(Pipeline, owner_id) & (Pipeline.served_version > 0)
    # A circle may lead through those that the text does not name.
    names = await _names(session, select(Pipeline.id, Pipeline.name).where(usable), Pipeline.id)
    found.add_names("pipeline", names)
    found.add_calls(names, await _calls(session))
    for ids in _parts(named):
        statement_of = _pipelines().where(usable, Pipeline.id.in_(ids))
        rows = await session.execute(statement_of)
        found.add([_pipeline(row, found.calls_of(row.id)) for row in rows])


async def _names(
    session: AsyncSession, statement: Select[int, str], id_of: InstrumentedAttribute[int]
) -> dict[int, str]:
    """The names that a statement finds, by their ids, which are its first column.

    The database writes them down as JSON: a row each would take Python several times as long.
    """
    together = func.json_group_array if _is_sqlite(session) else func.json_agg
    names: dict[int, str] = {}
    last = 0
    while True:
        part = statement.where(id_of > last).order_by(id_of).limit(_IDS_AT_ONCE).subquery().c
        lists = select(cast(together(part.id), Text), cast(together(part.name), Text))
        ids, texts = map(_read_list, (await session.execute(lists)).one())
        names.update(zip(ids, texts, strict=True))
        if len(ids) < _IDS_AT_ONCE:
            return names
        last = max(ids)


def _is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _read_list(text: str | None) -> list[Any]:
    """A list of PostgreSQL's is null where it would be empty."""
    return [] if text is None else list(orjson.loads(text))


def _parts(values: Sequence[AnyT]) -> Iterator[Sequence[AnyT]]:
    """As many at a time as fit into one question."""
    for start in range(0, len(values), _ROWS_AT_ONCE):
        yield values[start : start + _ROWS_AT_ONCE]


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
        found += [_preset(id_, name) for id_, name in await session.execute(presets)]
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
        (Preset, _presets().where(Preset.is_callable), lambda row: _preset(*row)),
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


def _preset(id_: int, name: str) -> Definition:
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

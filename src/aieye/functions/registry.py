"""Which functions are registered: the rows, and what a synchronisation makes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.names import free_name
from aieye.access.texts import check_text
from aieye.db.rows import get_living, keyset
from aieye.db.tables import CallableName, RegisteredFunction
from aieye.db.types import now
from aieye.functions.model import Failure, Function, Source, describe, read_description
from aieye.pipeline.language.catalogue import Definition

KIND: Final = "function"
LONGEST_DESCRIPTION: Final = 10_000


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a synchronisation did, by name, and what of the files it could not use."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    failed: tuple[Failure, ...]


@dataclass(slots=True)
class Found:
    """What the files hold at present.

    `functions` by name. `files` are there. Of a file in `broken` nothing is known, so what is
    registered from it stays.
    """

    functions: dict[str, Function] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def gather(
    inspected: Iterable[tuple[str, Sequence[Function], Sequence[Failure]]],
    registered: Mapping[str, str],
) -> Found:
    """All files together: each its name, its functions and its failures.

    A name that two files define is refused to both, unless it is registered from one of them
    (`registered` tells the file of each name): then that one keeps it and the other is refused.
    """
    found = Found()
    by_name: dict[str, list[Function]] = {}
    for file, functions, failures in inspected:
        found.failures += failures
        if failures and not functions:
            found.broken.add(file)
        for function in functions:
            by_name.setdefault(function.name, []).append(function)
    for name, several in by_name.items():
        kept = several
        if len(several) > 1:
            places = " and ".join(f"{one.file}:{one.line}" for one in several)
            kept = [one for one in several if one.file == registered.get(name)]
            found.failures += [
                Failure(one.file, one.line, f"'{name}' is defined twice: {places}")
                for one in several
                if one not in kept
            ]
        for one in kept:
            found.functions[name] = one
    return found


async def registered_definitions(session: AsyncSession) -> dict[str, Definition]:
    """The registered functions as pipelines are checked against them, by name."""
    found = {}
    for row in await list_functions(session):
        source = Source(row.file, row.file, b"", is_builtin=False)
        found[row.name] = read_description(row.definition, source, row.id).definition
    return found


async def list_functions(
    session: AsyncSession, *, after: int | None = None, limit: int | None = None
) -> Sequence[RegisteredFunction]:
    """Registered functions in the order of their making, from behind the id `after`."""
    table = RegisteredFunction
    statement = select(table).where(table.deleted_at.is_(None))
    return (await session.scalars(keyset(statement, table.id, after=after, limit=limit))).all()


async def get_function(session: AsyncSession, function_id: int) -> RegisteredFunction:
    """The registered function. Raises `NotFound`."""
    return await get_living(session, RegisteredFunction, function_id)


async def describe_function(
    session: AsyncSession, function_id: int, description: str | None, *, actor: Actor
) -> RegisteredFunction:
    """Say what it does in other words than its docstring; nothing, or None, leaves that to it again.

    Raises `NotFound`, `Unprocessable`.
    """
    row = await get_function(session, function_id)
    text = check_text((description or "").strip(), longest=LONGEST_DESCRIPTION, param="description")
    was = {"description": row.description or ""}
    row.description = text or None
    record(
        session, actor, "function.describe", KIND, row.id, name=row.name, description=text, was=was
    )
    await session.flush()
    await session.refresh(row)
    return row


async def described_by_hand(session: AsyncSession, names: Collection[str]) -> dict[str, str]:
    """What administrators say of those of the functions that they described."""
    table = RegisteredFunction
    statement = select(table.name, table.description).where(
        table.name.in_(names), table.deleted_at.is_(None)
    )
    return {name: text for name, text in await session.execute(statement) if text is not None}


async def register(session: AsyncSession, found: Found, *, only_builtins: bool) -> SyncResult:
    """Make the rows say what was found. The caller holds the revision (`bump_revision`).

    With `only_builtins` nothing is removed and files that people added are left alone.
    """
    rows = {row.name: row for row in await session.scalars(select(RegisteredFunction))}
    living = {name: row for name, row in rows.items() if row.deleted_at is None}
    removed = [] if only_builtins else await _remove_gone(session, living, found)
    functions = {
        name: function
        for name, function in found.functions.items()
        if function.is_builtin or not only_builtins
    }
    taken = await _taken(session, functions.keys() - living.keys())
    changed, added, refused, new = [], [], [], []
    for name, function in functions.items():
        if name in living:
            if _is_changed(rows[name], function):
                changed.append(name)
        elif name in taken:
            reason = f"'{name}' is the name of something else already"
            refused.append(Failure(function.file, function.line, reason))
            continue
        else:
            added.append(name)
        if name in rows:
            # One that comes back has its old id, so that pipelines find it again.
            _write(rows[name], function)
        else:
            new.append({"name": name, **_columns(function)})
    await _add(session, new, added)
    return SyncResult(
        tuple(sorted(added)),
        tuple(sorted(changed)),
        tuple(sorted(removed)),
        tuple(sorted([*found.failures, *refused], key=lambda one: (one.file, one.line or 0))),
    )


def is_up_to_date(rows: Iterable[RegisteredFunction], functions: Iterable[Function]) -> bool:
    """Whether each of the functions is registered as it is."""
    known = {row.name: row for row in rows if row.deleted_at is None}
    return all(
        (row := known.get(function.name)) is not None and row.source_hash == function.source_hash
        for function in functions
    )


async def _remove_gone(
    session: AsyncSession, living: Mapping[str, RegisteredFunction], found: Found
) -> list[str]:
    gone = [
        row
        for name, row in living.items()
        if name not in found.functions and row.file not in found.broken
    ]
    for row in gone:
        row.deleted_at = now()
        await free_name(session, KIND, row.id)
    return [row.name for row in gone]


async def _taken(session: AsyncSession, names: Collection[str]) -> set[str]:
    """Those of the names that something has."""
    statement = select(CallableName.name).where(CallableName.name.in_(names))
    return set(await session.scalars(statement))


async def _add(
    session: AsyncSession, new: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> None:
    """Insert the new rows, and take the names of these and of those that come back."""
    if new:
        # All at once: objects of the session, whose ids are asked for, go into SQLite one by one.
        await session.execute(insert(RegisteredFunction), new)
    if names:
        table = RegisteredFunction
        found = await session.execute(select(table.id, table.name).where(table.name.in_(names)))
        taken = [{"name": name, "kind": KIND, "object_id": id_} for id_, name in found]
        await session.execute(insert(CallableName), taken)
    await session.flush()


def _columns(function: Function) -> dict[str, Any]:
    return {
        "file": function.file,
        "source_hash": function.source_hash,
        "definition": describe(function),
        "deleted_at": None,
    }


def _write(row: RegisteredFunction, function: Function) -> None:
    for name, value in _columns(function).items():
        setattr(row, name, value)


def _is_changed(row: RegisteredFunction, function: Function) -> bool:
    """Whether it says something else, not whether it moved to another line of its file."""
    was, present = row.definition | {"line": 0}, describe(function) | {"line": 0}
    return was != present or row.file != function.file

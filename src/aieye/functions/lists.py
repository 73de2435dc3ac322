"""Lists of registered functions as pages show them: by name, found by text and kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import RegisteredFunction
from aieye.errors import NotFound
from aieye.functions.loader import BUILTINS

FunctionKind = Literal["builtin", "custom"]


async def list_by_name(
    session: AsyncSession,
    *,
    text: str = "",
    kind: FunctionKind | None = None,
    after: str | None = None,
    limit: int,
) -> Sequence[RegisteredFunction]:
    """The registered functions by name, from behind the name `after`; `text` is a part of the name."""
    table = RegisteredFunction
    statement = select(table).where(table.deleted_at.is_(None)).order_by(table.name).limit(limit)
    if text:
        statement = statement.where(func.lower(table.name).contains(text.lower(), autoescape=True))
    if kind is not None:
        is_builtin = table.file == BUILTINS
        statement = statement.where(is_builtin if kind == "builtin" else ~is_builtin)
    if after is not None:
        statement = statement.where(table.name > after)
    return (await session.scalars(statement)).all()


async def get_named(session: AsyncSession, name: str) -> RegisteredFunction:
    """The registered function of this name. Raises `NotFound`."""
    table = RegisteredFunction
    row = None
    if name.isprintable():
        row = await session.scalar(
            select(table).where(table.name == name, table.deleted_at.is_(None))
        )
    if row is None:
        raise NotFound(f"There is no function '{name[:100]}'.")
    return row

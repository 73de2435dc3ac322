"""What every service does with rows: find a living one, add a unique one, walk a list by key."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import Base
from aieye.errors import Conflict, NotFound

LARGEST_ID = 2**31 - 1

RowT = TypeVar("RowT", bound=Base)
AnyT = TypeVar("AnyT")


async def find_living(session: AsyncSession, table: type[RowT], row_id: int) -> RowT | None:
    """The row with this id that is not deleted; an id too large for its column has none."""
    row = await session.get(table, row_id) if 0 < row_id <= LARGEST_ID else None
    return None if row is None or getattr(row, "deleted_at", None) is not None else row


async def get_living(session: AsyncSession, table: type[RowT], row_id: int) -> RowT:
    """The row with this id that is not deleted. Raises `NotFound`."""
    row = await find_living(session, table, row_id)
    if row is None:
        raise NotFound(
            f"There is no {table.__tablename__.removesuffix('s').replace('_', ' ')} {row_id}."
        )
    return row


async def insert_unique(session: AsyncSession, row: Base, *, clash: str, param: str) -> None:
    """Insert `row`, which gives it its id; a unique column that repeats is a `Conflict` (`clash`).

    The database decides, not a look-up before, so that of two callers at once only one wins.
    """
    session.add(row)
    await flush_unique(session, clash=clash, param=param)


async def flush_unique(session: AsyncSession, *, clash: str, param: str) -> None:
    """Send what is pending; a unique column that repeats is a `Conflict` (`clash`)."""
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(clash, param=param) from error


def keyset(
    statement: Select[AnyT],
    column: InstrumentedAttribute[Any],
    *,
    after: Any | None,
    limit: int | None,
) -> Select[AnyT]:
    """`statement` by rising `column`, from behind `after`, at most `limit` rows."""
    if after is not None:
        statement = statement.where(column > after)
    return statement.order_by(column).limit(limit)

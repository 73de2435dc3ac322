"""Lists a page at a time, each from behind the last row of the one before (a keyset).

Rows that come or go meanwhile neither repeat nor hide others, and no page costs more than the
first. The cursor is opaque to clients; what is in it is checked like any other input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from aieye.db.cursors import Key, encode_cursor, number_after, text_after

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 1_000

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is asked for."""

    limit: int
    cursor: str | None

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than shown tells whether there is another page."""
        return self.limit + 1

    def after_id(self, largest: int = 2**31 - 1) -> int | None:
        """The number behind which the page begins. Raises `BadCursor`."""
        return number_after(self.cursor, largest)

    def after_text(self, longest: int = 64) -> str | None:
        """The text behind which the page begins. Raises `BadCursor`."""
        return text_after(self.cursor, longest)


async def paging(
    limit: Annotated[
        int, Query(ge=1, le=LARGEST_LIMIT, description="How many to give at most.")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> Paging:
    """The dependency of every list."""
    return Paging(limit, cursor)


CurrentPaging = Annotated[Paging, Depends(paging)]


class Page(BaseModel, Generic[ItemT]):
    """A part of a list; `next_cursor` leads to the next one."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def of(
        cls,
        rows: Sequence[Any],
        page: Paging,
        *,
        key: Callable[[Any], Key] = attrgetter("id"),
    ) -> Self:
        """The page of `rows`, which were read with `page.fetch` as their limit."""
        shown, has_more = rows[: page.limit], len(rows) > page.limit
        return cls.model_validate(
            {
                "data": shown,
                "has_more": has_more,
                "next_cursor": encode_cursor(key(shown[-1])) if has_more else None,
            }
        )

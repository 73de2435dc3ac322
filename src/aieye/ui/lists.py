"""Lists a page at a time: the cursor in the URL, and the one of the page behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any

from fastapi import Query

from aieye.db.cursors import LONGEST_CURSOR, Key, encode_cursor

PAGE = 50

Cursor = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]


def next_cursor(
    rows: Sequence[Any], shown: int = PAGE, *, key: Callable[[Any], Key] = attrgetter("id")
) -> str | None:
    """The cursor behind the last of `shown` rows; None when `rows` has no more than those."""
    return encode_cursor(key(rows[shown - 1])) if len(rows) > shown else None

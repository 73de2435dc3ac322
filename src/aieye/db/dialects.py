"""What SQLAlchemy has for each database under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def insert_for(*, is_sqlite: bool) -> Callable[[Any], Insert]:
    """The `insert` that can say `ON CONFLICT`."""
    if is_sqlite:
        return sqlite.insert
    # Two megabytes that processes on SQLite do without.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert

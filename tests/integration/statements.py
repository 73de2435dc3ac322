"""What a database is asked, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from aieye.db.engine import Database

COMMIT = "COMMIT"


@contextmanager
def watched(database: Database) -> Iterator[list[tuple[str, int]]]:
    """The first three words of each statement that changes something, with its rows, and the
    commits, in their order."""
    done: list[tuple[str, int]] = []

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("SELECT", "PRAGMA")):
            done.append((" ".join(statement.split()[:3]), cursor.rowcount))

    def note_commit(_connection: Any) -> None:
        done.append((COMMIT, 0))

    engine = database.engine.sync_engine
    event.listen(engine, "after_cursor_execute", note)
    event.listen(engine, "commit", note_commit)
    try:
        yield done
    finally:
        event.remove(engine, "after_cursor_execute", note)
        event.remove(engine, "commit", note_commit)


def rows_of(done: list[tuple[str, int]], statement: str) -> list[int]:
    """How many rows each of these statements changed."""
    return [rows for words, rows in done if words == statement]

"""Whose the objects kept at a provider are: files, batches, vector stores, stored responses.

An id belongs to the user whose token made it and to the key it was made with: for anyone else it
is 404, and later calls use the same key. An id that AI-Eye has not seen being made (older than
itself) is open to administrators only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import select

from aieye.access.snapshot import Grant
from aieye.db.batches import Target
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.tables import OwnedObject
from aieye.errors import NotFound

OWNED = Target(
    OwnedObject.__table__,  # type: ignore[arg-type] # declared as FromClause, is a Table
    ("external_id", "provider_id", "user_id", "key_id", "kind", "created_at"),
    ("external_id", "provider_id", "user_id"),
    "ignore",
)
# Fields of request bodies that name such objects.
_ONE = frozenset({"file_id", "input_file_id", "previous_response_id", "vector_store_id"})
_MANY = frozenset({"file_ids", "vector_store_ids"})
_LONGEST_ID = 200
_ANSWER_ID = re.compile(rb'"id"\s*:\s*"((?:resp|chatcmpl)[A-Za-z0-9_\-]{1,190})"')


class NoSuchObject(NotFound):
    """The object does not exist, or is somebody else's."""

    code = "object_not_found"


def may_refer(body: bytes) -> bool:
    """Whether a body may name such objects: a quick look that errs towards yes."""
    # An escape may stand for any letter of a field's name.
    return b'_id"' in body or b'_ids"' in body or b"\\u00" in body


def references(value: Any) -> Iterator[str]:
    """The ids that a request's body names, wherever in it they stand."""
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, list):
            stack.extend(found)
        elif isinstance(found, dict):
            for name, inner in found.items():
                if name in _ONE and isinstance(inner, str):
                    yield inner
                elif name in _MANY and isinstance(inner, list):
                    yield from (one for one in inner if isinstance(one, str))
                else:
                    stack.append(inner)


def answer_id(body: bytes) -> str | None:
    """The id of a stored response or completion, from the beginning of its answer or stream."""
    found = _ANSWER_ID.search(body, 0, 2_000)
    return None if found is None else found[1].decode()


def _is_id(text: str) -> bool:
    return text.isascii() and text.isprintable() and 0 < len(text) <= _LONGEST_ID


class Owned:
    """Reads and writes who owns what."""

    def __init__(self, database: Database, writer: GroupWriter) -> None:
        self._database = database
        self._writer = writer

    def note(
        self, grant: Grant, external_id: str, kind: str, provider_id: int, key_id: int | None
    ) -> None:
        """The caller now owns the object; written with the next batch."""
        moment = time.time_ns() // 1000
        key = (external_id[:200], provider_id, grant.user_id)
        self._writer.put(OWNED, key, (*key, key_id, kind, moment))

    async def check(self, grant: Grant, ids: Iterable[str]) -> tuple[int, int | None] | None:
        """The provider and key that the ids were made with; None when none of them is known.

        Raises `NoSuchObject` for an id that is not the caller's to name.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return None
        for external_id in wanted:
            if not _is_id(external_id):
                raise NoSuchObject("There is no object of that id.")
        # What was made a moment ago may still be on its way to the database.
        await self._writer.durable()
        async with self._database.read() as session:
            rows = (
                await session.scalars(
                    select(OwnedObject).where(OwnedObject.external_id.in_(wanted[:500]))
                )
            ).all()
        known = {row.external_id for row in rows}
        own = {row.external_id: row for row in rows if row.user_id == grant.user_id}
        for external_id in wanted:
            if external_id in own:
                continue
            if external_id in known or not grant.is_administrator:
                raise NoSuchObject(f"There is no object {external_id[:100]!a}.")
        first = next(iter(own.values()), None)
        return None if first is None else (first.provider_id, first.key_id)

    async def own_ids(self, grant: Grant, ids: list[str]) -> set[str]:
        """Of `ids`, those that the caller may see in a list."""
        async with self._database.read() as session:
            rows = (
                await session.execute(
                    select(OwnedObject.external_id, OwnedObject.user_id).where(
                        OwnedObject.external_id.in_(ids)
                    )
                )
            ).all()
        own = {external_id for external_id, user_id in rows if user_id == grant.user_id}
        if grant.is_administrator:
            own |= set(ids) - {external_id for external_id, _ in rows}
        return own

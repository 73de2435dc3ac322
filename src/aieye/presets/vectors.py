"""Vectors of documents as they are kept: once for each text, model and provider, for all presets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_

from aieye.db.dialects import insert_for
from aieye.db.engine import Database
from aieye.db.tables import DocumentVector, PresetDocuments
from aieye.db.types import now
from aieye.errors import NotFound
from aieye.presets.documents import load_documents

# A provider's id and a model there: what vectors have to have in common to be compared.
SpaceKey: TypeAlias = tuple[int, str]
FLOAT_BYTES: Final = 4
# Rows of one statement. Of 1,536 dimensions they are 1.5 MiB.
_CHUNK: Final = 256
# What nothing refers to goes when it is this old: until then its documents may be coming.
_GRACE: Final = timedelta(days=1)
# Between two transactions, so that whoever waits for the write lock gets it.
_PAUSE_SECONDS: Final = 0.01

ItemT = TypeVar("ItemT")


class Vectors:
    """Reads and writes them. One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(
        self, space: SpaceKey, digests: Iterable[bytes], dimensions: int
    ) -> AsyncIterator[Mapping[bytes, bytes]]:
        """The vectors of documents, some at a time; those of other dimensions are left out."""
        columns = DocumentVector.digest, DocumentVector.vector
        for some in _chunks(digests):
            statement = select(*columns).where(_are(space, some), _has(dimensions))
            async with self._database.read() as session:
                yield {bytes(digest): vector for digest, vector in await session.execute(statement)}

    async def find_missing(
        self, space: SpaceKey, digests: Iterable[bytes], dimensions: int | None
    ) -> list[bytes]:
        """The documents without a vector (of these dimensions), each once and in order."""
        missing: list[bytes] = []
        for some in _chunks(dict.fromkeys(digests)):
            statement = select(DocumentVector.digest).where(_are(space, some))
            if dimensions is not None:
                statement = statement.where(_has(dimensions))
            async with self._database.read() as session:
                present = {bytes(digest) for digest in await session.scalars(statement)}
            missing += [digest for digest in some if digest not in present]
        return missing

    async def store(self, space: SpaceKey, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep vectors by their documents' digests; they take the place of those that were there."""
        insert = insert_for(is_sqlite=self._database.is_sqlite)
        provider_id, model = space
        for some in _chunks(rows):
            # In one order everywhere, since two processes may store the same ones.
            values = [
                {"digest": digest, "provider_id": provider_id, "model": model, "vector": vector}
                for digest, vector in sorted(some)
            ]
            statement = insert(DocumentVector).values(
                [{**one, "created_at": now()} for one in values]
            )
            statement = statement.on_conflict_do_update(
                index_elements=["digest", "provider_id", "model"],
                set_={
                    "vector": statement.excluded.vector,
                    "created_at": statement.excluded.created_at,
                },
            )
            async with self._database.write() as session:
                await session.execute(statement)

    async def prune(self, providers: Collection[int]) -> int:
        """Remove the vectors whose document no preset has any more, or whose provider is gone;
        how many those were. Raises `DatabaseUnavailable`."""
        until = now() - _GRACE
        if not await self._has_any_older(until):
            return 0
        used = await self._digests_in_use()
        key = DocumentVector.digest, DocumentVector.provider_id, DocumentVector.model
        removed = 0
        last: tuple[object, ...] = (b"", 0, "")
        while True:
            statement = select(*key).where(tuple_(*key) > last, DocumentVector.created_at < until)
            statement = statement.order_by(*key).limit(_CHUNK)
            async with self._database.read() as session:
                rows = [tuple(row) for row in await session.execute(statement)]
            if not rows:
                return removed
            gone = [row for row in rows if row[0] not in used or row[1] not in providers]
            if gone:
                async with self._database.write() as session:
                    await session.execute(delete(DocumentVector).where(tuple_(*key).in_(gone)))
                removed += len(gone)
            last = rows[-1]
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _has_any_older(self, until: datetime) -> bool:
        older = select(DocumentVector.provider_id).where(DocumentVector.created_at < until)
        async with self._database.read() as session:
            return await session.scalar(older.limit(1)) is not None

    async def _digests_in_use(self) -> set[bytes]:
        async with self._database.read() as session:
            ids = (await session.scalars(select(PresetDocuments.id))).all()
        used: set[bytes] = set()
        for id_ in ids:
            with suppress(NotFound):
                used.update((await load_documents(self._database, id_)).digests)
        return used


def _are(space: SpaceKey, digests: Collection[bytes]) -> ColumnElement[bool]:
    provider_id, model = space
    return and_(
        DocumentVector.digest.in_(digests),
        DocumentVector.provider_id == provider_id,
        DocumentVector.model == model,
    )


def _has(dimensions: int) -> ColumnElement[bool]:
    return func.length(DocumentVector.vector) == FLOAT_BYTES * dimensions


def _chunks(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    rest = iter(items)
    while some := list(islice(rest, _CHUNK)):
        yield some

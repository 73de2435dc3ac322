"""Sees that the documents of presets have vectors: computed once, stored as they come.

A few documents are embedded while their search waits. Many take minutes: they are indexed in the
background, from their upload on or from the first search after a restart, which goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from aieye.db.engine import Database
from aieye.errors import AieyeError, Unavailable
from aieye.gateway.faults import BrokenOff
from aieye.presets.documents import Documents, check_documents, load_documents
from aieye.presets.embedding import Embedding, EmbeddingRefused, Payer
from aieye.presets.fields import MOST_DOCUMENTS
from aieye.presets.spaces import Space
from aieye.presets.vectors import SpaceKey, Vectors
from aieye.telemetry.loggers import get_logger

log = get_logger()

# How long a search of many documents waits for the rest of their vectors.
PATIENCE_SECONDS: Final = 10.0
# Texts that are held at once.
_TEXTS_AT_ONCE: Final = 4_096
# Failures in a row, none of which brought a vector, after which many documents are given up, and
# the seconds that are waited after each.
_MOST_FAILURES: Final = 6
_MOST_COMPLETE: Final = 10_000
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
_PASSING: Final = frozenset({408, 409, 429})
_Key = tuple[str, SpaceKey]


class NotIndexed(Unavailable):
    """The vectors of a search's documents are still being computed."""

    code = "not_indexed"


@dataclass(slots=True)
class Job:
    """Documents that are being indexed, or were: how many of how many, and what went wrong."""

    done: int = 0
    total: int = 0
    error: AieyeError | None = None
    waiting: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()


class Indexing:
    """One a process."""

    def __init__(self, database: Database, vectors: Vectors, embedding: Embedding) -> None:
        self._database = database
        self._vectors = vectors
        self._embedding = embedding
        self._jobs: dict[_Key, Job] = {}
        # How many documents those are that all had vectors when they were last looked at.
        self._complete: dict[_Key, int] = {}

    async def close(self) -> None:
        """End what is going on; the next search goes on with it."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def find(self, documents_id: str, space: Space) -> Job | None:
        """What is known here of the documents: while they are indexed, and after a failure."""
        return self._jobs.get((documents_id, space.key))

    async def count(self, documents_id: str, space: Space) -> int:
        """How many of the documents have a vector; of all that had, it is remembered here. Raises
        `NotFound`."""
        if (documents_id, space.key) in self._complete:
            return self._complete[documents_id, space.key]
        documents = await load_documents(self._database, documents_id)
        counts = Counter(documents.digests)
        missing = await self._vectors.find_missing(space.key, counts, None)
        if not missing:
            self._remember_complete(documents_id, space, len(documents))
        return len(documents) - sum(counts[digest] for digest in missing)

    def _remember_complete(self, documents_id: str, space: Space, count: int) -> None:
        self._complete[documents_id, space.key] = count
        if len(self._complete) > _MOST_COMPLETE:
            del self._complete[next(iter(self._complete))]

    def begin(
        self,
        documents_id: str,
        count: int,
        space: Space,
        payer: Payer,
        dimensions: int | None = None,
    ) -> Job:
        """Index documents, unless that is under way; `payer` pays for what is missing."""
        job = self._jobs.get((documents_id, space.key))
        if job is None or not job.is_running:
            job = self._jobs[documents_id, space.key] = Job(total=count)
            self._complete.pop((documents_id, space.key), None)
            running = self._run(job, documents_id, space, payer.uncached(), dimensions)
            job.task = asyncio.create_task(running, name=f"indexing {documents_id[:8]}")
        return job

    async def ensure(
        self, documents_id: str, count: int, space: Space, payer: Payer, dimensions: int
    ) -> None:
        """Return when all documents have vectors. Raises `NotIndexed` where many take their time,
        and what kept them from being embedded."""
        job = self.begin(documents_id, count, space, payer, dimensions)
        task = job.task
        assert task is not None
        is_long = count > MOST_DOCUMENTS
        job.waiting += 1
        try:
            await asyncio.wait({task}, timeout=PATIENCE_SECONDS if is_long else None)
        finally:
            job.waiting -= 1
            if not is_long and not job.waiting:
                task.cancel()
        if not task.done():
            raise NotIndexed(
                f"{job.done:,} of {job.total:,} documents are indexed; try again shortly.",
                retry_after_seconds=int(PATIENCE_SECONDS),
            )
        if job.error is not None:
            raise job.error

    async def _run(
        self, job: Job, documents_id: str, space: Space, payer: Payer, dimensions: int | None
    ) -> None:
        try:
            documents = await load_documents(self._database, documents_id)
            await self._index(job, documents_id, documents, space, payer, dimensions)
        except AieyeError as error:
            # The frames that it came through hold the documents, for as long as it is known here.
            error.__cause__ = error.__context__ = None
            job.error = error.with_traceback(None)
        except Exception as error:
            # Nobody may be waiting: whoever comes next is told, and the log has the reason.
            log.exception("indexing_failed", error=type(error).__name__)
            job.error = AieyeError("The documents could not be indexed.")
        else:
            del self._jobs[documents_id, space.key]

    async def _index(
        self,
        job: Job,
        documents_id: str,
        documents: Documents,
        space: Space,
        payer: Payer,
        dimensions: int | None,
    ) -> None:
        """Embed what has no vector. Of many documents, failures that may pass are waited out."""
        failures = 0
        while True:
            counts = Counter(documents.digests)
            missing = await self._vectors.find_missing(space.key, counts, dimensions)
            before = job.done = len(documents) - sum(counts[one] for one in missing)
            try:
                await self._embed(
                    job, documents_id, documents, counts, missing, space, payer, dimensions
                )
            except AieyeError as error:
                failures = failures + 1 if job.done == before else 1
                is_final = error.status < 500 and error.status not in _PASSING
                if is_final or len(documents) <= MOST_DOCUMENTS or failures == _MOST_FAILURES:
                    raise
                log.warning("indexing_waits", reason=error.message, done=job.done, of=job.total)
                await asyncio.sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 4 ** (failures - 1)))
            else:
                return

    async def _embed(
        self,
        job: Job,
        documents_id: str,
        documents: Documents,
        counts: Mapping[bytes, int],
        missing: list[bytes],
        space: Space,
        payer: Payer,
        dimensions: int | None,
    ) -> None:
        numbers = {digest: at for at, digest in reversed(list(enumerate(documents.digests)))}
        for start in range(0, len(missing), _TEXTS_AT_ONCE):
            some = missing[start : start + _TEXTS_AT_ONCE]
            texts = documents.texts(numbers[digest] for digest in some)
            asked = [texts[numbers[digest]] for digest in some]
            try:
                async with aclosing(self._embedding.embed_all(asked, space, payer)) as parts:
                    async for part in parts:
                        rows = part.embedded.rows
                        dimensions = dimensions or rows.shape[1]
                        if rows.shape[1] != dimensions:
                            raise BrokenOff(
                                f"{space.model} answers vectors of {dimensions:,} and of "
                                f"{rows.shape[1]:,} numbers, which cannot be compared."
                            )
                        of = some[part.start : part.start + len(rows)]
                        vectors = [row.astype("<f4").tobytes() for row in rows]
                        await check_documents(self._database, documents_id)
                        await self._vectors.store(space.key, list(zip(of, vectors, strict=True)))
                        job.done += sum(counts[digest] for digest in of)
            except EmbeddingRefused as error:
                if error.at is None:
                    raise
                message = f"Document {numbers[some[error.at]]}: {error.message}"
                raise EmbeddingRefused(message, error.reply) from error

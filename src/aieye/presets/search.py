"""Search of a preset's documents by meaning: the cosines of their vectors with the query's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy.exc import SQLAlchemyError

from aieye.access.authored import UNDO_WITHIN
from aieye.access.directory import Directory
from aieye.access.owners import one_at_a_time
from aieye.db.engine import Database
from aieye.db.types import now
from aieye.errors import AieyeError, InvalidRequest
from aieye.gateway.faults import BrokenOff
from aieye.presets import checks, repository
from aieye.presets.corpora import Corpora, Corpus
from aieye.presets.documents import Documents
from aieye.presets.embedding import Embedding, Payer, load_numpy
from aieye.presets.fields import MOST_DOCUMENTS
from aieye.presets.indexing import Indexing, Job
from aieye.presets.models import Preset
from aieye.presets.spaces import Space, space_of
from aieye.presets.vectors import Vectors
from aieye.telemetry.loggers import get_logger

if TYPE_CHECKING:
    from aieye.presets.embedding_answers import Embedded
    from aieye.presets.ranking import Floats, Hit

log = get_logger()

_PRUNE_SECONDS: Final = 4 * 3600.0
BEST: Final = 10
"""How many results of a large library chats and pipelines are given."""
# Vectors that are looked at where they are: a thread would take longer.
_RANK_AT_ONCE_BYTES: Final = 2 * 2**20


@dataclass(frozen=True, slots=True)
class Result:
    """A document by its number from 0; its text if it was asked for."""

    document: int
    score: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, the best first, and the model that embedded the query."""

    results: Sequence[Result]
    model: str

    def as_json(self) -> dict[str, Any]:
        """As OpenAI's search answered."""
        data: list[dict[str, Any]] = []
        for result in self.results:
            item = {
                "score": result.score, "document": result.document, "object": "search_result",
            }  # fmt: skip
            data.append(item if result.text is None else {**item, "text": result.text})
        return {"data": data, "model": self.model, "object": "list"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of how many documents have vectors, and whether that goes on; `error` is why not."""

    done: int
    total: int
    state: Literal["indexed", "indexing", "waiting"]
    error: str | None = None


class Search:
    """One a process."""

    def __init__(
        self, database: Database, directory: Directory, embedding: Embedding, search_model: str
    ) -> None:
        self._database = database
        self._directory = directory
        self._embedding = embedding
        self._search_model = search_model
        self.vectors = Vectors(database)
        self.indexing = Indexing(database, self.vectors, embedding)
        self._corpora = Corpora(database, self.vectors, self.indexing)

    async def close(self) -> None:
        await self.indexing.close()

    async def keep_pruning(self) -> None:
        """Remove vectors that nothing refers to, every few hours: a supervised task of the app."""
        while True:
            # Not at the same moment in every process, nor at the start.
            await asyncio.sleep(_PRUNE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            try:
                await self.prune()
            except (AieyeError, SQLAlchemyError) as error:
                log.warning("vectors_not_pruned", reason=type(error).__name__)

    async def prune(self) -> int:
        """Remove documents of presets whose deletion cannot be undone any more, and vectors that
        nothing refers to; how many vectors. Raises `DatabaseUnavailable`."""
        async with self._database.write() as session:
            await one_at_a_time(session)
            await repository.forget_deleted(session, now() - UNDO_WITHIN)
        removed = await self.vectors.prune(self._directory.current.providers_by_id.keys())
        if removed:
            log.info("vectors_pruned", removed=removed)
        return removed

    def space(self, preset: Preset, payer: Payer) -> Space:
        """Where the preset's documents are embedded. Raises what `resolve` does."""
        snapshot = self._directory.current
        return space_of(snapshot, payer.grant, preset.model, self._search_model)

    def begin_indexing(self, preset: Preset, payer: Payer) -> Job | None:
        """Embed the preset's documents beside whatever else goes on. Raises what `resolve` does."""
        if preset.documents_id is None:
            return None
        payer = replace(payer, preset=preset)
        count = preset.document_count or 0
        space = self.space(preset, payer)
        return self.indexing.begin(preset.documents_id, count, space, payer)

    async def progress(self, preset: Preset, space: Space) -> Progress:
        """How far the preset's documents are indexed there. Raises `NotFound`."""
        if preset.documents_id is None:
            return Progress(0, 0, "indexed")
        total = preset.document_count or 0
        job = self.indexing.find(preset.documents_id, space)
        if job is not None and job.is_running:
            return Progress(job.done, total, "indexing")
        done = await self.indexing.count(preset.documents_id, space)
        if done == total:
            return Progress(done, total, "indexed")
        error = None if job is None or job.error is None else job.error.message
        return Progress(done, total, "waiting", error)

    async def run(
        self,
        preset: Preset,
        text: str,
        payer: Payer,
        *,
        documents: object = None,
        top_k: int | None = None,
        with_text: bool = False,
    ) -> Found:
        """Rank the preset's documents, or those given where it has none, by nearness to `text`.

        Raises `InvalidRequest`, which names the field, and what embedding them raises.
        """
        given = _given(preset, documents)
        if not text.strip():
            raise InvalidRequest("There is no text to search for.", param="text")
        if top_k is None and (preset.document_count or 0) > MOST_DOCUMENTS:
            raise InvalidRequest(
                f"This preset has more than {MOST_DOCUMENTS} documents: it is searched at "
                f"/api/v1/presets/{preset.uid}/search, or with a top_k.",
                param="top_k",
            )
        payer = replace(payer, preset=preset)
        space = self.space(preset, payer)
        if given is None:
            query = await self._embedding.embed([text], space, payer)
            assert preset.documents_id is not None
            corpus = await self._corpora.get(
                preset.documents_id, preset.document_count or 0, space, query.rows.shape[1], payer
            )
        else:
            query, corpus = await self._embed_both(text, given, space, payer)
        hits = await rank(corpus, query.rows[0], top_k)
        texts = corpus.texts(hit.document for hit in hits) if with_text else {}
        results = [Result(hit.document, hit.score, texts.get(hit.document)) for hit in hits]
        return Found(results, query.model or space.model)

    async def _embed_both(
        self, text: str, documents: Sequence[str], space: Space, payer: Payer
    ) -> tuple[Embedded, Corpus]:
        """The query's vector and the given documents', side by side."""
        try:
            async with asyncio.TaskGroup() as group:
                query = group.create_task(self._embedding.embed([text], space, payer))
                corpus = group.create_task(self._corpus_of(documents, space, payer))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return query.result(), corpus.result()

    async def _corpus_of(self, texts: Sequence[str], space: Space, payer: Payer) -> Corpus:
        """Documents that come with a call: their vectors are kept as any answer is, in the cache."""
        found: dict[int, Embedded] = {}
        async with aclosing(self._embedding.embed_all(texts, space, payer)) as parts:
            async for part in parts:
                found[part.start] = part.embedded
        ranking = await load_numpy("ranking")
        try:
            matrix = ranking.stacked([found[start].rows for start in sorted(found)])
        except ranking.InvalidVectors as error:
            raise BrokenOff(f"The provider's vectors cannot be compared: {error}.") from error
        return Corpus(Documents.of(texts), matrix)

    async def best(self, preset: Preset, text: str, payer: Payer) -> Found:
        """What chats and pipelines are given: all results with their texts, of a large library the
        best `BEST`. Raises as `run` does."""
        is_large = (preset.document_count or 0) > MOST_DOCUMENTS
        return await self.run(preset, text, payer, top_k=BEST if is_large else None, with_text=True)


def _given(preset: Preset, documents: object) -> Sequence[str] | None:
    """The documents that come with a call, None where the preset has its own.

    Raises `InvalidRequest`.
    """
    if preset.document_count:
        if documents is not None:
            raise InvalidRequest(
                "The preset has documents of its own: send none with a search.", param="documents"
            )
        return None
    if documents is None or documents == []:
        raise InvalidRequest(
            "The preset has no documents of its own: send documents, a list of texts.",
            param="documents",
        )
    try:
        found: list[str] = checks.documents(MOST_DOCUMENTS)(documents)
    except checks.Refused as error:
        more = f" ({error})" if str(error) else ""
        raise InvalidRequest(
            f"documents should be a list of at most {MOST_DOCUMENTS} texts{more}.",
            param="documents",
        ) from error
    return found


async def rank(corpus: Corpus, query: Floats, top_k: int | None) -> Sequence[Hit]:
    """The documents by nearness, the first `top_k`; the event loop goes on. Raises `BrokenOff`."""
    ranking = await load_numpy("ranking")
    matrix = corpus.matrix
    try:
        if matrix.size_bytes <= _RANK_AT_ONCE_BYTES:
            return matrix.rank(query, top_k)
        return await asyncio.to_thread(matrix.rank, query, top_k)
    except ranking.InvalidVectors as error:
        raise BrokenOff(f"The provider's vectors cannot be compared: {error}.") from error

"""Documents with their vectors in memory, as many as fit into a bound; those last searched stay."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aieye.db.engine import Database
from aieye.errors import Unavailable
from aieye.gateway.faults import BrokenOff
from aieye.presets.documents import Documents, load_documents
from aieye.presets.embedding import Payer, load_numpy
from aieye.presets.fields import MOST_DOCUMENTS
from aieye.presets.indexing import Indexing
from aieye.presets.spaces import Space
from aieye.presets.vectors import SpaceKey, Vectors

if TYPE_CHECKING:
    from aieye.presets.ranking import Matrix

# The one that is searched is there whatever its size: 50,000 documents of 1,536 dimensions take 300 MB.
MOST_BYTES: Final = 512 * 2**20
_Key = tuple[str, SpaceKey, int]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a search looks through."""

    documents: Documents
    matrix: Matrix

    @property
    def size_bytes(self) -> int:
        return self.documents.size_bytes + self.matrix.size_bytes

    def texts(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """The texts of the documents with these numbers."""
        return self.documents.texts(numbers)


class Corpora:
    """One a process."""

    def __init__(self, database: Database, vectors: Vectors, indexing: Indexing) -> None:
        self._database = database
        self._vectors = vectors
        self._indexing = indexing
        self._kept: OrderedDict[_Key, Corpus] = OrderedDict()
        self._loading: dict[_Key, asyncio.Task[Corpus]] = {}
        # Several large ones at once would take far more than `MOST_BYTES` while they are loaded.
        self._turn = asyncio.Lock()

    @property
    def size_bytes(self) -> int:
        return sum(corpus.size_bytes for corpus in self._kept.values())

    async def get(
        self, documents_id: str, count: int, space: Space, dimensions: int, payer: Payer
    ) -> Corpus:
        """The documents with their vectors of a space, of so many dimensions.

        What is not there yet is embedded, and `payer` pays. Raises `AieyeError`.
        """
        key = (documents_id, space.key, dimensions)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        await self._indexing.ensure(documents_id, count, space, payer, dimensions)
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(key, count))
            loading.add_done_callback(lambda _task: self._loading.pop(key))
        # Others may wait for it too.
        return await asyncio.shield(loading)

    async def _load(self, key: _Key, count: int) -> Corpus:
        async with self._turn if count > MOST_DOCUMENTS else nullcontext():
            return self._keep(key, await self._read(key))

    async def _read(self, key: _Key) -> Corpus:
        documents_id, space, dimensions = key
        ranking = await load_numpy("ranking")
        documents = await load_documents(self._database, documents_id)
        rows = ranking.empty_rows(len(documents), dimensions)
        numbers = defaultdict(list)
        for number, digest in enumerate(documents.digests):
            numbers[digest].append(number)
        left = len(numbers)
        async for found in self._vectors.load(space, numbers, dimensions):
            left -= len(found)
            for digest, vector in found.items():
                rows[numbers[digest]] = ranking.row_of(vector)
        if left:
            raise Unavailable("Some documents have lost their vectors; try again.")
        try:
            matrix = await asyncio.to_thread(ranking.Matrix, rows)
        except ranking.InvalidVectors as error:
            raise BrokenOff(f"The provider's vectors cannot be compared: {error}.") from error
        return Corpus(documents, matrix)

    def _keep(self, key: _Key, corpus: Corpus) -> Corpus:
        self._kept[key] = corpus
        while len(self._kept) > 1 and self.size_bytes > MOST_BYTES:
            self._kept.popitem(last=False)
        return corpus

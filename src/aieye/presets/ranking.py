"""Which documents are nearest to a query: cosines of vectors, in numpy. Pure.

It takes a tenth of a second to load, so nothing imports it before the first search. A product of
matrices gives up the interpreter's lock: called in a thread, it leaves the event loop alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

# Scores are told to so many places, as OpenAI's search told them. Further ones are noise, since what
# a sum of 32-bit floats comes to depends on where in the matrix its row stands.
DECIMALS: Final = 3
# Rows that are worked on at once where 64 bits are needed: 12 MiB of the usual 1,536 dimensions.
_CHUNK_ROWS: Final = 1_024
_EPSILON: Final = float(np.finfo(np.float32).eps)


class InvalidVectors(ValueError):
    """These vectors have no cosine; the message says which is the first and why."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class Hit(NamedTuple):
    """A document by its index from 0, and its score: 100 times the cosine."""

    document: int
    score: float


class Matrix:
    """The vectors of documents, a row each, all made one long when they are loaded."""

    def __init__(self, rows: Floats) -> None:
        """Take over `rows`, which are changed in place. Raises `InvalidVectors`."""
        if rows.ndim != 2 or rows.dtype != np.float32 or not rows.flags.c_contiguous:
            raise InvalidVectors("vectors should be rows of 32-bit floats")
        for start in _chunks(len(rows)):
            chunk = rows[start : start + _CHUNK_ROWS]
            chunk[:] = _normalised(chunk, start)
        rows.setflags(write=False)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimensions(self) -> int:
        return int(self._rows.shape[1])

    @property
    def size_bytes(self) -> int:
        return int(self._rows.nbytes)

    def rank(self, query: Floats, top_k: int | None = None) -> list[Hit]:
        """The documents by falling score, those with the same score by index; the first `top_k`.

        Raises `InvalidVectors` for a query without a direction, or of other dimensions.
        """
        if query.shape != (self.dimensions,):
            raise InvalidVectors(
                f"the query has {query.size:,} dimensions and the documents {self.dimensions:,}"
            )
        one_long = _normalised(query.reshape(1, -1), 0)[0]
        count = len(self) if top_k is None else min(top_k, len(self))
        if count <= 0:
            return []
        chosen = self._candidates(one_long.astype(np.float32), count)
        scores = self._scores(one_long, chosen)
        # Candidates come by index and the sort is stable.
        order = np.argsort(-scores, kind="stable")[:count]
        return [
            Hit(document, score)
            for document, score in zip(
                chosen[order].tolist(), scores[order].tolist(), strict=True
            )
        ]  # fmt: skip

    def _candidates(self, query: Floats, count: int) -> npt.NDArray[np.intp]:
        """The rows that may be among the first `count`, by index: a few more than those."""
        if count == len(self):
            return np.arange(count)
        rough = self._rows @ query
        at = len(rough) - count
        # What may round to the same score, and by how much a sum of 32-bit floats may be off.
        margin = 10.0**-DECIMALS / 100 + 2 * self.dimensions * _EPSILON
        return np.flatnonzero(rough >= np.partition(rough, at)[at] - margin)

    def _scores(
        self, query: npt.NDArray[np.float64], chosen: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """The scores of the `chosen` rows, each summed in the same order: equal rows, equal scores."""
        scores = np.empty(len(chosen))
        for start in _chunks(len(chosen)):
            rows = self._rows[chosen[start : start + _CHUNK_ROWS]]
            scores[start : start + len(rows)] = (rows * query).sum(axis=1)
        # Not above 100, and no minus before a zero.
        return np.clip(100 * scores, -100, 100).round(DECIMALS) + 0.0


def empty_rows(count: int, dimensions: int) -> Floats:
    """Rows that are still to be filled."""
    return np.empty((count, dimensions), dtype=np.float32)


def row_of(vector: bytes) -> Floats:
    """A vector as it is stored: 32-bit floats, little end first."""
    return np.frombuffer(vector, dtype="<f4")


def stacked(parts: Sequence[Floats]) -> Matrix:
    """A matrix of rows that came in parts. Raises `InvalidVectors`."""
    if len({part.shape[1] for part in parts}) > 1:
        raise InvalidVectors("they have different lengths")
    return Matrix(np.concatenate(parts))


def _chunks(count: int) -> Iterator[int]:
    return iter(range(0, count, _CHUNK_ROWS))


def _normalised(rows: Floats, start: int) -> npt.NDArray[np.float64]:
    """Rows one long, in 64 bits, which hold the square of any 32-bit float."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    is_bad = ~np.isfinite(lengths) | (lengths == 0)
    if is_bad.any():
        index = int(np.flatnonzero(is_bad)[0])
        why = "is zero" if lengths[index, 0] == 0 else "holds what is no number"
        raise InvalidVectors(f"the vector at {start + index} {why}", start + index)
    wide /= lengths
    return wide

"""Ranking of documents by cosine, against a reference that does it one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.presets.ranking import DECIMALS, Hit, InvalidVectors, Matrix

# What 32 bits hold exactly; few different ones, so that equal vectors and equal scores come about.
NUMBERS = st.one_of(
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]),
    st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False),
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[list[float]], list[float], int | None]:
    """Documents' vectors, a query's, and how many are wanted."""
    size = draw(st.integers(1, 9))
    vector = st.lists(NUMBERS, min_size=size, max_size=size).filter(any)
    documents = draw(st.lists(vector, min_size=1, max_size=40))
    return documents, draw(vector), draw(st.none() | st.integers(1, 50))


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    return Matrix(np.array(rows, dtype=np.float32))


def rank(rows: Sequence[Sequence[float]], query: Sequence[float], top: int | None) -> list[Hit]:
    return matrix(rows).rank(np.array(query, dtype=np.float32), top)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


@given(questions())
def test_scores_are_a_hundred_times_the_cosine_and_fall(
    question: tuple[list[list[float]], list[float], int | None],
) -> None:
    rows, query, top = question
    reference = [100 * cosine(row, query) for row in rows]
    hits = rank(rows, query, top)
    assert len(hits) == min(len(rows), top or len(rows))
    assert len({hit.document for hit in hits}) == len(hits)
    for hit in hits:
        assert hit.score == pytest.approx(reference[hit.document], abs=0.6 * 10**-DECIMALS)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.document))
    left = set(range(len(rows))) - {hit.document for hit in hits}
    assert all(reference[one] <= hits[-1].score + 0.6 * 10**-DECIMALS for one in left)


@given(questions())
def test_the_first_few_are_the_beginning_of_all(
    question: tuple[list[list[float]], list[float], int | None],
) -> None:
    rows, query, top = question
    assert rank(rows, query, top) == rank(rows, query, None)[:top]


@pytest.mark.parametrize("top", [None, 5, 700])
def test_equal_documents_have_equal_scores_and_stand_by_index(top: int | None) -> None:
    numbers = np.random.default_rng(1)
    row = numbers.standard_normal(1_531, dtype=np.float32)
    rows = np.tile(row, (777, 1))
    rows[::3] = numbers.standard_normal((259, 1_531), dtype=np.float32)
    hits = Matrix(rows).rank(row + numbers.standard_normal(1_531, dtype=np.float32), top)
    equal = [hit for hit in hits if hit.document % 3]
    assert len({hit.score for hit in equal}) == 1
    assert equal == hits[: len(equal)]
    assert [hit.document for hit in equal] == sorted(hit.document for hit in equal)


def test_many_documents_are_ranked_as_few_are() -> None:
    numbers = np.random.default_rng(2)
    rows = numbers.standard_normal((3_000, 64), dtype=np.float32)
    query = numbers.standard_normal(64, dtype=np.float32)
    exact = rows.astype(np.float64) @ query / np.linalg.norm(rows.astype(np.float64), axis=1)
    hits = Matrix(rows.copy()).rank(query, 25)
    assert [hit.document for hit in hits] == np.argsort(-exact)[:25].tolist()


@pytest.mark.parametrize(
    "row, why",
    [
        ([0.0, 0.0], "the vector at 1 is zero"),
        ([1.0, math.nan], "the vector at 1 holds what is no number"),
        ([math.inf, 1.0], "the vector at 1 holds what is no number"),
    ],
)
def test_a_document_without_a_direction_is_refused(row: list[float], why: str) -> None:
    with pytest.raises(InvalidVectors, match=why) as caught:
        matrix([[1.0, 0.0], row, [0.0, 0.0]])
    assert caught.value.index == 1


@pytest.mark.parametrize(
    "query, why",
    [
        ([0.0, 0.0], "is zero"),
        ([math.nan, 1.0], "holds what is no number"),
        ([1.0, 1.0, 1.0], "the query has 3 dimensions and the documents 2"),
    ],
)
def test_a_query_without_a_direction_is_refused(query: list[float], why: str) -> None:
    with pytest.raises(InvalidVectors, match=why):
        rank([[1.0, 0.0]], query, None)


def test_the_largest_and_the_smallest_numbers_have_cosines() -> None:
    large, small = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
    assert rank([[large, 0.0], [0.0, small], [-small, 0.0]], [small, 0.0], None) == [
        Hit(0, 100.0),
        Hit(1, 0.0),
        Hit(2, -100.0),
    ]


def test_a_score_that_rounds_to_nothing_has_no_minus() -> None:
    assert str(rank([[-1e-7, 1.0]], [1.0, 0.0], None)[0].score) == "0.0"


def test_scores_that_are_told_alike_stand_by_index_however_few_are_wanted() -> None:
    rows = [[cos, math.sqrt(1 - cos * cos)] for cos in (0.300001, 0.500001, 0.500004, 0.1)]
    assert rank(rows, [1.0, 0.0], 1) == [Hit(1, 50.0)]
    assert rank(rows, [1.0, 0.0], 2) == [Hit(1, 50.0), Hit(2, 50.0)]


def test_scores_are_exact_to_the_last_decimal_that_is_told() -> None:
    numbers = np.random.default_rng(3)
    rows = numbers.standard_normal((2_000, 512), dtype=np.float32)
    query = numbers.standard_normal(512, dtype=np.float32)
    exact = [100 * cosine(row.tolist(), query.tolist()) for row in rows]
    hits = Matrix(rows.copy()).rank(query)
    assert all(hit.score == round(exact[hit.document], DECIMALS) for hit in hits)


def test_no_documents_have_no_ranking() -> None:
    assert Matrix(np.empty((0, 2), dtype=np.float32)).rank(np.ones(2, dtype=np.float32)) == []

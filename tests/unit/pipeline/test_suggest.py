""" "Did you mean": few, close and in a fixed order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aieye.pipeline.language import suggest
from aieye.pipeline.language.suggest import Spelling, did_you_mean, osa_distance

words = st.text("abc_", max_size=7)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("length", "length", 0),
        ("lenght", "length", 1),
        ("lengt", "length", 1),
        ("lengthh", "length", 1),
        ("langth", "length", 1),
        ("elnght", "length", 2),
        ("ca", "abc", 3),  # optimal string alignment does not touch a swapped pair again
        ("", "ab", 2),
    ],
)
def test_a_slip_is_one_letter_or_two_neighbours_swapped(a: str, b: str, distance: int) -> None:
    assert osa_distance(a, b, 5) == distance


def test_what_is_further_than_the_limit_has_no_distance() -> None:
    assert osa_distance("length", "lng", 2) is None
    assert osa_distance("aaaaaaaa", "bbbbbbbb", 2) is None


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("lenght", ["length", "upper"], ["length"]),
        ("uper", ["upper", "super", "under"], ["super", "upper"]),
        ("abcd", ["abxx"], []),  # up to four characters: one slip
        ("abcde", ["abcxx"], ["abcxx"]),  # above: two
        ("abcde", ["abxxx"], []),
        ("x", ["y", "xy", "xyz"], ["xy", "y"]),
        (
            "abcdef",
            ["abcdex", "abcdxx", "xbcdef", "aabcdef", "bbcdef"],
            ["aabcdef", "abcdex", "bbcdef"],
        ),
        ("name", [], []),
        ("name", ["name"], ["name"]),
    ],
)
def test_at_most_three_are_named_by_distance_and_then_by_name(
    name: str, candidates: list[str], expected: list[str]
) -> None:
    assert Spelling(candidates).suggest(name) == expected


@pytest.mark.parametrize(
    ("candidates", "ending"),
    [
        ([], ""),
        (["abcdx"], "; did you mean 'abcdx'?"),
        (["abcdx", "abcdy"], "; did you mean 'abcdx' or 'abcdy'?"),
        (["abcdx", "abcdy", "abcdz"], "; did you mean 'abcdx', 'abcdy' or 'abcdz'?"),
    ],
)
def test_a_message_ends_with_them(candidates: list[str], ending: str) -> None:
    assert did_you_mean("abcde", candidates) == ending


@settings(deadline=None)
@given(words, words)
def test_the_quick_filter_loses_nobody(a: str, b: str) -> None:
    limit = 1 if len(a) <= 4 else 2
    assert (Spelling([b]).suggest(a) == [b]) == (_distance(a, b) <= limit)


@settings(deadline=None)
@given(words, st.sets(words, max_size=30))
def test_names_that_begin_alike_are_told_apart(name: str, candidates: set[str]) -> None:
    limit = 1 if len(name) <= 4 else 2
    near = sorted((_distance(name, one), one) for one in candidates)
    expected = [one for distance, one in near if distance <= limit][:3]
    assert Spelling(candidates).suggest(name) == expected


def test_ten_thousand_names_that_begin_alike_are_not_looked_at_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spelling = Spelling(f"bulk_{number:05d}" for number in range(10_000))
    rows = 0
    real = suggest._next_row

    def counted(*arguments: Any) -> list[int]:
        nonlocal rows
        rows += 1
        return real(*arguments)

    monkeypatch.setattr(suggest, "_next_row", counted)
    assert spelling.suggest("bulk_a0001") == ["bulk_00001", "bulk_00000", "bulk_00002"]
    assert rows < 5_000


@settings(deadline=None)
@given(words, words)
def test_the_distance_is_that_of_the_definition(a: str, b: str) -> None:
    assert osa_distance(a, b, 100) == _distance(a, b)


def _distance(a: str, b: str) -> int:
    """The definition, letter by letter."""
    if not a or not b:
        return len(a) + len(b)
    table = [[i + j for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            costs = [table[i - 1][j] + 1, table[i][j - 1] + 1]
            costs.append(table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                costs.append(table[i - 2][j - 2] + 1)
            table[i][j] = min(costs)
    return table[-1][-1]

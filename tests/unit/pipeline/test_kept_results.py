"""Results of cacheable functions, kept within bytes."""

from __future__ import annotations

from aieye.pipeline.kept_results import KeptResults, Place


def place(number: int) -> Place:
    return Place("hash", "f", b"%d" % number)


def test_a_value_is_found_again_also_if_it_is_null() -> None:
    results = KeptResults()
    results.keep(place(1), None)
    assert (results.find(place(1)), results.find(place(2))) == ((None,), None)
    assert results.find(Place("other", "f", b"1")) is None


def test_the_least_recently_used_goes_first() -> None:
    results = KeptResults(most_bytes=3_000)
    for number in range(3):
        results.keep(place(number), "x" * 400)
    results.find(place(0))
    results.keep(place(3), "x" * 400)
    held = [number for number in range(4) if results.find(place(number)) is not None]
    assert held == [0, 2, 3]
    assert results.size_bytes <= 3_000


def test_what_is_larger_than_all_there_is_is_not_kept() -> None:
    results = KeptResults(most_bytes=1_000)
    results.keep(place(1), "x" * 2_000)
    assert (len(results), results.size_bytes) == (0, 0)


def test_a_newer_value_takes_the_place_of_the_older() -> None:
    results = KeptResults()
    results.keep(place(1), "x" * 400)
    results.keep(place(1), "y")
    assert results.find(place(1)) == ("y",)
    size = results.size_bytes
    results.keep(place(1), "y")
    assert results.size_bytes == size

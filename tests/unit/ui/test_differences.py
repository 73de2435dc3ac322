"""Two texts side by side: what differs is found, what is alike is folded, and no text takes long."""

from __future__ import annotations

import time

from aieye.ui.differences import MOST_ROWS, Row, side_by_side


def said(row: Row) -> tuple[str, str, str]:
    left, right = (
        "".join(piece.text for piece in side.pieces) if side else ""
        for side in (row.left, row.right)
    )
    return row.kind, left, right


def test_the_same_texts_have_no_difference() -> None:
    assert side_by_side("a\nb", "a\nb") == ()


def test_a_changed_line_stands_beside_what_it_became_with_the_words_that_differ() -> None:
    (row,) = side_by_side("Hey {buddy}, how are you?", "Hello {buddy}, how are you?")
    assert row.kind == "changed"
    assert row.left
    assert row.right
    assert [piece.text for piece in row.left.pieces if piece.is_changed] == ["Hey"]
    assert [piece.text for piece in row.right.pieces if piece.is_changed] == ["Hello"]


def test_lines_that_came_and_went_stand_alone() -> None:
    rows = [said(row) for row in side_by_side("a\nb\nc", "b\nc\nd")]
    assert rows == [
        ("removed", "a", ""),
        ("same", "b", "b"),
        ("same", "c", "c"),
        ("added", "", "d"),
    ]


def test_what_is_far_from_a_change_is_folded() -> None:
    lines = [f"line {i}" for i in range(40)]
    rows = side_by_side("\n".join(lines), "\n".join([*lines[:20], "new", *lines[20:]]))
    assert [row.kind for row in rows] == ["gap", *["same"] * 3, "added", *["same"] * 3, "gap"]
    assert [row.hidden for row in rows if row.kind == "gap"] == [17, 17]
    assert [row.left.number for row in rows if row.left] == [18, 19, 20, 21, 22, 23]


def test_texts_that_differ_in_the_end_of_a_line_alone_have_rows_without_a_change() -> None:
    assert not [row for row in side_by_side("a\r\nb", "a\nb") if row.kind not in {"same", "gap"}]


def test_large_texts_are_compared_in_bounded_time() -> None:
    old = "\n".join(f"{i % 7} some words in a line {i}" for i in range(20_000))
    new = "\n".join(f"{i % 5} some words in a line {i + 1}" for i in range(20_000))
    began = time.process_time()
    assert 0 < len(side_by_side(old, new)) <= MOST_ROWS
    assert time.process_time() - began < 3


def test_a_line_of_many_words_is_shown_whole() -> None:
    old, new = "a " * 5_000, "b " * 5_000
    (row,) = side_by_side(old, new)
    assert row.left
    assert row.left.pieces[0].text == old

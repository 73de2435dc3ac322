"""Two texts side by side: which lines differ, and what in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final, Literal

from aieye.prompts.difference import line_steps

# As many lines stay around what differs.
_AROUND: Final = 3
# More lines, and words within lines that were changed, are compared by nobody's eyes.
MOST_ROWS: Final = 1_500
_MOST_WORD_PAIRS: Final = 40_000
_MOST_COMPARED_LINES: Final = 200
_WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line, which the other text has or has not."""

    text: str
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """A line of one of the texts."""

    number: int
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Row:
    """A line beside the one that it became; of a gap, how many lines alike it stands for."""

    kind: Literal["same", "changed", "removed", "added", "gap"]
    left: Side | None = None
    right: Side | None = None
    hidden: int = 0


def side_by_side(old: str, new: str) -> Sequence[Row]:
    """The lines that differ and a few around them; no rows for texts that are the same."""
    if old == new:
        return ()
    before, after = old.splitlines(), new.splitlines()
    rows: list[Row] = []
    steps = line_steps(before, after)
    for place, (tag, i, i_end, j, j_end) in enumerate(steps):
        if tag == "equal":
            is_first, is_last = place == 0, place == len(steps) - 1
            rows += _same(before[i:i_end], i, j, is_first=is_first, is_last=is_last)
        else:
            rows += _replaced(before[i:i_end], after[j:j_end], i, j)
        if len(rows) > MOST_ROWS:
            break
    return rows[:MOST_ROWS]


def _same(lines: Sequence[str], i: int, j: int, *, is_first: bool, is_last: bool) -> Iterator[Row]:
    """Lines alike, those far from what differs folded into a gap."""
    head = 0 if is_first else _AROUND
    tail = 0 if is_last else _AROUND
    is_folded = len(lines) > head + tail + 1
    for k, line in enumerate(lines):
        if is_folded and head <= k < len(lines) - tail:
            if k == head:
                yield Row("gap", hidden=len(lines) - head - tail)
            continue
        pieces = [Piece(line)]
        yield Row("same", Side(i + k + 1, pieces), Side(j + k + 1, pieces))


def _replaced(old: Sequence[str], new: Sequence[str], i: int, j: int) -> Iterator[Row]:
    """Lines that became others: side by side while both have some, then those that are left."""
    for k, (one, other) in enumerate(zip_longest(old, new)):
        if one is None:
            yield Row("added", None, Side(j + k + 1, [Piece(other)]))
        elif other is None:
            yield Row("removed", Side(i + k + 1, [Piece(one)]), None)
        else:
            left, right = _words(one, other) if k < _MOST_COMPARED_LINES else ([], [])
            yield Row("changed", Side(i + k + 1, left or [Piece(one)]),
                      Side(j + k + 1, right or [Piece(other)]))  # fmt: skip


def _words(one: str, other: str) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Both lines in pieces; in one piece each where they have too little or too much in common."""
    before, after = _WORDS.findall(one), _WORDS.findall(other)
    if len(before) * len(after) > _MOST_WORD_PAIRS:
        return (), ()
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < 0.3:
        return (), ()
    left, right = [], []
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        is_changed = tag != "equal"
        if i < i_end:
            left.append(Piece("".join(before[i:i_end]), is_changed))
        if j < j_end:
            right.append(Piece("".join(after[j:j_end]), is_changed))
    return left, right

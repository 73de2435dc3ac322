"""The table of tests/README.md: every row of the failure catalogue, and only tests that exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
LINES = (TESTS / "README.md").read_text().splitlines()
ROWS = range(1, 170)
INVARIANTS = [1, 2, 3, *range(7, 23), *range(24, 29), 32, 33, 35]
NAMED = re.compile(r"`(?:([a-z_/]+/test_\w+\.py))?::(test_\w+)`")


def _cells() -> Iterator[tuple[str, str]]:
    """First and last cell of each line of the tables."""
    for line in LINES:
        if re.match(r"\| (I?\d)", line):
            first, last = line.strip("| ").split(" | ", 1)
            yield first, last


def _numbers(cell: str) -> Iterator[int]:
    """`36–42` and `I1, I2` in full."""
    for part in cell.replace("I", "").split(", "):
        first, _, last = part.partition("–")
        yield from range(int(first), int(last or first) + 1)


def _named() -> Iterator[tuple[str, str]]:
    """The file and name of each test in the tables; without a file, it is in the one before."""
    for _, cell in _cells():
        file = ""
        for named, test in NAMED.findall(cell):
            file = named or file
            yield file, test


@cache
def _tests_of(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_row_stands_in_the_table_once() -> None:
    rows = Counter(n for cell, _ in _cells() if cell[0] != "I" for n in _numbers(cell))
    assert rows == Counter(ROWS)
    invariants = Counter(n for cell, _ in _cells() if cell[0] == "I" for n in _numbers(cell))
    assert invariants == Counter(INVARIANTS)


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    reasons = ("struck", "other issue", "soak", "warnings")
    silent = [
        cell for cell, held in _cells() if not NAMED.search(held) and not held.startswith(reasons)
        and "other issue" not in held
    ]  # fmt: skip
    assert silent == []


def test_every_test_that_the_table_names_exists() -> None:
    named = list(_named())
    assert len(named) > 200
    missing = [f"{file}::{test}" for file, test in named if not file or test not in _tests_of(file)]
    assert missing == []

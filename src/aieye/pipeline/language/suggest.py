"""Which names may have been meant: "did you mean 'length'?"

The measure is the optimal string alignment distance: insertions, deletions, substitutions and
swaps of neighbours, none of them inside another. One such slip is forgiven in a name of up to four
characters, else two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

_SHORT: Final = 4
_MOST: Final = 3
# Sorts behind every letter of a name.
_LAST: Final = "\U0010ffff"


class Spelling:
    """Names that may be meant by others that are close to them."""

    __slots__ = ("_by_length",)

    def __init__(self, names: Iterable[str]) -> None:
        self._by_length: defaultdict[int, list[str]] = defaultdict(list)
        for name in names:
            self._by_length[len(name)].append(name)

    def suggest(self, name: str) -> list[str]:
        """At most three of the names that are close to `name`, the closest first."""
        limit = 1 if len(name) <= _SHORT else 2
        found: list[tuple[int, str]] = []
        for length in range(len(name) - limit, len(name) + limit + 1):
            if candidates := self._by_length.get(length):
                candidates.sort()
                found += _near(name, candidates, limit)
        return [candidate for _, candidate in sorted(set(found))[:_MOST]]

    def did_you_mean(self, name: str) -> str:
        """`; did you mean 'a' or 'b'?`, to end a message with; empty when nothing is close."""
        quoted = [f"'{candidate}'" for candidate in self.suggest(name)]
        if not quoted:
            return ""
        first = ", ".join(quoted[:-1])
        return (
            f"; did you mean {first} or {quoted[-1]}?" if first else f"; did you mean {quoted[0]}?"
        )


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The ending of a message about one name."""
    return Spelling(candidates).did_you_mean(name)


def osa_distance(a: str, b: str, limit: int) -> int | None:
    """The distance of two names; None if it is above `limit`."""
    rows = [_first_row(b, limit)]
    for letter in a:
        rows.append(_next_row(rows, b, letter, a[len(rows) - 2 : len(rows) - 1], limit))
    return rows[-1][-1] if rows[-1][-1] <= limit else None


def _near(name: str, candidates: list[str], limit: int) -> Iterator[tuple[int, str]]:
    """The candidates, which are sorted, within a distance.

    Neighbours begin alike and share what was worked out for their beginning; all that begin as one
    that is too far already are passed over at once.
    """
    letters = _letters(name)
    rows = [_first_row(name, limit)]
    before = ""
    at = 0
    while at < len(candidates):
        candidate = candidates[at]
        at += 1
        # A slip brings at most one letter in and takes one out.
        if (_letters(candidate) ^ letters).bit_count() > 2 * limit:
            continue
        del rows[1 + _common(before, candidate, len(rows) - 1) :]
        before = candidate
        for depth in range(len(rows) - 1, len(candidate)):
            row = _next_row(rows, name, candidate[depth], candidate[depth - 1 : depth], limit)
            rows.append(row)
            if min(row) > limit:
                at = bisect_right(candidates, candidate[: depth + 1] + _LAST, at)
                break
        else:
            if (distance := rows[-1][-1]) <= limit:
                yield distance, candidate


def _common(a: str, b: str, most: int) -> int:
    """How many letters two names begin with alike, `most` at most."""
    for count in range(most):
        if count >= len(b) or a[count] != b[count]:
            return count
    return most


def _first_row(name: str, limit: int) -> list[int]:
    return [min(j, limit + 1) for j in range(len(name) + 1)]


def _next_row(
    rows: list[list[int]], name: str, letter: str, previous: str, limit: int
) -> list[int]:
    """The distances of one letter more of another name to each beginning of `name`.

    Only those near the diagonal can be within the limit; others count as just above it.
    """
    i = len(rows)
    before = rows[-1]
    row = [limit + 1] * len(before)
    if i <= limit:
        row[0] = i
    for j in range(max(1, i - limit), min(len(name), i + limit) + 1):
        mine = name[j - 1]
        cost = before[j - 1] + (mine != letter)
        if before[j] < cost:
            cost = before[j] + 1
        if row[j - 1] < cost:
            cost = row[j - 1] + 1
        if j > 1 and mine == previous and name[j - 2] == letter:
            cost = min(cost, rows[-2][j - 2] + 1)
        row[j] = cost
    return row


@lru_cache(maxsize=2**15)
def _letters(name: str) -> int:
    """The set of a name's characters as bits."""
    bits = 0
    for character in name:
        bits |= 1 << ord(character)
    return bits

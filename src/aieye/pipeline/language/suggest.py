"""Which names may have been meant: "did you mean 'length'?"

The measure is the optimal string alignment distance: insertions, deletions, substitutions and
swaps of neighbours, none of them inside another. One such slip is forgiven in a name of up to four
characters, else two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_SHORT: Final = 4
_MOST: Final = 3


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
        letters = _letters(name)
        found = {
            (distance, candidate)
            for length in range(len(name) - limit, len(name) + limit + 1)
            for candidate in self._by_length.get(length, ())
            # A slip brings at most one letter in and takes one out.
            if (_letters(candidate) ^ letters).bit_count() <= 2 * limit
            and (distance := osa_distance(name, candidate, limit)) is not None
        }
        return [candidate for _, candidate in sorted(found)[:_MOST]]

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
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, mine in enumerate(a, start=1):
        above, before, row = before, row, [i]
        for j, other in enumerate(b, start=1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (mine != other))
            if i > 1 and j > 1 and mine == b[j - 2] and a[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return None
    return row[-1] if row[-1] <= limit else None


@lru_cache(maxsize=8192)
def _letters(name: str) -> int:
    """The set of a name's characters as bits."""
    bits = 0
    for character in name:
        bits |= 1 << ord(character)
    return bits

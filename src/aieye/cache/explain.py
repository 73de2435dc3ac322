"""Why a call missed: the stored request that is nearest to it, and the fields that differ. Pure.

Requests are compared as JSON documents, path by path (RFC 6901). The distance is the number of
paths that differ; a text that differs a little counts up to half of one, since the usual reason for
a miss is a date or a name inside a long prompt. The work is bounded whatever the documents hold:
the caller still runs it in a thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

import orjson

from aieye.cache.key import NotJson, read_object, write_json

# Bounds: bytes parsed, values visited, and the distance beyond which all candidates are alike.
_MOST_BYTES = 16 * 2**20
_MOST_STEPS = 500_000
_MOST_PATHS = 50
# Up to this size numbers are told apart as they were written, as the cache's key does.
_EXACT_BYTES = 2**20
_MOST_FIELDS = 50
_SHOWN = 160
_LEAD = 40


class _Absent:
    """What stands at a path that one document does not have."""


_ABSENT = _Absent()
_Pair = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A path with its value in both documents: JSON text, cut around where they part, or None.

    None means that the path is absent.
    """

    path: str
    asked: str | None
    stored: str | None


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest stored request. `fields` has the first 50 of the `differing` paths.

    `compared` is how many candidates fitted into the bounds. Documents of more than a megabyte are
    counted up to 50 paths.
    """

    entry_id: int
    distance: float
    fields: tuple[Difference, ...]
    differing: int
    compared: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call was not answered from the cache, in a sentence, with what came nearest to it."""

    call_id: str
    reason: str
    nearest: Nearest | None = None


def nearest(request: bytes, candidates: Iterable[tuple[int, bytes]]) -> Nearest | None:
    """The candidate (id, canonical request) at the least distance; of equals the first one.

    None without candidates, or when `request` is no JSON object. A candidate that is none is
    passed over.
    """
    asked = _load(request)
    if asked is None:
        return None
    search = _Search(asked)
    for entry_id, body in candidates:
        if search.is_spent:
            break
        search.consider(entry_id, body)
    if search.best is None:
        return None
    entry_id, body = search.best
    fields = _fields(request, body)
    return Nearest(
        entry_id,
        round(search.distance, 3),
        tuple(_shown(pair) for pair in fields[:_MOST_FIELDS]),
        len(fields),
        search.compared,
    )


class _Search:
    """The best candidate so far, and what is left of the bounds."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._steps = 0
        self._bytes = 0
        self.best: tuple[int, bytes] | None = None
        self.distance = float("inf")
        self.compared = 0

    @property
    def is_spent(self) -> bool:
        return self._steps >= _MOST_STEPS or self._bytes >= _MOST_BYTES

    def consider(self, entry_id: int, body: bytes) -> None:
        self._bytes += len(body)
        stored = _load(body)
        if stored is None:
            return
        self.compared += 1
        distance = self._measure(stored)
        if distance < self.distance:
            self.best, self.distance = (entry_id, body), distance

    def _measure(self, stored: dict[str, Any]) -> float:
        """The distance to `stored`, or any number that is not less than the best one."""
        distance = 0.0
        try:
            for pair in self._walk(self._asked, stored):
                distance += _weight(pair[1], pair[2])
                if distance >= min(self.distance, _MOST_PATHS):
                    break
        except RecursionError:
            return float("inf")
        return distance

    def _walk(self, asked: Any, stored: Any) -> Iterator[_Pair]:
        for pair in _children("", asked, stored):
            self._steps += 1
            if pair[1] == pair[2]:
                continue
            if _are_alike(pair[1], pair[2]):
                yield from self._walk(pair[1], pair[2])
            else:
                yield pair


def _load(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _fields(request: bytes, body: bytes) -> list[_Pair]:
    """The paths that differ, numbers as they were written where the size allows it."""
    try:
        if max(len(request), len(body)) <= _EXACT_BYTES:
            return list(_exactly("", read_object(request), read_object(body)))
    except (NotJson, RecursionError):
        pass
    roughly = _roughly("", orjson.loads(request), orjson.loads(body))
    return list(islice(roughly, _MOST_FIELDS))


def _exactly(path: str, asked: Any, stored: Any) -> Iterator[_Pair]:
    """Every path that differs. Containers are never compared whole: to Python, `True == 1`."""
    if _are_alike(asked, stored):
        for pair in _children(path, asked, stored):
            yield from _exactly(*pair)
    elif type(asked) is not type(stored) or asked != stored:
        yield path, asked, stored


def _roughly(path: str, asked: Any, stored: Any) -> Iterator[_Pair]:
    """Paths that differ, in documents too large to visit every value of."""
    if asked == stored:
        return
    if _are_alike(asked, stored):
        for pair in _children(path, asked, stored):
            yield from _roughly(*pair)
    else:
        yield path, asked, stored


def _are_alike(asked: Any, stored: Any) -> bool:
    """Whether both are objects or both are lists, so that their members are compared."""
    return isinstance(asked, dict | list) and type(asked) is type(stored)


def _children(path: str, asked: Any, stored: Any) -> Iterator[_Pair]:
    """The members of two objects or two lists, paired."""
    if isinstance(asked, list):
        yield from _items(path, asked, stored)
        return
    for name, value in asked.items():
        yield f"{path}/{_escaped(name)}", value, stored.get(name, _ABSENT)
    for name, value in stored.items():
        if name not in asked:
            yield f"{path}/{_escaped(name)}", _ABSENT, value


def _items(path: str, asked: list[Any], stored: list[Any]) -> Iterator[_Pair]:
    """The items of two lists; equal ends of lists of different lengths are paired by their end.

    So an item put in at the front is one difference and not a shift of all that follow.
    """
    tail = 0
    if len(asked) != len(stored):
        shorter = min(len(asked), len(stored))
        while tail < shorter and asked[-1 - tail] == stored[-1 - tail]:
            tail += 1
    heads = zip_longest(asked[: len(asked) - tail], stored[: len(stored) - tail], fillvalue=_ABSENT)
    for index, (one, other) in enumerate(heads):
        yield f"{path}/{index}", one, other


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _weight(asked: Any, stored: Any) -> float:
    """1 for values that differ, down to one half for texts of which most is the same."""
    if not (isinstance(asked, str) and isinstance(stored, str)):
        return 1.0
    longest = max(len(asked), len(stored))
    same = _common_prefix(asked, stored)
    rest = min(len(asked), len(stored)) - same
    same += min(_common_prefix(asked[::-1], stored[::-1]), rest)
    return 1.0 - same / longest / 2


def _common_prefix(one: str, other: str) -> int:
    """How many characters two texts have in common from the start on."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])


def _shown(pair: _Pair) -> Difference:
    path, asked, stored = pair
    one, other = _text(asked), _text(stored)
    start = _common_prefix(one or "", other or "")
    return Difference(path, _cut(one, start), _cut(other, start))


def _text(value: Any) -> str | None:
    try:
        return None if value is _ABSENT else write_json(value).decode()
    except NotJson:
        return "(nested too deep to be shown)"


def _cut(text: str | None, start: int) -> str | None:
    """`text`, or if it is long what stands around the character `start`."""
    if text is None or len(text) <= _SHOWN:
        return text
    first = max(0, min(start - _LEAD, len(text) - _SHOWN))
    last = first + _SHOWN
    return f"{'…' if first else ''}{text[first:last]}{'…' if last < len(text) else ''}"

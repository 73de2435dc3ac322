"""Results of cacheable functions, kept in the process: the least recently used goes first. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from aieye.pipeline.language.values import Json
from aieye.pipeline.sizes import size_of

MOST_BYTES: Final = 32 << 20
# Beside a value itself: its place, its key and what Python needs for both.
_OVERHEAD_BYTES: Final = 512


class Place(NamedTuple):
    """A function as its file was, and the arguments that it was called with."""

    source_hash: str
    name: str
    arguments: bytes


class KeptResults:
    """Values that nobody changes: functions get copies of their arguments."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.size_bytes = 0
        self._most_bytes = most_bytes
        self._values: OrderedDict[Place, tuple[Json, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def find(self, place: Place) -> tuple[Json] | None:
        """The value, in a tuple, for it may be null."""
        found = self._values.get(place)
        if found is None:
            return None
        self._values.move_to_end(place)
        return (found[0],)

    def keep(self, place: Place, value: Json) -> None:
        """Keep a value. Raises `Unmeasurable`."""
        size = size_of(value) + len(place.arguments) + _OVERHEAD_BYTES
        if size > self._most_bytes:
            return
        if (known := self._values.pop(place, None)) is not None:
            self.size_bytes -= known[1]
        self._values[place] = value, size
        self.size_bytes += size
        while self.size_bytes > self._most_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self.size_bytes -= freed
